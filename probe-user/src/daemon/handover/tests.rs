//! States as one daemon leaves them and the next one finds them.
use std::{sync::Arc, time::Duration};

use probe_common::handshake::HandshakeCounters;

use super::*;
use crate::{
    model::{Model, Rates, series::SeriesWishes},
    plan::outcome::{Accounting, Coverage},
    sample::{
        HookSample, HostSample, Instants, ListenerSample, NamespaceSample, NetstatSample, OwnerSample,
        PortId, Sample, SoftnetSample,
    },
    sorted::Sorted,
};

fn keeper() -> Keeper {
    let memory = || tempfile::tempfile().unwrap();
    Keeper { slots: [memory(), memory()], header: Header::default(), failing: false }
}

/// Saves the history of a daemon that has seen nothing.
fn save(keeper: &mut Keeper) {
    let plan = PlanOutcome { hooks: Vec::new(), coverage: Coverage::EVERYTHING };
    keeper.save(&State {
        carried: &Carried::from_model(&Model::empty()),
        recommender: &Recommender::default(),
        plan: &plan,
        retirement: Some(&Retirement::default()),
        history: &History::new(SeriesWishes::default()),
    });
    assert!(!keeper.failing);
}

/// What the next daemon gets, in whatever order.
fn left(keeper: &Keeper) -> Vec<(String, OwnedFd)> {
    let slots = keeper.slots.iter().rev();
    slots.map(|slot| (STATE.to_owned(), slot.try_clone().unwrap().into())).collect()
}

fn found(keeper: &Keeper) -> Option<Predecessor> {
    Predecessor::find(left(keeper))
}

#[test]
fn the_last_state_that_is_whole_is_the_one_that_counts() {
    let mut keeper = keeper();
    assert!(found(&keeper).is_none());
    for sequence in 1..5 {
        save(&mut keeper);
        assert_eq!(found(&keeper).unwrap().header.sequence, sequence);
    }
    // The daemon is killed while it writes: at whatever byte, the state before is there.
    let [even, _] = &keeper.slots;
    let length = even.metadata().unwrap().len();
    for written in (0..length).rev().step_by(7) {
        even.set_len(written).unwrap();
        assert_eq!(found(&keeper).unwrap().header.sequence, 3, "{written} of {length} bytes");
    }
}

#[test]
fn a_history_that_cannot_be_read_costs_the_history_and_not_the_totals() {
    let mut keeper = keeper();
    save(&mut keeper);
    let header = Header { sequence: 7, ..Header::default() };
    let mut bytes = Vec::new();
    write(&mut bytes, &header).unwrap();
    write(&mut bytes, &Carried::default()).unwrap();
    write(&mut bytes, &"of another version").unwrap();
    bytes.extend(header.sequence.to_le_bytes());
    keeper.slots[0].write_all_at(&bytes, 0).unwrap();
    let found = found(&keeper).unwrap();
    assert_eq!(found.header.sequence, 7);
    assert!(found.history.is_none() && found.plan.is_none());
}

#[test]
fn hooks_are_taken_over_only_if_everything_fits() {
    let check = |header: Header, rows: u32, expected: &str| {
        let mut keeper = keeper();
        keeper.header = header;
        save(&mut keeper);
        let reason = found(&keeper).unwrap().adopt("ours", rows).err().unwrap();
        assert!(reason.contains(expected), "{reason}");
    };
    let ours =
        Header { fingerprint: "ours".to_owned(), layout: Some(Layout::default()), ..Header::default() };
    check(Header { layout: None, ..ours.clone() }, 0, "nothing was attached");
    check(Header { fingerprint: "theirs".to_owned(), ..ours.clone() }, 0, "another version's");
    check(ours.clone(), 1, "too few rows");
    check(ours, 0, "cannot be read, this sample");
}

