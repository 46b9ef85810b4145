//! Rules for Rust files that hold in every folder.

use super::text_rules::has_word;
use super::{SourceFile, Violation};

const MOST_LINES: usize = 400;

/// A file that fits into one's head.
pub(crate) fn length(file: &SourceFile, violations: &mut Vec<Violation>) {
    if file.is_rust() && file.lines.len() > MOST_LINES {
        let remedy = format!("{} lines: split it, {MOST_LINES} at most", file.lines.len());
        violations.push(file.violation(MOST_LINES + 1, "length", remedy));
    }
}

/// Every file says what it is for.
pub(crate) fn module_docs(file: &SourceFile, violations: &mut Vec<Violation>) {
    if file.is_rust() && !file.text.lines().any(|line| line.starts_with("//!")) {
        violations.push(file.violation(1, "module-docs", "begin with //! and what this file is for"));
    }
}

/// unsafe has two homes, and one in the tests; the shared types may promise to be plain data.
pub(crate) fn unsafe_place(file: &SourceFile, violations: &mut Vec<Violation>) {
    let homes = ["probe-ebpf/", "probe-user/src/kernel/", "probe-user/tests/scenarios/support/io_uring.rs"];
    if file.is_in(&homes) {
        return;
    }
    let shared = file.is_in(&["probe-common/"]);
    for (index, line) in file.lines.iter().enumerate() {
        let promise = shared && line.code.trim_start().starts_with("unsafe impl");
        if has_word(&line.code, "unsafe") && !promise {
            let remedy = "move it to probe-user/src/kernel, or do it without";
            violations.push(file.violation(index + 1, "unsafe-place", remedy));
        }
    }
}

/// Each unsafe block and impl has its reason just above it.
pub(crate) fn safety_comment(file: &SourceFile, violations: &mut Vec<Violation>) {
    for (index, line) in file.lines.iter().enumerate() {
        if opens_unsafe(&line.code) && !has_reason(file, index) {
            let remedy = "say above it why it is sound: // SAFETY: ...";
            violations.push(file.violation(index + 1, "safety-comment", remedy));
        }
    }
}

/// A block or an impl: an unsafe fn is documented, an attribute is not an act.
fn opens_unsafe(code: &str) -> bool {
    code.match_indices("unsafe").any(|(start, word)| {
        let after = code.get(start + word.len()..).unwrap_or_default().trim_start();
        let before = code.get(..start).and_then(|before| before.chars().next_back());
        let is_word = !before.is_some_and(super::source::is_word);
        is_word && (after.starts_with('{') || after.starts_with("impl") || after.is_empty())
    })
}

/// Looks on the line and upwards through comments, attributes and the beginning of its statement.
fn has_reason(file: &SourceFile, index: usize) -> bool {
    let Some((line, above)) = file.lines.get(..=index).and_then(|lines| lines.split_last()) else {
        return false;
    };
    if line.comment.contains("SAFETY:") {
        return true;
    }
    for line in above.iter().rev() {
        if line.comment.contains("SAFETY:") {
            return true;
        }
        let code = line.code.trim();
        let ends_something = code.ends_with([';', '{', '}']) || (code.is_empty() && line.comment.is_empty());
        if ends_something {
            return false;
        }
    }
    false
}

/// The daemon runs on production hosts: what is wrong there is an error, not the end.
pub(crate) fn panics(file: &SourceFile, violations: &mut Vec<Violation>) {
    const CALLS: [&str; 2] = [".unwrap()", ".expect("];
    const MACROS: [&str; 5] = ["panic!", "todo!", "unimplemented!", "unreachable!", "dbg!"];
    for (number, line) in file.shipped_lines() {
        let call = CALLS.iter().find(|call| line.code.contains(**call));
        let called = MACROS
            .iter()
            .find(|name| has_word(&line.code, name.trim_end_matches('!')) && line.code.contains(**name));
        if let Some(found) = call.or(called) {
            violations.push(file.violation(number, "panics", format!("return an error instead of {found}")));
        }
    }
}

