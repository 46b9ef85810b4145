//! A socket in the file system, for whoever is on this host: without TLS and passwords.
//!
//! The file's mode decides who may ask: its owner and its group, which are the daemon's. It is there from its first moment with that mode,
//! and removed at an orderly end. What a daemon that died left behind is replaced; a living daemon's is left alone.
use std::{
    fmt, fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{FileTypeExt, MetadataExt},
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, anyhow, bail};
use rustix::{
    fs::{FlockOperation, Mode, chmod, fchmod, flock},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with},
};
use tracing::{debug, info};

/// Where it is unless it is said.
pub const DEFAULT_PATH: &str = "/run/tcp-backlog-probe/probe.sock";
/// Owner and group may ask.
const MODE: Mode = Mode::from_raw_mode(0o660);
/// As many may wait as have places.
const BACKLOG: i32 = 64;

/// Where a socket shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SocketWish {
    /// At [`DEFAULT_PATH`], if that is possible.
    #[default]
    IfPossible,
    /// There, or the daemon does not start.
    At(PathBuf),
    /// Nowhere.
    Nowhere,
}

impl FromStr for SocketWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::IfPossible),
            "none" => Ok(Self::Nowhere),
            path if Path::new(path).is_absolute() => Ok(Self::At(path.into())),
            _ => Err("it has to be an absolute path, auto or none".to_owned()),
        }
    }
}

impl fmt::Display for SocketWish {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IfPossible => formatter.write_str("auto"),
            Self::At(path) => write!(formatter, "{}", path.display()),
            Self::Nowhere => formatter.write_str("none"),
        }
    }
}

/// A socket that listens. Its file goes away with it.
#[derive(Debug)]
pub struct LocalSocket {
    listener: UnixListener,
    file: SocketFile,
}

impl LocalSocket {
    /// Opens what is wished.
    ///
    /// # Errors
    /// In one line, when a path was named and cannot be had.
    pub fn open(wish: &SocketWish) -> anyhow::Result<Option<Self>> {
        match wish {
            SocketWish::Nowhere => Ok(None),
            SocketWish::At(path) => {
                let shown = path.display();
                let socket = Self::bind(path).with_context(|| format!("cannot listen on {shown}"))?;
                info!(path = %shown, "listening");
                Ok(Some(socket))
            }
            SocketWish::IfPossible => match Self::bind_default() {
                Ok(socket) => Ok(Some(socket)),
                Err(error) => {
                    debug!(path = DEFAULT_PATH, error = format!("{error:#}"), "no local socket");
                    Ok(None)
                }
            },
        }
    }

    fn bind_default() -> anyhow::Result<Self> {
        let path = Path::new(DEFAULT_PATH);
        if let Some(folder) = path.parent()
            && !folder.is_dir()
        {
            fs::create_dir(folder)?;
        }
        Self::bind(path)
    }

    fn bind(path: &Path) -> anyhow::Result<Self> {
        let _turn = lock_folder(path)?;
        make_room(path)?;
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // Before there is a file: it takes its mode from the socket, less the umask.
        fchmod(&socket, MODE)?;
        bind(&socket, &SocketAddrUnix::new(path)?)?;
        let file = SocketFile::at(path)?;
        chmod(path, MODE)?;
        listen(&socket, BACKLOG)?;
        Ok(Self { listener: UnixListener::from(socket), file })
    }

    /// The listener, and the file, which goes away when it is dropped.
    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// Daemons that start at the same time look and bind one after the other.
fn lock_folder(path: &Path) -> anyhow::Result<OwnedFd> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let missing = || format!("the folder {} cannot be opened: make it", folder.display());
    let folder = OwnedFd::from(fs::File::open(folder).with_context(missing)?);
    flock(&folder, FlockOperation::LockExclusive)?;
    Ok(folder)
}

/// Removes the file of a socket that nobody listens on any more.
fn make_room(path: &Path) -> anyhow::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !metadata.file_type().is_socket() {
        bail!("there is something else than a socket: choose another path with --socket");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Err(error) => Err(anyhow!("{error}: choose another path with --socket")),
        Ok(_) => bail!("another daemon listens there: choose another path with --socket, or none"),
    }
}

/// The file of a socket.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.into(), identity: identity_of(path)? })
    }
}

fn identity_of(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let removed = lock_folder(&self.path).and_then(|_turn| {
            // Somebody may have put another one there.
            if identity_of(&self.path)? == self.identity {
                fs::remove_file(&self.path)?;
            }
            Ok(())
        });
        if let Err(error) = removed {
            debug!(path = %self.path.display(), error = format!("{error:#}"), "the socket's file stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn open(path: &Path) -> anyhow::Result<LocalSocket> {
        LocalSocket::open(&SocketWish::At(path.into())).map(Option::unwrap)
    }

    #[track_caller]
    fn check_refused(path: &Path, expected: &str) {
        let error = format!("{:#}", open(path).unwrap_err());
        assert!(error.starts_with(&format!("cannot listen on {}: ", path.display())), "{error}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
    }

    #[test]
    fn owner_and_group_may_ask_and_the_file_goes_with_the_socket() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.sock");
        let socket = open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
        UnixStream::connect(&path).unwrap();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_daemons_file_is_replaced_and_a_living_ones_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.sock");
        // The standard library leaves the file behind, as a daemon that is killed does.
        drop(UnixListener::bind(&path).unwrap());
        let living = open(&path).unwrap();
        check_refused(&path, "another daemon listens there");
        UnixStream::connect(&path).unwrap();
        drop(living);
    }

    #[test]
    fn what_is_in_the_way_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "precious").unwrap();
        check_refused(&path, "something else than a socket");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        check_refused(&folder.path().join("no/probe.sock"), "make it");
        check_refused(&folder.path().join("x".repeat(200)), "");
    }

    #[test]
    fn another_ones_file_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("probe.sock");
        let first = open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = open(&path).unwrap();
        drop(first);
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_wish_is_a_path_or_none() {
        let check = |text: &str, expected: Option<SocketWish>| {
            assert_eq!(text.parse::<SocketWish>().ok(), expected, "{text}");
        };
        check("none", Some(SocketWish::Nowhere));
        check("/run/x.sock", Some(SocketWish::At("/run/x.sock".into())));
        check("x.sock", None);
        check("", None);
    }
}
