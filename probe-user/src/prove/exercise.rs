//! Losing connections in every way that there is, one way after the other, each on a listener of its own.
use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use super::{
    Client, ClientError, HandshakeId, Listener, ListenerError, NetworkError, PrivateNetwork, Proof,
    verdict::Agreement,
};
use crate::{
    model::{Handshakes, Model, audit::AuditedCounter},
    readers::netstat::{self, NetstatError},
    sample::NetstatSample,
};

/// How long anything may take: an emulated machine is slow.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the probe and the kernel may disagree: a hook runs an instant after the kernel has counted.
const DISAGREEMENT: Duration = Duration::from_secs(2);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(5);

/// A counter of a port, as the proof asks for it.
#[derive(Clone, Copy)]
pub(super) struct PortCounter {
    /// The metric, without its prefix.
    pub(super) name: &'static str,
    /// Where the model has it.
    pub(super) of: fn(&Handshakes) -> Option<u64>,
    /// The namespace's counter of which some may be declared as nobody's.
    pub(super) audited: Option<AuditedCounter>,
}

const fn counter(name: &'static str, of: fn(&Handshakes) -> Option<u64>) -> PortCounter {
    PortCounter { name, of, audited: None }
}

const SYN_RECEIVED: PortCounter = counter("syn_received", |port| port.syn_received);
const SYN_QUEUED: PortCounter = counter("syn_queued", |port| port.syn_queued);
const ESTABLISHED: PortCounter = counter("established", |port| port.established);
const OVERFLOWS: PortCounter = PortCounter {
    audited: Some(AuditedCounter::ListenOverflows),
    ..counter("accept_queue_overflows", |port| port.accept_queue_overflows.total())
};
const DROPS: PortCounter = PortCounter {
    audited: Some(AuditedCounter::ListenDrops),
    ..counter("listen_drops", |port| port.listen_drops)
};
const SYN_ACCEPT_QUEUE_FULL: PortCounter =
    counter("syn_dropped, accept queue full", |port| port.syn_dropped.accept_queue_full);
const SYN_QUEUE_FULL: PortCounter =
    counter("syn_dropped, SYN queue full", |port| port.syn_dropped.syn_queue_full);
const SYN_BACKLOG_RESERVE: PortCounter =
    counter("syn_dropped, tcp_max_syn_backlog", |port| port.syn_dropped.syn_backlog_reserve);
const ACK_ACCEPT_QUEUE_FULL: PortCounter =
    counter("last_ack_refused, accept queue full", |port| port.last_ack_refused.accept_queue_full);
const CONNECTIONS_REFUSED: PortCounter = counter("connections_refused", |port| port.connections_refused);
const COOKIES_SENT: PortCounter = counter("syncookies_sent", |port| port.syncookies_sent);
const COOKIES_RECEIVED: PortCounter = counter("syncookies_received", |port| port.syncookies_received);
const COOKIES_FAILED: PortCounter = counter("syncookies_failed", |port| port.syncookies_failed);
const ABORTED: PortCounter = counter("requests_aborted", |port| port.requests_aborted);
const EXPIRED: PortCounter = counter("requests_expired", |port| port.requests_expired);
const CLOSED_UNACCEPTED: PortCounter = counter("closed_unaccepted", |port| port.closed_unaccepted);

/// What a counter of a listener has to be.
pub(super) struct Expectation {
    pub(super) step: &'static str,
    pub(super) listener: SocketAddr,
    pub(super) counter: PortCounter,
    pub(super) count: u64,
}

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    /// No private network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The client failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A listener failed.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// The namespace's counters cannot be read.
    #[error(transparent)]
    Netstat(#[from] NetstatError),
    /// Something did not come about.
    #[error("not within {} s: {what} (the kernel has {kernel:?})", PATIENCE.as_secs())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// The namespace's counters.
        kernel: Box<NetstatSample>,
    },
}

/// Makes a private network, loses connections in it in every way, and compares. `read` gives what the
/// probe counts at the moment.
///
/// # Errors
/// When the network, its sockets or its counters cannot be had; never because of a wrong count.
pub fn prove(read: &mut dyn FnMut() -> Model) -> Result<Proof, ProveError> {
    let network = PrivateNetwork::new()?;
    let client = Client::open(&network)?;
    let mut exercise = Exercise { network, client, expectations: vec![], step: "", kept: vec![] };
    for (name, step) in STEPS {
        exercise.step = name;
        step(&mut exercise)?;
        // Where drops are told apart by the interval in which they happened, each step is one.
        read();
    }
    exercise.compare(read)
}

type StepFunction = fn(&mut Exercise) -> Result<(), ProveError>;

