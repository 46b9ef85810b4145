//! Rules for every text file.

use super::{SourceFile, Violation};

/// Recorded from elsewhere, to the byte: not ours to tidy.
const RECORDED: [&str; 2] = ["/fixtures/", "/golden/"];

fn is_recorded(file: &SourceFile) -> bool {
    RECORDED.iter().any(|folder| file.path.contains(folder))
}

/// No spaces at a line's end.
pub(crate) fn trailing_space(file: &SourceFile, violations: &mut Vec<Violation>) {
    if is_recorded(file) {
        return;
    }
    for (index, line) in file.text.split('\n').enumerate() {
        if line.ends_with([' ', '\t', '\r']) {
            violations.push(file.violation(
                index + 1,
                "trailing-space",
                "remove the space at the line's end",
            ));
        }
    }
}

/// No tabs, except where a format wants them.
pub(crate) fn tabs(file: &SourceFile, violations: &mut Vec<Violation>) {
    if is_recorded(file) || file.path.ends_with("Makefile") || file.path.ends_with("debian/rules") {
        return;
    }
    for (index, line) in file.text.split('\n').enumerate() {
        if line.contains('\t') {
            violations.push(file.violation(index + 1, "tabs", "use spaces (in a literal: \\t)"));
        }
    }
}

/// What is unfinished is an issue in the tracker, not a mark in the text.
pub(crate) fn unfinished(file: &SourceFile, violations: &mut Vec<Violation>) {
    // In two parts each, or this file would break its own rule.
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    for (index, line) in file.text.lines().enumerate() {
        for mark in marks.iter().filter(|mark| has_word(line, mark.trim_end_matches(':'))) {
            if line.contains(mark) {
                violations.push(file.violation(index + 1, "unfinished", format!("do it or file it: {mark}")));
            }
        }
    }
}

/// Documents speak about the product, not about how or where it was written.
pub(crate) fn words(file: &SourceFile, violations: &mut Vec<Violation>) {
    const WORDS: [&str; 4] = ["session", "sessions", "workplace", "workplaces"];
    if !file.path.ends_with(".md") {
        return;
    }
    for (index, line) in file.text.lines().enumerate() {
        let line = line.to_lowercase();
        for word in WORDS.iter().filter(|word| has_word(&line, word)) {
            let remedy = format!("say it without \"{word}\": documents are about the product");
            violations.push(file.violation(index + 1, "words", remedy));
        }
    }
}

/// Whether the word stands there by itself.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let before = text.get(..start).and_then(|before| before.chars().next_back());
        let after = text.get(start + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(super::source::is_word) && !after.is_some_and(super::source::is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn spaces_at_the_end() {
        check(trailing_space, "a.md", "good\nbad \n\nbad\t", &[2, 4]);
        check(trailing_space, "a.md", "windows\r\n", &[1]);
        check(trailing_space, "probe-user/tests/golden/top.txt", "recorded \n", &[]);
    }

    #[test]
    fn tabs_are_refused_where_they_are_a_choice() {
        check(tabs, "a.rs", "good\n\tbad\n", &[2]);
        check(tabs, "packaging/Makefile", "\tgood\n", &[]);
        check(tabs, "probe-user/tests/fixtures/netstat", "\trecorded\n", &[]);
    }

    #[test]
    fn marks_of_unfinished_work() {
        check(unfinished, "a.rs", concat!("// TO", "DO: later\nlet x;\n"), &[1]);
        check(unfinished, "a.md", concat!("FIX", "ME\n"), &[1]);
        check(unfinished, "a.rs", concat!("let TO", "DOS = 1;\n"), &[]);
    }

    #[test]
    fn documents_are_about_the_product() {
        check(words, "docs/a.md", "In this session\nof possessions\n", &[1]);
        check(words, "src/a.rs", "// a netlink session\n", &[]);
    }

    #[test]
    fn words_stand_by_themselves() {
        assert!(has_word("unsafe {", "unsafe"));
        assert!(has_word("(unsafe)", "unsafe"));
        assert!(!has_word("unsafe_code", "unsafe"));
        assert!(has_word("unsafe_code unsafe", "unsafe"));
    }
}
