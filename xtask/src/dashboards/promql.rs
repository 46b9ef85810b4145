//! What an expression of PromQL refers to: metrics with their matchers, and labels in clauses. Not a whole parser: what is
//! wrong in other ways is for Prometheus to say.

use std::iter::Peekable;
use std::str::Chars;

/// `metric{label="value"}[range]`, and the function that it is the argument of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
    pub(crate) range: Option<String>,
    pub(crate) function: Option<String>,
}

/// `label="value"`
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) operator: String,
    pub(crate) value: String,
}

/// What an expression refers to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expression {
    pub(crate) selectors: Vec<Selector>,
    /// The labels in `by`, `without`, `on`, `ignoring`, `group_left` and `group_right`.
    pub(crate) labels: Vec<String>,
}

/// Words that take a list of labels.
const CLAUSES: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that stand between expressions.
const OPERATORS: [&str; 9] = ["and", "or", "unless", "bool", "offset", "atan2", "start", "inf", "nan"];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Symbol(char),
    /// What stands in square brackets.
    Range(String),
}

/// Reads an expression; the error says what cannot be read.
pub(crate) fn read(expression: &str) -> Result<Expression, String> {
    let tokens = tokens(expression)?;
    Reader { tokens: &tokens, functions: Vec::new(), found: Expression::default() }.read()
}

fn tokens(expression: &str) -> Result<Vec<Token>, String> {
    let mut characters = expression.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(character) = characters.next() {
        match character {
            ' ' | '\n' => {}
            '"' | '\'' | '`' => tokens.push(Token::Text(text(&mut characters, character)?)),
            '[' => tokens.push(Token::Range(until(&mut characters, ']')?)),
            _ if character.is_ascii_digit() => {
                // 0.99, 1e9, 5m
                take_while(&mut characters, |next| next.is_ascii_alphanumeric() || next == '.');
            }
            _ if is_name(character) => {
                let rest = take_while(&mut characters, |next| is_name(next) || next.is_ascii_digit());
                tokens.push(Token::Name(format!("{character}{rest}")));
            }
            _ => tokens.push(Token::Symbol(character)),
        }
    }
    Ok(tokens)
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || character == ':'
}

fn take_while(characters: &mut Peekable<Chars<'_>>, goes_on: impl Fn(char) -> bool) -> String {
    let mut taken = String::new();
    while let Some(character) = characters.next_if(|&next| goes_on(next)) {
        taken.push(character);
    }
    taken
}

fn text(characters: &mut Peekable<Chars<'_>>, quote: char) -> Result<String, String> {
    let mut content = String::new();
    while let Some(character) = characters.next() {
        match character {
            '\\' if quote != '`' => content.extend(characters.next()),
            _ if character == quote => return Ok(content),
            _ => content.push(character),
        }
    }
    Err(format!("a text that begins with {quote} does not end"))
}

fn until(characters: &mut Peekable<Chars<'_>>, end: char) -> Result<String, String> {
    let content = take_while(characters, |next| next != end);
    characters.next().map(|_| content).ok_or_else(|| format!("{end} is missing"))
}

