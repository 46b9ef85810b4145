//! TCP Fast Open: connections that are in the accept queue before their last ACK, and full queues.
use std::net::SocketAddr;

use super::{
    super::{
        HandshakeId, Ledger,
        counters::{
            ACCEPT_QUEUE_HIGHEST, ACK_ACCEPT_QUEUE_FULL, CONNECTIONS_REFUSED, DROPS, ESTABLISHED, OVERFLOWS,
            SYN_ACCEPT_QUEUE_FULL, SYN_QUEUED, SYN_RECEIVED,
        },
        exercise::{Exercise, PATIENCE, ProveError},
    },
    Way,
};

/// `net.ipv4.tcp_fastopen`: servers take it, without a cookie, and every listener for as many as its backlog says.
const SERVERS: u32 = 0x2 | 0x200 | 0x400;
const BACKLOG: u16 = 4;

/// Where the queue of unfinished fast ones is full a SYN is one like any other; where the accept queue is, it is dropped.
pub(super) fn meets_full_queues(exercise: &mut Exercise, way: Way) -> Result<(), ProveError> {
    const DROPPED: u32 = 3;
    exercise.network.set_sysctl("ipv4.tcp_fastopen", SERVERS)?;
    let Some((listener, server)) = way.open(exercise, BACKLOG)? else { return Ok(()) };
    let fast = open_fast(exercise, server, u32::from(BACKLOG))?;
    let slow = open_fast(exercise, server, 2)?;
    // Finished, one of them fills the accept queue.
    let [first, second] = *slow else { return Ok(()) };
    exercise.client.last_ack(first)?;
    let before = exercise.kernel()?.listen_overflows;
    let dropped = (0..DROPPED).map(|_| exercise.client.syn_with_data(server, b"x"));
    dropped.collect::<Result<Vec<_>, _>>()?;
    exercise.client.last_ack(second)?;
    let overflows = u64::from(DROPPED) + 1;
    exercise.wait_for("both stages overflow", |kernel| kernel.listen_overflows >= before + overflows)?;
    exercise.network.set_sysctl("ipv4.tcp_fastopen", 0)?;
    // The tracepoint plan before 6.3 counts what is finished.
    fast.into_iter().try_for_each(|id| exercise.client.last_ack(id))?;
    let fit = u64::from(listener.capacity());
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, u64::from(BACKLOG) + 2 + u64::from(DROPPED)),
            (SYN_QUEUED, 2),
            (ESTABLISHED, fit),
            (OVERFLOWS, overflows),
            (SYN_ACCEPT_QUEUE_FULL, u64::from(DROPPED)),
            (ACK_ACCEPT_QUEUE_FULL, 1),
            (DROPS, overflows),
            (CONNECTIONS_REFUSED, overflows),
            (ACCEPT_QUEUE_HIGHEST, fit),
        ],
    );
    exercise.client.reset(second)?;
    exercise.keep(listener, vec![]);
    Ok(())
}

/// SYNs with data that are answered.
fn open_fast(
    exercise: &mut Exercise,
    server: SocketAddr,
    count: u32,
) -> Result<Vec<HandshakeId>, ProveError> {
    let answered = exercise.client.ledger().handshakes_answered + u64::from(count);
    let ids = (0..count).map(|_| exercise.client.syn_with_data(server, b"x"));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let all = |ledger: &Ledger| ledger.handshakes_answered >= answered;
    exercise.client.wait("every SYN with data is answered", PATIENCE, all)?;
    Ok(ids)
}
