//! The ways in which connections are lost, one after the other, each on a listener of its own.
mod cookies;
mod fast_open;
mod request_errors;
mod stranded;
mod synacks;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    HandshakeId, Ledger, Listener,
    counters::{
        ABORTED, ACCEPT_QUEUE_HIGHEST, ACCEPT_WAITS, ACCEPTED, ACK_ACCEPT_QUEUE_FULL, BACKLOG_REQUESTED,
        CLOSED_UNACCEPTED, CONNECTIONS_REFUSED, DROPS, ESTABLISHED, EXPIRED, LAST_ACK_RECEIVED, OVERFLOWS,
        PortCounter, SYN_ACCEPT_QUEUE_FULL, SYN_BACKLOG_RESERVE, SYN_OTHER, SYN_QUEUE_FULL, SYN_QUEUED,
        SYN_RECEIVED,
    },
    exercise::{Exercise, PATIENCE, ProveError},
};

type StepFunction = fn(&mut Exercise) -> Result<(), ProveError>;

/// In this order: settings of the namespace stay as a step leaves them.
pub(super) const STEPS: &[(&str, StepFunction)] = &[
    ("accepted", accepted),
    ("SYNs meet a full accept queue", |exercise| syns_meet_a_full_accept_queue(exercise, IPV4)),
    ("the same by IPv6", |exercise| syns_meet_a_full_accept_queue(exercise, IPV6)),
    ("the same by IPv4 to a dual-stack listener", |exercise| syns_meet_a_full_accept_queue(exercise, BOTH)),
    ("last ACKs meet a full accept queue", |exercise| last_acks_meet_a_full_accept_queue(exercise, IPV4)),
    ("the same by IPv6", |exercise| last_acks_meet_a_full_accept_queue(exercise, IPV6)),
    ("the same by IPv4 to a dual-stack listener", |exercise| {
        last_acks_meet_a_full_accept_queue(exercise, BOTH)
    }),
    ("SYNs to a broadcast address", syns_to_a_broadcast_address),
    ("last ACKs meet a full accept queue with tcp_abort_on_overflow", last_acks_are_aborted),
    ("SYN cookies", cookies::come_back),
    ("SYN cookies come back to a full accept queue", |exercise| {
        cookies::meet_a_full_accept_queue(exercise, IPV4)
    }),
    ("the same by IPv6", |exercise| cookies::meet_a_full_accept_queue(exercise, IPV6)),
    ("the same by IPv4 to a dual-stack listener", |exercise| {
        cookies::meet_a_full_accept_queue(exercise, BOTH)
    }),
    ("a full SYN queue without cookies", a_full_syn_queue),
    ("tcp_max_syn_backlog without cookies", the_reserve_of_tcp_max_syn_backlog),
    ("SYN-ACKs are sent again", synacks::are_sent_again),
    ("ICMP errors end requests", |exercise| request_errors::end_requests(exercise, IPV4)),
    ("the same by IPv6", |exercise| request_errors::end_requests(exercise, IPV6)),
    ("the same by IPv4 to a dual-stack listener", |exercise| request_errors::end_requests(exercise, BOTH)),
    ("SYNs of a client that no route leads to", |exercise| stranded::syns(exercise, IPV4)),
    ("the same by IPv6", |exercise| stranded::syns(exercise, IPV6)),
    ("last ACKs of a client that no route leads to", |exercise| stranded::last_acks(exercise, IPV4)),
    ("the same by IPv6", |exercise| stranded::last_acks(exercise, IPV6)),
    ("TCP Fast Open and full queues", |exercise| fast_open::meets_full_queues(exercise, IPV4)),
    ("the same by IPv6", |exercise| fast_open::meets_full_queues(exercise, IPV6)),
    ("requests expire", requests_expire),
    ("closed with connections unaccepted", closed_unaccepted),
];

const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Where a listener is bound to, and where its clients send to.
#[derive(Clone, Copy)]
struct Way {
    bound_to: IpAddr,
    sent_to: IpAddr,
}

const IPV4: Way = Way { bound_to: LOCALHOST, sent_to: LOCALHOST };
const IPV6: Way = Way { bound_to: IpAddr::V6(Ipv6Addr::LOCALHOST), sent_to: IpAddr::V6(Ipv6Addr::LOCALHOST) };
const BOTH: Way = Way { bound_to: IpAddr::V6(Ipv6Addr::UNSPECIFIED), sent_to: LOCALHOST };

