//! Demands over time, clocks that are set, and what is saved of it.
use std::net::{IpAddr, Ipv4Addr};

use proptest::{collection::vec, prelude::*};

use super::*;

/// Some hour, in seconds since the epoch.
const START: u64 = 500_000 * HOUR;

fn id(netns: u32, port: u16) -> PortId {
    PortId { netns, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

fn place(own_netns: u32, netns: &[u32], boot_id: &str) -> Place {
    Place { own_netns, netns: netns.iter().copied().collect(), boot_id: boot_id.to_owned() }
}

#[test]
fn a_recommendation_is_a_quarter_more_as_a_power_of_two() {
    let check = |demand: u64, expected: u64| {
        let mut recommender = Recommender::default();
        recommender.observe(START, [(id(1, 80), demand)]);
        assert_eq!(recommender.recommended(&id(1, 80)), Some(expected), "{demand}");
    };
    check(1, 2);
    check(2, 4);
    check(3, 4);
    check(4, 8);
    check(102, 128);
    check(103, 256);
    check(128, 256);
    check(129, 256);
    check(3_000, 4_096);
    check(3_276, 4_096);
    check(3_277, 8_192);
    check(u64::MAX, u64::MAX);
}

#[test]
fn the_largest_demand_of_a_day_counts_and_older_ones_do_not() {
    let check = |demands: &[(u64, u64)], expected: Option<u64>| {
        let mut recommender = Recommender::default();
        for (seconds, demand) in demands {
            recommender.observe(START + seconds, [(id(1, 80), *demand)]);
        }
        assert_eq!(recommender.recommended(&id(1, 80)), expected, "{demands:?}");
    };
    let day = 24 * HOUR;
    check(&[], None);
    check(&[(0, 0)], None);
    check(&[(0, 3_000), (1, 100)], Some(4_096));
    check(&[(0, 3_000), (HOUR, 100)], Some(4_096));
    check(&[(HOUR - 1, 3_000), (day, 0)], Some(4_096));
    check(&[(HOUR - 1, 3_000), (day + HOUR - 1, 0)], Some(4_096));
    check(&[(HOUR - 1, 3_000), (day + HOUR, 0)], None);
    check(&[(0, 3_000), (2 * HOUR, 100), (day + 2 * HOUR, 0)], Some(128));
    // The clock is set back, and goes on from there.
    check(&[(50 * HOUR, 3_000), (HOUR, 100)], Some(4_096));
    check(&[(50 * HOUR, 3_000), (HOUR, 100), (day + HOUR, 0)], Some(4_096));
    check(&[(50 * HOUR, 3_000), (HOUR, 100), (day + 2 * HOUR, 0)], None);
}

#[test]
fn past_the_budget_the_port_with_the_oldest_demand_is_forgotten() {
    let mut recommender = Recommender::default();
    let budget = u32::try_from(PORT_BUDGET).unwrap();
    recommender.observe(START, [(id(0, 1), 5), (id(0, 2), 5)]);
    recommender.observe(START + 1, [(id(0, 1), 5)]);
    recommender.observe(START + 2, (1..budget).map(|netns| (id(netns, 1), 7)));
    assert_eq!((recommender.ports.len(), recommender.forgotten()), (PORT_BUDGET, 1));
    assert_eq!([1, 2].map(|port| recommender.recommended(&id(0, port))), [Some(8), None]);
}

#[test]
fn what_was_saved_is_taken_over_where_the_namespace_is_known_again() {
    let check = |now: Place, expected: [Option<u64>; 2]| {
        let mut recommender = Recommender::default();
        recommender.observe(START, [(id(1, 80), 100), (id(7, 80), 1_000)]);
        let saved = serde_json::to_vec(&recommender.state(START, &place(1, &[1, 7], "boot"))).unwrap();
        let restored = Recommender::restore(&saved, START + 60, &now).unwrap();
        assert_eq!([now.own_netns, 7].map(|netns| restored.recommended(&id(netns, 80))), expected, "{now:?}");
    };
    check(place(1, &[1, 7], "boot"), [Some(128), Some(2_048)]);
    check(place(2, &[2, 7], "boot"), [Some(128), Some(2_048)]);
    check(place(1, &[1], "boot"), [Some(128), None]);
    check(place(1, &[1, 7], "another"), [Some(128), None]);
}

#[test]
fn a_state_that_is_of_no_use_says_why() {
    let check = |text: &str, expected: &str| {
        let error = Recommender::restore(text.as_bytes(), START, &Place::default()).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{error}");
    };
    check("", "is no saved state");
    check("{", "is no saved state");
    check("[]", "is no saved state");
    check("{}", "missing field");
    check(r#"{"version": 2}"#, "has version 2, this daemon reads 1");
    let saved =
        |at: u64| serde_json::to_string(&Recommender::default().state(at, &Place::default())).unwrap();
    check(&saved(START + HOUR + 1), "3601 s ahead");
    assert!(Recommender::restore(saved(START + HOUR).as_bytes(), START, &Place::default()).is_ok());
}

#[test]
fn there_is_something_to_save_when_something_is_different() {
    let mut recommender = Recommender::default();
    let mut check = |now: u64, demand: u64, expected: bool| {
        recommender.observe(now, [(id(1, 80), demand)]);
        assert_eq!(recommender.take_changed(), expected, "{now} {demand}");
    };
    check(START, 0, false);
    check(START, 5, true);
    check(START + 1, 5, false);
    check(START + 2, 4, false);
    check(START + 3, 6, true);
    check(START + HOUR, 0, false);
    check(START + HOUR, 1, true);
    check(START + 25 * HOUR, 0, true);
}

proptest! {
    #[test]
    fn whatever_the_clock_does_memory_is_bounded_and_the_present_demand_counts(
        looks in vec((0..40 * HOUR, 0..5_000_u64), 1..60),
    ) {
        let mut recommender = Recommender::default();
        for (offset, demand) in looks {
            recommender.observe(START + offset, [(id(1, 80), demand)]);
            let recommended = recommender.recommended(&id(1, 80));
            prop_assert!(demand == 0 || recommended >= Some(recommendation(demand)));
            prop_assert!(recommender.ports.values().all(|known| known.hours.len() <= 25));
            prop_assert!(recommender.ports.values().all(|known| known.hours.is_sorted_by_key(|(hour, _)| *hour)));
        }
        recommender.observe(START + 65 * HOUR, []);
        prop_assert_eq!(recommender.recommended(&id(1, 80)), None);
        prop_assert!(recommender.ports.is_empty());
    }

    #[test]
    fn what_is_restored_is_what_was_saved(
        demands in vec((0..3_u32, 0..4_u16, 0..30 * HOUR, 0..5_000_u64), 0..40),
    ) {
        let mut recommender = Recommender::default();
        for (netns, port, offset, demand) in demands {
            recommender.observe(START + offset, [(id(netns, port), demand)]);
        }
        recommender.take_changed();
        let (now, place) = (recommender.hour.max(1) * HOUR, place(1, &[0, 1, 2], "boot"));
        recommender.observe(now, []);
        recommender.take_changed();
        let saved = serde_json::to_vec(&recommender.state(now, &place)).unwrap();
        prop_assert_eq!(Recommender::restore(&saved, now, &place).unwrap(), recommender);
    }

    #[test]
    fn no_text_makes_the_reader_panic(
        text in ".*",
        hours in vec(any::<(u64, u64)>(), 0..40),
        now: u64, saved_at: u64, last: u64,
    ) {
        let _ = Recommender::restore(text.as_bytes(), now, &Place::default());
        let port = serde_json::json!({
            "netns": "own", "address": "::1", "port": 1, "last": last, "hours": hours,
        });
        let state = serde_json::json!({"version": 1, "saved_at": saved_at, "boot_id": "", "ports": [port]});
        if let Ok(restored) = Recommender::restore(state.to_string().as_bytes(), now, &Place::default()) {
            prop_assert!(restored.ports.values().all(|known| known.hours.len() <= 25));
        }
    }
}
