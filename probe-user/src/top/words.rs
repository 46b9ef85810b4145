//! Numbers and times as they are written in the narrow columns of a table.
use super::rows::{Loss, Row};
use crate::{model::advice::Severity, plan::outcome::Accounting, render::words};

/// What is shown where nothing is known.
pub(super) const UNKNOWN: &str = "-";

/// A rate: small ones with a digit behind the point, large ones in thousands.
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => UNKNOWN.to_owned(),
        Some(rate) if rate <= 0.0 => "0".to_owned(),
        Some(rate) if rate < 0.1 => "<0.1".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) if rate < 99_999.5 => format!("{rate:.0}"),
        Some(rate) => format!("{:.0}k", rate / 1e3),
    }
}

/// A wait.
pub(super) fn wait(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| UNKNOWN.to_owned(), words::wait)
}

/// A length and its limit, each as far as it is known.
pub(super) fn of_limit(length: Option<u64>, limit: Option<u64>) -> String {
    let text = |number: Option<u64>| number.map_or_else(|| UNKNOWN.to_owned(), |number| number.to_string());
    match (length, limit) {
        (None, None) => UNKNOWN.to_owned(),
        _ => format!("{}/{}", text(length), text(limit)),
    }
}

/// A label of JSON in words: `accept_queue_full`.
pub(super) fn label(label: &str) -> String {
    label.replace('_', " ")
}

/// Why connections are lost, and what the verdict of the last minutes is.
pub(super) fn cause(loss: &Loss, accounting: Accounting) -> String {
    let cause = match (loss.now, loss.cause) {
        (true, Some(cause)) => Some(label(cause.label())),
        (true, None) => Some("unknown".to_owned()),
        (false, _) => None,
    };
    // A notice is for whoever asks for the details.
    let verdict = loss.verdict.filter(|(severity, _)| *severity > Severity::Notice);
    let verdict = verdict.map(|(_, rule)| label(rule.label()));
    match (cause, verdict) {
        (Some(cause), Some(verdict)) => format!("{cause}: {verdict}"),
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) if accounting == Accounting::None => UNKNOWN.to_owned(),
        (None, None) => String::new(),
    }
}

/// How full a queue is, as a bar of so many places.
pub(super) fn bar(fill: Option<f64>, width: usize) -> String {
    let Some(fill) = fill else { return UNKNOWN.to_owned() };
    let full = (1..=width).filter(|place| reaches(fill, *place, width)).count();
    format!("{}{}", "█".repeat(full), "░".repeat(width.saturating_sub(full)))
}

/// The first place is for anything at all, and the last one for a queue that is full.
#[expect(clippy::cast_precision_loss, reason = "a bar has a few places")]
fn reaches(fill: f64, place: usize, width: usize) -> bool {
    match place {
        1 => fill > 0.0,
        _ => fill * width as f64 >= place as f64,
    }
}

/// The time of day of seconds since the epoch, in UTC.
pub(super) fn time_of_day(unix_seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below 86,400 and not negative"
    )]
    let seconds = unix_seconds.max(0.0).rem_euclid(86_400.0) as u32;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Whether a row has all of the words in it, in whatever case.
pub(super) fn matches(row: &Row, filter: &str) -> bool {
    let netns = row.netns.map(|netns| netns.to_string());
    let text = [Some(row.name.as_str()), row.process.as_deref(), netns.as_deref()];
    let text = text.into_iter().flatten().collect::<Vec<_>>().join(" ").to_lowercase();
    filter.to_lowercase().split_whitespace().all(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{LossCause, advice::Rule},
        top::tests::row,
    };

    #[test]
    fn a_rate_has_as_many_digits_as_one_reads() {
        let check = |number, expected: &str| assert_eq!(rate(number), expected, "{number:?}");
        check(None, "-");
        check(Some(0.0), "0");
        check(Some(0.04), "<0.1");
        check(Some(1.25), "1.2");
        check(Some(9.96), "10");
        check(Some(3_000.4), "3000");
        check(Some(123_456.0), "123k");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        assert_eq!(of_limit(None, None), "-");
        assert_eq!(of_limit(None, Some(128)), "-/128");
        assert_eq!(of_limit(Some(0), Some(128)), "0/128");
        assert_eq!((wait(None).as_str(), bar(None, 6).as_str()), ("-", "-"));
        assert_eq!(wait(Some(0.25)), "250 ms");
    }

    #[test]
    fn a_bar_shows_that_there_is_something_and_that_there_is_no_room() {
        let check = |fill, expected: &str| assert_eq!(bar(Some(fill), 6), expected, "{fill}");
        check(0.0, "░░░░░░");
        check(0.001, "█░░░░░");
        check(0.5, "███░░░");
        check(0.99, "█████░");
        check(1.0, "██████");
        check(1.01, "██████");
        check(f64::NAN, "░░░░░░");
    }

    #[test]
    fn a_cause_is_of_now_and_a_verdict_of_the_last_minutes() {
        let check = |now, cause_of_loss, verdict, accounting, expected: &str| {
            let loss = Loss { now, cause: cause_of_loss, verdict, ever: None };
            assert_eq!(cause(&loss, accounting), expected);
        };
        let exact = Accounting::KernelCounters;
        let clamped = Some((Severity::Losing, Rule::ClampedBySomaxconn));
        let full = Some(LossCause::AcceptQueueFull);
        check(true, full, clamped, exact, "accept queue full: clamped by somaxconn");
        check(true, full, None, exact, "accept queue full");
        check(true, None, None, exact, "unknown");
        check(false, None, clamped, exact, "clamped by somaxconn");
        check(false, None, Some((Severity::Notice, Rule::NearOverflow)), exact, "");
        check(false, None, None, exact, "");
        check(false, None, None, Accounting::None, "-");
    }

    #[test]
    fn a_time_of_day_is_that_of_utc() {
        assert_eq!(time_of_day(1_790_000_000.5), "14:13:20 UTC");
        assert_eq!(time_of_day(-1.0), "00:00:00 UTC");
        assert_eq!(time_of_day(f64::INFINITY), "00:00:00 UTC");
    }

    #[test]
    fn a_filter_asks_for_every_word_of_it() {
        let mut row = row(8080);
        row.process = Some("Java".to_owned());
        let check = |filter, expected| assert_eq!(matches(&row, filter), expected, "{filter:?}");
        check("", true);
        check("80", true);
        check("java", true);
        check("JAVA 8080", true);
        check("nginx", false);
        check("java 443", false);
    }
}
