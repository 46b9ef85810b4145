//! The part of `check` that says by which method each number is counted, and how exact that is.
use std::io::{self, Write};

use super::{super::words, padded};
use crate::{
    model::methods::{CounterMethod, Exactness, Method, methods},
    plan::outcome::PlanOutcome,
};

/// Of more sources than so many only the first one is named: the hooks above have them all.
const MOST_SOURCES: usize = 2;

/// Writes a line for each number, and below them what they are exact but for, each of these once.
pub(super) fn write(plan: &PlanOutcome, writer: &mut impl Write) -> io::Result<()> {
    let mut notes = vec![];
    let mut lines = vec![["number", "exactness", "counted by"].map(str::to_owned)];
    for counter in methods(plan) {
        let exactness = exactness(&counter, &mut notes);
        lines.push([counter.counter.clone(), exactness, counted_by(&counter, plan)]);
    }
    padded(&lines, writer)?;
    for (index, note) in notes.iter().enumerate() {
        writeln!(writer, "[{}] {note}", index + 1)?;
    }
    Ok(())
}

/// As in `exact [1] [2]`. What is new is added to the notes.
fn exactness(counter: &CounterMethod, notes: &mut Vec<String>) -> String {
    let (word, prefix) = match counter.exactness {
        None => return "-".to_owned(),
        Some(Exactness::Exact | Exactness::ExactBut) => ("exact", "but for "),
        Some(Exactness::Inferred) => ("inferred", ""),
    };
    let mut text = word.to_owned();
    for limit in &counter.limits {
        let note = format!("{prefix}{limit}");
        let known = notes.iter().position(|other| *other == note);
        let index = known.unwrap_or_else(|| {
            notes.push(note);
            notes.len() - 1
        });
        text.push_str(&format!(" [{}]", index + 1));
    }
    text
}

fn counted_by(counter: &CounterMethod, plan: &PlanOutcome) -> String {
    let mut text = match counter.method {
        Method::NotMeasured => return format!("not measured: {}", why_not(&counter.reason, plan)),
        method => method.label().to_owned(),
    };
    let variants: Vec<&str> = counter.variants.iter().map(|variant| variant.label()).collect();
    if !variants.is_empty() {
        text.push_str(&format!(" ({})", variants.join(", ")));
    }
    let sources = match counter.sources.as_slice() {
        [] => return text,
        [first, others @ ..] if others.len() >= MOST_SOURCES => format!("{first} and {} more", others.len()),
        few => few.join(", "),
    };
    format!("{text}: {sources}")
}

/// What a hook says of itself stands in its own line already.
fn why_not(reason: &str, plan: &PlanOutcome) -> String {
    let hook = reason.split_once(": ").map(|(hook, _)| hook);
    let hook = hook.filter(|hook| plan.hooks.iter().any(|other| other.hook == *hook));
    hook.map_or_else(|| words::one_line(reason), |hook| format!("{hook} is skipped, see above"))
}
