//! What a scraper sees meanwhile.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// Between two scrapes.
const PAUSE: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(10);

/// How long scrapes took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    pub(crate) median: Duration,
    /// 99 of 100 were quicker.
    pub(crate) high: Duration,
    pub(crate) slowest: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, high, slowest } = self;
        write!(formatter, "{median:.1?} (median), {high:.1?} (99 %), {slowest:.1?} (slowest)")
    }
}

/// So many scrapes, each by a connection of its own, as Prometheus does after a restart.
pub(crate) fn run(address: SocketAddr, number: usize) -> Result<Times> {
    let mut times = Vec::new();
    for _ in 0..number {
        times.push(scrape(address)?);
        thread::sleep(PAUSE);
    }
    times.sort();
    let at =
        |part: usize| times.get((times.len() * part / 100).min(times.len() - 1)).copied().unwrap_or_default();
    Ok(Times { median: at(50), high: at(99), slowest: at(100) })
}

fn scrape(address: SocketAddr) -> Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let took = begun.elapsed();
    ensure!(
        answer.starts_with(b"HTTP/1.0 200") || answer.starts_with(b"HTTP/1.1 200"),
        "a scrape was not answered: {}",
        String::from_utf8_lossy(answer.get(..60).unwrap_or(&answer))
    );
    Ok(took)
}
