//! A network namespace that lives as long as one value, with room for clients that are no hosts.
//!
//! Clients have addresses of documentation networks that nobody owns. Routes send the answers to them
//! out on the loopback interface, where a packet socket sees them; what happens to them then depends on
//! the version of IP:
//!
//! - IPv4: a unicast route. A packet on the loopback interface keeps the route it was sent by, whose
//!   input function is `dst_discard()` (rt_dst_alloc() of net/ipv4/route.c): it ends there, silently.
//! - IPv6: ip6_route_info_create() of net/ipv6/route.c makes every unicast route by the loopback interface
//!   one that rejects, so the route is of type `local`. What arrives would now be answered with a reset by
//!   the kernel, so every client is a permanent neighbour with a hardware address other than the
//!   interface's: eth_type_trans() marks the packet as another host's, and ip6_rcv_core() drops it.
mod rtnetlink;

use std::{
    any::Any,
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::AtomicU32,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{Builder, JoinHandle},
};

use rustix::thread::UnshareFlags;

use self::rtnetlink::Rtnetlink;
use crate::netns::{DiscoverError, own_inum};

/// The clients' IPv4 network (TEST-NET-1 of RFC 5737) and its prefix length.
const NETWORK_V4: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 0, 2, 0), 24);
/// The clients' IPv6 network (of RFC 3849) and its prefix length.
const NETWORK_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0), 64);
/// How many addresses clients have, of each version of IP.
pub(super) const CLIENT_ADDRESSES: u8 = 4;
/// One address more, of the client that [`PrivateNetwork::strand`] cuts off.
pub(super) const STRANDED: u8 = CLIENT_ADDRESSES;

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace of its own, with the loopback interface up, and the thread that lives in it.
///
/// A socket stays in the namespace in which it was made, whichever thread uses it: only making it has to
/// happen in [`Self::run`], and so does what depends on the thread, as `/proc/thread-self/net` does.
///
/// Dropping it ends the thread. The namespace goes when the last socket that was made in it is closed.
#[derive(Debug)]
pub struct PrivateNetwork {
    /// `None` only while it is dropped.
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    inum: u32,
    without_ipv6: Option<String>,
    /// How many handshakes clients have begun here: no two are alike.
    handshakes: Arc<AtomicU32>,
}

/// Why there is no private network, or why something was not done in it.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// There is no thread for it.
    #[error("the private network's thread cannot be started ({cause}): raise the limit on tasks")]
    Thread {
        /// What clone(2) said.
        cause: io::Error,
    },
    /// unshare(2) was refused.
    #[error("a network namespace cannot be made ({cause}): that needs CAP_SYS_ADMIN and CONFIG_NET_NS")]
    Namespace {
        /// What unshare(2) said.
        cause: io::Error,
    },
    /// rtnetlink refused.
    #[error("{what} of the private network cannot be set ({cause}): that needs CAP_NET_ADMIN")]
    Setting {
        /// What was asked for.
        what: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// It cannot be told which namespace it is.
    #[error(transparent)]
    Unknown(#[from] DiscoverError),
    /// A sysctl was not set.
    #[error("{path} cannot be set to {value} ({cause}): is /proc/sys writable, and does the kernel have it?")]
    Sysctl {
        /// The file below `/proc/sys`.
        path: PathBuf,
        /// What was written.
        value: String,
        /// What write(2) said.
        cause: io::Error,
    },
    /// A closure panicked.
    #[error("what was run in the private network panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// The thread is not there any more.
    #[error("the thread of the private network has ended: make a new one")]
    Ended,
}

impl PrivateNetwork {
    /// Makes one: CAP_SYS_ADMIN and CAP_NET_ADMIN are needed.
    ///
    /// # Errors
    /// When the namespace, its loopback interface or its IPv4 routes cannot be made. IPv6 may be absent.
    pub fn new() -> Result<Self, NetworkError> {
        let (jobs, queue) = channel();
        let thread = Builder::new()
            .name("private-network".to_owned())
            .spawn(move || work(&queue))
            .map_err(|cause| NetworkError::Thread { cause })?;
        let mut network = Self {
            jobs: Some(jobs),
            thread: Some(thread),
            inum: 0,
            without_ipv6: None,
            handshakes: Arc::default(),
        };
        (network.inum, network.without_ipv6) = network.run(set_up)??;
        Ok(network)
    }

    /// Its inode number: the label `netns`.
    #[must_use]
    pub const fn inum(&self) -> u32 {
        self.inum
    }

    /// Why there is no IPv6 in it, in one line; `None` when there is.
    #[must_use]
    pub fn without_ipv6(&self) -> Option<&str> {
        self.without_ipv6.as_deref()
    }

    /// Runs a closure in the namespace, and waits for what it gives.
    ///
    /// # Errors
    /// When it panics.
    pub fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, NetworkError> {
        let (answer, answers) = channel();
        let job: Job = Box::new(move || {
            // The caller waits for the answer: when it is gone, nobody is left to tell.
            let _ = answer.send(catch_unwind(AssertUnwindSafe(work)));
        });
        let jobs = self.jobs.as_ref().ok_or(NetworkError::Ended)?;
        jobs.send(job).map_err(|_| NetworkError::Ended)?;
        let answer = answers.recv().map_err(|_| NetworkError::Ended)?;
        answer.map_err(|panic| NetworkError::Panicked { message: message_of(panic.as_ref()) })
    }

    /// Sets `net.<name>`, with dots or slashes, in this namespace only.
    ///
    /// # Errors
    /// When the kernel has none of that name in a namespace, or does not take the value.
    pub fn set_sysctl(&self, name: &str, value: impl fmt::Display) -> Result<(), NetworkError> {
        let path = Path::new("/proc/sys/net").join(name.replace('.', "/"));
        let value = value.to_string();
        self.run(move || {
            fs::write(&path, &value).map_err(|cause| NetworkError::Sysctl { path, value, cause })
        })?
    }

    /// Takes the routes to one address away, of each version of IP, or gives them back: what a client sends from there
    /// ([`super::Client::syn_of_stranded`]) comes to its server, which can answer nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn strand(&self, stranded: bool) -> Result<(), NetworkError> {
        let has_ipv6 = self.without_ipv6.is_none();
        self.run(move || {
            let mut rtnetlink = Rtnetlink::open()?;
            if let IpAddr::V4(address) = client_address(Ipv4Addr::LOCALHOST.into(), STRANDED) {
                rtnetlink.refuse_ipv4(address, stranded)?;
            }
            if has_ipv6 { rtnetlink.refuse_ipv6(client_ipv6(STRANDED), stranded) } else { Ok(()) }
        })?
    }

    /// The counter that makes handshakes different.
    pub(super) fn handshakes(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.handshakes)
    }
}

