//! States as one daemon leaves them and the next one finds them.
use super::*;
use crate::{
    model::{Model, series::SeriesWishes},
    plan::outcome::Coverage,
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
    for written in (0..length).rev() {
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
    let check = |header: Header, expected: &str| {
        let mut keeper = keeper();
        keeper.header = header;
        save(&mut keeper);
        let reason = found(&keeper).unwrap().adopt("ours").err().unwrap();
        assert!(reason.contains(expected), "{reason}");
    };
    let ours =
        Header { fingerprint: "ours".to_owned(), layout: Some(Layout::default()), ..Header::default() };
    check(Header { layout: None, ..ours.clone() }, "nothing was attached");
    check(Header { fingerprint: "theirs".to_owned(), ..ours.clone() }, "another version's");
    check(ours, "cannot be read, this sample");
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
