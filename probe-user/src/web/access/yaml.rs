//! YAML as a tree that knows its lines.
//!
//! What such a file needs and no more: mappings with distinct keys, lists and scalars. Anchors, aliases and tags are refused, so a
//! small text never becomes a large tree. All scalars are text: a user called 007 keeps his name.
use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::Misstep;

/// A value, and the line that it begins in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing is written there.
    Null,
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

/// More than the format has levels.
const DEEPEST: usize = 8;

/// The tree of one document; an empty text is nothing.
pub(super) fn parse(text: &str) -> Result<Node, Misstep> {
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    let mut root = Node { line: 1, value: Value::Null };
    let mut documents = 0;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(root),
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(at(&span, "a second document begins here: one is all there may be"));
                }
                let (event, span) = reader.next()?;
                root = reader.node(event, &span, 0)?;
            }
            _ => {}
        }
    }
}

fn at(span: &Span, problem: impl Into<String>) -> Misstep {
    Misstep { line: Some(span.start.line()), key: String::new(), problem: problem.into() }
}

struct Reader<'input> {
    parser: Parser<'input, StrInput<'input>>,
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Span), Misstep> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Misstep {
                line: Some(error.marker().line()),
                key: String::new(),
                problem: format!("is no YAML: {}", error.info()),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'input>, span: &Span, depth: usize) -> Result<Node, Misstep> {
        if depth > DEEPEST {
            return Err(at(span, "is nested deeper than any key of this format"));
        }
        let value = match event {
            Event::Scalar(text, style, 0, None) => match (text.as_ref(), style) {
                ("" | "~" | "null", ScalarStyle::Plain) => Value::Null,
                _ => Value::Text(text.into_owned()),
            },
            Event::SequenceStart(0, None) => Value::List(self.list(depth)?),
            Event::MappingStart(0, None) => Value::Mapping(self.mapping(depth)?),
            _ => return Err(at(span, "anchors, aliases and tags are not read: write the value itself")),
        };
        Ok(Node { line: span.start.line(), value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Misstep> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(nodes),
                (event, span) => nodes.push(self.node(event, &span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<Entry>, Misstep> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(entries),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => return Err(at(&span, "a key has to be plain text")),
            };
            if let Some(first) = entries.iter().find(|entry| entry.key == key) {
                let problem = format!("is there a second time, first in line {}: remove one", first.line);
                return Err(Misstep { key, ..at(&span, problem) });
            }
            let (event, value_span) = self.next()?;
            let node = self.node(event, &value_span, depth + 1)?;
            entries.push(Entry { key, line: span.start.line(), node });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let shown = match parse(text) {
            Ok(node) => show(&node),
            Err(misstep) => format!("line {}: {}", misstep.line.unwrap(), misstep.problem),
        };
        assert!(shown.starts_with(expected), "{text:?}: {shown}");
    }

    fn show(node: &Node) -> String {
        match &node.value {
            Value::Null => "-".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(nodes) => format!("[{}]", nodes.iter().map(show).collect::<Vec<_>>().join(" ")),
            Value::Mapping(entries) => {
                let shown: Vec<String> = entries
                    .iter()
                    .map(|entry| format!("{}@{}: {}", entry.key, entry.line, show(&entry.node)))
                    .collect();
                format!("{{{}}}", shown.join(", "))
            }
        }
    }

    #[test]
    fn a_tree_knows_its_lines() {
        check("", "-");
        check("# nothing\n", "-");
        check("---\na:\n  b: c\n\nd: [e, 'f']\n...\n", r#"{a@2: {b@3: "c"}, d@5: ["e" "f"]}"#);
        check("a: ~\nb:\nc: ''\n", r#"{a@1: -, b@2: -, c@3: ""}"#);
        check("007: 010\ntrue: yes\n", r#"{007@1: "010", true@2: "yes"}"#);
        check("a: |\n  x\n  y\n", r#"{a@1: "x\ny\n"}"#);
    }

    #[test]
    fn what_is_not_meant_to_be_there_is_named_by_its_line() {
        check("a: b\na: c\n", "line 2: is there a second time, first in line 1");
        check("a: &x b\nc: *x\n", "line 1: anchors");
        check("a: !!str b\n", "line 1: anchors");
        check("a: b\n---\nc: d\n", "line 2: a second document");
        check("? [a]\n: b\n", "line 1: a key has to be plain text");
        check(&"[".repeat(20), "line 1: is nested deeper");
        check("a: 'b\n", "line ");
        check("a: b\n c: d\n", "line 2: is no YAML");
    }
}