/// In this order: settings of the namespace stay as a step leaves them.
const STEPS: &[(&str, StepFunction)] = &[
    ("accepted", accepted),
    ("SYNs meet a full accept queue", syns_meet_a_full_accept_queue),
    ("last ACKs meet a full accept queue", last_acks_meet_a_full_accept_queue),
    ("the same with tcp_abort_on_overflow", last_acks_are_aborted),
    ("SYN cookies", syn_cookies),
    ("a full SYN queue without cookies", a_full_syn_queue),
    ("tcp_max_syn_backlog without cookies", the_reserve_of_tcp_max_syn_backlog),
    ("requests expire", requests_expire),
    ("closed with connections unaccepted", closed_unaccepted),
];

/// The network, and what is expected of it so far.
struct Exercise {
    network: PrivateNetwork,
    client: Client,
    expectations: Vec<Expectation>,
    step: &'static str,
    /// What has to stay open: a closed listener resets its connections.
    kept: Vec<(Listener, Vec<OwnedFd>)>,
}

impl Exercise {
    fn listen(&self, backlog: u16) -> Result<Listener, ProveError> {
        Ok(Listener::open(&self.network, backlog)?)
    }

    fn expect(&mut self, listener: &Listener, expected: &[(PortCounter, u64)]) {
        let (step, listener) = (self.step, listener.address());
        let expectation = |&(counter, count)| Expectation { step, listener, counter, count };
        self.expectations.extend(expected.iter().map(expectation));
    }

    fn kernel(&self) -> Result<NetstatSample, ProveError> {
        Ok(self.network.run(netstat::read)??)
    }

    /// Waits until the namespace's counters fulfil a condition.
    fn wait_for(
        &self,
        what: &'static str,
        holds: impl Fn(&NetstatSample) -> bool,
    ) -> Result<NetstatSample, ProveError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let kernel = self.kernel()?;
            if holds(&kernel) {
                return Ok(kernel);
            }
            if Instant::now() > deadline {
                return Err(ProveError::TimedOut { what, kernel: Box::new(kernel) });
            }
            thread::sleep(PAUSE);
        }
    }

    /// SYNs that are answered.
    fn half_open(&mut self, listener: &Listener, count: u32) -> Result<Vec<HandshakeId>, ProveError> {
        let answered = self.client.ledger().handshakes_answered + u64::from(count);
        let ids = self.send_syns(listener, count)?;
        let all = |ledger: &super::Ledger| ledger.handshakes_answered >= answered;
        self.client.wait("every SYN is answered", PATIENCE, all)?;
        Ok(ids)
    }

    fn send_syns(&mut self, listener: &Listener, count: u32) -> Result<Vec<HandshakeId>, ProveError> {
        (0..count).map(|_| Ok(self.client.syn(listener.address())?)).collect()
    }

    /// Handshakes from the first to the last packet, one after the other, each in the accept queue
    /// before the next one begins.
    fn establish(&mut self, listener: &Listener, count: u32) -> Result<(), ProveError> {
        for _ in 0..count {
            for id in self.half_open(listener, 1)? {
                self.client.last_ack(id)?;
            }
        }
        Ok(())
    }

    /// Accepts as many connections.
    fn accept(&self, listener: &Listener, count: u32) -> Result<Vec<OwnedFd>, ProveError> {
        let deadline = Instant::now() + PATIENCE;
        let mut connections = vec![];
        while connections.len() < count as usize {
            match listener.accept()? {
                Some(connection) => connections.push(connection),
                None if Instant::now() > deadline => {
                    let (what, kernel) = ("connections to accept", Box::new(self.kernel()?));
                    return Err(ProveError::TimedOut { what, kernel });
                }
                None => thread::sleep(PAUSE),
            }
        }
        Ok(connections)
    }

    fn keep(&mut self, listener: Listener, connections: Vec<OwnedFd>) {
        self.kept.push((listener, connections));
    }

    /// Compares at an instant at which the kernel's counters do not move.
    fn compare(&self, read: &mut dyn FnMut() -> Model) -> Result<Proof, ProveError> {
        let deadline = Instant::now() + DISAGREEMENT;
        loop {
            let before = self.kernel()?;
            let model = read();
            let after = self.kernel()?;
            let proof = Proof::new(&self.expectations, &after, &model, self.network.inum());
            let settled = proof.rows.iter().all(|row| row.agreement != Agreement::Declared);
            if (before == after && proof.holds() && settled) || Instant::now() > deadline {
                return Ok(proof);
            }
            thread::sleep(PAUSE);
        }
    }
}

fn accepted(exercise: &mut Exercise) -> Result<(), ProveError> {
    let listener = exercise.listen(8)?;
    exercise.establish(&listener, 4)?;
    let connections = exercise.accept(&listener, 4)?;
    exercise.expect(
        &listener,
        &[(SYN_RECEIVED, 4), (SYN_QUEUED, 4), (ESTABLISHED, 4), (OVERFLOWS, 0), (DROPS, 0)],
    );
    exercise.keep(listener, connections);
    Ok(())
}

