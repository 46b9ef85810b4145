//! What is done to listeners while they are watched: client and server are one thread, so that the work of a
//! connection is one stretch of one processor's instructions.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketType, accept, bind, listen, socket, sockopt};

use super::stopwatch::Stopwatch;
use crate::bench::netstat::counter;
use crate::bench::packets::Flood;

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

    /// More than there are in a batch.
    const MOST: u32 = 1000;

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

    fn accept(&self) -> Result<OwnedFd> {
        Ok(accept(&self.socket)?)
    }

    /// The whole life of a connection.
    fn connection(&self) -> Result<()> {
        let client = self.connect()?;
        let server = self.accept()?;
        drop((client, server));
        Ok(())
    }

    /// Each step of many at once; instructions of one of them.
    fn burst(&self, bursts: u32) -> Result<f64> {
        let [mut connecting, mut accepting, mut closing] =
            [(); 3].map(|()| Stopwatch::for_steps(bursts * BURST));
        for _ in 0..bursts {
            let clients: Vec<_> =
                (0..BURST).map(|_| connecting.time(|| self.connect())).collect::<Result<_>>()?;
            let servers: Vec<_> =
                (0..BURST).map(|_| accepting.time(|| self.accept())).collect::<Result<_>>()?;
            for pair in clients.into_iter().zip(servers) {
                closing.time(|| {
                    drop(pair);
                    Ok(())
                })?;
            }
        }
        Ok([connecting, accepting, closing].map(Stopwatch::of_a_step).iter().sum())
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
        self.open.connection()
    }

    /// Runs one batch and says what one connection or packet cost, in instructions.
    pub(super) fn batch(&mut self, workload: Workload) -> Result<f64> {
        let count = workload.batch();
        match workload {
            Workload::Accepted => measured(0..count, |_| self.open.connection()),
            Workload::Burst => self.open.burst(count / BURST),
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
        let cost = measured(packets.iter(), |packet| self.flood.send(packet, server))?;
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
        let asked = self.0.iter().take(Self::ASKED).cycle();
        measured(asked.zip(0..count), |(listener, _)| listener.connection())
    }
}

/// Instructions of an ordinary one of some steps.
fn measured<T>(steps: impl Iterator<Item = T>, step: impl Fn(T) -> Result<()>) -> Result<f64> {
    let mut stopwatch = Stopwatch::for_steps(Workload::MOST);
    for each in steps {
        stopwatch.time(|| step(each))?;
    }
    Ok(stopwatch.of_a_step())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_has_a_name_of_its_own() {
        let names = WORKLOADS.map(Workload::name);
        assert!(names.iter().enumerate().all(|(index, name)| !names[..index].contains(name)));
    }
}