impl Way {
    /// A listener and its address for the clients; nothing on a host without IPv6 where that is needed.
    fn open(self, exercise: &Exercise, backlog: u16) -> Result<Option<(Listener, SocketAddr)>, ProveError> {
        if self.bound_to.is_ipv6() && exercise.network.without_ipv6().is_some() {
            return Ok(None);
        }
        let listener = exercise.listen(self.bound_to, backlog)?;
        let server = SocketAddr::new(self.sent_to, listener.address().port());
        Ok(Some((listener, server)))
    }
}

fn accepted(exercise: &mut Exercise) -> Result<(), ProveError> {
    let listener = exercise.listen(LOCALHOST, 8)?;
    exercise.establish(listener.address(), 4)?;
    let connections = exercise.accept(&listener, 4)?;
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, 4),
            (SYN_QUEUED, 4),
            (LAST_ACK_RECEIVED, 4),
            (ESTABLISHED, 4),
            (ACCEPTED, 4),
            (ACCEPT_WAITS, 4),
            (ACCEPT_QUEUE_HIGHEST, 4),
            (BACKLOG_REQUESTED, 8),
            (OVERFLOWS, 0),
            (DROPS, 0),
        ],
    );
    exercise.keep(listener, connections);
    Ok(())
}

fn syns_meet_a_full_accept_queue(exercise: &mut Exercise, way: Way) -> Result<(), ProveError> {
    const REFUSED: u32 = 7;
    let Some((listener, server)) = way.open(exercise, 4)? else { return Ok(()) };
    let fit = listener.capacity();
    exercise.establish(server, fit)?;
    let before = exercise.kernel()?.listen_overflows;
    let refused = exercise.send_syns(server, REFUSED)?;
    for id in refused {
        exercise.client.syn_again(id)?;
    }
    let dropped = u64::from(2 * REFUSED);
    exercise.wait_for("every SYN is dropped", |kernel| kernel.listen_overflows >= before + dropped)?;
    let (fit, refused) = (u64::from(fit), u64::from(REFUSED));
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, fit + dropped),
            (SYN_QUEUED, fit),
            (ESTABLISHED, fit),
            (OVERFLOWS, dropped),
            (SYN_ACCEPT_QUEUE_FULL, dropped),
            (DROPS, dropped),
            (CONNECTIONS_REFUSED, refused),
            (ACCEPT_QUEUE_HIGHEST, fit),
        ],
    );
    exercise.keep(listener, vec![]);
    Ok(())
}

fn last_acks_meet_a_full_accept_queue(exercise: &mut Exercise, way: Way) -> Result<(), ProveError> {
    const LATE: u32 = 5;
    let Some((listener, server)) = way.open(exercise, 8)? else { return Ok(()) };
    let late = exercise.half_open(server, LATE)?;
    exercise.establish(server, listener.capacity())?;
    let before = exercise.kernel()?.listen_overflows;
    for id in &late {
        exercise.client.last_ack(*id)?;
        exercise.client.data(*id, b"x")?;
    }
    let refused = u64::from(2 * LATE);
    exercise.wait_for("every last ACK is refused", |kernel| kernel.listen_overflows >= before + refused)?;
    let fit = u64::from(listener.capacity());
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, fit + u64::from(LATE)),
            (SYN_QUEUED, fit + u64::from(LATE)),
            (LAST_ACK_RECEIVED, fit + refused),
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

/// A SYN that came to a broadcast address is refused before `tcp_conn_request()` sees it.
fn syns_to_a_broadcast_address(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 3;
    let listener = exercise.listen(Ipv4Addr::UNSPECIFIED.into(), 8)?;
    let broadcast = SocketAddr::new(Ipv4Addr::new(127, 255, 255, 255).into(), listener.address().port());
    let dropped = u64::from(CLIENTS);
    let before = exercise.kernel()?.listen_drops;
    exercise.send_syns(broadcast, CLIENTS)?;
    exercise.wait_for("every SYN is dropped", |kernel| kernel.listen_drops >= before + dropped)?;
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, dropped),
            (SYN_QUEUED, 0),
            (SYN_OTHER, dropped),
            (OVERFLOWS, 0),
            (DROPS, dropped),
            (CONNECTIONS_REFUSED, dropped),
        ],
    );
    exercise.keep(listener, vec![]);
    Ok(())
}

