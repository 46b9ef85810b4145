//! Losing connections in every way that there is, one way after the other, each on a listener of its own.
use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use super::{
    Client, ClientError, HandshakeId, Ledger, Listener, ListenerError, NetworkError, PrivateNetwork, Proof,
    counters::PortCounter, steps, verdict::Agreement,
};
use crate::{
    model::Model,
    readers::netstat::{self, NetstatError},
    sample::NetstatSample,
};

/// How long anything may take: an emulated machine is slow.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long the probe and the kernel may disagree: a hook runs an instant after the kernel has counted.
const DISAGREEMENT: Duration = Duration::from_secs(2);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(5);

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
    let begun = Instant::now();
    let network = PrivateNetwork::new()?;
    let client = Client::open(&network)?;
    let mut exercise = Exercise { network, client, expectations: vec![], step: "", kept: vec![] };
    for (name, step) in steps::STEPS {
        exercise.step = name;
        step(&mut exercise)?;
        // Where drops are told apart by the interval in which they happened, each step is one.
        read();
    }
    let proof = exercise.compare(read)?;
    Ok(Proof { seconds: begun.elapsed().as_secs_f64(), ..proof })
}

/// The network, and what is expected of it so far.
pub(super) struct Exercise {
    pub(super) network: PrivateNetwork,
    pub(super) client: Client,
    expectations: Vec<Expectation>,
    step: &'static str,
    /// What has to stay open: a closed listener resets its connections.
    kept: Vec<(Listener, Vec<OwnedFd>)>,
}

impl Exercise {
    pub(super) fn listen(&self, address: IpAddr, backlog: u16) -> Result<Listener, ProveError> {
        Ok(Listener::open(&self.network, address, backlog)?)
    }

    pub(super) fn demand(&mut self, listener: &Listener, expected: &[(PortCounter, u64)]) {
        let (step, listener) = (self.step, listener.address());
        let expectation = |&(counter, count)| Expectation { step, listener, counter, count };
        self.expectations.extend(expected.iter().map(expectation));
    }

    pub(super) fn kernel(&self) -> Result<NetstatSample, ProveError> {
        Ok(self.network.run(netstat::read)??)
    }

    /// Waits until the namespace's counters fulfil a condition.
    pub(super) fn wait_for(
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
    pub(super) fn half_open(
        &mut self,
        server: SocketAddr,
        count: u32,
    ) -> Result<Vec<HandshakeId>, ProveError> {
        let answered = self.client.ledger().handshakes_answered + u64::from(count);
        let ids = self.send_syns(server, count)?;
        let all = |ledger: &Ledger| ledger.handshakes_answered >= answered;
        self.client.wait("every SYN is answered", PATIENCE, all)?;
        Ok(ids)
    }

    pub(super) fn send_syns(
        &mut self,
        server: SocketAddr,
        count: u32,
    ) -> Result<Vec<HandshakeId>, ProveError> {
        (0..count).map(|_| Ok(self.client.syn(server)?)).collect()
    }

    /// Handshakes from the first to the last packet, one after the other, each in the accept queue
    /// before the next one begins.
    pub(super) fn establish(&mut self, server: SocketAddr, count: u32) -> Result<(), ProveError> {
        for _ in 0..count {
            for id in self.half_open(server, 1)? {
                self.client.last_ack(id)?;
            }
        }
        Ok(())
    }

    /// Accepts as many connections.
    pub(super) fn accept(&self, listener: &Listener, count: u32) -> Result<Vec<OwnedFd>, ProveError> {
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

    pub(super) fn keep(&mut self, listener: Listener, connections: Vec<OwnedFd>) {
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
