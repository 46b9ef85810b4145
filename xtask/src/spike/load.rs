//! The spike itself: one thread opens all connections, evenly spread, and follows them by epoll.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Poll, Token};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::exchange::Exchange;
use super::tally::{Outcome, Tally};

/// Descriptors beside the connections' own.
const OTHER_DESCRIPTORS: u64 = 32;

/// Connections that are opened before their events are looked at again.
const OPENED_AT_ONCE: usize = 32;

/// What a spike shall be.
pub(crate) struct Plan {
    pub(crate) to: SocketAddr,
    pub(crate) path: String,
    pub(crate) connections: usize,
    /// From the first connection to the last.
    pub(crate) within: Duration,
    /// From a connection's opening to the end of its handshake.
    pub(crate) connect_timeout: Duration,
    /// From a connection's opening to the end of its answer.
    pub(crate) timeout: Duration,
}

/// Makes the spike and waits until every connection has ended.
pub(crate) fn run(plan: &Plan) -> Result<Tally> {
    allow_descriptors(plan.connections as u64 + OTHER_DESCRIPTORS)?;
    let mut spike = Spike::new(plan)?;
    let mut events = Events::with_capacity(1024);
    while !spike.is_over() {
        spike.open_what_is_due();
        let wait = spike.time_until_something_is_due();
        match spike.poll.poll(&mut events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                return Err(error).context("spike: epoll failed");
            }
            _ => {}
        }
        for event in &events {
            spike.advance(event.token().0);
        }
        spike.end_what_is_late();
    }
    Ok(spike.into_tally())
}

/// Raises this process's limit as far as it is allowed to.
fn allow_descriptors(needed: u64) -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    limit.current = Some(needed);
    if limit.maximum.is_some_and(|maximum| maximum < needed) {
        limit.maximum = Some(needed);
    }
    let raised = setrlimit(Resource::Nofile, limit);
    ensure!(
        raised.is_ok(),
        "spike: {needed} descriptors are needed and not allowed (remedy: ulimit -n {needed}, as root)"
    );
    Ok(())
}

struct Spike<'a> {
    plan: &'a Plan,
    request: Vec<u8>,
    poll: Poll,
    /// `None` where a connection has ended.
    exchanges: Vec<Option<Exchange>>,
    /// Both in the order of their opening, which is that of their deadlines.
    handshakes_due: VecDeque<(Instant, usize)>,
    answers_due: VecDeque<(Instant, usize)>,
    started: Instant,
    opened_last: Instant,
    tally: Tally,
    waits: Vec<Duration>,
}

impl<'a> Spike<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        let now = Instant::now();
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
            plan.path, plan.to
        );
        Ok(Self {
            plan,
            request: request.into_bytes(),
            poll: Poll::new().context("spike: no epoll")?,
            exchanges: Vec::with_capacity(plan.connections),
            handshakes_due: VecDeque::with_capacity(plan.connections),
            answers_due: VecDeque::with_capacity(plan.connections),
            started: now,
            opened_last: now,
            tally: Tally::default(),
            waits: Vec::with_capacity(plan.connections),
        })
    }

    fn is_over(&self) -> bool {
        self.tally.connections == self.plan.connections as u64
    }

    fn open_what_is_due(&mut self) {
        let due = due_by(self.started.elapsed(), self.plan.within, self.plan.connections);
        for index in self.exchanges.len()..due.min(self.exchanges.len() + OPENED_AT_ONCE) {
            self.opened_last = Instant::now();
            match Exchange::open(self.plan.to, self.poll.registry(), Token(index)) {
                Ok(exchange) => {
                    let handshake = self.plan.connect_timeout.min(self.plan.timeout);
                    self.handshakes_due.push_back((exchange.opened + handshake, index));
                    self.answers_due.push_back((exchange.opened + self.plan.timeout, index));
                    self.exchanges.push(Some(exchange));
                }
                Err(error) => {
                    self.exchanges.push(None);
                    self.tally.count(Outcome::of_error(&error));
                }
            }
        }
    }

    fn time_until_something_is_due(&self) -> Duration {
        let opened = self.exchanges.len();
        let next_opening = (opened < self.plan.connections).then(|| {
            let due = due_at(opened, self.plan.within, self.plan.connections);
            due.saturating_sub(self.started.elapsed())
        });
        let deadlines = [&self.handshakes_due, &self.answers_due].into_iter().filter_map(VecDeque::front);
        let next_deadlines =
            deadlines.map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()));
        next_opening.into_iter().chain(next_deadlines).min().unwrap_or_default()
    }

    fn advance(&mut self, index: usize) {
        let Some(slot) = self.exchanges.get_mut(index) else { return };
        let Some(exchange) = slot else { return };
        let Some(outcome) = exchange.advance(&self.request) else { return };
        if outcome == Outcome::Answered {
            self.waits.push(exchange.opened.elapsed());
        }
        *slot = None;
        self.tally.count(outcome);
    }

    /// Closes them as a client's library does: by close(), not by a reset.
    fn end_what_is_late(&mut self) {
        while let Some(index) = pop_late(&mut self.handshakes_due) {
            self.end_if_late(index, Exchange::is_connecting);
        }
        while let Some(index) = pop_late(&mut self.answers_due) {
            self.end_if_late(index, |_| true);
        }
    }

    /// A busy client must not take its own slowness for the server's: what the socket has is taken first.
    fn end_if_late(&mut self, index: usize, is_late: impl Fn(&Exchange) -> bool) {
        self.advance(index);
        if let Some(slot) = self.exchanges.get_mut(index)
            && let Some(exchange) = slot.take_if(|exchange| is_late(exchange))
        {
            self.tally.count(exchange.timed_out());
        }
    }

    fn into_tally(self) -> Tally {
        let mut tally = self.tally;
        tally.seconds_to_open = (self.opened_last - self.started).as_secs_f64();
        tally.set_waits(self.waits);
        tally
    }
}