fn last_acks_are_aborted(exercise: &mut Exercise) -> Result<(), ProveError> {
    const LATE: u32 = 2;
    exercise.network.set_sysctl("ipv4.tcp_abort_on_overflow", 1)?;
    let listener = exercise.listen(LOCALHOST, 4)?;
    let late = exercise.half_open(listener.address(), LATE)?;
    exercise.establish(listener.address(), listener.capacity())?;
    let resets = exercise.client.ledger().resets_received + u64::from(LATE);
    late.into_iter().try_for_each(|id| exercise.client.last_ack(id))?;
    exercise
        .client
        .wait("every late client is reset", PATIENCE, |ledger| ledger.resets_received >= resets)?;
    exercise.network.set_sysctl("ipv4.tcp_abort_on_overflow", 0)?;
    exercise.demand(
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

fn a_full_syn_queue(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 12;
    exercise.network.set_sysctl("ipv4.tcp_syncookies", 0)?;
    let listener = exercise.listen(LOCALHOST, 4)?;
    let (before, answered) = (exercise.kernel()?, exercise.client.ledger().handshakes_answered);
    let ids = exercise.send_syns(listener.address(), CLIENTS)?;
    // How many fit differs from kernel to kernel: the backlog, or one more.
    let after = exercise.wait_for("the SYN queue is full", |kernel| {
        kernel.syn_queue_full_drops - before.syn_queue_full_drops + u64::from(listener.capacity())
            >= u64::from(CLIENTS)
    })?;
    let dropped = after.syn_queue_full_drops - before.syn_queue_full_drops;
    let queued = u64::from(CLIENTS) - dropped;
    let all = |ledger: &Ledger| ledger.handshakes_answered >= answered + queued;
    exercise.client.wait("what fits is answered", PATIENCE, all)?;
    exercise.demand(&listener, &some_syns_are_dropped(queued, SYN_QUEUE_FULL, dropped));
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
    let listener = exercise.listen(LOCALHOST, 64)?;
    let dropped = u64::from(CLIENTS) - QUEUED;
    let before = exercise.kernel()?.listen_drops;
    let ids = exercise.send_syns(listener.address(), CLIENTS)?;
    exercise.wait_for("three quarters are full", |kernel| kernel.listen_drops >= before + dropped)?;
    exercise.demand(&listener, &some_syns_are_dropped(QUEUED, SYN_BACKLOG_RESERVE, dropped));
    reset_answered(exercise, &ids)?;
    exercise.keep(listener, vec![]);
    Ok(())
}

/// Of SYNs by as many clients, sent once, what does not come into the SYN queue is dropped for one cause.
const fn some_syns_are_dropped(queued: u64, cause: PortCounter, dropped: u64) -> [(PortCounter, u64); 6] {
    [
        (SYN_RECEIVED, queued + dropped),
        (SYN_QUEUED, queued),
        (cause, dropped),
        (OVERFLOWS, 0),
        (DROPS, dropped),
        (CONNECTIONS_REFUSED, dropped),
    ]
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
    // The first timeout, after a second, is the last.
    exercise.network.set_sysctl("ipv4.tcp_synack_retries", 0)?;
    let listener = exercise.listen(LOCALHOST, 8)?;
    let before = exercise.kernel()?.timeouts;
    exercise.half_open(listener.address(), CLIENTS)?;
    let expired = before + u64::from(CLIENTS);
    exercise.wait_for("every request is given up", |kernel| kernel.timeouts >= expired)?;
    exercise.demand(&listener, &[(EXPIRED, u64::from(CLIENTS)), (ESTABLISHED, 0), (DROPS, 0)]);
    exercise.keep(listener, vec![]);
    Ok(())
}

fn closed_unaccepted(exercise: &mut Exercise) -> Result<(), ProveError> {
    let listener = exercise.listen(LOCALHOST, 4)?;
    let waiting = listener.capacity();
    exercise.establish(listener.address(), waiting)?;
    // The last of them is in the queue once it can be accepted.
    let accepted = exercise.accept(&listener, 1)?;
    let resets = exercise.client.ledger().resets_received + u64::from(waiting - 1);
    exercise.demand(
        &listener,
        &[(ESTABLISHED, u64::from(waiting)), (CLOSED_UNACCEPTED, u64::from(waiting - 1)), (DROPS, 0)],
    );
    drop(listener);
    exercise.client.wait("every client is reset", PATIENCE, |ledger| ledger.resets_received >= resets)?;
    drop(accepted);
    Ok(())
}
