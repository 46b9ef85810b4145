//! A service manager as systemd is one for the daemon: hears what it says, keeps its descriptors, and starts it
//! again with them.
use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::PathBuf,
    process::Command,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use command_fds::{CommandFdExt, FdMapping};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use super::{
    daemon::{Daemon, binary, run_arguments},
    wait::{ensure, wait_until},
};

/// The first descriptor that a service is given (`SD_LISTEN_FDS_START`).
const FIRST: i32 = 3;
/// As many as one message can have.
const MOST_DESCRIPTORS: usize = 253;

/// What was said and what is kept.
#[derive(Default)]
struct Heard {
    messages: Vec<String>,
    kept: Vec<(String, OwnedFd)>,
}

/// Listens until it goes out of scope.
pub(crate) struct ServiceManager {
    heard: Arc<Mutex<Heard>>,
    over: Arc<AtomicBool>,
    ear: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl ServiceManager {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
        let (heard, over) = (Arc::<Mutex<Heard>>::default(), Arc::<AtomicBool>::default());
        let (hears, ends) = (Arc::clone(&heard), Arc::clone(&over));
        let ear = thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                if let Some((message, descriptors)) = receive(&socket) {
                    hears.lock().unwrap_or_else(PoisonError::into_inner).note(message, descriptors);
                }
            }
        });
        Self { heard, over, ear: Some(ear), folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("notify")
    }

    /// Starts a daemon with what the one before it has left, and waits until it says that it is ready.
    pub(crate) fn start_daemon(&self, arguments: &[&str]) -> Daemon {
        self.start_daemon_with(arguments, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_daemon_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Daemon {
        let (names, descriptors): (Vec<String>, Vec<OwnedFd>) = self.with(|heard| {
            heard.messages.clear();
            let kept = heard.kept.iter();
            kept.map(|(name, kept)| (name.clone(), kept.try_clone().expect("a descriptor"))).unzip()
        });
        // Its process number is known only once it is one.
        let mut command = Command::new("sh");
        command.args(["-c", "export LISTEN_PID=$$; exec \"$@\"", "sh"]).arg(binary());
        command.args(run_arguments(arguments)).envs(environment.iter().copied());
        command.env("NOTIFY_SOCKET", self.socket()).env("LISTEN_FDS", names.len().to_string());
        command.env("LISTEN_FDNAMES", names.join(":"));
        let mappings = descriptors.into_iter().zip(FIRST..);
        let mappings = mappings.map(|(parent_fd, child_fd)| FdMapping { parent_fd, child_fd });
        command.fd_mappings(mappings.collect()).expect("descriptors of its own");
        let daemon = Daemon::start_command(command);
        self.wait_for("READY=1");
        daemon
    }

    /// Waits until the daemon has said this since it was started.
    pub(crate) fn wait_for(&self, line: &str) {
        wait_until("the daemon tells the service manager", || {
            let messages = self.with(|heard| heard.messages.clone());
            let said = messages.iter().any(|message| message.lines().any(|said| said == line));
            ensure(said, || format!("no {line} in {messages:?}"))
        });
    }

    /// How many descriptors are kept.
    pub(crate) fn kept(&self) -> usize {
        self.with(|heard| heard.kept.len())
    }

    fn with<T>(&self, what: impl FnOnce(&mut Heard) -> T) -> T {
        what(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for ServiceManager {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(ear) = self.ear.take() {
            // It ends within its time limit; a panic in it has been shown.
            let _ = ear.join();
        }
    }
}

impl Heard {
    fn note(&mut self, message: String, descriptors: Vec<OwnedFd>) {
        let field = |name: &str| message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let name = field("FDNAME").unwrap_or("stored").to_owned();
        if field("FDSTOREREMOVE") == Some("1") {
            self.kept.retain(|(kept, _)| *kept != name);
        }
        if field("FDSTORE") == Some("1") {
            assert_eq!(field("FDPOLL"), Some("0"), "systemd would drop BPF maps at once: {message}");
            self.kept.extend(descriptors.into_iter().map(|descriptor| (name.clone(), descriptor)));
        }
        self.messages.push(message);
    }
}

fn receive(socket: &UnixDatagram) -> Option<(String, Vec<OwnedFd>)> {
    let mut text = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let length = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        .ok()?
        .bytes;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Some((String::from_utf8_lossy(text.get(..length)?).into_owned(), descriptors))
}
