//! Where each value of the configuration comes from.
use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Who said it, the first to be asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A flag of the command line.
    Flag,
    /// An environment variable.
    Environment,
    /// The configuration file.
    File,
    /// Nobody: it holds where nothing is said.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// The origins of all keys that somebody said something of, by [`Key::path`](super::keys::Key::path).
pub type Origins = BTreeMap<&'static str, Origin>;

/// The file that a configuration was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFile {
    /// It was named, so it has to be there.
    Named(PathBuf),
    /// Where packages put it: read if it is there.
    Standard(PathBuf),
}
