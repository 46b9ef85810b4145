//! Hosts with random traffic, and what their series say.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    model::{Listener, Namespace, Overflows, totals::Totals as _},
    sample::PortId,
};

fn id(port: u16) -> PortId {
    PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

fn port(number: u16, handshakes: Handshakes, open: bool) -> Port {
    let listener = Listener { inode: u32::from(number), ..Listener::with_queue(0, 128) };
    let listeners = if open { vec![listener] } else { Vec::new() };
    Port { handshakes, listeners, ..Port::closed(id(number)) }
}

fn model(ports: Vec<Port>, other: Option<Handshakes>) -> Model {
    let namespace = Namespace { netns: 1, ..Namespace::default() };
    Model { ports, other, namespaces: vec![namespace], ..Model::empty() }
}

fn counted(established: u64, drops: u64) -> Handshakes {
    let accept_queue_overflows = Overflows { syn: Some(drops), ..Overflows::default() };
    Handshakes {
        established: Some(established),
        listen_drops: Some(drops),
        accept_queue_overflows,
        ..Handshakes::default()
    }
}

/// What each port's series show, by port number.
fn exposed(model: &Model) -> BTreeMap<u16, Handshakes> {
    let shown = |port: &Port| Some((port.id.port, *model.exposed(port)?.0));
    model.ports.iter().filter_map(shown).collect()
}

fn sum<'a>(totals: impl IntoIterator<Item = &'a Handshakes>) -> Handshakes {
    totals.into_iter().fold(Handshakes::default(), |mut sum, more| {
        sum.add(more);
        sum
    })
}

#[test]
fn past_the_limit_ports_are_counted_in_other() {
    let mut history = SeriesHistory::new(SeriesWishes { limit: 2, ..SeriesWishes::default() });
    let ports =
        || vec![port(1, counted(5, 0), true), port(2, counted(9, 0), true), port(3, counted(0, 1), true)];
    let mut model = model(ports(), Some(counted(100, 10)));
    history.share_out(&mut model, Duration::ZERO);
    assert_eq!(exposed(&model), BTreeMap::from([(2, counted(9, 0)), (3, counted(0, 1))]));
    assert_eq!(*model.exposed_other().unwrap().0, counted(105, 10));
    let series = model.series.as_ref().unwrap();
    assert_eq!((series.ports, series.ports_in_other), (3, 1));
    // The ports themselves keep all that is known of them.
    assert!(model.ports.iter().zip(ports()).all(|(now, then)| now.handshakes == then.handshakes));
}

#[test]
fn a_reading_without_the_hooks_counts_changes_nothing() {
    let mut history = SeriesHistory::new(SeriesWishes { limit: 1, ..SeriesWishes::default() });
    let whole =
        || model(vec![port(1, counted(5, 0), false), port(2, counted(1, 0), true)], Some(counted(0, 0)));
    let (mut first, mut last) = (whole(), whole());
    history.share_out(&mut first, Duration::ZERO);
    let mut poor = model(vec![port(2, Handshakes::default(), true)], None);
    history.share_out(&mut poor, Duration::from_secs(1));
    assert_eq!((exposed(&poor), poor.exposed_other()), (BTreeMap::new(), None));
    history.share_out(&mut last, Duration::from_secs(2));
    assert_eq!(first, last);
}

#[test]
fn an_excluded_port_is_counted_in_other() {
    let exclude = vec![PortRule { port: Some(2..=2), ..PortRule::default() }];
    let mut history = SeriesHistory::new(SeriesWishes { exclude, ..SeriesWishes::default() });
    let mut model =
        model(vec![port(1, counted(5, 0), true), port(2, counted(9, 3), true)], Some(counted(0, 0)));
    history.share_out(&mut model, Duration::ZERO);
    assert_eq!(exposed(&model), BTreeMap::from([(1, counted(5, 0))]));
    assert_eq!(*model.exposed_other().unwrap().0, counted(9, 3));
}

/// What one port does before a look.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    established: u64,
    drops: u64,
    open: bool,
}

fn traffic() -> impl Strategy<Value = Traffic> {
    let count = || prop_oneof![2 => Just(0), 1 => 0..100_u64];
    (count(), count(), prop::bool::weighted(0.7)).prop_map(|(established, drops, open)| Traffic {
        established,
        drops,
        open,
    })
}

const PORTS: usize = 6;

proptest! {
    #[test]
    fn every_series_only_grows_and_all_of_them_are_all_that_was_counted(
        limit in 0..PORTS + 1,
        looks in vec((0..700_u64, vec(traffic(), PORTS), 0..9_u64), 1..30),
    ) {
        let mut history = SeriesHistory::new(SeriesWishes { limit, ..SeriesWishes::default() });
        let (mut totals, mut in_kernels_other, mut seconds) = ([(0, 0); PORTS], 0, 0);
        let (mut shown, mut shown_other) = (BTreeMap::<u16, Handshakes>::new(), Handshakes::default());
        let mut before = BTreeSet::new();
        for (pause, traffic, other) in looks {
            seconds += pause;
            in_kernels_other += other;
            for ((established, drops), port) in totals.iter_mut().zip(&traffic) {
                *established += port.established;
                *drops += port.drops;
            }
            let ports = totals.iter().zip(&traffic).zip(0..).map(|((totals, traffic), number)| {
                port(number, counted(totals.0, totals.1), traffic.open)
            });
            let mut model = model(ports.collect(), Some(counted(in_kernels_other, 0)));
            history.share_out(&mut model, Duration::from_secs(seconds));

            let now = exposed(&model);
            prop_assert!(now.len() == limit.min(PORTS), "{} of {limit}", now.len());
            for (number, traffic) in (0..).zip(&traffic) {
                let alive = traffic.open && traffic.established + traffic.drops > 0;
                prop_assert!(!alive || !before.contains(&number) || now.contains_key(&number));
            }
            let other = *model.exposed_other().unwrap().0;
            let went_back = |old: &Handshakes, new: &Handshakes| !old.minus(new).is_nothing();
            prop_assert!(!went_back(&shown_other, &other));
            for (number, new) in &now {
                prop_assert!(!shown.get(number).is_some_and(|old| went_back(old, new)));
            }
            // What a series showed when it was taken away is all that the series that exist lack.
            shown.extend(now.iter().map(|(number, handshakes)| (*number, *handshakes)));
            let all = sum(model.ports.iter().map(|port| &port.handshakes).chain(&model.other));
            prop_assert_eq!(sum(shown.values().chain([&other])), all);
            if before.iter().all(|number| now.contains_key(number)) && shown.len() == now.len() {
                prop_assert_eq!(sum(now.values().chain([&other])), all);
            }
            (before, shown_other) = (now.keys().copied().collect(), other);
        }
    }
}
