//! The play's server and its clients: some all the time, and for two seconds more than its queue holds.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

pub(super) const PORT: u16 = 18_080;
pub(super) const BACKLOG: u32 = 4;
pub(super) const CLIENTS: usize = 12;
const STALL: Duration = Duration::from_secs(2);
/// Between two clients of the time in which all is well.
const PACE: Duration = Duration::from_millis(200);
const SOMAXCONN: &str = "/proc/sys/net/core/somaxconn";

/// A server whose backlog the kernel cut, and which is open until the process ends.
pub(super) struct Shop {
    server: Arc<TcpListener>,
    is_stalled: Arc<AtomicBool>,
}

impl Shop {
    /// Listens, and serves one client after the other.
    pub(super) fn open() -> Result<Self> {
        let shop = Self { server: Arc::new(listen()?), is_stalled: Arc::default() };
        let (server, is_stalled) = (Arc::clone(&shop.server), Arc::clone(&shop.is_stalled));
        thread::spawn(move || {
            loop {
                if !is_stalled.load(Ordering::SeqCst) {
                    // Whoever is not served is a client less; the play counts the losses of the stall only.
                    let _ = serve_one(&server);
                }
                thread::sleep(PACE);
            }
        });
        Ok(shop)
    }

    /// Clients come while nobody accepts, for two seconds; then everybody is served. They stay as long as what is returned.
    pub(super) fn overflow(&self) -> Vec<TcpStream> {
        self.is_stalled.store(true, Ordering::SeqCst);
        let clients = (0..CLIENTS).map(|_| thread::spawn(|| TcpStream::connect_timeout(&address(), STALL)));
        let clients: Vec<_> = clients.collect();
        let mut connected: Vec<TcpStream> =
            clients.into_iter().filter_map(|client| client.join().ok()?.ok()).collect();
        let accepted: Vec<TcpStream> =
            (0..connected.len()).filter_map(|_| Some(self.server.accept().ok()?.0)).collect();
        connected.extend(accepted);
        self.is_stalled.store(false, Ordering::SeqCst);
        connected
    }
}

fn address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], PORT))
}

fn serve_one(server: &TcpListener) -> Result<()> {
    let _client = TcpStream::connect_timeout(&address(), STALL)?;
    server.accept()?;
    Ok(())
}

/// A listener whose backlog the kernel cuts.
fn listen() -> Result<TcpListener> {
    let set = |value: &str| fs::write(SOMAXCONN, value).with_context(|| format!("cannot write {SOMAXCONN}"));
    let before = fs::read_to_string(SOMAXCONN)?;
    set(&BACKLOG.to_string())?;
    let server = TcpListener::bind(("127.0.0.1", PORT));
    set(before.trim())?;
    Ok(server?)
}
