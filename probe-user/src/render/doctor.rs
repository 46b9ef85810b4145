//! The report of `doctor`: the worst first, in plain words, a hundred columns wide.
use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
};

use super::words;
use crate::model::advice::{
    Advice, Diagnosis, Evidence, EvidenceUnit, Headroom, Health, Place, Severity, StepKind, Verdict,
};
use crate::model::{Episode, LossCause};

/// The width that prose keeps to. Commands are never broken.
const WIDTH: usize = 100;
/// Where numbers end.
const NUMBERS_END: usize = 66;
/// So many episodes are shown: the newest.
const EPISODES: usize = 10;

/// Whether to use the terminal's colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    Ansi,
    /// For everything else.
    None,
}

impl Colour {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Ansi => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::None => text.to_owned(),
        }
    }

    fn of_severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Losing => "1;31",
            Severity::Warning => "1;33",
            Severity::Notice => "1;36",
        };
        self.paint(code, &severity.label().to_uppercase())
    }
}

/// Writes it as JSON.
///
/// # Errors
/// Those of the writer.
pub fn write_json(diagnosis: &Diagnosis, writer: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *writer, diagnosis)?;
    writeln!(writer)
}

/// Writes the report.
///
/// # Errors
/// Those of the writer.
pub fn write(diagnosis: &Diagnosis, colour: Colour, writer: &mut impl Write) -> io::Result<()> {
    let advice = &diagnosis.advice;
    writeln!(writer, "{}", headline(advice, colour))?;
    for (number, verdict) in (1..).zip(&advice.verdicts) {
        writeln!(writer)?;
        write_verdict(number, verdict, colour, writer)?;
    }
    if let Some(line) = headroom(advice) {
        writeln!(writer)?;
        write_wrapped("", &line, writer)?;
    }
    write_episodes(diagnosis, writer)?;
    if !advice.not_judged.is_empty() {
        writeln!(writer, "\nNot judged:")?;
    }
    for line in &advice.not_judged {
        write_wrapped("- ", &words::one_line(line), writer)?;
    }
    Ok(())
}

fn headline(advice: &Advice, colour: Colour) -> String {
    let (code, health) = match advice.health {
        Health::Healthy => ("1;32", "healthy"),
        Health::Advice => ("1;33", "nothing is lost, but something should be changed"),
        Health::Losing => ("1;31", "connections are lost"),
        Health::Unknown => ("1;35", "cannot tell"),
    };
    let ports = match advice.ports {
        1 => "1 listening port".to_owned(),
        count => format!("{count} listening ports"),
    };
    let health = colour.paint(code, health);
    format!("{health} ({ports}, the last {})", words::duration(advice.window_seconds))
}

fn write_verdict(
    number: usize,
    verdict: &Verdict,
    colour: Colour,
    writer: &mut impl Write,
) -> io::Result<()> {
    let severity = colour.of_severity(verdict.severity);
    writeln!(writer, "{number}. {severity}  {}", place(&verdict.place))?;
    write_wrapped("   ", &colour.paint("1", &words::one_line(&verdict.title)), writer)?;
    if let Some(meaning) = &verdict.meaning {
        write_wrapped("   ", meaning, writer)?;
    }
    for evidence in &verdict.evidence {
        let (what, value) = (words::one_line(&evidence.what), amount(evidence));
        let room = NUMBERS_END.saturating_sub(value.len() + 6);
        writeln!(writer, "     {what:<room$} {value}")?;
    }
    for step in &verdict.remedy {
        let mark = if step.kind == StepKind::Look { "   ? " } else { "   > " };
        write_wrapped(mark, &step.text, writer)?;
        if let Some(command) = &step.command {
            writeln!(writer, "         {}", words::one_line(command))?;
        }
    }
    Ok(())
}

/// Whose it is, as people say it.
fn place(place: &Place) -> String {
    let process = place.process.as_deref().map(|process| format!("{} ", words::one_line(process)));
    let process = process.unwrap_or_default();
    match (place.address, place.port, place.netns) {
        (Some(address), Some(port), Some(netns)) => {
            format!("{process}{} in network namespace {netns}", local(address, port))
        }
        (_, _, Some(netns)) => format!("network namespace {netns}"),
        _ => "the host".to_owned(),
    }
}

