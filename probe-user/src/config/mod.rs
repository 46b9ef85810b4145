//! What the daemon is to do: flags before environment variables, these before the file, the file before what holds without it.
//!
//! [`keys`] has every key, [`file`] the file as it is written, [`resolve`] what all of it means together.
mod file;
pub mod keys;
mod origin;
mod resolve;
pub mod show;
mod values;

use std::{
    fmt, fs, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
};

pub use self::origin::{ConfigFile, Origin, Origins};
use crate::{
    daemon::local_socket::SocketWish,
    logging::LogFormat,
    model::series::SeriesWishes,
    plan::wishes::{AccountingWish, PlanWish, QueuesWish, Wishes},
    web::DEFAULT_PORT,
};

/// Where packages put the file. It is read if it is there and no other is named.
pub const STANDARD_FILE: &str = "/etc/tcp-backlog-probe/config.toml";

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where /metrics and the rest are served.
    pub listen: SocketAddr,
    /// What is asked of whoever comes to that address: a file with certificates and passwords.
    pub web_config_file: Option<PathBuf>,
    /// Where whoever is on this host is answered.
    pub socket: SocketWish,
    /// How to be attached.
    pub wishes: Wishes,
    /// Which ports have series of their own.
    pub series: SeriesWishes,
    /// Where what is worth more than a restart is kept; nowhere unless it is said.
    pub state_file: Option<PathBuf>,
    /// How log lines are written.
    pub log_format: LogFormat,
    /// Which of them.
    pub log_level: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, DEFAULT_PORT)),
            web_config_file: None,
            socket: SocketWish::default(),
            wishes: Wishes::default(),
            series: SeriesWishes::default(),
            state_file: None,
            log_format: LogFormat::default(),
            log_level: "info".to_owned(),
        }
    }
}

/// What was given on the command line or in the environment: it comes before the file.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "named after the flags")]
pub struct Overrides {
    pub listen: Option<SocketAddr>,
    pub web_config_file: Option<PathBuf>,
    pub socket: Option<SocketWish>,
    pub plan: Option<PlanWish>,
    pub accounting: Option<AccountingWish>,
    pub queues: Option<QueuesWish>,
    pub accept_wait_connections: Option<u32>,
    pub listeners: Option<u32>,
    pub ports_limit: Option<usize>,
    pub log_format: Option<LogFormat>,
    pub log_level: Option<String>,
    /// Which of them came from where.
    pub origins: Origins,
}

/// Where a configuration comes from, to be read again when somebody asks for it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub file: ConfigFile,
    /// What comes before it.
    pub overrides: Overrides,
}

/// A configuration with where it comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What is in force.
    pub config: Config,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// Who said what.
    pub origins: Origins,
    /// The file as it is written.
    document: toml::Table,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file; `None` where a flag or an environment variable is to blame.
    pub file: Option<PathBuf>,
    /// The line, where one is to blame.
    pub line: Option<usize>,
    /// The key, as `ports.exclude[0].port`; empty where the file as a whole is to blame.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(formatter, "{}", file.display())?;
            if let Some(line) = self.line {
                write!(formatter, ", line {line}")?;
            }
            formatter.write_str(": ")?;
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.problem)
    }
}

/// Longer than any configuration that somebody wrote.
const MOST_BYTES: u64 = 1 << 20;

impl Source {
    /// Reads the file, if there is one, and puts everything together.
    ///
    /// # Errors
    /// When the file cannot be read, or something is said that cannot be meant.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let (path, text) = match &self.file {
            ConfigFile::Named(path) => (path, Some(read(path)?)),
            ConfigFile::Standard(path) => (path, read_if_there(path)?),
        };
        match text {
            Some(text) => parse(path, &text, &self.overrides),
            None => resolve::resolve(&file::File::default(), &self.overrides)
                .map_err(|(key, problem)| ConfigError { file: None, line: None, key, problem })
                .map(|config| Loaded {
                    config,
                    file: None,
                    origins: self.overrides.origins.clone(),
                    document: toml::Table::new(),
                }),
        }
    }
}

fn read_if_there(path: &Path) -> Result<Option<String>, ConfigError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        _ => read(path).map(Some),
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let failed =
        |problem: String| ConfigError { file: Some(path.into()), line: None, key: String::new(), problem };
    let metadata = fs::metadata(path)
        .map_err(|error| failed(format!("cannot be read ({error}): --config names the file")))?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(failed("is no file of at most 1 MiB: --config names a TOML file".to_owned()));
    }
    fs::read_to_string(path)
        .map_err(|error| failed(format!("cannot be read ({error}): it has to be text in UTF-8")))
}

/// The pure part of [`Source::load`].
fn parse(path: &Path, text: &str, overrides: &Overrides) -> Result<Loaded, ConfigError> {
    let file = file::parse(path, text)?;
    let config = resolve::resolve(&file, overrides).map_err(|(key, problem)| {
        let said_elsewhere = overrides.origins.contains_key(key.as_str());
        ConfigError { file: (!said_elsewhere).then(|| path.into()), line: None, key, problem }
    })?;
    // It was read already, so it can be.
    let document = text.parse::<toml::Table>().unwrap_or_default();
    let mut origins: Origins = keys::KEYS
        .iter()
        .filter(|key| {
            let (section, name) = key.parts();
            document.get(section).is_some_and(|section| section.get(name).is_some())
        })
        .map(|key| (key.path, Origin::File))
        .collect();
    origins.extend(&overrides.origins);
    Ok(Loaded { config, file: Some(path.to_owned()), origins, document })
}

impl Config {
    /// The keys whose values are others in `new`, of those that take effect at this time.
    pub fn changed(&self, new: &Self, effect: keys::Effect) -> Vec<&'static str> {
        let is_other = |key: &&keys::Key| match key.path {
            "ports.include" => self.series.include != new.series.include,
            "ports.exclude" => self.series.exclude != new.series.exclude,
            _ => (key.value)(self) != (key.value)(new),
        };
        keys::KEYS.iter().filter(|key| key.effect == effect).filter(is_other).map(|key| key.path).collect()
    }
}

#[cfg(test)]
mod tests;
