//! Connections as fast as they can be made and lost, without anything that waits for a clock.
//!
//! Client and server are one thread, a few connections at a time. If they were two the client would run ahead while the
//! server has no CPU: 128 connections later the accept queue is full, the next SYN is dropped and comes again after a
//! second, which is all that such a measurement shows. Ends are closed by a reset, so no port waits in TIME_WAIT.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use rustix::net::sockopt::set_socket_linger;
use rustix::time::{ClockId, clock_gettime};

use crate::bench::spread::median;

/// Connections that wait in an accept queue at once: far less than the 128 that it has room for.
const AT_ONCE: usize = 16;
/// Which each thread has.
const LISTENERS: usize = 4;
/// Caches and the slabs of sockets shall be as in the middle of a load.
const WARM_UP: Duration = Duration::from_millis(100);

/// Listeners, some for each thread.
pub(super) struct Load(Vec<Vec<Listener>>);

struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// What was done in a while, by all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    pub(super) connections: f64,
    /// With those that were made to become warm.
    pub(super) connections_in_all: f64,
    pub(super) per_second: f64,
    /// The threads', in the kernel too: on the loopback interface a packet is received by who sends it.
    pub(super) cpu_seconds: f64,
    /// Of a connection that nothing interrupted: half of them took longer, by whatever else the machine does.
    pub(super) undisturbed_microseconds: f64,
}

impl Load {
    pub(super) fn open(threads: usize) -> Result<Self> {
        let of_thread = |_| (0..LISTENERS).map(|_| Listener::open()).collect();
        (0..threads).map(of_thread).collect::<Result<_>>().map(Self)
    }

    /// Connects for so long, once it is warm.
    pub(super) fn run(&self, time: Duration) -> Result<Work> {
        thread::scope(|scope| {
            let threads: Vec<_> =
                self.0.iter().map(|listeners| scope.spawn(|| of_thread(listeners, time))).collect();
            let works = threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("bench: a thread of the load panicked"))?);
            Ok(Work::of_all(&works.collect::<Result<Vec<_>>>()?))
        })
    }
}

impl Work {
    fn of_all(threads: &[Self]) -> Self {
        let sum = |figure: fn(&Self) -> f64| threads.iter().map(figure).sum::<f64>();
        let undisturbed: Vec<f64> = threads.iter().map(|work| work.undisturbed_microseconds).collect();
        Self {
            connections: sum(|work| work.connections),
            connections_in_all: sum(|work| work.connections_in_all),
            per_second: sum(|work| work.per_second),
            cpu_seconds: sum(|work| work.cpu_seconds),
            undisturbed_microseconds: median(&undisturbed),
        }
    }
}

fn of_thread(listeners: &[Listener], time: Duration) -> Result<Work> {
    let warm_up = (AT_ONCE * connect_for(listeners, WARM_UP)?.len()) as f64;
    let (begun, before) = (Instant::now(), own_cpu_seconds());
    let bursts = connect_for(listeners, time)?;
    let (cpu_seconds, took) = (own_cpu_seconds() - before, begun.elapsed().as_secs_f64());
    let connections = (AT_ONCE * bursts.len()) as f64;
    Ok(Work {
        connections,
        connections_in_all: warm_up + connections,
        per_second: connections / took,
        cpu_seconds,
        undisturbed_microseconds: median(&bursts) / AT_ONCE as f64,
    })
}

/// How many microseconds each burst took.
fn connect_for(listeners: &[Listener], time: Duration) -> Result<Vec<f64>> {
    let (begun, mut bursts) = (Instant::now(), Vec::new());
    while begun.elapsed() < time {
        for listener in listeners {
            let of_burst = Instant::now();
            listener.burst()?;
            bursts.push(1e6 * of_burst.elapsed().as_secs_f64());
        }
    }
    Ok(bursts)
}

/// What this thread has used of a CPU.
fn own_cpu_seconds() -> f64 {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

impl Listener {
    fn open() -> Result<Self> {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self { address: socket.local_addr()?, socket })
    }

    /// They are all in the queue before the first is accepted.
    fn burst(&self) -> Result<usize> {
        let connect = |_| -> Result<TcpStream> {
            let stream = TcpStream::connect(self.address)?;
            set_socket_linger(&stream, Some(Duration::ZERO))?;
            Ok(stream)
        };
        let clients: Vec<_> = (0..AT_ONCE).map(connect).collect::<Result<_>>()?;
        let servers: Vec<_> = clients.iter().map(|_| self.socket.accept()).collect::<Result<_, _>>()?;
        // The clients first: it is they whose end is a reset.
        drop(clients);
        Ok(servers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_of_threads_is_added_up() {
        let work = |undisturbed_microseconds| Work {
            connections: 10.0,
            connections_in_all: 11.0,
            per_second: 20.0,
            cpu_seconds: 0.5,
            undisturbed_microseconds,
        };
        let expected = Work {
            connections: 30.0,
            connections_in_all: 33.0,
            per_second: 60.0,
            cpu_seconds: 1.5,
            undisturbed_microseconds: 7.0,
        };
        assert_eq!(Work::of_all(&[7.0, 90.0, 6.0].map(work)), expected);
    }

    #[test]
    fn all_that_connect_are_accepted_and_no_port_waits() {
        let listener = Listener::open().unwrap();
        assert_eq!(listener.burst().unwrap(), AT_ONCE);
        assert!(own_cpu_seconds() > 0.0);
    }
}