#[test]
fn bytes_that_are_no_state_are_none() {
    let keeper = keeper();
    for text in ["", "x", "12345678", "{\"sequence\": 1}", "\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}"] {
        keeper.slots[0].set_len(0).unwrap();
        keeper.slots[0].write_all_at(text.as_bytes(), 0).unwrap();
        assert!(found(&keeper).is_none(), "{text:?}");
    }
}

/// What the `number`th sample has of a listener that overflows, and is open since the first.
fn hooks(id: PortId, number: u64) -> HookSample {
    let counters = HandshakeCounters {
        established: 10 * number,
        listen_drops: refused(number),
        syn_dropped_accept_queue_full: refused(number),
        connections_refused: number * number,
        listeners_opened: 1,
        ..HandshakeCounters::default()
    };
    let ports = Sorted::from([(id, counters)]);
    HookSample { ports_before: ports.clone(), ports, ..HookSample::default() }
}

const fn refused(number: u64) -> u64 {
    3 * number * number
}

fn namespace(id: PortId, number: u64) -> NamespaceSample {
    let netstat = NetstatSample {
        listen_overflows: refused(number),
        listen_drops: refused(number),
        ..NetstatSample::default()
    };
    let listener = ListenerSample {
        address: id.address,
        port: id.port,
        accept_queue_length: 5,
        accept_queue_limit: 4,
        drops: refused(number).try_into().unwrap(),
        inode: 7,
    };
    NamespaceSample {
        netns: id.netns,
        listeners: Some(vec![listener]),
        netstat_before: Some(netstat),
        netstat_after: Some(netstat),
        ..NamespaceSample::default()
    }
}

fn sample(number: u64) -> Sample {
    let id = PortId { netns: 1, address: [127, 0, 0, 1].into(), port: 80 };
    let processed = u32::MAX.wrapping_add(number.try_into().unwrap());
    let softnet = SoftnetSample { cpu: 0, processed, dropped: 0, time_squeeze: 0 };
    let owner = OwnerSample { pid: 1, process: "java".to_owned(), ..OwnerSample::default() };
    Sample {
        taken: Instants { monotonic: number * 20_000_000_000, unix_seconds: 1.7e9 },
        hooks: Some(hooks(id, number)),
        namespaces: vec![namespace(id, number)],
        host: HostSample { softnet: Some(vec![softnet]), ..HostSample::default() },
        owners: Sorted::from([(7, Arc::new(owner))]),
        ..Sample::default()
    }
}

/// All that a history makes of a sample, but for rates, which take two.
fn told(history: &mut History, sample: &Sample, plan: &PlanOutcome) -> Model {
    let findings = history.observe(sample, &plan.coverage);
    let mut model = Model::new(sample, plan, &findings);
    history.add_carried(&mut model, &findings);
    history.share_out_series(&mut model, Duration::from_nanos(sample.taken.monotonic));
    history.note_episodes(&mut model, &sample.taken);
    history.note_recent(&mut model, sample.taken.monotonic);
    model.ports.iter_mut().for_each(|port| port.rates = Rates::default());
    model
}

#[test]
fn a_history_that_was_saved_goes_on_as_if_nobody_had_ended() {
    for accounting in [Accounting::KernelCounters, Accounting::SocketDrops] {
        let coverage = Coverage { accounting, ..Coverage::EVERYTHING };
        let plan = PlanOutcome { hooks: Vec::new(), coverage };
        let mut untouched = History::new(SeriesWishes::default());
        let mut restored = History::new(SeriesWishes::default());
        for number in 1..40 {
            let expected = told(&mut untouched, &sample(number), &plan);
            let model = told(&mut restored, &sample(number), &plan);
            assert_eq!(model, expected, "{accounting:?}, sample {number}");
            let mut bytes = Vec::new();
            write(&mut bytes, &restored).unwrap();
            restored = next(&mut bytes.as_slice()).unwrap();
        }
        let last = told(&mut restored, &sample(40), &plan);
        assert!(!last.episodes.is_empty(), "{accounting:?}: the traffic is to have an episode");
        assert_eq!(last.ports[0].process.as_deref(), Some("java"));
    }
}
