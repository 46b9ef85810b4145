//! What the daemon is told to do: a TOML file, and flags that come before it.
//!
//! `file` says what a file may hold, `resolve` makes a [`Config`] of it; both are pure. Only [`load`] reads. Whatever is
//! wrong is one line that names the file, the key and the remedy.
mod file;
mod resolve;
mod values;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::model::series::SeriesWishes;

/// Everything that can be configured, after file and flags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Which ports have series of their own.
    pub series: SeriesWishes,
    /// Where what is worth more than a restart is kept; nowhere unless it is said.
    pub state_file: Option<PathBuf>,
}

/// What was given on the command line or in the environment: it comes before the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// `--ports-limit`
    pub ports_limit: Option<usize>,
}

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, where one is to blame.
    pub line: Option<usize>,
    /// The key, as `ports.exclude[0].port`; empty where the file as a whole is to blame.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(formatter, ", line {line}")?;
        }
        if !self.key.is_empty() {
            write!(formatter, ": {}", self.key)?;
        }
        write!(formatter, ": {}", self.problem)
    }
}

/// Longer than any configuration that somebody wrote.
const MOST_BYTES: u64 = 1 << 20;

/// Reads the file, if there is one, and puts everything together.
///
/// # Errors
/// When the file cannot be read, or says what it cannot mean.
pub fn load(path: Option<&Path>, overrides: Overrides) -> Result<Config, ConfigError> {
    let Some(path) = path else { return Ok(resolve::without_file(overrides)) };
    let failed = |problem: String| ConfigError { file: path.into(), line: None, key: String::new(), problem };
    let metadata = fs::metadata(path)
        .map_err(|error| failed(format!("cannot be read ({error}): --config names the file")))?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Err(failed("is no file of at most 1 MiB: --config names a TOML file".to_owned()));
    }
    let text = fs::read_to_string(path)
        .map_err(|error| failed(format!("cannot be read ({error}): it has to be text in UTF-8")))?;
    parse(path, &text, overrides)
}

/// The pure part of [`load`].
fn parse(path: &Path, text: &str, overrides: Overrides) -> Result<Config, ConfigError> {
    let file = file::parse(path, text)?;
    resolve::resolve(&file, overrides).map_err(|(key, problem)| ConfigError {
        file: path.into(),
        line: None,
        key,
        problem,
    })
}

#[cfg(test)]
mod tests;
