//! What only start-up needs is given up, before anybody is answered: whoever takes the daemon over later can
//! load no programs and read no kernel addresses.
//!
//! Capabilities are a thread's own, and a new thread has those of the one that starts it. So the runtime's
//! threads, which only answer requests, give theirs up when they begin ([`of_a_thread_that_answers`]); the first
//! thread attaches, gives up what is left ([`after_start_up`]), and starts the one that measures only then.
use rustix::thread::CapabilitySet;
use tracing::{debug, info, warn};

use super::probe::Probe;
use crate::host::capabilities::{give_up, names, while_without};

/// Loading, attaching, and finding where the kernel drops packets.
const OF_START_UP: CapabilitySet =
    CapabilitySet::BPF.union(CapabilitySet::PERFMON).union(CapabilitySet::SYSLOG);

/// For a thread that neither attaches nor measures.
pub fn of_a_thread_that_answers() {
    if let Err(error) = give_up(OF_START_UP) {
        debug!(%error, "a thread keeps the capabilities of start-up");
    }
}

/// For the thread that has attached. CAP_BPF is kept where the kernel wants it for each look-up in a map: until 5.19
/// (c8644cd0efe7), unless kernel.unprivileged_bpf_disabled is 0. Whether it does is tried out.
pub fn after_start_up(probe: &Probe) {
    let reads_without = while_without(CapabilitySet::BPF, || probe.can_look_up()).unwrap_or(false);
    let kept = if reads_without { CapabilitySet::empty() } else { CapabilitySet::BPF };
    match give_up(OF_START_UP.difference(kept)) {
        Ok(given_up) if given_up.is_empty() => {}
        Ok(given_up) => {
            let kept = if reads_without { "" } else { "CAP_BPF: this kernel asks for it at every look-up" };
            info!(given_up = names(given_up), kept, "capabilities that only start-up needs are given up");
        }
        Err(error) => warn!(%error, "capabilities that only start-up needs cannot be given up"),
    }
}