/// The first of them, if its time is over.
fn pop_late(queue: &mut VecDeque<(Instant, usize)>) -> Option<usize> {
    let late = queue.front().is_some_and(|(deadline, _)| *deadline <= Instant::now());
    if late { queue.pop_front().map(|(_, index)| index) } else { None }
}

/// How many of all connections should have been opened so far.
fn due_by(elapsed: Duration, within: Duration, connections: usize) -> usize {
    if elapsed >= within {
        return connections;
    }
    let gaps = connections.saturating_sub(1) as u128;
    let passed = gaps * elapsed.as_nanos() / within.as_nanos().max(1);
    usize::try_from(passed + 1).unwrap_or(connections).min(connections)
}

/// When a connection is opened: the first at once, the last when the time is over.
fn due_at(index: usize, within: Duration, connections: usize) -> Duration {
    let gaps = u32::try_from(connections.saturating_sub(1)).unwrap_or(u32::MAX).max(1);
    within.mul_f64(index as f64 / f64::from(gaps))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn plan(to: SocketAddr, connections: usize, timeout: Duration) -> Plan {
        let within = Duration::from_millis(20);
        Plan { to, path: "/".to_owned(), connections, within, connect_timeout: timeout, timeout }
    }

    #[test]
    fn connections_are_spread_evenly() {
        let second = Duration::from_secs(1);
        let due = |milliseconds| due_by(Duration::from_millis(milliseconds), second, 11);
        assert_eq!([due(0), due(99), due(100), due(999), due(1000), due(5000)], [1, 1, 2, 10, 11, 11]);
        assert_eq!(due_by(Duration::ZERO, Duration::ZERO, 5), 5);
        assert_eq!(due_at(10, second, 11), second);
        assert_eq!(due_at(0, second, 1), Duration::ZERO);
    }

    #[test]
    fn a_server_that_answers_is_counted_as_such() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            for answer in ["HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 500 No\r\n\r\n", ""] {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 256]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        let tally = run(&plan(to, 3, Duration::from_secs(60))).unwrap();
        server.join().unwrap();
        assert_eq!((tally.answered, tally.wrong_answers, tally.closed), (1, 1, 1), "{tally:?}");
        assert!(tally.median_seconds.is_some());
    }

    #[test]
    fn a_server_that_never_answers_costs_a_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let tally = run(&plan(to, 2, Duration::from_millis(100))).unwrap();
        assert_eq!((tally.connections, tally.answer_timeouts), (2, 2), "{tally:?}");
        drop(listener);
        assert_eq!(run(&plan(to, 2, Duration::from_secs(60))).unwrap().refused, 2);
    }
}
