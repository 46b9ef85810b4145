//! What is done to listeners while they are watched: client and server are one thread, so that the work of a
//! connection is one stretch of one processor's instructions.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketType, accept, bind, listen, socket, sockopt};

use super::packets::Flood;

/// In the order in which they are measured.
pub(super) const WORKLOADS: [Workload; 4] =
    [Workload::Accepted, Workload::Burst, Workload::SynDropped, Workload::SynCookie];

/// The port of the first listener; the others follow. Below those that the kernel gives to clients.
const FIRST_PORT: u16 = 12_000;
const QUEUE: i32 = 128;
const BURST: u32 = 100;

/// A way to keep listeners busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Workload {
    /// A connection is made, accepted and closed, one after the other.
    Accepted,
    /// A hundred are made before the first is accepted.
    Burst,
    /// SYNs to a listener whose accept queue is full.
    SynDropped,
    /// SYNs that are all answered with a cookie.
    SynCookie,
}

impl Workload {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Burst => "burst",
            Self::SynDropped => "syn_dropped",
            Self::SynCookie => "syn_cookie",
        }
    }

    /// Connections or packets of a batch.
    const fn batch(self) -> u32 {
        match self {
            Self::Accepted => 300,
            Self::Burst => 2 * BURST,
            Self::SynDropped | Self::SynCookie => 400,
        }
    }

    /// The counter in /proc/net/netstat that tells whether a packet met its fate.
    const fn counter(self) -> Option<&'static str> {
        match self {
            Self::Accepted | Self::Burst => None,
            Self::SynDropped => Some("ListenOverflows"),
            Self::SynCookie => Some("SyncookiesSent"),
        }
    }
}

/// A listening socket.
pub(super) struct Listener {
    socket: OwnedFd,
    address: SocketAddrV4,
}

impl Listener {
    pub(super) fn open(port: u16, backlog: i32) -> Result<Self> {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &address).with_context(|| format!("bench: {address} is taken"))?;
        listen(&socket, backlog)?;
        Ok(Self { socket, address })
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        // It ends with a reset: no port is kept in TIME_WAIT.
        sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
        Ok(stream)
    }

    /// The whole life of some connections.
    pub(super) fn connections(&self, at_once: u32) -> Result<()> {
        let clients: Vec<_> = (0..at_once).map(|_| self.connect()).collect::<Result<_>>()?;
        let servers: Vec<_> = (0..at_once).map(|_| Ok(accept(&self.socket)?)).collect::<Result<Vec<_>>>()?;
        drop((clients, servers));
        Ok(())
    }
}

/// Everything that the workloads need, made once.
pub(super) struct Traffic {
    open: Listener,
    full: Listener,
    cookies: Listener,
    /// What fills the full queue.
    _waiting: Vec<TcpStream>,
    flood: Flood,
}

impl Traffic {
    pub(super) fn open() -> Result<Self> {
        let full = Listener::open(FIRST_PORT + 1, 1)?;
        // sk_acceptq_is_full() asks for more than the backlog.
        let waiting = (0..2).map(|_| full.connect()).collect::<Result<_>>()?;
        Ok(Self {
            open: Listener::open(FIRST_PORT, QUEUE)?,
            full,
            cookies: Listener::open(FIRST_PORT + 2, QUEUE)?,
            _waiting: waiting,
            flood: Flood::open()?,
        })
    }

    /// One connection from its SYN to its end: what a watcher has to see.
    pub(super) fn connection(&self) -> Result<()> {
        self.open.connections(1)
    }

    /// Runs one batch and says what one connection or packet cost, in instructions.
    pub(super) fn batch(&mut self, workload: Workload) -> Result<f64> {
        let count = workload.batch();
        match workload {
            Workload::Accepted => measured(count, || (0..count).try_for_each(|_| self.open.connections(1))),
            Workload::Burst => {
                measured(count, || (0..count / BURST).try_for_each(|_| self.open.connections(BURST)))
            }
            Workload::SynDropped => self.packets(workload, self.full.address),
            Workload::SynCookie => {
                fs::write("/proc/sys/net/ipv4/tcp_syncookies", "2")?;
                let cost = self.packets(workload, self.cookies.address);
                fs::write("/proc/sys/net/ipv4/tcp_syncookies", "1")?;
                cost
            }
        }
    }

    /// How many connections or packets a batch has.
    pub(super) fn size(workload: Workload) -> f64 {
        f64::from(workload.batch())
    }

    fn packets(&mut self, workload: Workload, server: SocketAddrV4) -> Result<f64> {
        let packets = self.flood.make(server, workload.batch())?;
        let name = workload.counter().unwrap_or_default();
        let before = counter(name)?;
        let cost = measured(workload.batch(), || {
            packets.iter().try_for_each(|packet| self.flood.send(packet, server))
        })?;
        let counted = counter(name)? - before;
        let sent = u64::from(workload.batch());
        ensure!(counted == sent, "bench: {}: of {sent} SYNs {counted} were {name}", workload.name());
        Ok(cost)
    }
}

/// Listeners in great number, of which some are connected to.
pub(super) struct Crowd(Vec<Listener>);

impl Crowd {
    /// How many listeners connections go round over, at most.
    const ASKED: usize = 100;

    pub(super) fn open(count: u16) -> Result<Self> {
        (0..count).map(|index| Listener::open(FIRST_PORT + 3 + index, QUEUE)).collect::<Result<_>>().map(Self)
    }

    /// As [`Workload::Accepted`].
    pub(super) fn batch(&self) -> Result<f64> {
        let count = Workload::Accepted.batch();
        let asked = self.0.iter().take(Self::ASKED).cycle().take(usize::try_from(count)?);
        measured(count, || asked.into_iter().try_for_each(|listener| listener.connections(1)))
    }
}

/// Instructions for each of so many: in a machine that counts them its clock's nanoseconds are instructions.
fn measured(count: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64() * 1e9 / f64::from(count))
}

/// A counter of TcpExt in this network namespace.
fn counter(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/net/netstat")?;
    counter_in(&text, name).with_context(|| format!("bench: no {name} in /proc/net/netstat"))
}

fn counter_in(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let position = lines.next()?.split_whitespace().position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(position)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 3 5\nIpExt: InPkts\nIpExt: 9\n";
        assert_eq!(counter_in(text, "ListenOverflows"), Some(5));
        assert_eq!(counter_in(text, "SyncookiesSent"), Some(3));
        assert_eq!(counter_in(text, "InPkts"), None);
    }

    #[test]
    fn every_workload_has_a_name_of_its_own() {
        let names = WORKLOADS.map(Workload::name);
        assert!(names.iter().enumerate().all(|(index, name)| !names[..index].contains(name)));
    }
}
