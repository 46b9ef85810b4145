//! One line in the log when a port begins to lose connections, and one when it has stopped.
//!
//! For `run` only: `snapshot` and `check` say what they have found by themselves, and end before an episode does.
use std::{collections::BTreeSet, sync::Arc};

use tracing::{info, warn};

use crate::{
    model::{Episode, LossCause},
    sample::PortId,
};

/// Remembers of which episodes the log knows that they go on: no more than the model has.
#[derive(Debug, Default)]
pub struct EpisodeLog {
    /// The port, and the bits of the time at which it began.
    begun: BTreeSet<(PortId, u64)>,
}

impl EpisodeLog {
    /// Logs what is new in the episodes of a model, the newest of which is its first.
    pub fn note(&mut self, episodes: &[Arc<Episode>]) {
        for episode in episodes.iter().rev() {
            let known_as = (episode.id, episode.begun.to_bits());
            if episode.goes_on() {
                if self.begun.insert(known_as) {
                    log_begin(episode);
                }
            } else if self.begun.remove(&known_as) {
                log_end(episode);
            }
        }
    }
}

/// The same fields at the beginning and at the end: one search finds both.
macro_rules! say {
    ($level:ident, $episode:ident, $message:literal) => {
        $level!(
            port = $episode.id.port,
            address = %$episode.id.address,
            netns = $episode.id.netns,
            process = $episode.process.as_deref(),
            connections_refused = $episode.connections_refused,
            packets_refused = $episode.packets_refused,
            listen_drops = $episode.listen_drops,
            peak = $episode.peak,
            limit = $episode.limit,
            cause = $episode.cause.map(LossCause::label),
            seconds = $episode.seconds,
            $message
        )
    };
}

/// What is known of it yet is what the first sample saw.
fn log_begin(episode: &Episode) {
    say!(warn, episode, "a port loses connections");
}

fn log_end(episode: &Episode) {
    say!(info, episode, "a port has stopped losing connections");
}

#[cfg(test)]
mod tests;
