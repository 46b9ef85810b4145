//! The SYN queues of a network namespace, as `ss -tn state syn-recv` lists them: handshakes that wait for
//! their last ACK.
//!
//! The kernel keeps them among all connections of the host, in one hash table since Linux 4.4, so a dump
//! walks that whole table; `pace` says when it is made. Only the numbers are taken from it: a flood of
//! requests makes no flood of objects here.
mod pace;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use netlink_packet_sock_diag::{
    constants::TCP_SYN_RECV,
    inet::{ExtensionFlags, InetResponse, nlas::Nla},
};
use probe_common::handshake::HandshakeCounters;

use self::pace::{Mark, Pace, Step};
use super::{
    handshake::Totals,
    sock_diag::{self, Collector, DumpError, Family, SockDiagError},
};
use crate::sample::{ListenerSample, SynQueueSample, SynQueuesSample};

/// Reads SYN queues, and remembers when it did.
#[derive(Debug)]
pub struct SynQueueReader {
    clock: Instant,
    pace: Pace,
    marks: Option<Marks>,
    /// Whether a hook counts every SYN that is queued.
    queued_is_counted: bool,
    /// How often programs had been left out when this was last told.
    skipped: u64,
}

/// How many SYNs have been queued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Marks {
    by_netns: BTreeMap<u32, u64>,
    /// What may belong to any namespace.
    elsewhere: u64,
}

impl SynQueueReader {
    /// `queued_is_counted`: whether a hook counts every SYN that is queued.
    #[must_use]
    pub fn new(queued_is_counted: bool) -> Self {
        let (pace, clock) = (Pace::default(), Instant::now());
        Self { clock, pace, marks: None, queued_is_counted, skipped: 0 }
    }

    /// A reading begins: these are the hooks' totals before it, if they could be read.
    pub(super) fn begin(&mut self, totals: Option<(&Totals, &HandshakeCounters)>) {
        let totals = totals.filter(|_| self.queued_is_counted);
        self.marks = totals.map(|(ports, other)| Marks {
            by_netns: ports.syn_queued_by_namespace(),
            elsewhere: other.syn_queued.saturating_add(self.skipped),
        });
    }

    /// A reading ends that found these namespaces.
    pub(super) fn end(&mut self, exists: impl Fn(u32) -> bool) {
        self.pace.retain(exists);
    }

    /// So often the kernel left out one of the programs: a queued SYN may be missing in the totals.
    pub fn note_skipped_runs(&mut self, runs: u64) {
        self.skipped = runs;
    }

    /// The SYN queues of the calling thread's network namespace, read now or remembered; `listeners` are
    /// those that listen in it.
    ///
    /// # Errors
    /// When the last dump failed, in one line.
    pub(super) fn read(
        &mut self,
        netns: u32,
        listeners: &[ListenerSample],
    ) -> Result<SynQueuesSample, String> {
        if listeners.is_empty() {
            return Ok(SynQueuesSample::default());
        }
        let mark = self.marks.as_ref().map(|marks| marks.of(netns));
        let began = self.clock.elapsed();
        match self.pace.next_step(netns, began, mark) {
            Step::StillEmpty => return Ok(SynQueuesSample::default()),
            Step::Wait => {}
            Step::Dump => {
                let outcome = dump(listeners).map_err(|error| error.to_string());
                self.pace.note(netns, (began, self.clock.elapsed()), mark, outcome);
            }
        }
        let Some(last) = self.pace.last(netns) else { return Ok(SynQueuesSample::default()) };
        let age = self.clock.elapsed().saturating_sub(last.ended);
        last.outcome.clone().map(|queues| SynQueuesSample { age_milliseconds: milliseconds(age), queues })
    }
}

impl Marks {
    fn of(&self, netns: u32) -> Mark {
        (self.by_netns.get(&netns).copied().unwrap_or_default(), self.elsewhere)
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Dumps the requests of those versions of IP that somebody listens with: a request is of its listener's
/// family, whatever its SYN came with (`ireq_family`, which inet_reqsk_alloc() of net/ipv4/tcp_input.c copies).
fn dump(listeners: &[ListenerSample]) -> Result<Vec<SynQueueSample>, SockDiagError> {
    let mut queues = Vec::new();
    for family in [Family::Inet, Family::Inet6] {
        let of_family = |socket: &ListenerSample| socket.address.is_ipv6() == (family == Family::Inet6);
        if listeners.iter().any(of_family) {
            queues.extend(sock_diag::read::<Requests>(family)?.into_queues());
        }
    }
    Ok(queues)
}

/// How many requests each local end has.
#[derive(Debug, Default)]
struct Requests {
    lengths: BTreeMap<(IpAddr, u16), u64>,
}

impl Requests {
    fn into_queues(self) -> impl Iterator<Item = SynQueueSample> {
        let queue = |((address, port), length)| SynQueueSample { address, port, length };
        self.lengths.into_iter().map(queue)
    }
}

impl Collector for Requests {
    const WHAT: &'static str = "requests";
    // The kernel adds TCP_NEW_SYN_RECV, the state of requests, and shows it as this one.
    const STATE: u8 = TCP_SYN_RECV;
    const EXTENSIONS: ExtensionFlags = ExtensionFlags::empty();
    const INNUMERABLE: bool = true;

    fn add(&mut self, socket: &InetResponse) -> Result<(), DumpError> {
        if !is_full_socket(socket) {
            let local = &socket.header.socket_id;
            let length = self.lengths.entry((local.source_address, local.source_port)).or_default();
            *length = length.saturating_add(1);
        }
        Ok(())
    }
}

/// Whether it is no request but a socket in TCP_SYN_RECV: a connection by Fast Open, which waits in the accept
/// queue already and has no place in the SYN queue, or one of two ends that opened at once.
/// inet_diag_msg_attrs_fill() gives every socket INET_DIAG_SHUTDOWN, inet_req_diag_fill() no request.
fn is_full_socket(socket: &InetResponse) -> bool {
    socket.nlas.iter().any(|attribute| matches!(attribute, Nla::Shutdown(_)))
}

#[cfg(test)]
mod tests;
