//! Other people's bytes as text that may be shown: names and command lines are whatever a process likes.

/// The most characters of a text about an owner.
pub(super) const MOST_CHARACTERS: usize = 120;

/// The bytes as text of at most [`MOST_CHARACTERS`]: what is no UTF-8 and what is a control character is
/// replaced, and a text that is cut ends with an ellipsis. `None` when nothing is left to be shown.
pub(super) fn clean(bytes: &[u8]) -> Option<String> {
    // No character takes more than four bytes, and nobody shall make us convert a megabyte.
    let start = bytes.get(..4 * (MOST_CHARACTERS + 1)).unwrap_or(bytes);
    let text = String::from_utf8_lossy(start);
    let shown =
        |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    let mut characters = text.trim().chars().map(shown);
    let mut cut: String = characters.by_ref().take(MOST_CHARACTERS).collect();
    if characters.next().is_some() {
        cut.pop();
        cut.push('…');
    }
    (!cut.is_empty()).then_some(cut)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_text_is_replaced() {
        let check = |bytes: &[u8], expected: Option<&str>| {
            assert_eq!(clean(bytes).as_deref(), expected, "{bytes:?}");
        };
        check(b"nginx", Some("nginx"));
        check(b" in between ", Some("in between"));
        check(b"a\x1b[31mb\nc\x7f", Some("a\u{fffd}[31mb\u{fffd}c\u{fffd}"));
        check(b"caf\xc3\xa9 \xff", Some("caf\u{e9} \u{fffd}"));
        check(b"", None);
        check(b" \n", None);
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let check = |length: usize, expected: usize, ends: bool| {
            let text = clean("é".repeat(length).as_bytes()).unwrap();
            assert_eq!((text.chars().count(), text.ends_with('…')), (expected, ends), "{length}");
        };
        check(MOST_CHARACTERS, MOST_CHARACTERS, false);
        check(MOST_CHARACTERS + 1, MOST_CHARACTERS, true);
        check(1 << 20, MOST_CHARACTERS, true);
    }

    proptest! {
        #[test]
        fn no_bytes_become_a_text_that_is_long_or_has_control_characters(bytes: Vec<u8>) {
            let text = clean(&bytes).unwrap_or_default();
            prop_assert!(text.chars().count() <= MOST_CHARACTERS);
            prop_assert!(!text.chars().any(char::is_control));
        }
    }
}