struct Reader<'a> {
    tokens: &'a [Token],
    /// For each open parenthesis what stands before it.
    functions: Vec<Option<String>>,
    found: Expression,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }

    /// Takes the symbol if it is the next.
    fn takes(&mut self, symbol: char) -> bool {
        let is_next = self.tokens.first() == Some(&Token::Symbol(symbol));
        if is_next {
            self.next();
        }
        is_next
    }

    fn read(mut self) -> Result<Expression, String> {
        while let Some(token) = self.next() {
            match token {
                Token::Name(name) => self.name(name)?,
                Token::Symbol('(') => self.functions.push(None),
                Token::Symbol(')') => {
                    self.functions.pop().ok_or("a ) too many")?;
                }
                Token::Symbol('{') => return Err("a selector has to name its metric".to_owned()),
                Token::Symbol('}') => return Err("a } too many".to_owned()),
                Token::Symbol(_) | Token::Text(_) | Token::Range(_) => {}
            }
        }
        if self.functions.is_empty() { Ok(self.found) } else { Err(") is missing".to_owned()) }
    }

    fn name(&mut self, name: String) -> Result<(), String> {
        if CLAUSES.contains(&name.as_str()) {
            return self.clause();
        }
        if OPERATORS.contains(&name.as_str()) {
            return Ok(());
        }
        match self.tokens.first() {
            Some(Token::Symbol('(')) => {
                self.next();
                self.functions.push(Some(name));
                Ok(())
            }
            // An aggregation, whose labels come before its argument.
            Some(Token::Name(clause)) if clause == "by" || clause == "without" => Ok(()),
            _ => self.selector(name),
        }
    }

    fn clause(&mut self) -> Result<(), String> {
        if !self.takes('(') {
            return Ok(());
        }
        loop {
            match self.next() {
                Some(Token::Name(label)) => self.found.labels.push(label),
                Some(Token::Symbol(',')) => {}
                Some(Token::Symbol(')')) => return Ok(()),
                other => return Err(format!("no label: {other:?}")),
            }
        }
    }

    fn selector(&mut self, metric: String) -> Result<(), String> {
        let mut selector = Selector { metric, ..Selector::default() };
        if self.takes('{') {
            while !self.takes('}') {
                selector.matchers.push(self.matcher()?);
                self.takes(',');
            }
        }
        if let Some(Token::Range(range)) = self.tokens.first() {
            selector.range = Some(range.clone());
            selector.function = self.functions.last().cloned().flatten();
            self.next();
        }
        self.found.selectors.push(selector);
        Ok(())
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let Some(Token::Name(label)) = self.next() else {
            return Err("a matcher begins with a label".to_owned());
        };
        let mut operator = String::new();
        loop {
            match self.next() {
                Some(Token::Symbol(symbol @ ('=' | '!' | '~'))) => operator.push(symbol),
                Some(Token::Text(value)) if !operator.is_empty() => {
                    return Ok(Matcher { label, operator, value });
                }
                _ => return Err(format!("the matcher of {label} is not label, operator, \"value\"")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(expression: &str) -> Vec<String> {
        read(expression).unwrap().selectors.into_iter().map(|selector| selector.metric).collect()
    }

    #[test]
    fn metrics_are_told_from_functions_aggregations_and_operators() {
        assert_eq!(metrics("sum by (a) (rate(b_total[5m])) / on (a) group_left () c"), ["b_total", "c"]);
        assert_eq!(metrics("topk(10, a > 0) or 0 * count(b) unless c"), ["a", "b", "c"]);
        assert_eq!(metrics("sum(a) by (b) + 1e9 * time() > bool 0.99"), ["a"]);
        assert_eq!(metrics("max(a offset 5m) and ignoring (b) c"), ["a", "c"]);
        assert_eq!(metrics("job:a:rate5m{b=\"c\"}"), ["job:a:rate5m"]);
    }

    #[test]
    fn labels_come_from_every_clause() {
        let labels = read("sum by (a, b) (x) * on (c) group_left (d) y - ignoring(e) z").unwrap().labels;
        assert_eq!(labels, ["a", "b", "c", "d", "e"]);
    }

    #[test]
    fn a_selector_has_matchers_a_range_and_a_function() {
        let expression = read(r#"rate(a_total{job=~"$job", b!="}\"["}[$__rate_interval])"#).unwrap();
        let matcher = |label: &str, operator: &str, value: &str| Matcher {
            label: label.to_owned(),
            operator: operator.to_owned(),
            value: value.to_owned(),
        };
        let selector = Selector {
            metric: "a_total".to_owned(),
            matchers: vec![matcher("job", "=~", "$job"), matcher("b", "!=", "}\"[")],
            range: Some("$__rate_interval".to_owned()),
            function: Some("rate".to_owned()),
        };
        assert_eq!(expression.selectors, [selector]);
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for broken in ["sum(a", "a)", "a{b=\"c", "a[5m", "a{b=}", "{b=\"c\"}", "sum by (a", "a{\"b\"}", "a}"]
        {
            assert!(read(broken).is_err(), "{broken}");
        }
    }
}