/// An IPv4 address as such, however the program wrote it.
fn local(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

/// How much room there is, or was at the fullest.
fn headroom(advice: &Advice) -> Option<String> {
    let Headroom { place: whose, highest, limit } = advice.fullest.as_ref()?;
    let percent = u64::from(*highest) * 100 / u64::from((*limit).max(1));
    let nothing = if advice.health == Health::Healthy { "Nothing was lost. " } else { "" };
    let (highest, limit) = (grouped(u64::from(*highest)), grouped(u64::from(*limit)));
    Some(format!(
        "{nothing}The fullest accept queue was that of {}: {highest} of {limit} ({percent} %).",
        place(whose)
    ))
}

fn write_episodes(diagnosis: &Diagnosis, writer: &mut impl Write) -> io::Result<()> {
    let episodes = &diagnosis.episodes;
    if !episodes.is_empty() {
        writeln!(writer, "\nBursts in that time, the last first:")?;
    }
    for episode in episodes.iter().take(EPISODES) {
        write_wrapped("- ", &burst(episode, diagnosis.taken), writer)?;
    }
    if episodes.len() > EPISODES {
        writeln!(writer, "- and {} more", episodes.len() - EPISODES)?;
    }
    Ok(())
}

fn burst(episode: &Episode, now: f64) -> String {
    let when = match episode.ended {
        Some(ended) => {
            format!("{} ago, for {}", words::duration(now - ended), words::duration(episode.seconds))
        }
        None => format!("going on for {}", words::duration(now - episode.begun)),
    };
    let process = episode.process.as_deref().map(|process| format!("{} ", words::one_line(process)));
    let lost = [
        (episode.connections_refused, "connections refused"),
        (episode.packets_refused, "packets refused"),
        (episode.listen_drops, "packets dropped"),
    ];
    let lost = lost.into_iter().find_map(|(count, what)| Some(format!("{} {what}", grouped(count?))));
    let queue = episode.peak.zip(episode.limit).map(|(peak, limit)| format!("queue {peak} of {limit}"));
    let rate = episode.accepted_per_second.map(|rate| format!("{rate:.0} accepted per second"));
    let cause = episode.cause.map(|cause: LossCause| cause.label().to_owned());
    let facts: Vec<_> = [lost, queue, rate, cause].into_iter().flatten().collect();
    let port = local(episode.id.address, episode.id.port);
    format!("{when}: {}{port}: {}", process.unwrap_or_default(), facts.join(", "))
}

fn amount(evidence: &Evidence) -> String {
    let value = evidence.value;
    match evidence.unit {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are whole and not negative"
        )]
        EvidenceUnit::Number => grouped(value.max(0.0) as u64),
        EvidenceUnit::Seconds => words::duration(value),
        EvidenceUnit::PerSecond => format!("{value:.1} per second"),
        EvidenceUnit::Ratio => format!("{:.0} %", value * 100.0),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes words on as many lines as they need, each behind a mark or as much room.
fn write_wrapped(mark: &str, text: &str, writer: &mut impl Write) -> io::Result<()> {
    let indent = " ".repeat(mark.chars().count());
    let mut line = mark.to_owned();
    let mut is_new = true;
    for word in text.split_whitespace() {
        if !is_new && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(writer, "{line}")?;
            line.clone_from(&indent);
            is_new = true;
        }
        if !is_new {
            line.push(' ');
        }
        line.push_str(word);
        is_new = false;
    }
    writeln!(writer, "{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let check = |number, expected: &str| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1_000, "1,000");
        check(12_345_678, "12,345,678");
    }

    #[test]
    fn a_length_of_time_has_the_unit_that_suits_it() {
        let check = |seconds, expected: &str| assert_eq!(words::duration(seconds), expected);
        check(-1.0, "0 us");
        check(0.000_016, "16 us");
        check(0.25, "250 ms");
        check(1.5, "1.5 s");
        check(90.0, "90 s");
        check(900.0, "15 min");
        check(9_000.0, "2.5 h");
    }

    #[test]
    fn words_go_to_the_next_line_and_none_is_broken() {
        let wrapped = |text: &str| {
            let mut bytes = Vec::new();
            write_wrapped("- ", text, &mut bytes).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let word = "x".repeat(60);
        assert_eq!(wrapped(&format!("a {word} {word}")), format!("- a {word}\n  {word}\n"));
        let long = "y".repeat(120);
        assert_eq!(wrapped(&long), format!("- {long}\n"));
        assert_eq!(wrapped(""), "- \n");
    }
}