fn syns_meet_a_full_accept_queue(exercise: &mut Exercise) -> Result<(), ProveError> {
    const REFUSED: u32 = 7;
    let listener = exercise.listen(4)?;
    let fit = listener.capacity();
    exercise.establish(&listener, fit)?;
    let before = exercise.kernel()?.listen_overflows;
    let refused = exercise.send_syns(&listener, REFUSED)?;
    for id in refused {
        exercise.client.syn_again(id)?;
    }
    let dropped = u64::from(2 * REFUSED);
    exercise.wait_for("every SYN is dropped", |kernel| kernel.listen_overflows >= before + dropped)?;
    let (fit, refused) = (u64::from(fit), u64::from(REFUSED));
    exercise.expect(
        &listener,
        &[
            (SYN_RECEIVED, fit + dropped),
            (SYN_QUEUED, fit),
            (ESTABLISHED, fit),
            (OVERFLOWS, dropped),
            (SYN_ACCEPT_QUEUE_FULL, dropped),
            (DROPS, dropped),
            (CONNECTIONS_REFUSED, refused),
        ],
    );
    exercise.keep(listener, vec![]);
    Ok(())
}

fn last_acks_meet_a_full_accept_queue(exercise: &mut Exercise) -> Result<(), ProveError> {
    const LATE: u32 = 5;
    let listener = exercise.listen(8)?;
    let late = exercise.half_open(&listener, LATE)?;
    exercise.establish(&listener, listener.capacity())?;
    let before = exercise.kernel()?.listen_overflows;
    for id in &late {
        exercise.client.last_ack(*id)?;
        exercise.client.data(*id, b"x")?;
    }
    let refused = u64::from(2 * LATE);
    exercise.wait_for("every last ACK is refused", |kernel| kernel.listen_overflows >= before + refused)?;
    let fit = u64::from(listener.capacity());
    exercise.expect(
        &listener,
        &[
            (SYN_RECEIVED, fit + u64::from(LATE)),
            (SYN_QUEUED, fit + u64::from(LATE)),
            (ESTABLISHED, fit),
            (OVERFLOWS, refused),
            (ACK_ACCEPT_QUEUE_FULL, refused),
            (DROPS, refused),
            (CONNECTIONS_REFUSED, u64::from(LATE)),
            (ABORTED, 0),
        ],
    );
    // They would be given up at some time or other.
    late.into_iter().try_for_each(|id| exercise.client.reset(id))?;
    exercise.keep(listener, vec![]);
    Ok(())
}

fn last_acks_are_aborted(exercise: &mut Exercise) -> Result<(), ProveError> {
    const LATE: u32 = 2;
    exercise.network.set_sysctl("ipv4.tcp_abort_on_overflow", 1)?;
    let listener = exercise.listen(4)?;
    let late = exercise.half_open(&listener, LATE)?;
    exercise.establish(&listener, listener.capacity())?;
    let resets = exercise.client.ledger().resets_received + u64::from(LATE);
    late.into_iter().try_for_each(|id| exercise.client.last_ack(id))?;
    exercise
        .client
        .wait("every late client is reset", PATIENCE, |ledger| ledger.resets_received >= resets)?;
    exercise.network.set_sysctl("ipv4.tcp_abort_on_overflow", 0)?;
    exercise.expect(
        &listener,
        &[
            (OVERFLOWS, u64::from(LATE)),
            (ACK_ACCEPT_QUEUE_FULL, u64::from(LATE)),
            (ABORTED, u64::from(LATE)),
            (CONNECTIONS_REFUSED, u64::from(LATE)),
        ],
    );
    exercise.keep(listener, vec![]);
    Ok(())
}

fn syn_cookies(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 6;
    const STRAYS: u32 = 2;
    // Every SYN is answered with a cookie.
    exercise.network.set_sysctl("ipv4.tcp_syncookies", 2)?;
    let listener = exercise.listen(8)?;
    exercise.establish(&listener, CLIENTS)?;
    let connections = exercise.accept(&listener, CLIENTS)?;
    let resets = exercise.client.ledger().resets_received + u64::from(STRAYS);
    for _ in 0..STRAYS {
        exercise.client.bad_cookie_ack(listener.address())?;
    }
    exercise.client.wait("every stray is reset", PATIENCE, |ledger| ledger.resets_received >= resets)?;
    let clients = u64::from(CLIENTS);
    exercise.expect(
        &listener,
        &[
            (SYN_RECEIVED, clients),
            (SYN_QUEUED, 0),
            (COOKIES_SENT, clients),
            (COOKIES_RECEIVED, clients),
            (COOKIES_FAILED, u64::from(STRAYS)),
            (ESTABLISHED, clients),
            (DROPS, 0),
        ],
    );
    exercise.keep(listener, connections);
    Ok(())
}

