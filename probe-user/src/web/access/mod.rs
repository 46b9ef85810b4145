//! Who may ask: TLS, passwords and headers by a file in the format of Prometheus' exporters.
//!
//! `yaml` reads text, `section` and `file` say what it may hold, `tls` and `users` make something of it. A file is validated whole, with
//! the certificates that it names, before anything changes: [`Access::load`] gives all of it or one line.
mod file;
mod section;
mod tls;
mod users;
mod yaml;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;
use tokio::sync::watch;

use self::users::Users;

/// What is wrong with a file, or with one that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AccessError {
    /// The file.
    pub file: PathBuf,
    /// The line that is to blame.
    pub line: Option<usize>,
    /// The key, as `tls_server_config.cert_file`; empty where the file as a whole is to blame.
    pub key: String,
    /// What is wrong, and what to do about it.
    pub problem: String,
}

impl fmt::Display for AccessError {
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

/// Longer than any such file that somebody wrote.
const MOST_BYTES: u64 = 1 << 20;

/// Who may ask, and how. By default anybody, without TLS.
#[derive(Debug, Default)]
pub struct Access {
    tls: Option<Arc<ServerConfig>>,
    users: Option<Users>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Access {
    /// Reads the file, if there is one; without, anybody may ask.
    ///
    /// # Errors
    /// Those of [`Access::load`].
    pub fn load_if_named(path: Option<&Path>) -> Result<Self, AccessError> {
        path.map_or_else(|| Ok(Self::default()), Self::load)
    }

    /// Reads a file, and the certificates and keys that it names.
    ///
    /// # Errors
    /// In one line: the file, its line, the key and the remedy.
    pub fn load(path: &Path) -> Result<Self, AccessError> {
        let failed = |problem| AccessError { file: path.into(), line: None, key: String::new(), problem };
        let metadata = fs::metadata(path)
            .map_err(|error| failed(format!("cannot be read ({error}): --web-config-file names the file")))?;
        if !metadata.is_file() || metadata.len() > MOST_BYTES {
            return Err(failed(
                "is no file of at most 1 MiB: --web-config-file names a YAML file".to_owned(),
            ));
        }
        let text = fs::read_to_string(path)
            .map_err(|error| failed(format!("cannot be read ({error}): it has to be text in UTF-8")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file::parse(&text, folder).map_err(|at| AccessError {
            file: path.into(),
            line: at.line,
            key: at.key,
            problem: at.problem,
        })
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether a password is asked for.
    #[must_use]
    pub const fn has_users(&self) -> bool {
        self.users.is_some()
    }

    pub(super) const fn tls(&self) -> Option<&Arc<ServerConfig>> {
        self.tls.as_ref()
    }

    /// Whether whoever sent these headers may have an answer.
    pub(super) async fn admits(&self, headers: &HeaderMap) -> bool {
        match &self.users {
            Some(users) => users.admit(headers).await,
            None => true,
        }
    }

    /// Adds the headers that the file wants; they come before the server's own.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// Where a file is wrong.
#[derive(Debug, PartialEq, Eq)]
struct Misstep {
    line: Option<usize>,
    key: String,
    problem: String,
}

/// The access in force, which can be replaced while the server runs. Clones are the same.
///
/// A replacement is in force for the next request on every connection: those that are idle are closed, and those that are being
/// answered end with their answer, so that nobody goes on by a certificate that is no longer trusted. Passwords that
/// were found right are forgotten.
#[derive(Clone, Debug)]
pub struct SharedAccess {
    current: watch::Sender<Arc<Access>>,
}

impl SharedAccess {
    /// Reads the file, if there is one; without, anybody may ask.
    ///
    /// # Errors
    /// Those of [`Access::load`].
    pub fn load(path: Option<&Path>) -> Result<Self, AccessError> {
        let access = Access::load_if_named(path)?;
        Ok(Self { current: watch::Sender::new(Arc::new(access)) })
    }

    /// Anybody may ask.
    #[must_use]
    pub fn open() -> Self {
        Self { current: watch::Sender::default() }
    }

    /// Puts another access in force.
    pub fn replace(&self, access: Access) {
        self.current.send_replace(Arc::new(access));
    }

    /// The access in force.
    #[must_use]
    pub fn current(&self) -> Arc<Access> {
        Arc::clone(&self.current.borrow())
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Access>> {
        self.current.subscribe()
    }
}

#[cfg(test)]
pub(super) mod tests;
