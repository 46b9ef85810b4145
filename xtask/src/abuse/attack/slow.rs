//! Connections that never finish their request: a byte a second, and anew a second after they were closed.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The head of a request that has no end.
const BEGINNING: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: slow\r\nX-Slow: ";
/// Parts of a second: in each a part of the connections sends its byte.
const PARTS: usize = 20;

/// Slow clients, for as long as this lives.
pub(crate) struct Slow {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    opened: AtomicUsize,
    rounds: AtomicUsize,
}

impl Slow {
    /// Begins with so many connections.
    pub(crate) fn start(address: SocketAddr, connections: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = thread::spawn(move || keep_up(address, connections, &theirs));
        Self { shared, thread: Some(thread) }
    }

    /// How many connections were opened so far.
    pub(crate) fn opened(&self) -> usize {
        self.shared.opened.load(Ordering::Relaxed)
    }

    /// Whether all of them have been opened once.
    pub(crate) fn is_complete(&self) -> bool {
        self.shared.rounds.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // A panic there has been shown already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn keep_up(address: SocketAddr, connections: usize, shared: &Shared) {
    let mut streams: Vec<Option<TcpStream>> = (0..connections).map(|_| None).collect();
    while !shared.over.load(Ordering::Relaxed) {
        for part in streams.chunks_mut(connections.div_ceil(PARTS).max(1)) {
            for stream in part {
                if !stream.as_mut().is_some_and(is_kept) {
                    *stream = open(address);
                    shared.opened.fetch_add(1, Ordering::Relaxed);
                }
            }
            thread::sleep(Duration::from_secs(1) / u32::try_from(PARTS).unwrap_or(1));
        }
        shared.rounds.fetch_add(1, Ordering::Relaxed);
    }
}

fn open(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.write_all(BEGINNING).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Whether the server still waits for the rest.
fn is_kept(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64];
    let is_open = stream.read(&mut bytes).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    is_open && stream.write(b"x").is_ok()
}