fn a_full_syn_queue(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 12;
    exercise.network.set_sysctl("ipv4.tcp_syncookies", 0)?;
    let listener = exercise.listen(4)?;
    let (before, answered) = (exercise.kernel()?, exercise.client.ledger().handshakes_answered);
    let ids = exercise.send_syns(&listener, CLIENTS)?;
    // How many fit differs from kernel to kernel: the backlog, or one more.
    let after = exercise.wait_for("the SYN queue is full", |kernel| {
        kernel.syn_queue_full_drops - before.syn_queue_full_drops + u64::from(listener.capacity())
            >= u64::from(CLIENTS)
    })?;
    let dropped = after.syn_queue_full_drops - before.syn_queue_full_drops;
    let queued = u64::from(CLIENTS) - dropped;
    let all = |ledger: &super::Ledger| ledger.handshakes_answered >= answered + queued;
    exercise.client.wait("what fits is answered", PATIENCE, all)?;
    exercise.expect(
        &listener,
        &[
            (SYN_RECEIVED, u64::from(CLIENTS)),
            (SYN_QUEUED, queued),
            (SYN_QUEUE_FULL, dropped),
            (OVERFLOWS, 0),
            (DROPS, dropped),
            (CONNECTIONS_REFUSED, dropped),
        ],
    );
    reset_answered(exercise, &ids)?;
    exercise.keep(listener, vec![]);
    Ok(())
}

fn the_reserve_of_tcp_max_syn_backlog(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 12;
    const MOST: u64 = 8;
    // tcp_conn_request() refuses while less than a quarter of it is left: with 7 in the queue.
    const QUEUED: u64 = 7;
    exercise.network.set_sysctl("ipv4.tcp_max_syn_backlog", MOST)?;
    let listener = exercise.listen(64)?;
    let dropped = u64::from(CLIENTS) - QUEUED;
    let before = exercise.kernel()?.listen_drops;
    let ids = exercise.send_syns(&listener, CLIENTS)?;
    exercise.wait_for("three quarters are full", |kernel| kernel.listen_drops >= before + dropped)?;
    exercise.expect(
        &listener,
        &[
            (SYN_RECEIVED, u64::from(CLIENTS)),
            (SYN_QUEUED, QUEUED),
            (SYN_BACKLOG_RESERVE, dropped),
            (OVERFLOWS, 0),
            (DROPS, dropped),
            (CONNECTIONS_REFUSED, dropped),
        ],
    );
    reset_answered(exercise, &ids)?;
    exercise.keep(listener, vec![]);
    Ok(())
}

/// Ends half-open handshakes, so that nothing is sent again for them later.
fn reset_answered(exercise: &mut Exercise, ids: &[HandshakeId]) -> Result<(), ProveError> {
    exercise.client.receive()?;
    let answered = |id: &&HandshakeId| {
        exercise.client.ledger().handshake(**id).is_some_and(|handshake| handshake.synacks > 0)
    };
    let answered: Vec<_> = ids.iter().filter(answered).copied().collect();
    Ok(answered.into_iter().try_for_each(|id| exercise.client.reset(id))?)
}

fn requests_expire(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 3;
    exercise.network.set_sysctl("ipv4.tcp_syncookies", 1)?;
    // The first timeout, after a second, is the last.
    exercise.network.set_sysctl("ipv4.tcp_synack_retries", 0)?;
    let listener = exercise.listen(8)?;
    let before = exercise.kernel()?.timeouts;
    exercise.half_open(&listener, CLIENTS)?;
    let expired = before + u64::from(CLIENTS);
    exercise.wait_for("every request is given up", |kernel| kernel.timeouts >= expired)?;
    exercise.expect(&listener, &[(EXPIRED, u64::from(CLIENTS)), (ESTABLISHED, 0), (DROPS, 0)]);
    exercise.keep(listener, vec![]);
    Ok(())
}

fn closed_unaccepted(exercise: &mut Exercise) -> Result<(), ProveError> {
    let listener = exercise.listen(4)?;
    let waiting = listener.capacity();
    exercise.establish(&listener, waiting)?;
    // The last of them is in the queue once it can be accepted.
    let accepted = exercise.accept(&listener, 1)?;
    let resets = exercise.client.ledger().resets_received + u64::from(waiting - 1);
    exercise.expect(
        &listener,
        &[(ESTABLISHED, u64::from(waiting)), (CLOSED_UNACCEPTED, u64::from(waiting - 1)), (DROPS, 0)],
    );
    drop(listener);
    exercise.client.wait("every client is reset", PATIENCE, |ledger| ledger.resets_received >= resets)?;
    drop(accepted);
    Ok(())
}
