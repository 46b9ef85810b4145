//! SYN cookies: handshakes that are in no SYN queue.
use super::{
    super::{
        counters::{
            ABORTED, ACK_ACCEPT_QUEUE_FULL, CONNECTIONS_REFUSED, COOKIES_FAILED, COOKIES_RECEIVED,
            COOKIES_SENT, DROPS, ESTABLISHED, LAST_ACK_RECEIVED, OVERFLOWS, SYN_QUEUE_FULL_COOKIES,
            SYN_QUEUED, SYN_RECEIVED,
        },
        exercise::{Exercise, PATIENCE, ProveError},
    },
    LOCALHOST, Way,
};

/// `net.ipv4.tcp_syncookies`: whether the SYN queue is full or not.
const ALWAYS: u32 = 2;

/// Every SYN is answered with a cookie.
pub(super) fn come_back(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 6;
    const STRAYS: u32 = 2;
    exercise.network.set_sysctl("ipv4.tcp_syncookies", ALWAYS)?;
    let listener = exercise.listen(LOCALHOST, 8)?;
    exercise.establish(listener.address(), CLIENTS)?;
    let connections = exercise.accept(&listener, CLIENTS)?;
    let resets = exercise.client.ledger().resets_received + u64::from(STRAYS);
    for _ in 0..STRAYS {
        exercise.client.bad_cookie_ack(listener.address())?;
    }
    exercise.client.wait("every stray is reset", PATIENCE, |ledger| ledger.resets_received >= resets)?;
    let clients = u64::from(CLIENTS);
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, clients),
            (SYN_QUEUED, 0),
            (COOKIES_SENT, clients),
            (SYN_QUEUE_FULL_COOKIES, clients),
            (COOKIES_RECEIVED, clients),
            (COOKIES_FAILED, u64::from(STRAYS)),
            (LAST_ACK_RECEIVED, clients),
            (ESTABLISHED, clients),
            (DROPS, 0),
        ],
    );
    exercise.keep(listener, connections);
    Ok(())
}

/// What a cookie brings back is not reset if it is refused, whatever `tcp_abort_on_overflow` says, and may try again.
pub(super) fn meet_a_full_accept_queue(exercise: &mut Exercise, way: Way) -> Result<(), ProveError> {
    const LATE: u32 = 5;
    exercise.network.set_sysctl("ipv4.tcp_syncookies", ALWAYS)?;
    let Some((listener, server)) = way.open(exercise, 4)? else { return Ok(()) };
    let late = exercise.half_open(server, LATE)?;
    exercise.establish(server, listener.capacity())?;
    exercise.network.set_sysctl("ipv4.tcp_abort_on_overflow", 1)?;
    let before = exercise.kernel()?.listen_overflows;
    for id in late {
        exercise.client.last_ack(id)?;
        exercise.client.data(id, b"x")?;
    }
    let refused = u64::from(2 * LATE);
    exercise.wait_for("every cookie is refused", |kernel| kernel.listen_overflows >= before + refused)?;
    exercise.network.set_sysctl("ipv4.tcp_abort_on_overflow", 0)?;
    let fit = u64::from(listener.capacity());
    let sent = fit + u64::from(LATE);
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, sent),
            (SYN_QUEUED, 0),
            (COOKIES_SENT, sent),
            (SYN_QUEUE_FULL_COOKIES, sent),
            (COOKIES_RECEIVED, fit + refused),
            (COOKIES_FAILED, 0),
            (LAST_ACK_RECEIVED, fit + refused),
            (ESTABLISHED, fit),
            (OVERFLOWS, refused),
            (ACK_ACCEPT_QUEUE_FULL, refused),
            (DROPS, refused),
            (CONNECTIONS_REFUSED, u64::from(LATE)),
            (ABORTED, 0),
        ],
    );
    exercise.keep(listener, vec![]);
    Ok(())
}