impl Drop for PrivateNetwork {
    fn drop(&mut self) {
        // Without a sender the thread's queue ends, and the thread with it.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // It caught every panic there was.
            let _ = thread.join();
        }
    }
}

/// One of the addresses that clients have; `index` counts from 0 to [`STRANDED`].
pub(super) fn client_address(like: IpAddr, index: u8) -> IpAddr {
    match like {
        IpAddr::V4(_) => {
            let [first, second, third, _] = NETWORK_V4.0.octets();
            Ipv4Addr::new(first, second, third, index.saturating_add(1)).into()
        }
        IpAddr::V6(_) => client_ipv6(index).into(),
    }
}

fn client_ipv6(index: u8) -> Ipv6Addr {
    Ipv6Addr::from_bits(NETWORK_V6.0.to_bits() | (u128::from(index) + 1))
}

/// The thread's whole life.
fn work(queue: &Receiver<Job>) {
    queue.iter().for_each(|job| job());
}

/// Moves the calling thread into a new namespace and furnishes it. Returns its number, and why it is
/// without IPv6.
fn set_up() -> Result<(u32, Option<String>), NetworkError> {
    #[expect(deprecated, reason = "the other one is unsafe because of flags that are not used here")]
    rustix::thread::unshare(UnshareFlags::NEWNET)
        .map_err(|cause| NetworkError::Namespace { cause: cause.into() })?;
    let mut rtnetlink = Rtnetlink::open()?;
    rtnetlink.bring_loopback_up()?;
    let (network, prefix) = NETWORK_V4;
    rtnetlink.route_ipv4(network, prefix)?;
    let without_ipv6 = set_up_ipv6(&mut rtnetlink).err().map(|error| error.to_string());
    Ok((own_inum()?, without_ipv6))
}

fn set_up_ipv6(rtnetlink: &mut Rtnetlink) -> Result<(), NetworkError> {
    let (network, prefix) = NETWORK_V6;
    rtnetlink.route_ipv6(network, prefix)?;
    (0..=STRANDED).try_for_each(|index| rtnetlink.neighbour(client_ipv6(index)))
}

/// What a panic said.
fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_an_address_in_the_routed_networks() {
        for index in 0..=STRANDED {
            let IpAddr::V4(v4) = client_address(Ipv4Addr::LOCALHOST.into(), index) else { panic!("IPv4") };
            assert_eq!(v4.octets()[..3], NETWORK_V4.0.octets()[..3]);
            assert_eq!(v4.octets()[3], index + 1);
            let IpAddr::V6(v6) = client_address(Ipv6Addr::LOCALHOST.into(), index) else { panic!("IPv6") };
            assert_eq!(v6.segments(), [0x2001, 0xdb8, 1, 0, 0, 0, 0, u16::from(index) + 1]);
        }
    }

    #[test]
    fn what_a_panic_said_is_kept() {
        let said = |work: fn()| message_of(catch_unwind(work).unwrap_err().as_ref());
        assert_eq!(said(|| panic!("plain")), "plain");
        assert_eq!(said(|| panic!("number {}", "seven".len())), "number 5");
        assert_eq!(said(|| std::panic::panic_any(7)), "without a message");
    }
}
