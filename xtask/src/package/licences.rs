//! The licences of what is inside the binary, in full: most of them ask for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::components::Component;

/// What files with licences are called, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// A table, and behind it every text once, with those that it is of.
pub(crate) fn texts(components: &[Component]) -> String {
    let mut output = "What is linked into tcp-backlog-probe, with its licences.\n\n".to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for component in components {
        let name = format!("{} {}", component.name, component.version);
        // Writing to memory does not fail.
        let _ = writeln!(output, "{name}: {}{}", component.licence, source_of(component));
        for text in component.folder.iter().flat_map(|folder| texts_in(folder)) {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for (text, names) in texts {
        let _ = write!(output, "\n{}\n{}\n\n{}\n", "=".repeat(78), names.join(", "), text.trim_end());
    }
    output
}

fn source_of(component: &Component) -> String {
    component.repository.as_ref().map(|address| format!(" ({address})")).unwrap_or_default()
}

fn texts_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> =
        entries.flatten().map(|entry| entry.path()).filter(|path| is_licence(path)).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read_to_string(path).ok()).collect()
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
    path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_several_have_is_there_once() {
        let root = std::env::temp_dir().join(format!("xtask-licences-{}", std::process::id()));
        let component = |name: &str| {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("LICENSE-MIT"), "do what you like\n").unwrap();
            Component {
                name: name.to_owned(),
                version: "1".to_owned(),
                licence: "MIT".to_owned(),
                repository: None,
                checksum: None,
                purl: String::new(),
                folder: Some(folder),
                uses: Vec::new(),
            }
        };
        let text = texts(&[component("one"), component("two")]);
        assert_eq!(text.matches("do what you like").count(), 1, "{text}");
        assert!(text.contains("one 1, two 1\n"), "{text}");
        fs::remove_dir_all(root).unwrap();
    }
}
