//! Many requests, several on each connection, without waiting for answers in between.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::requests::{self, Chance};

/// On one connection.
const REQUESTS_IN_A_ROW: usize = 64;
const THREADS: u64 = 2;
/// An answer that takes longer never comes.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Flooded {
    pub(crate) requests: usize,
    pub(crate) answers: usize,
    pub(crate) connections: usize,
    pub(crate) took: Duration,
}

/// Sends at least so many requests.
pub(crate) fn run(address: SocketAddr, requests: usize, seed: u64) -> Result<Flooded> {
    let begun = Instant::now();
    let share = requests.div_ceil(usize::try_from(THREADS)?);
    let threads: Vec<_> = (0..THREADS)
        .map(|number| thread::spawn(move || flood(address, share, Chance::new(seed * THREADS + number + 1))))
        .collect();
    let mut all = Flooded::default();
    for thread in threads {
        let one = thread.join().map_err(|_| anyhow::anyhow!("a thread of the flood panicked"))??;
        all.requests += one.requests;
        all.answers += one.answers;
        all.connections += one.connections;
    }
    all.took = begun.elapsed();
    Ok(all)
}

fn flood(address: SocketAddr, requests: usize, mut chance: Chance) -> Result<Flooded> {
    let mut flooded = Flooded::default();
    while flooded.requests < requests {
        let mut bytes = Vec::new();
        (1..REQUESTS_IN_A_ROW).for_each(|_| requests::kept(&mut chance, &mut bytes));
        requests::last(&mut chance, &mut bytes);
        let answers = answers_to(address, &bytes).context("flood: no connection")?;
        // The last one may have been no request at all.
        ensure!(answers + 1 >= REQUESTS_IN_A_ROW, "flood: {answers} answers to {REQUESTS_IN_A_ROW} requests");
        flooded.requests += REQUESTS_IN_A_ROW;
        flooded.answers += answers;
        flooded.connections += 1;
    }
    Ok(flooded)
}

/// How many answers come before the server hangs up.
fn answers_to(address: SocketAddr, bytes: &[u8]) -> io::Result<usize> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // The server may hang up before all is sent; its answers count.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut answers = Vec::new();
    match stream.read_to_end(&mut answers) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
        _ => {}
    }
    let begins = |window: &[u8]| window == b"HTTP/1.1 " || window == b"HTTP/1.0 ";
    Ok(answers.windows(9).filter(|window| begins(window)).count())
}
