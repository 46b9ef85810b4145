//! A private network namespace, so that no other test, and nothing else on the host, moves its
//! counters or takes its ports.
//!
//! A thread lives in it ([`PrivateNetwork`]). Only what looks at "the current namespace" has to run in that thread:
//! making a socket, `/proc/thread-self/net`, `/proc/sys/net`, starting a process. A socket stays in
//! the namespace in which it was made, whichever thread uses it.
//!
//! A process lives in it as well, because namespaces are found by their processes.
use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, setns};
use tcp_backlog_probe::prove::{NetworkError, PrivateNetwork};

use super::{kernel_counters::KernelCounters, trials::lacks, wait::wait_until};

/// Held while a namespace is made.
static MAKING: Mutex<()> = Mutex::new(());

/// Namespaces that nobody is in any more. As long as they are open here the kernel does not hand out
/// their inode numbers again: a daemon would go on with the counts of the dead one, rightly so.
static DEAD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A network namespace with nothing in it but its loopback interface, and routes to clients that are no hosts.
pub(crate) struct Namespace {
    network: PrivateNetwork,
    resident: Option<Child>,
    /// Open from the start: nothing can fail then when it ends.
    handle: Option<File>,
}

impl Namespace {
    /// Makes one; needs CAP_SYS_ADMIN.
    pub(crate) fn new() -> Self {
        let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        Self::make().with_a_number_of_its_own()
    }

    /// Makes one whose inode number is not among those that `known` gives. Other tests' namespaces
    /// come and go too, and their numbers are handed out again.
    pub(crate) fn unlike(known: impl FnOnce() -> BTreeSet<u64>) -> Self {
        let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known();
        let mut namesakes = Vec::new();
        loop {
            let namespace = Self::make();
            if !known.contains(&namespace.inode()) {
                return namespace.with_a_number_of_its_own();
            }
            // Kept for now, so that the next one gets another number.
            namesakes.push(namespace);
        }
    }

    /// Ends this one and makes another with the same inode number. No other test may make one in
    /// between, or it would get that number.
    pub(crate) fn into_namesake(mut self) -> Self {
        let _turn = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        let inode = self.inode();
        self.handle = None;
        drop(self);
        // The kernel tidies up a dead namespace in its own time.
        let mut others = Vec::new();
        wait_until("a namespace with the inode number of a dead one", || {
            let namespace = Self::make();
            if namespace.inode() == inode {
                return Ok(namespace.with_a_number_of_its_own());
            }
            let failure = format!("{} for {inode}", namespace.inode());
            others.push(namespace);
            // Too many at once would only keep the kernel from tidying up.
            if others.len() > 16 {
                others.clear();
            }
            Err(failure)
        })
    }

    fn make() -> Self {
        let network = PrivateNetwork::new().expect("a private network (root is needed)");
        let resident = network.run(resident).expect("a process in the network");
        Self { network, resident: Some(resident), handle: None }
    }

    /// Keeps its inode number from being handed out again when it has ended.
    fn with_a_number_of_its_own(mut self) -> Self {
        let open = || File::open("/proc/thread-self/ns/net").expect("a descriptor of the namespace");
        self.handle = Some(self.run(open));
        self
    }

    /// Its inode number: the label `netns`.
    pub(crate) fn inode(&self) -> u64 {
        self.network.inum().into()
    }

    /// The same for a client that speaks TCP itself.
    pub(crate) const fn network(&self) -> &PrivateNetwork {
        &self.network
    }

    /// Runs a closure in the namespace; a panic in it is the caller's.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        match self.network.run(job) {
            Ok(value) => value,
            Err(NetworkError::Panicked { message }) => panic!("{message}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// The namespace's own counters, now.
    pub(crate) fn counters(&self) -> KernelCounters {
        self.run(KernelCounters::of_this_thread)
    }

    /// Whether this kernel has `net.<name>`.
    pub(crate) fn has_sysctl(&self, name: &'static str) -> bool {
        self.run(move || PathBuf::from("/proc/sys/net").join(name.replace('.', "/")).exists())
    }

    /// Has what waits at a listener that is closed move to another one of its group (`net.ipv4.tcp_migrate_req`, 5.14). Where
    /// the kernel cannot do that the trial ends: some older ones have the setting, and move nothing.
    pub(crate) fn move_requests(&self) {
        const MIGRATE: &str = "ipv4.tcp_migrate_req";
        let counter = || KernelCounters::named("TcpExt:TCPMigrateReqSuccess");
        if !self.has_sysctl(MIGRATE) || self.run(counter).is_none() {
            lacks("requests that move (net.ipv4.tcp_migrate_req)");
        }
        self.set_sysctl(MIGRATE, 1);
    }

    /// A handle by which any thread can [`enter`] it.
    pub(crate) fn handle(&self) -> File {
        self.run(|| File::open("/proc/thread-self/ns/net").expect("the thread's network namespace"))
    }

    /// Sets `net.<name>`, with dots or slashes, in this namespace.
    pub(crate) fn set_sysctl(&self, name: &'static str, value: u32) {
        self.run(move || {
            let file = PathBuf::from("/proc/sys/net").join(name.replace('.', "/"));
            fs::write(&file, value.to_string())
                .unwrap_or_else(|error| panic!("writing {}: {error}", file.display()));
        });
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Some(mut resident) = self.resident.take() {
            // Closes its standard input first.
            let _ = resident.wait();
        }
        self.handle.take().into_iter().for_each(keep_number);
    }
}

/// A process in the calling thread's namespace, by which others find it. It ends when its standard input does,
/// so also when this process is killed.
fn resident() -> Child {
    let mut cat = Command::new("cat");
    cat.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    cat.spawn().expect("`cat` as the namespace's process")
}

/// Keeps the inode number of a namespace that nobody needs any more from being handed out again.
fn keep_number(handle: File) {
    DEAD.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
}

/// Moves the calling thread into a namespace.
pub(crate) fn enter(handle: &File) {
    setns(handle, CloneFlags::CLONE_NEWNET).expect("a move into the namespace");
}

/// Sets `IFF_UP` on the loopback interface of the current namespace: its index is always 1.
/// A message by hand, because the smallest of the matrix' systems has no `ip` program.
pub(crate) fn bring_loopback_up() {
    let socket = Socket::new(NETLINK_ROUTE).expect("a rtnetlink socket");
    socket.send(&loopback_up_request(), 0).expect("RTM_NEWLINK");
    let (answer, _) = socket.recv_from_full().expect("the answer to RTM_NEWLINK");
    // struct nlmsgerr follows the header of 16 bytes: 0, or a negative errno.
    let error = answer.get(16..20).and_then(|bytes| Some(i32::from_ne_bytes(bytes.try_into().ok()?)));
    assert_eq!(error, Some(0), "the kernel would not bring the loopback interface up");
}

/// `struct nlmsghdr` and `struct ifinfomsg`.
fn loopback_up_request() -> Vec<u8> {
    const RTM_NEWLINK: u16 = 16;
    const NLM_F_REQUEST_AND_ACK: u16 = 1 | 4;
    const LOOPBACK_INDEX: u32 = 1;
    const IFF_UP: u32 = 1;
    let mut message = Vec::new();
    message.extend(32_u32.to_ne_bytes()); // length of the whole message
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]); // sequence number, sender
    message.extend([0; 4]); // family, padding, type of device
    message.extend(LOOPBACK_INDEX.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes()); // the flags' new values
    message.extend(IFF_UP.to_ne_bytes()); // the flags to be changed
    message
}