/// A lint is switched off for a reason, and `expect` says when the reason is gone.
pub(crate) fn allow_without_reason(file: &SourceFile, violations: &mut Vec<Violation>) {
    for (index, line) in file.lines.iter().enumerate() {
        if line.code.contains("#[allow(") || line.code.contains("#![allow(") {
            let attribute: String = file.lines.iter().skip(index).map(|line| line.code.as_str()).collect();
            let end = attribute.find(")]").unwrap_or(attribute.len());
            if !attribute.get(..end).is_some_and(|attribute| has_word(attribute, "reason")) {
                let remedy = "use #[expect(..., reason = \"...\")]";
                violations.push(file.violation(index + 1, "allow-without-reason", remedy));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn files_are_short() {
        check(length, "a.rs", &"x\n".repeat(400), &[]);
        check(length, "a.rs", &"x\n".repeat(401), &[401]);
        check(length, "a.md", &"x\n".repeat(401), &[]);
    }

    #[test]
    fn files_begin_with_their_purpose() {
        check(module_docs, "a.rs", "//! Why.\n", &[]);
        check(module_docs, "a.rs", "#![no_std]\n//! Why.\n", &[]);
        check(module_docs, "a.rs", "// Why.\nfn a() {}\n", &[1]);
        check(module_docs, "a.toml", "", &[]);
    }

    #[test]
    fn unsafe_is_at_home() {
        let block = "// SAFETY: it is.\nunsafe { f() }\n";
        check(unsafe_place, "probe-user/src/model/port.rs", block, &[2]);
        check(unsafe_place, "probe-user/src/kernel/maps.rs", block, &[]);
        check(unsafe_place, "probe-ebpf/src/main.rs", block, &[]);
        check(
            unsafe_place,
            "probe-common/src/loss.rs",
            "unsafe impl aya::Pod for A {}\nunsafe { f() }\n",
            &[2],
        );
        check(
            unsafe_place,
            "xtask/src/main.rs",
            "#![forbid(unsafe_code)]\n// unsafe\nlet a = \"unsafe\";\n",
            &[],
        );
    }

    #[test]
    fn unsafe_has_a_reason() {
        let path = "probe-ebpf/src/main.rs";
        check(safety_comment, path, "unsafe { f() }\n", &[1]);
        check(safety_comment, path, "// SAFETY: it is.\nunsafe { f() }\n", &[]);
        check(
            safety_comment,
            path,
            "// SAFETY: it is,\n// really.\n#[inline]\nlet a =\n    unsafe { f() };\n",
            &[],
        );
        check(safety_comment, path, "// SAFETY: of g.\ng();\nunsafe { f() }\n", &[3]);
        check(safety_comment, path, "// SAFETY: far away.\n\nunsafe impl A for B {}\n", &[3]);
        check(safety_comment, path, "unsafe { f() } // SAFETY: it is.\n", &[]);
        check(
            safety_comment,
            path,
            "pub unsafe fn f() {}\n#[unsafe(no_mangle)]\nunsafe extern \"C\" {}\n",
            &[],
        );
        check(safety_comment, path, "let a = unsafe\n{ f() };\n", &[1]);
    }

    #[test]
    fn nothing_panics_outside_tests() {
        let tests = "#[cfg(test)]\nmod tests {\n    fn a() { b.unwrap(); }\n}\n";
        check(panics, "probe-user/src/lib.rs", tests, &[]);
        check(panics, "probe-user/tests/on_host/main.rs", "b.unwrap();\n", &[]);
        check(panics, "probe-user/src/lib.rs", "b.unwrap();\nb.expect(\"x\");\n", &[1, 2]);
        check(panics, "probe-user/src/lib.rs", "b.unwrap_or(1);\nb.expect_err();\n#[expect(x)]\n", &[]);
        check(panics, "probe-user/src/lib.rs", "panic!(\"x\");\ndont_panic!();\n// todo!()\n", &[1]);
    }

    #[test]
    fn a_lint_is_off_for_a_reason() {
        check(allow_without_reason, "a.rs", "#[allow(dead_code)]\n", &[1]);
        check(allow_without_reason, "a.rs", "#![allow(\n    dead_code,\n    reason = \"x\"\n)]\n", &[]);
        check(allow_without_reason, "a.rs", "#[expect(dead_code)]\n", &[]);
        check(allow_without_reason, "a.rs", "#[allow(dead_code)]\nlet reason = f(a)];\n", &[1]);
    }
}
