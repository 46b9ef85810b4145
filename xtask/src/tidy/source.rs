//! A Rust file as the rules see it: each line split into code and comment, texts blanked, tests
//! marked.

/// One line of a Rust file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// Without comments, and with the content of string literals left out.
    pub(crate) code: String,
    /// The text of comments.
    pub(crate) comment: String,
    /// Inside an item that is only compiled for tests.
    pub(crate) in_test: bool,
}

/// Splits a file into lines.
pub(crate) fn parse(text: &str) -> Vec<Line> {
    let mut lines = Splitter::default().split(text);
    mark_tests(&mut lines);
    lines
}

/// What the splitter is inside of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Code,
    LineComment,
    /// They nest.
    BlockComment(u32),
    Text,
    /// Ends with as many # as it began with.
    RawText(usize),
}

#[derive(Default)]
struct Splitter {
    state: State,
    line: Line,
    lines: Vec<Line>,
}

impl Splitter {
    fn split(mut self, text: &str) -> Vec<Line> {
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let taken = if character == '\n' {
                self.end_line();
                1
            } else {
                self.take(rest, character)
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
        if !text.ends_with('\n') {
            self.end_line();
        }
        self.lines
    }

    fn end_line(&mut self) {
        if self.state == State::LineComment {
            self.state = State::Code;
        }
        self.lines.push(std::mem::take(&mut self.line));
    }

    /// Takes the next token that matters; returns its length in bytes.
    fn take(&mut self, rest: &str, character: char) -> usize {
        match self.state {
            State::Code => self.take_code(rest, character),
            State::LineComment => self.comment(character),
            State::BlockComment(depth) => {
                if rest.starts_with("*/") {
                    self.state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
                    2
                } else if rest.starts_with("/*") {
                    self.state = State::BlockComment(depth + 1);
                    2
                } else {
                    self.comment(character)
                }
            }
            State::Text if character == '\\' => {
                1 + rest.chars().nth(1).filter(|next| *next != '\n').map_or(0, char::len_utf8)
            }
            State::Text if character == '"' => self.end_text(1),
            State::RawText(hashes) if is_raw_end(rest, hashes) => self.end_text(1 + hashes),
            State::Text | State::RawText(_) => character.len_utf8(),
        }
    }

    fn take_code(&mut self, rest: &str, character: char) -> usize {
        if rest.starts_with("//") {
            self.state = State::LineComment;
            return 2;
        }
        if rest.starts_with("/*") {
            self.state = State::BlockComment(1);
            return 2;
        }
        if character == '"' {
            self.line.code.push('"');
            self.state = State::Text;
            return 1;
        }
        if let Some(hashes) = raw_start(rest).filter(|_| !is_inside_word(&self.line.code)) {
            self.line.code.push('"');
            self.state = State::RawText(hashes);
            return hashes + 2;
        }
        if let Some(length) = character_literal(rest) {
            self.line.code.push_str("' '");
            return length;
        }
        self.line.code.push(character);
        character.len_utf8()
    }

    fn comment(&mut self, character: char) -> usize {
        self.line.comment.push(character);
        character.len_utf8()
    }

    fn end_text(&mut self, length: usize) -> usize {
        self.line.code.push('"');
        self.state = State::Code;
        length
    }
}

/// Part of a name.
pub(crate) fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The number of # of a raw string that begins here.
fn raw_start(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after.get(hashes..)?.starts_with('"').then_some(hashes)
}

/// Whether a word goes on here, so that an r is not the beginning of a raw string. The b and c of
/// byte and C strings are no word.
fn is_inside_word(code: &str) -> bool {
    let word = code.rsplit(|character| !is_word(character)).next().unwrap_or_default();
    !matches!(word, "" | "b" | "c")
}

fn is_raw_end(rest: &str, hashes: usize) -> bool {
    rest.strip_prefix('"').is_some_and(|after| after.len() - after.trim_start_matches('#').len() >= hashes)
}

/// The length of a character literal; None for a lifetime.
fn character_literal(rest: &str) -> Option<usize> {
    let content = rest.strip_prefix('\'')?;
    let first = content.chars().next()?;
    if first == '\\' {
        let escaped = content.chars().nth(1)?.len_utf8();
        let end = content.get(1 + escaped..)?.find('\'')?;
        return Some(1 + 1 + escaped + end + 1);
    }
    let length = first.len_utf8();
    content.get(length..)?.starts_with('\'').then_some(1 + length + 1)
}

/// Marks items under `#[cfg(test)]`, from the attribute to their closing brace.
fn mark_tests(lines: &mut [Line]) {
    let mut depth = None;
    for line in lines {
        if depth.is_none() && line.code.contains("#[cfg(test)]") {
            depth = Some(Depth::default());
        }
        if let Some(current) = &mut depth {
            line.in_test = true;
            if current.ends_with(&line.code) {
                depth = None;
            }
        }
    }
}

/// How many braces are open since an item began.
#[derive(Default)]
struct Depth {
    open: u32,
    opened: bool,
}

impl Depth {
    /// Takes a line and says whether the item ended in it.
    fn ends_with(&mut self, code: &str) -> bool {
        for character in code.chars() {
            match character {
                '{' => {
                    self.open += 1;
                    self.opened = true;
                }
                '}' => self.open = self.open.saturating_sub(1),
                // An item without a body, such as `mod tests;`.
                ';' if !self.opened => return true,
                _ => {}
            }
            if self.opened && self.open == 0 {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> Vec<String> {
        parse(text).into_iter().map(|line| line.code).collect()
    }

    #[test]
    fn texts_and_comments_are_no_code() {
        let check = |text: &str, code: &str| assert_eq!(code_of(text), [code], "{text}");
        check("let a = \"unsafe // no\"; // unsafe", "let a = \"\"; ");
        check("let a = \"\\\"unsafe\";", "let a = \"\";");
        check("let a = r#\"\"unsafe\"\"#;", "let a = \"\";");
        check("let a = /* unsafe /* x */ y */ 1;", "let a =  1;");
        check("let a = '\"'; let b = '\\''; b()", "let a = ' '; let b = ' '; b()");
        check("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}");
        check("let a = '\\u{41}';", "let a = ' ';");
        check("numbers\"x\"", "numbers\"\"");
    }

    #[test]
    fn texts_may_span_lines() {
        assert_eq!(code_of("a(\"one\\\ntwo\nthree\");\nb();\n"), ["a(\"", "", "\");", "b();"]);
        assert_eq!(code_of("a(br##\"one\n\"# two\"##);"), ["a(b\"", "\");"]);
    }

    #[test]
    fn comments_are_kept_apart() {
        let lines = parse("code(); // why\n");
        assert_eq!(lines, [Line { code: "code(); ".to_owned(), comment: " why".to_owned(), in_test: false }]);
    }

    #[test]
    fn test_items_are_marked_to_their_end() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { let c = '{'; }\n}\nfn d() {}\n\
                    #[cfg(test)]\nmod more;\nfn e() {}\n";
        let marked: Vec<bool> = parse(text).iter().map(|line| line.in_test).collect();
        assert_eq!(marked, [false, true, true, true, true, false, true, true, false]);
    }
}
