//! The network namespaces of the host: finding them and reading inside them.
//!
//! `net.core.somaxconn`, the TcpExt counters and a `sock_diag` dump all belong to the network
//! namespace of the thread that reads them, so a host with containers is read by going from
//! namespace to namespace. [`discover`] finds them, [`visit`] goes there.
//!
//! Nothing here keeps a descriptor of a foreign namespace after the visit: an open descriptor
//! (or a socket) would keep the namespace alive after its last container has gone.
mod discovery;

use std::{
    fs::File,
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) use self::discovery::own_inum;
pub use self::discovery::{Discovery, NAMESPACE_BUDGET, discover};

/// The network namespace of the thread that asks (`/proc/thread-self`: Linux 3.17).
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";

/// A network namespace and the ways into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkNamespace {
    /// Its inode number.
    inum: u32,
    /// Files that are this namespace: `/proc/PID/ns/net` or a bind mount. More than one, because a
    /// process may end before it is used.
    entrances: Vec<PathBuf>,
    /// It is the discovering thread's own.
    own: bool,
}

impl NetworkNamespace {
    /// Its inode number, as in `ls -l /proc/PID/ns/net`.
    #[must_use]
    pub fn inum(&self) -> u32 {
        self.inum
    }

    /// Files that are this namespace, as far as they are remembered.
    pub fn entrances(&self) -> impl Iterator<Item = &Path> {
        self.entrances.iter().map(PathBuf::as_path)
    }

    /// Whether it is the namespace of the thread that called [`discover`].
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.own
    }
}

/// Why the network namespaces could not be listed.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The caller's own namespace is unknown.
    #[error("{path} cannot be read ({cause}): is /proc mounted?", path = OWN_NAMESPACE)]
    Own {
        /// What readlink(2) said.
        cause: io::Error,
    },
    /// The link of the caller's own namespace has an unknown form.
    #[error("{path} is {link:?} and not net:[NUMBER]: is /proc a procfs?", path = OWN_NAMESPACE)]
    OwnLink {
        /// Where the link points to.
        link: String,
    },
}

/// Why one namespace was not visited.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    /// Every process in it has ended and no bind mount is left.
    #[error("network namespace {inum} has gone")]
    Gone {
        /// The namespace.
        inum: u32,
    },
    /// The file of the namespace cannot be opened.
    #[error("{path} cannot be opened ({cause}): CAP_SYS_PTRACE is needed for other users' processes")]
    Open {
        /// `/proc/PID/ns/net` or a bind mount.
        path: PathBuf,
        /// What open(2) said.
        cause: io::Error,
    },
    /// setns(2) was refused.
    #[error("{path} cannot be entered ({cause}): setns needs CAP_SYS_ADMIN")]
    Enter {
        /// `/proc/PID/ns/net` or a bind mount.
        path: PathBuf,
        /// What setns(2) said.
        cause: io::Error,
    },
    /// The thread is elsewhere than it should be: the process's number was given to another process.
    #[error("{path} leads to network namespace {found} and not {inum}")]
    Elsewhere {
        /// `/proc/PID/ns/net` or a bind mount.
        path: PathBuf,
        /// The namespace that was meant.
        inum: u32,
        /// The namespace that it is.
        found: u32,
    },
    /// The thread cannot tell where it is.
    #[error(transparent)]
    Unknown(#[from] DiscoverError),
    /// The visiting thread did not start, or did not finish.
    #[error("the thread that visits network namespaces failed: {cause}")]
    Thread {
        /// What became of it.
        cause: String,
    },
}

/// Runs `visitor` inside every one of the namespaces, the caller's own first, and returns what it
/// gave, each with the inode number of its namespace.
///
/// A namespace that cannot be entered, or has gone, is an error for that one only. The caller's own
/// namespace is not entered, only verified, so it is served without any capability.
///
/// The visits happen on a thread of their own that ends with this call: setns(2) changes the calling
/// thread only, and a thread of the runtime's pool that failed to find its way back would from then on
/// serve in the wrong namespace.
pub fn visit<T: Send>(
    namespaces: &[NetworkNamespace],
    mut visitor: impl FnMut(u32) -> T + Send,
) -> Vec<(u32, Result<T, VisitError>)> {
    let travel = || {
        let own = namespaces.iter().filter(|namespace| namespace.own);
        let foreign = namespaces.iter().filter(|namespace| !namespace.own);
        own.chain(foreign)
            .map(|namespace| (namespace.inum, enter(namespace).map(|()| visitor(namespace.inum))))
            .collect()
    };
    let visits = thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("netns-visit".to_owned())
            .spawn_scoped(scope, travel)
            .map_err(|error| error.to_string())?;
        thread.join().map_err(|_| "it panicked".to_owned())
    });
    visits.unwrap_or_else(|cause: String| {
        let failed =
            |namespace: &NetworkNamespace| (namespace.inum, Err(VisitError::Thread { cause: cause.clone() }));
        namespaces.iter().map(failed).collect()
    })
}

