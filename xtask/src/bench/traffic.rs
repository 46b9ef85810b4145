//! Real listeners and real connections to them, all of this process.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mio::{Events, Interest, Poll, Token};
use rustix::net::{AddressFamily, SocketType, bind, socket};

use super::packets;

/// The listeners have so many addresses, and the same ports at each of them.
const ADDRESSES: usize = 8;
pub(super) const FIRST_PORT: u16 = 20_000;
const FULL_PORT: u16 = 19_999;
const PATIENCE: Duration = Duration::from_millis(100);

/// Where the listener of this number listens.
fn address_of(number: usize) -> SocketAddr {
    let last = u8::try_from(number % ADDRESSES + 1).unwrap_or(u8::MAX);
    let port = FIRST_PORT.saturating_add(u16::try_from(number / ADDRESSES).unwrap_or(u16::MAX));
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port))
}

/// Listens at so many ports.
pub(super) fn listen(count: usize) -> Result<Vec<TcpListener>> {
    let bind = |number| {
        let address = address_of(number);
        TcpListener::bind(address).with_context(|| format!("bench: cannot listen on {address}"))
    };
    (0..count).map(bind).collect()
}

/// A thread that ends with this.
struct Worker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        Self { stop, thread: Some(thread::spawn(move || work(&asked))) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It can only have ended by a panic, which it has told.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Accepts whatever comes at the listeners and closes it, until this is dropped.
pub(super) struct Server {
    _worker: Worker,
}

impl Server {
    pub(super) fn start(listeners: Vec<TcpListener>) -> Result<Self> {
        let poll = Poll::new()?;
        let mut own = Vec::with_capacity(listeners.len());
        for (number, listener) in listeners.into_iter().enumerate() {
            listener.set_nonblocking(true)?;
            let mut listener = mio::net::TcpListener::from_std(listener);
            poll.registry().register(&mut listener, Token(number), Interest::READABLE)?;
            own.push(listener);
        }
        Ok(Self { _worker: Worker::start(move |stop| accept(poll, &own, stop)) })
    }
}

fn accept(mut poll: Poll, listeners: &[mio::net::TcpListener], stop: &AtomicBool) {
    let mut events = Events::with_capacity(1024);
    while !stop.load(Ordering::Relaxed) {
        // It is interrupted at most, and looks again.
        let _ = poll.poll(&mut events, Some(PATIENCE));
        for event in &events {
            let Some(listener) = listeners.get(event.token().0) else { continue };
            while listener.accept().is_ok() {}
        }
    }
}

/// Connects to the listeners by turns and closes again, until this is dropped.
pub(super) struct Client {
    _worker: Worker,
}

impl Client {
    /// `per_second`: how many connections, at most; without it as many as there can be.
    pub(super) fn start(listeners: usize, per_second: Option<f64>) -> Self {
        let worker = Worker::start(move |stop| {
            let begun = Instant::now();
            for number in 0_usize.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                pace(begun, number, per_second);
                let to = address_of(number % listeners.max(1));
                // One that is refused is traffic as well.
                let _ = TcpStream::connect_timeout(&to, Duration::from_secs(1));
            }
        });
        Self { _worker: worker }
    }
}

/// Waits until it is this one's turn.
fn pace(begun: Instant, number: usize, per_second: Option<f64>) {
    if let Some(per_second) = per_second {
        let due = Duration::from_secs_f64(number as f64 / per_second);
        thread::sleep(due.saturating_sub(begun.elapsed()));
    }
}

/// SYNs of clients that do not exist, until this is dropped. What becomes of them is the listener's affair.
pub(super) struct Flood {
    _worker: Worker,
    sent: Arc<AtomicU64>,
}

impl Flood {
    /// There has to be a route for the clients: [`packets::NETWORK`].
    pub(super) fn start(server: SocketAddrV4, per_second: f64) -> Result<Self> {
        let mut packets = packets::Flood::open()?;
        let sent = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&sent);
        let worker = Worker::start(move |stop| {
            let begun = Instant::now();
            for number in 0_usize.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                pace(begun, number, Some(per_second));
                let Ok(made) = packets.make(server, 1) else { return };
                let sent = made.iter().filter(|packet| packets.send(packet, server).is_ok()).count();
                count.fetch_add(sent as u64, Ordering::Relaxed);
            }
        });
        Ok(Self { _worker: worker, sent })
    }

    /// How many so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// A listener whose accept queue is full, and which nobody empties.
pub(super) struct Full {
    pub(super) address: SocketAddrV4,
    _queue: (OwnedFd, Vec<TcpStream>),
}

impl Full {
    pub(super) fn open() -> Result<Self> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, FULL_PORT);
        bind(&socket, &address).with_context(|| format!("bench: {address} is taken"))?;
        rustix::net::listen(&socket, 1)?;
        // sk_acceptq_is_full() asks for more than the backlog.
        let waiting = (0..2).map(|_| TcpStream::connect(address)).collect::<Result<_, _>>()?;
        Ok(Self { address, _queue: (socket, waiting) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_has_a_place_of_its_own() {
        let places: std::collections::BTreeSet<_> = (0..16_384).map(address_of).collect();
        assert_eq!(places.len(), 16_384);
        assert_eq!(address_of(9).to_string(), "127.0.0.2:20001");
    }

    #[test]
    fn it_is_not_sooner_than_its_turn() {
        let begun = Instant::now();
        pace(begun, 5, Some(1000.0));
        pace(begun, 1_000_000, None);
        assert!(begun.elapsed() >= Duration::from_millis(5));
    }
}
