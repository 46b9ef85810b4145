//! From the sources of this host to one [`Sample`]: facts, no conclusions, no history.
//!
//! Each module reads one source with a thin `read` function and a pure `decode` function. A source that
//! fails costs its own part of the sample and leaves a line behind that says so.
pub mod handshake;
pub mod listener;
pub mod namespaces;
pub mod netstat;
pub mod own_cost;

use self::handshake::{HandshakeSource, PortTotals, SourceError};
use crate::{
    plan::outcome::{Accounting, Coverage},
    sample::{HookSample, SAMPLE_VERSION, Sample},
};

/// Reads everything once. `source` is the attached hooks' maps, `None` when no hook is attached.
///
/// The order matters where the parts are put together later:
/// 1. the ports of the maps, for what closed listeners have dropped (only when accounting is by socket
///    drops): what a listener takes along when it is closed from now on is missed, not counted twice;
/// 2. in every network namespace the TcpExt counters, the listeners, the TcpExt counters;
/// 3. the ports of the maps again, for all totals: a segment that is in the sockets' drops already has
///    been counted as discarded as well.
#[must_use]
pub fn collect_sample(source: Option<&dyn HandshakeSource>, coverage: &Coverage) -> Sample {
    let mut read_errors = Vec::new();
    let by_socket_drops = coverage.accounting == Accounting::SocketDrops;
    let before = source.filter(|_| by_socket_drops).map(|source| source.ports().map(handshake::decode_ports));
    let namespaces = namespaces::read(&mut read_errors);
    let hooks = source.map(|source| read_hooks(source, before.transpose()?)).transpose();
    let hooks = hooks.unwrap_or_else(|error| {
        read_errors.push(error.to_string());
        None
    });
    let own_cost = own_cost::read(&mut read_errors);
    Sample { version: SAMPLE_VERSION, hooks, namespaces, own_cost, read_errors }
}

/// Reads the maps after the sockets. One map that cannot be read makes the whole part missing: its
/// numbers would be zeros, and totals must not go back.
fn read_hooks(source: &dyn HandshakeSource, before: Option<PortTotals>) -> Result<HookSample, SourceError> {
    let after = handshake::decode_ports(source.ports()?);
    let other = handshake::decode_totals(source.other()?);
    let losses = handshake::decode_losses(&source.losses()?, &after);
    Ok(handshake::join(before.as_ref(), after, other, losses))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use probe_common::{
        handshake::{AF_INET, HandshakeCounters, PortKey},
        loss::Loss,
    };

    use super::*;

    const ADDRESS: [u8; 16] = [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// Maps that fail from the given read of the ports on, and count those reads.
    struct Maps {
        fails_from: u64,
        reads: Cell<u64>,
    }

    impl HandshakeSource for Maps {
        fn ports(&self) -> Result<Vec<(PortKey, Vec<HandshakeCounters>)>, SourceError> {
            self.reads.set(self.reads.get() + 1);
            if self.reads.get() >= self.fails_from {
                return Err(SourceError { map: "HANDSHAKE", cause: "no such file".into() });
            }
            let key = PortKey { address: ADDRESS, netns: 1, port: 80, family: AF_INET };
            let counters =
                HandshakeCounters { discarded_segments: self.reads.get(), ..HandshakeCounters::default() };
            Ok(vec![(key, vec![counters])])
        }

        fn other(&self) -> Result<Vec<HandshakeCounters>, SourceError> {
            Ok(Vec::new())
        }

        fn losses(&self) -> Result<Vec<Vec<u64>>, SourceError> {
            Ok(vec![vec![0]; Loss::ALL.len()])
        }
    }

    fn coverage(accounting: Accounting) -> Coverage {
        Coverage {
            syn_received: true,
            syn_queued: true,
            established: true,
            last_ack_received: true,
            last_ack_refused: true,
            synack_retransmits: true,
            accounting,
            discards_known: true,
        }
    }

    #[test]
    fn the_ports_are_read_before_the_sockets_only_when_the_sockets_drops_are_accounted() {
        let check = |accounting: Accounting, reads: u64| {
            let maps = Maps { fails_from: u64::MAX, reads: Cell::new(0) };
            let sample = collect_sample(Some(&maps), &coverage(accounting));
            let hooks = sample.hooks.unwrap();
            assert_eq!(maps.reads.get(), reads, "{accounting:?}");
            assert_eq!(hooks.ports.values().next().unwrap().discarded_segments, reads);
            let before: Vec<_> = hooks.discarded_segments_before.values().copied().collect();
            assert_eq!(before, vec![1; usize::from(reads == 2)]);
        };
        check(Accounting::SocketDrops, 2);
        check(Accounting::KernelCounters, 1);
        check(Accounting::Conditions, 1);
        check(Accounting::None, 1);
    }

    #[test]
    fn maps_that_cannot_be_read_cost_nothing_but_their_own_part() {
        let check = |fails_from: u64| {
            let maps = Maps { fails_from, reads: Cell::new(0) };
            let sample = collect_sample(Some(&maps), &coverage(Accounting::SocketDrops));
            assert_eq!(sample.hooks, None);
            assert_eq!(sample.read_errors.iter().filter(|line| line.contains("HANDSHAKE")).count(), 1);
            assert!(!sample.namespaces.is_empty());
            assert!(sample.own_cost.cpu_seconds.is_some());
        };
        check(1);
        check(2);
    }

    #[test]
    fn without_hooks_the_sample_has_the_rest() {
        let sample = collect_sample(None, &coverage(Accounting::None));
        assert_eq!(sample.version, SAMPLE_VERSION);
        assert_eq!(sample.hooks, None);
        assert!(!sample.namespaces.is_empty());
    }

    #[test]
    fn a_sample_survives_being_saved_and_read_again() {
        let maps = Maps { fails_from: u64::MAX, reads: Cell::new(0) };
        let sample = collect_sample(Some(&maps), &coverage(Accounting::SocketDrops));
        let saved = serde_json::to_string(&sample).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&saved).unwrap(), sample);
    }
}
