//! Drops for no queue: the server has no route to its client.
use super::{
    super::{
        Ledger,
        counters::{
            ACK_ACCEPT_QUEUE_FULL, ACK_OTHER, CONNECTIONS_REFUSED, DROPS, ESTABLISHED, LAST_ACK_RECEIVED,
            OVERFLOWS, SYN_OTHER, SYN_QUEUED, SYN_RECEIVED,
        },
        exercise::{Exercise, PATIENCE, ProveError},
    },
    Way,
};

const CLIENTS: u32 = 3;

/// `tcp_conn_request()` finds no route for its SYN-ACK.
pub(super) fn syns(exercise: &mut Exercise, way: Way) -> Result<(), ProveError> {
    let Some((listener, server)) = way.open(exercise, 8)? else { return Ok(()) };
    exercise.network.strand(true)?;
    let before = exercise.kernel()?.listen_drops;
    for _ in 0..CLIENTS {
        let id = exercise.client.syn_of_stranded(server)?;
        exercise.client.syn_again(id)?;
    }
    let dropped = u64::from(2 * CLIENTS);
    exercise.wait_for("every SYN is dropped", |kernel| kernel.listen_drops >= before + dropped)?;
    exercise.network.strand(false)?;
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, dropped),
            (SYN_QUEUED, 0),
            (SYN_OTHER, dropped),
            (OVERFLOWS, 0),
            (DROPS, dropped),
            (CONNECTIONS_REFUSED, u64::from(CLIENTS)),
        ],
    );
    exercise.keep(listener, vec![]);
    Ok(())
}

/// `tcp_v4_syn_recv_sock()` finds none for the child.
pub(super) fn last_acks(exercise: &mut Exercise, way: Way) -> Result<(), ProveError> {
    let Some((listener, server)) = way.open(exercise, 8)? else { return Ok(()) };
    let answered = exercise.client.ledger().handshakes_answered + u64::from(CLIENTS);
    let begin = |_| exercise.client.syn_of_stranded(server);
    let ids = (0..CLIENTS).map(begin).collect::<Result<Vec<_>, _>>()?;
    let all = |ledger: &Ledger| ledger.handshakes_answered >= answered;
    exercise.client.wait("every SYN is answered", PATIENCE, all)?;
    exercise.network.strand(true)?;
    let before = exercise.kernel()?.listen_drops;
    for id in &ids {
        exercise.client.last_ack(*id)?;
        exercise.client.data(*id, b"x")?;
    }
    let refused = u64::from(2 * CLIENTS);
    exercise.wait_for("every last ACK is dropped", |kernel| kernel.listen_drops >= before + refused)?;
    exercise.network.strand(false)?;
    let clients = u64::from(CLIENTS);
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, clients),
            (SYN_QUEUED, clients),
            (LAST_ACK_RECEIVED, refused),
            (ESTABLISHED, 0),
            (ACK_ACCEPT_QUEUE_FULL, 0),
            (ACK_OTHER, refused),
            (OVERFLOWS, 0),
            (DROPS, refused),
            (CONNECTIONS_REFUSED, clients),
        ],
    );
    ids.into_iter().try_for_each(|id| exercise.client.reset(id))?;
    exercise.keep(listener, vec![]);
    Ok(())
}
