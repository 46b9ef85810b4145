//! The configuration read again while the daemon runs: all of it or nothing.
use std::sync::mpsc::Sender;

use tracing::{error, info, warn};

use crate::{
    config::{Config, Source, keys::Effect},
    logging::LogLevel,
    web::access::{Access, SharedAccess},
};

/// What has to be told of a new configuration.
pub struct Reload {
    source: Source,
    /// What is in force. Keys that take effect at a restart keep the value of the start.
    config: Config,
    log_level: LogLevel,
    access: SharedAccess,
    /// To the thread that reads.
    probe: Sender<Config>,
}

impl Reload {
    /// `config` is what `source` said at the start.
    #[must_use]
    pub const fn new(
        source: Source,
        config: Config,
        log_level: LogLevel,
        access: SharedAccess,
        probe: Sender<Config>,
    ) -> Self {
        Self { source, config, log_level, access, probe }
    }

    /// Reads it. Something wrong in it changes nothing, and is one line in the log.
    pub fn run(&mut self) {
        let (new, access) = match self.read() {
            Ok(read) => read,
            Err(error) => {
                error!(error = format!("{error:#}"), "the configuration stays as it was");
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
        self.access.replace(access);
        let Config { series, log_level, web_config_file, .. } = new;
        self.config = Config { series, log_level, web_config_file, ..self.config.clone() };
        if self.probe.send(self.config.clone()).is_err() {
            // The server is about to say that its thread has ended.
            return;
        }
        info!(changed = changed.join(", "), "configuration read again");
    }

    /// All that has to be right before anything changes.
    fn read(&self) -> anyhow::Result<(Config, Access)> {
        let config = self.source.load()?.config;
        let access = Access::load_if_named(config.web_config_file.as_deref())?;
        Ok((config, access))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc::channel};

    use super::*;
    use crate::config::{ConfigFile, Overrides};

    #[test]
    fn all_of_it_is_taken_over_or_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        let web = format!("http.web_config_file = {:?}\n", path("web.yml"));
        let file = ConfigFile::Named(path("config.toml"));
        let source = Source { file, overrides: Overrides::default() };
        let access = SharedAccess::open();
        let (sender, taken_over) = channel();
        let mut reload =
            Reload::new(source, Config::default(), LogLevel::of_nobody(), access.clone(), sender);
        let mut check = |expected: Option<usize>, passwords: bool| {
            reload.run();
            let limit = taken_over.try_iter().last().map(|config| config.series.limit);
            assert_eq!((limit, access.current().has_users()), (expected, passwords));
        };
        // The hash of an empty password, which nobody needs to know.
        write(
            "web.yml",
            "basic_auth_users:\n  me: $2b$04$abcdefghijklmnopqrstuuuFMyMUrBTK0LyPUkXO5VTbtVOBGgHBm\n",
        );
        write("config.toml", "ports.limit = 3\n");
        check(Some(3), false);
        write("config.toml", &format!("{web}ports.limit = 4\n"));
        check(Some(4), true);
        write("config.toml", &format!("{web}ports.limit = five\n"));
        check(None, true);
        write("config.toml", "ports.limit = 5\nlog.level = \"a=loud\"\n");
        check(None, true);
        write("config.toml", &format!("{web}ports.limit = 5\n"));
        write("web.yml", "basic_auth_user:\n");
        check(None, true);
        write("config.toml", "ports.limit = 5\n");
        check(Some(5), false);
    }
}
