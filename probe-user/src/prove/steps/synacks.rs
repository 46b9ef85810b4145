//! SYN-ACKs that are sent again: for the timer, or because the SYN came again.
use super::{
    super::{
        Ledger,
        counters::{DROPS, ESTABLISHED, LAST_ACK_RECEIVED, SYN_QUEUED, SYN_RECEIVED, SYNACK_RETRANSMITS},
        exercise::{Exercise, PATIENCE, ProveError},
    },
    LOCALHOST,
};

/// A SYN that finds its request in the SYN queue is for `tcp_check_req()`, which answers it again.
pub(super) fn are_sent_again(exercise: &mut Exercise) -> Result<(), ProveError> {
    const CLIENTS: u32 = 3;
    exercise.network.set_sysctl("ipv4.tcp_syncookies", 1)?;
    let listener = exercise.listen(LOCALHOST, 8)?;
    let before = exercise.client.ledger().synacks_again;
    let ids = exercise.half_open(listener.address(), CLIENTS)?;
    ids.iter().try_for_each(|id| exercise.client.syn_again(*id))?;
    let again = before + u64::from(CLIENTS);
    let all = |ledger: &Ledger| ledger.synacks_again >= again;
    exercise.client.wait("every SYN is answered again", PATIENCE, all)?;
    ids.iter().try_for_each(|id| exercise.client.last_ack(*id))?;
    let connections = exercise.accept(&listener, CLIENTS)?;
    // A machine that is held up for a second sends more of them.
    exercise.client.receive()?;
    let synacks = ids.iter().filter_map(|id| exercise.client.ledger().handshake(*id));
    let synacks: u64 = synacks.map(|handshake| handshake.synacks).sum();
    let clients = u64::from(CLIENTS);
    exercise.demand(
        &listener,
        &[
            (SYN_RECEIVED, clients),
            (SYN_QUEUED, clients),
            (SYNACK_RETRANSMITS, synacks - clients),
            (LAST_ACK_RECEIVED, clients),
            (ESTABLISHED, clients),
            (DROPS, 0),
        ],
    );
    exercise.keep(listener, connections);
    Ok(())
}