/// Moves the calling thread into the namespace by the first of its entrances that works.
fn enter(namespace: &NetworkNamespace) -> Result<(), VisitError> {
    let inum = namespace.inum;
    if namespace.own {
        return verify(Path::new(OWN_NAMESPACE), inum);
    }
    let mut outcome = Err(VisitError::Gone { inum });
    for path in &namespace.entrances {
        match enter_by(path, inum) {
            Ok(()) => return Ok(()),
            // A process that has ended says nothing: what the others said is worth more.
            Err(VisitError::Open { cause, .. }) if is_gone(&cause) => {}
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

/// Moves the calling thread into the namespace behind `path`; the descriptor is closed on return.
fn enter_by(path: &Path, inum: u32) -> Result<(), VisitError> {
    let file = File::open(path).map_err(|cause| VisitError::Open { path: path.to_owned(), cause })?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|cause| VisitError::Enter { path: path.to_owned(), cause: cause.into() })?;
    verify(path, inum)
}

/// Checks that the calling thread is in the namespace that was meant.
fn verify(path: &Path, inum: u32) -> Result<(), VisitError> {
    let found = own_inum()?;
    if found == inum { Ok(()) } else { Err(VisitError::Elsewhere { path: path.to_owned(), inum, found }) }
}

/// Whether the error says that the process or the file is not there any more: a look-up in `/proc`
/// gives ENOENT or ESRCH, proc_ns_get_link() of fs/proc/namespaces.c ENOENT for a process that is
/// past exit_task_namespaces().
fn is_gone(error: &io::Error) -> bool {
    let gone = [rustix::io::Errno::NOENT, rustix::io::Errno::SRCH];
    gone.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> NetworkNamespace {
        NetworkNamespace { inum: own_inum().unwrap(), entrances: Vec::new(), own: true }
    }

    fn foreign(inum: u32, entrances: &[&str]) -> NetworkNamespace {
        NetworkNamespace { inum, entrances: entrances.iter().map(PathBuf::from).collect(), own: false }
    }

    #[test]
    fn the_own_namespace_is_visited_without_entering_it_and_first() {
        let namespaces = [foreign(1, &[]), own()];
        let visits = visit(&namespaces, |inum| (inum, thread::current().name().map(str::to_owned)));
        let (inum, outcome) = visits.first().unwrap();
        assert_eq!(*inum, own().inum);
        assert_eq!(outcome.as_ref().unwrap(), &(own().inum, Some("netns-visit".to_owned())));
    }

    #[test]
    fn a_namespace_that_cannot_be_visited_is_an_error_for_that_one_only() {
        let check = |namespace: NetworkNamespace, expected: &str| {
            let visits = visit(&[namespace, own()], |_| ());
            assert!(visits[0].1.is_ok());
            let message = visits[1].1.as_ref().unwrap_err().to_string();
            assert!(message.contains(expected), "{message:?} does not contain {expected:?}");
        };
        check(foreign(1, &[]), "network namespace 1 has gone");
        check(foreign(1, &["/proc/0/ns/net"]), "network namespace 1 has gone");
        check(foreign(1, &["/proc/self/status"]), "/proc/self/status cannot be entered (");
        check(foreign(1, &["/proc/self/status", "/proc/0/ns/net"]), "/proc/self/status cannot be entered (");
    }

    #[test]
    fn a_namespace_that_is_another_one_is_not_read() {
        let mut namespace = own();
        namespace.inum = 1;
        let visits = visit(&[namespace], |_| ());
        assert!(matches!(visits[0].1, Err(VisitError::Elsewhere { inum: 1, .. })));
    }

    #[test]
    fn a_visitor_that_panics_is_an_error_and_not_a_panic() {
        let visits = visit(&[own()], |_| -> () { panic!("a visitor that panics") });
        assert!(matches!(&visits[0].1, Err(VisitError::Thread { .. })));
    }
}
