//! From the sources of this host to one [`Sample`]: facts, no conclusions, no history.
//!
//! Each module reads one source with a thin `read` function and a pure `decode` function. A source that
//! fails costs its own part of the sample and leaves a line behind that says so.
pub mod accept_queue;
mod clocks;
pub mod handshake;
pub mod listener;
pub mod namespaces;
pub mod netstat;
pub mod own_cost;
pub mod owner;
pub mod sock_diag;
pub mod softnet;
pub mod syn_queue;
pub mod sysctl;

use std::time::Duration;

use self::{
    handshake::{HandshakeSource, Rows, SourceError, Totals},
    syn_queue::SynQueueReader,
};
use crate::{
    netns,
    sample::{HookSample, HostSample, SAMPLE_VERSION, Sample, SoftnetSample},
    sorted::Sorted,
};

/// Reads everything once. `source` is the attached hooks' maps, `None` when no hook is attached;
/// `syn_queues` remembers from reading to reading when it did the dearest part of it.
///
/// The order matters where the parts are put together later:
/// 1. the counters of the maps: all that they show has reached the kernel's own counters when those are read;
/// 2. in every network namespace the TcpExt counters, the listeners, the TcpExt counters;
/// 3. the maps again and whole, for all totals: what is in the sockets' drops or in the kernel's
///    counters already has been counted as well.
#[must_use]
pub fn collect_sample(source: Option<&dyn HandshakeSource>, syn_queues: &mut SynQueueReader) -> Sample {
    let mut read_errors = Vec::new();
    let before = source.map(|source| source.counters().map(handshake::decode_counters));
    let other = source.and_then(|source| source.other_counters().ok());
    syn_queues.begin(before.as_ref().and_then(|totals| totals.as_ref().ok()).zip(other.as_ref()));
    let found = namespaces::read(syn_queues, &mut read_errors);
    let host = HostSample {
        own_netns: netns::own_inum().ok(),
        netdev_max_backlog: found.netdev_max_backlog,
        softnet: read_softnet(&mut read_errors),
        hidden_processes: found.hidden_processes,
        all_namespaces_found: found.all_found,
    };
    let namespaces = found.namespaces;
    let hooks = source.zip(before).map(|(source, before)| read_hooks(source, before?)).transpose();
    let hooks = hooks.unwrap_or_else(|error| {
        read_errors.push(error.to_string());
        None
    });
    let own_cost = own_cost::read(&mut read_errors);
    // Whose the sockets are, their reader finds out when it is known which there are.
    let owners = Sorted::default();
    let taken = clocks::read();
    Sample { version: SAMPLE_VERSION, taken, hooks, namespaces, owners, own_cost, host, read_errors }
}

/// The time of the clock by which readings are told apart ([`crate::sample::Instants::monotonic`]).
#[must_use]
pub fn uptime() -> Duration {
    Duration::from_nanos(clocks::monotonic())
}

fn read_softnet(read_errors: &mut Vec<String>) -> Option<Vec<SoftnetSample>> {
    softnet::read().map_err(|error| read_errors.push(error.to_string())).ok()
}

/// Reads the maps after the sockets. One map that cannot be read makes the whole part missing: its
/// numbers would be zeros, and totals must not go back.
fn read_hooks(source: &dyn HandshakeSource, before: Totals) -> Result<HookSample, SourceError> {
    let mut rows = Rows::default();
    source.each_row(&mut |row| rows.take_in(&row))?;
    let after = rows.decode(clocks::monotonic());
    let losses = handshake::decode_losses(&source.losses()?, &after);
    Ok(handshake::join(before, after, source.other()?, losses))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use probe_common::{
        handshake::{AF_INET, HandshakeCounters, PortKey},
        loss::Loss,
    };

    use super::{accept_queue::QueueRow, handshake::Row, *};
    use crate::sample::PortId;

    const ADDRESS: [u8; 16] = [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// Maps that fail from the given read of the ports on, and count those reads.
    struct Maps {
        fails_from: u64,
        reads: Cell<u64>,
    }

    impl HandshakeSource for Maps {
        fn counters(&self) -> Result<Vec<(PortKey, HandshakeCounters)>, SourceError> {
            self.reads.set(self.reads.get() + 1);
            if self.reads.get() >= self.fails_from {
                return Err(SourceError { map: "HANDSHAKE", cause: "no such file".into() });
            }
            let port = PortKey { address: ADDRESS, netns: 1, port: 80, family: AF_INET };
            let counters =
                HandshakeCounters { discarded_segments: self.reads.get(), ..HandshakeCounters::default() };
            Ok(vec![(port, counters)])
        }

        fn each_row(&self, take: &mut dyn FnMut(Row)) -> Result<(), SourceError> {
            let rows = self.counters()?.into_iter();
            rows.for_each(|(port, counters)| take(Row { port, inode: 5, counters, ..Row::default() }));
            Ok(())
        }

        fn other_counters(&self) -> Result<HandshakeCounters, SourceError> {
            Ok(HandshakeCounters::default())
        }

        fn other(&self) -> Result<(HandshakeCounters, QueueRow), SourceError> {
            Ok(Default::default())
        }

        fn losses(&self) -> Result<Vec<u64>, SourceError> {
            Ok(vec![0; Loss::ALL.len()])
        }
    }

    fn read(source: Option<&dyn HandshakeSource>) -> Sample {
        collect_sample(source, &mut SynQueueReader::new(true))
    }

    #[test]
    fn the_rows_are_read_before_the_sockets_and_after_them() {
        let maps = Maps { fails_from: u64::MAX, reads: Cell::new(0) };
        let hooks = read(Some(&maps)).hooks.unwrap();
        let counts = |ports: &Sorted<PortId, HandshakeCounters>| -> Vec<u64> {
            ports.values().map(|counters| counters.discarded_segments).collect()
        };
        assert_eq!((counts(&hooks.ports_before), counts(&hooks.ports)), (vec![1], vec![2]));
    }

    #[test]
    fn maps_that_cannot_be_read_cost_nothing_but_their_own_part() {
        let check = |fails_from: u64| {
            let maps = Maps { fails_from, reads: Cell::new(0) };
            let sample = read(Some(&maps));
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
        let sample = read(None);
        assert_eq!(sample.version, SAMPLE_VERSION);
        assert_eq!(sample.hooks, None);
        assert!(!sample.namespaces.is_empty());
    }

    #[test]
    fn a_sample_survives_being_saved_and_read_again() {
        let maps = Maps { fails_from: u64::MAX, reads: Cell::new(0) };
        let sample = read(Some(&maps));
        let saved = serde_json::to_string(&sample).unwrap();
        assert_eq!(serde_json::from_str::<Sample>(&saved).unwrap(), sample);
    }
}
