//! What of a file of rules or of their tests has to be known here: values by their keys, line by line. Not a parser of
//! YAML: whether a file is right at all is for promtool to say.

/// `key: value`, in the form that these files have: on one line, in quotes, in braces, or as a block below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) value: String,
    /// Where it begins, from 1.
    pub(crate) line: usize,
}

/// Every entry of a file, in its order.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let lines: Vec<&str> = text.lines().collect();
    let mut entries = Vec::new();
    let mut index = 0;
    while let Some(line) = lines.get(index) {
        index += 1;
        let begins = index;
        let content = line.trim_start().trim_start_matches("- ");
        let Some((key, value)) = key_and_value(content) else { continue };
        let value = if matches!(value, "|" | ">-" | ">" | "|-") {
            let block = block_below(lines.get(index..).unwrap_or_default(), indentation(line));
            index += block.len();
            block.join("\n")
        } else {
            unquoted(value)
        };
        entries.push(Entry { key: key.to_owned(), value, line: begins });
    }
    entries
}

fn key_and_value(content: &str) -> Option<(&str, &str)> {
    let content = content.trim_start_matches('{');
    let (key, value) = content.split_once(':')?;
    let is_key = !key.is_empty() && key.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    (is_key && (value.is_empty() || value.starts_with(' '))).then(|| (key, value.trim()))
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn block_below<'a>(lines: &[&'a str], indented_by: usize) -> Vec<&'a str> {
    // The key after `- ` is two further in than its line says.
    let is_inside = |line: &&&str| line.trim().is_empty() || indentation(line) > indented_by + 1;
    lines.iter().take_while(is_inside).copied().collect()
}

fn unquoted(value: &str) -> String {
    for quote in ['\'', '"'] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return if quote == '"' { inner.replace("\\\"", "\"") } else { inner.replace("''", "'") };
        }
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, String, usize)> {
        entries(text).into_iter().map(|entry| (entry.key, entry.value, entry.line)).collect()
    }

    #[test]
    fn values_stand_on_the_line_or_below_it() {
        let text = "groups:\n  - name: a\n    rules:\n      - record: a:b:c\n        expr: |\n          sum(\n\n            x)\n        for: 5m\n";
        let expected = [
            ("groups", "", 1),
            ("name", "a", 2),
            ("rules", "", 3),
            ("record", "a:b:c", 4),
            ("expr", "          sum(\n\n            x)", 5),
            ("for", "5m", 9),
        ];
        let expected = expected.map(|(key, value, line)| (key.to_owned(), value.to_owned(), line));
        assert_eq!(values(text), expected);
    }

    #[test]
    fn quotes_are_taken_off() {
        assert_eq!(values("- series: 'a{b=\"c\"}'\n")[0].1, "a{b=\"c\"}");
        assert_eq!(values("name: \"a: b\"\n")[0].1, "a: b");
        assert_eq!(values("- {eval_time: 1m, alertname: X}\n")[0].0, "eval_time");
    }

    #[test]
    fn comments_and_text_are_no_entries() {
        assert!(values("# note: this\nplain text\nhttp://x\n").is_empty());
    }
}
