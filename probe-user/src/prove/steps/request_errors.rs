//! Requests that an ICMP error ends: the SYN-ACK did not come to the client.
use super::{
    super::{
        counters::{
            ACK_ACCEPT_QUEUE_FULL, ACK_OTHER, CONNECTIONS_REFUSED, DROPS_AND_ERRORS, ESTABLISHED, OVERFLOWS,
            REQUEST_ERRORS, SYN_QUEUED, SYN_RECEIVED,
        },
        exercise::{Exercise, ProveError},
        wire::Unreachable,
    },
    Way,
};

/// `tcp_req_err()` ends a request for an error that means the client and this SYN-ACK, and leaves it alone otherwise.
pub(super) fn end_requests(exercise: &mut Exercise, way: Way) -> Result<(), ProveError> {
    const ENDED: u32 = 3;
    const LEFT: u32 = 2;
    let Some((listener, server)) = way.open(exercise, 8)? else { return Ok(()) };
    let (ended, left) = (exercise.half_open(server, ENDED)?, exercise.half_open(server, LEFT)?);
    // Which errors are final differs: tcp_v4_err() and, for IPv6, icmpv6_err_convert().
    let (last, passing) = match server.is_ipv4() {
        true => (Unreachable::Host, Unreachable::Port),
        false => (Unreachable::Port, Unreachable::Host),
    };
    let before = exercise.kernel()?.listen_drops;
    for id in &left {
        exercise.client.icmp_error(*id, passing, 0)?;
        exercise.client.icmp_error(*id, last, 1)?;
    }
    ended.iter().try_for_each(|id| exercise.client.icmp_error(*id, last, 0))?;
    let errors = u64::from(ENDED);
    exercise.wait_for("every request is ended", |kernel| kernel.listen_drops >= before + errors)?;
    left.iter().try_for_each(|id| exercise.client.last_ack(*id))?;
    let connections = exercise.accept(&listener, LEFT)?;
    let (left, all) = (u64::from(LEFT), u64::from(ENDED + LEFT));
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, all),
            (SYN_QUEUED, all),
            (REQUEST_ERRORS, errors),
            (ESTABLISHED, left),
            (OVERFLOWS, 0),
            (ACK_ACCEPT_QUEUE_FULL, 0),
            (ACK_OTHER, 0),
            (DROPS_AND_ERRORS, errors),
            (CONNECTIONS_REFUSED, 0),
        ],
    );
    exercise.keep(listener, connections);
    Ok(())
}
