//! The configuration read again while the daemon runs: all of it or nothing.
use std::sync::mpsc::Sender;

use tracing::{error, info, warn};

use crate::{
    config::{Config, Source, keys::Effect},
    logging::LogLevel,
};

/// What has to be told of a new configuration.
pub struct Reload {
    source: Source,
    /// What is in force. Keys that take effect at a restart keep the value of the start.
    config: Config,
    log_level: LogLevel,
    /// To the thread that reads.
    probe: Sender<Config>,
}

impl Reload {
    /// `config` is what `source` said at the start.
    #[must_use]
    pub const fn new(source: Source, config: Config, log_level: LogLevel, probe: Sender<Config>) -> Self {
        Self { source, config, log_level, probe }
    }

    /// Reads it. Something wrong in it changes nothing, and is one line in the log.
    pub fn run(&mut self) {
        let new = match self.source.load() {
            Ok(loaded) => loaded.config,
            Err(error) => {
                error!(%error, "the configuration stays as it was");
                return;
            }
        };
        let waiting = self.config.changed(&new, Effect::Restart);
        let changed = self.config.changed(&new, Effect::Reload);
        if !waiting.is_empty() {
            warn!(keys = waiting.join(", "), "take effect at a restart only");
        }
        if let Err(error) = self.log_level.set(&new.log_level) {
            error!(%error, "the configuration stays as it was");
            return;
        }
        self.config = Config { series: new.series, log_level: new.log_level, ..self.config.clone() };
        if self.probe.send(self.config.clone()).is_err() {
            // The server is about to say that its thread has ended.
            return;
        }
        info!(changed = changed.join(", "), "configuration read again");
    }
}
