//! The configuration as text: what is in force, and a file to begin with.
use std::fmt::Write;

use super::{
    Config, Loaded,
    keys::{KEYS, Key},
    origin::Origin,
};

/// Everything that is in force, as a file that says the same, each value with its origin.
#[must_use]
pub fn effective(loaded: &Loaded) -> String {
    let mut text = match &loaded.file {
        Some(file) => format!("# {}, with flags and environment\n", file.display()),
        None => "# no file; with flags and environment\n".to_owned(),
    };
    let mut table = "";
    for key in &KEYS {
        let (section, name) = key.parts();
        if key.is_rules() {
            // A table of rules ends the one before, and its keys would be taken for the rule's.
            table = "";
            rules(key, loaded, &mut text);
            continue;
        }
        let Some(value) = (key.value)(&loaded.config) else { continue };
        heading(section, &mut table, &mut text);
        let origin = loaded.origins.get(key.path).copied().unwrap_or(Origin::Default);
        let _ = writeln!(text, "{:<50} # {}", format!("{name} = {value}"), described(key, origin));
    }
    text
}

/// The origin, with the name under which it was said.
fn described(key: &Key, origin: Origin) -> String {
    match (origin, key.flag, key.environment) {
        (Origin::Flag, Some(flag), _) => format!("{origin} --{flag}"),
        (Origin::Environment, _, Some(variable)) => format!("{origin} {variable}"),
        _ => origin.to_string(),
    }
}

/// Rules as they were written: they can come from a file only.
fn rules(key: &Key, loaded: &Loaded, text: &mut String) {
    let (section, name) = key.parts();
    let written = loaded.document.get(section).and_then(|section| section.get(name));
    for rule in written.and_then(toml::Value::as_array).into_iter().flatten() {
        let _ = writeln!(text, "\n[[{}]] # {}", key.path, Origin::File);
        for (name, value) in rule.as_table().into_iter().flatten() {
            let _ = writeln!(text, "{name} = {value}");
        }
    }
}

fn heading(section: &'static str, current: &mut &'static str, text: &mut String) {
    if *current != section {
        let _ = writeln!(text, "\n[{section}]");
        *current = section;
    }
}

/// A file in which every key is explained, and nothing is said that does not hold without it.
#[must_use]
pub fn sample() -> String {
    let mut text = "# Configuration of tcp-backlog-probe. Everything is optional; what is commented out holds anyway, or is an example.\n\
                    # Flags come before environment variables, both before this file.\n\
                    # `tcp-backlog-probe config check` says whether it can be read, `config show` what is in force.\n"
        .to_owned();
    let defaults = Config::default();
    let mut table = "";
    for key in &KEYS {
        let (section, name) = key.parts();
        if key.is_rules() {
            text.push('\n');
        } else {
            heading(section, &mut table, &mut text);
        }
        key.help.lines().chain(other_ways(key).as_deref()).for_each(|line| {
            let _ = writeln!(text, "# {line}");
        });
        if key.is_rules() {
            let _ = writeln!(text, "#[[{}]]", key.path);
            key.example.lines().for_each(|line| {
                let _ = writeln!(text, "#{line}");
            });
        } else {
            let value = (key.value)(&defaults).unwrap_or_else(|| key.example.to_owned());
            let _ = writeln!(text, "#{name} = {value}");
        }
    }
    text
}

/// Flag and variable, and when a change takes effect.
fn other_ways(key: &Key) -> Option<String> {
    let effect = match key.effect {
        super::keys::Effect::Reload => "takes effect at a reload",
        super::keys::Effect::Restart => "takes effect at a restart",
    };
    match (key.flag, key.environment) {
        (Some(flag), Some(variable)) => Some(format!("(--{flag}, {variable}; {effect})")),
        _ => Some(format!("({effect})")),
    }
}
