//! How each connection of a spike ended, counted.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How one connection ended, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The whole answer came, and it was 200.
    Answered,
    /// No handshake within the time: the client's SYNs were dropped.
    ConnectTimeout,
    /// The handshake was done for the client, and no whole answer came within the time.
    AnswerTimeout,
    /// A reset as the answer to the SYN: nobody listens.
    Refused,
    /// A reset later on.
    Reset,
    /// The server closed the connection before the answer was complete.
    Closed,
    /// An answer that is not 200.
    WrongAnswer,
    /// The client's own system failed.
    Other,
}

impl Outcome {
    /// What an error of a socket means.
    pub(crate) fn of_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            // The kernel's own patience with a SYN ended before ours.
            io::ErrorKind::TimedOut => Self::ConnectTimeout,
            _ => Self::Other,
        }
    }
}

/// A client's own account of a spike.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// How many were opened.
    pub(crate) connections: u64,
    pub(crate) answered: u64,
    pub(crate) connect_timeouts: u64,
    pub(crate) answer_timeouts: u64,
    pub(crate) refused: u64,
    pub(crate) resets: u64,
    pub(crate) closed: u64,
    pub(crate) wrong_answers: u64,
    pub(crate) other_errors: u64,
    /// From the first connection to the last: longer than was asked for if the machine is too slow.
    pub(crate) seconds_to_open: f64,
    /// From the opening to the end of the answer, of those that were answered.
    pub(crate) median_seconds: Option<f64>,
    pub(crate) p99_seconds: Option<f64>,
    pub(crate) slowest_seconds: Option<f64>,
}

impl Tally {
    /// Counts how a connection ended.
    pub(crate) fn count(&mut self, outcome: Outcome) {
        self.connections += 1;
        *match outcome {
            Outcome::Answered => &mut self.answered,
            Outcome::ConnectTimeout => &mut self.connect_timeouts,
            Outcome::AnswerTimeout => &mut self.answer_timeouts,
            Outcome::Refused => &mut self.refused,
            Outcome::Reset => &mut self.resets,
            Outcome::Closed => &mut self.closed,
            Outcome::WrongAnswer => &mut self.wrong_answers,
            Outcome::Other => &mut self.other_errors,
        } += 1;
    }

    /// Takes how long the answered ones took, in any order.
    pub(crate) fn set_waits(&mut self, mut waits: Vec<Duration>) {
        waits.sort_unstable();
        self.median_seconds = quantile(&waits, 50);
        self.p99_seconds = quantile(&waits, 99);
        self.slowest_seconds = quantile(&waits, 100);
    }

    /// Timeouts of either kind.
    pub(crate) fn timeouts(&self) -> u64 {
        self.connect_timeouts + self.answer_timeouts
    }

    /// Resets of either kind.
    pub(crate) fn all_resets(&self) -> u64 {
        self.refused + self.resets
    }

    /// What is neither.
    pub(crate) fn others(&self) -> u64 {
        self.closed + self.wrong_answers + self.other_errors
    }

    /// All that were not answered.
    pub(crate) fn failed(&self) -> u64 {
        self.timeouts() + self.all_resets() + self.others()
    }
}

/// The smallest wait that so many of a hundred do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Option<f64> {
    let rank = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
    sorted.get(rank).map(Duration::as_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_counted_once() {
        let outcomes = [
            Outcome::Answered,
            Outcome::ConnectTimeout,
            Outcome::AnswerTimeout,
            Outcome::Refused,
            Outcome::Reset,
            Outcome::Closed,
            Outcome::WrongAnswer,
            Outcome::Other,
        ];
        let mut tally = Tally::default();
        outcomes.iter().for_each(|outcome| tally.count(*outcome));
        assert_eq!((tally.connections, tally.answered, tally.failed()), (8, 1, 7));
        assert_eq!((tally.timeouts(), tally.all_resets(), tally.others()), (2, 2, 3));
    }

    #[test]
    fn a_quantile_is_a_wait_that_was_seen() {
        let mut tally = Tally::default();
        tally.set_waits(Vec::new());
        assert_eq!(tally.median_seconds, None);
        tally.set_waits((1..=200).rev().map(Duration::from_secs).collect());
        assert_eq!(tally.median_seconds, Some(100.0));
        assert_eq!(tally.p99_seconds, Some(198.0));
        assert_eq!(tally.slowest_seconds, Some(200.0));
    }

    #[test]
    fn errors_are_told_apart() {
        let of = |kind| Outcome::of_error(&io::Error::from(kind));
        assert_eq!(of(io::ErrorKind::ConnectionRefused), Outcome::Refused);
        assert_eq!(of(io::ErrorKind::BrokenPipe), Outcome::Reset);
        assert_eq!(of(io::ErrorKind::TimedOut), Outcome::ConnectTimeout);
        assert_eq!(of(io::ErrorKind::AddrNotAvailable), Outcome::Other);
    }

    #[test]
    fn a_tally_survives_being_written_and_read() {
        let mut tally = Tally { seconds_to_open: 1.25, ..Tally::default() };
        tally.count(Outcome::Answered);
        tally.set_waits(vec![Duration::from_millis(100)]);
        let text = serde_json::to_string(&tally).unwrap();
        assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
    }
}
