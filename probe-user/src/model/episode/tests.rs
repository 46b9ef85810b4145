//! Ports that lose connections at given times, and the episodes that come of it.
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::{
    model::{Handshakes, Listener, Model, Overflows, Peaks, Port, QueueCounts, Queues, SynDropped},
    sample::Instants,
};

/// The clock of the day when the monotonic one began.
const EPOCH: f64 = 1_000_000.0;

fn id(port: u16) -> PortId {
    PortId { netns: 1, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port }
}

fn port(number: u16, handshakes: Handshakes) -> Port {
    let listeners = vec![Listener::with_queue(0, 128)];
    Port { process: Some("java".into()), handshakes, listeners, ..Port::closed(id(number)) }
}

/// Totals of connections and of packets that were refused at a full accept queue.
fn refused(connections: u64, packets: u64) -> Handshakes {
    Handshakes {
        connections_refused: Some(connections),
        accept_queue_overflows: Overflows { syn: Some(packets), ..Overflows::default() },
        listen_drops: Some(packets),
        ..Handshakes::default()
    }
}

fn instants(seconds: f64) -> Instants {
    let monotonic = Duration::from_secs_f64(seconds).as_nanos().try_into().unwrap();
    Instants { monotonic, unix_seconds: EPOCH + seconds }
}

/// What is known after a sample with these ports.
fn observe(episodes: &mut Episodes, seconds: f64, ports: Vec<Port>) -> Model {
    let mut model = Model { ports, other: Some(Handshakes::default()), ..Model::empty() };
    episodes.note(&mut model, &instants(seconds));
    model
}

/// What is known after samples of one port; `None` where it is not in them.
fn after(readings: &[(f64, Option<Port>)]) -> Vec<Episode> {
    let mut episodes = Episodes::default();
    let mut model = Model::empty();
    for (seconds, port) in readings {
        model = observe(&mut episodes, *seconds, port.clone().into_iter().collect());
    }
    model.episodes.iter().map(|episode| Episode::clone(episode)).collect()
}

/// Begin and end, since the monotonic clock began; connections and packets refused.
type Span = (f64, Option<f64>, Option<u64>, Option<u64>);

fn span(episode: &Episode) -> Span {
    let ended = episode.ended.map(|ended| ended - EPOCH);
    (episode.begun - EPOCH, ended, episode.connections_refused, episode.packets_refused)
}

/// Samples with totals of refused connections and packets, and the episodes after them, the newest first.
#[track_caller]
fn check(readings: &[(f64, u64, u64)], expected: &[Span]) {
    let reading =
        |(at, connections, packets): &(f64, u64, u64)| (*at, Some(port(80, refused(*connections, *packets))));
    let found = after(&readings.iter().map(reading).collect::<Vec<_>>());
    assert_eq!(found.iter().map(span).collect::<Vec<_>>(), expected, "{readings:?}");
}

#[test]
fn what_was_lost_before_the_first_sample_is_no_episode() {
    check(&[(100.0, 7, 9)], &[]);
    check(&[(100.0, 7, 9), (105.0, 7, 9)], &[]);
}

#[test]
fn a_burst_is_one_episode_from_the_sample_before_it_to_the_last_that_saw_a_loss() {
    check(&[(100.0, 0, 0), (105.0, 3, 4)], &[(100.0, None, Some(3), Some(4))]);
    check(&[(100.0, 7, 9), (105.0, 10, 13), (114.9, 10, 13)], &[(100.0, None, Some(3), Some(4))]);
    check(&[(100.0, 7, 9), (105.0, 10, 13), (115.0, 10, 13)], &[(100.0, Some(105.0), Some(3), Some(4))]);
    check(
        &[(100.0, 0, 0), (105.0, 1, 1), (110.0, 5, 8), (115.0, 5, 8), (130.0, 5, 8)],
        &[(100.0, Some(110.0), Some(5), Some(8))],
    );
}

#[test]
fn two_bursts_with_ten_quiet_seconds_between_them_are_two_episodes() {
    check(
        &[(0.0, 0, 0), (5.0, 3, 3), (10.0, 3, 3), (15.0, 3, 3), (20.0, 5, 7), (30.0, 5, 7)],
        &[(15.0, Some(20.0), Some(2), Some(4)), (0.0, Some(5.0), Some(3), Some(3))],
    );
    check(&[(0.0, 0, 0), (5.0, 3, 3), (10.0, 3, 3), (14.0, 5, 7)], &[(0.0, None, Some(5), Some(7))]);
}

#[test]
fn samples_that_all_saw_losses_are_one_episode_however_far_they_are_apart() {
    check(&[(0.0, 0, 0), (60.0, 3, 3), (120.0, 4, 4)], &[(0.0, None, Some(4), Some(4))]);
}

#[test]
fn retries_after_1_3_7_and_15_seconds_belong_to_the_burst_that_they_come_from() {
    let retried = [(0.0, 0, 0), (1.0, 2, 2), (2.0, 2, 4), (4.0, 2, 6), (8.0, 2, 8), (16.0, 2, 10)];
    check(&retried, &[(0.0, None, Some(2), Some(10))]);
    let seen_late = [(0.0, 0, 0), (5.0, 2, 4), (10.0, 2, 8), (15.0, 2, 8), (20.0, 2, 10), (30.0, 2, 10)];
    check(&seen_late, &[(0.0, Some(20.0), Some(2), Some(10))]);
}

#[test]
fn a_retry_after_the_end_of_its_episode_begins_none_where_connections_are_told_apart() {
    let readings = |told_apart: bool| {
        [(0.0, 0), (1.0, 2), (11.0, 2), (31.0, 4)].map(|(at, packets)| {
            let connections_refused = told_apart.then_some(packets.min(2));
            (at, Some(port(80, Handshakes { connections_refused, ..refused(0, packets) })))
        })
    };
    let spans = |told_apart| after(&readings(told_apart)).iter().map(span).collect::<Vec<_>>();
    assert_eq!(spans(true), [(0.0, Some(1.0), Some(2), Some(2))]);
    assert_eq!(spans(false), [(11.0, None, None, Some(2)), (0.0, Some(1.0), None, Some(2))]);
}

#[test]
fn a_port_that_closes_in_the_middle_keeps_its_name_and_its_limit() {
    let closed = |handshakes| Port { listeners: vec![], process: None, ..port(80, handshakes) };
    let readings = [
        (0.0, Some(port(80, refused(0, 0)))),
        (5.0, Some(port(80, refused(3, 3)))),
        (10.0, Some(closed(refused(4, 5)))),
        (20.0, Some(closed(refused(4, 5)))),
    ];
    let [episode] = after(&readings).try_into().unwrap();
    assert_eq!(span(&episode), (0.0, Some(10.0), Some(4), Some(5)));
    assert_eq!((episode.process.as_deref(), episode.limit), (Some("java"), Some(128)));
}

#[test]
fn a_port_that_vanishes_and_returns_loses_no_count_and_counts_none_twice() {
    let at = |seconds, connections| (seconds, Some(port(80, refused(connections, connections))));
    let check = |readings: &[(f64, Option<Port>)], expected: &[Span]| {
        assert_eq!(after(readings).iter().map(span).collect::<Vec<_>>(), expected);
    };
    // Its totals began anew.
    check(&[at(0.0, 50), at(5.0, 53), at(6.0, 2)], &[(0.0, None, Some(5), Some(5))]);
    check(&[at(0.0, 50), (5.0, None), at(10.0, 2)], &[(5.0, None, Some(2), Some(2))]);
    check(&[at(0.0, 50), at(5.0, 51), (10.0, None), (15.0, None)], &[(0.0, Some(5.0), Some(1), Some(1))]);
    // It is new, and had lost something before anybody saw it.
    check(&[(0.0, None), at(5.0, 4)], &[(0.0, None, Some(4), Some(4))]);
}

#[test]
fn a_sample_without_the_hooks_counts_says_nothing() {
    let mut episodes = Episodes::default();
    observe(&mut episodes, 0.0, vec![port(80, refused(0, 0))]);
    observe(&mut episodes, 5.0, vec![port(80, refused(1, 1))]);
    let mut unread = Model { ports: vec![port(80, Handshakes::default())], ..Model::empty() };
    episodes.note(&mut unread, &instants(20.0));
    assert_eq!(
        unread.episodes.iter().map(|one| span(one)).collect::<Vec<_>>(),
        [(0.0, None, Some(1), Some(1))]
    );
    let model = observe(&mut episodes, 21.0, vec![port(80, refused(2, 2))]);
    assert_eq!(
        model.episodes.iter().map(|one| span(one)).collect::<Vec<_>>(),
        [(0.0, None, Some(2), Some(2))]
    );
}

#[test]
fn what_is_not_known_of_a_port_is_not_known_of_its_episodes() {
    let overflows = |count| Overflows { undivided: Some(count), ..Overflows::default() };
    let drops = |count| Handshakes {
        accept_queue_overflows: overflows(count),
        listen_drops: Some(count),
        ..Handshakes::default()
    };
    let [episode] =
        after(&[(0.0, Some(port(80, drops(0)))), (5.0, Some(port(80, drops(7))))]).try_into().unwrap();
    let expected = Episode {
        process: Some("java".into()),
        seconds: 5.0,
        // The listener's limit was 128 all the time, and packets were refused.
        peak: Some(129),
        limit: Some(128),
        packets_refused: Some(7),
        listen_drops: Some(7),
        cause: Some(LossCause::AcceptQueueFull),
        ..Episode::beginning(id(80), EPOCH)
    };
    assert_eq!(episode, expected);
    let nothing = Handshakes::default;
    assert_eq!(after(&[(0.0, Some(port(80, nothing()))), (5.0, Some(port(80, nothing())))]), []);
}

#[test]
fn the_cause_of_most_drops_is_named_unless_it_may_be_one_that_cannot_be_told() {
    use LossCause::{AcceptQueueFull, Other, SynBacklogReserve, SynQueueFull};
    let check = |overflows, by_cause: Option<[u64; 3]>, listen_drops, expected| {
        let [syn_queue_full, syn_backlog_reserve, other] = match by_cause {
            Some(counts) => counts.map(Some),
            None => [None; 3],
        };
        let syn_dropped = SynDropped { syn_queue_full, syn_backlog_reserve, other, accept_queue_full: None };
        let handshakes = Handshakes {
            syn_dropped,
            accept_queue_overflows: Overflows { undivided: Some(overflows), ..Overflows::default() },
            listen_drops: Some(listen_drops),
            ..Handshakes::default()
        };
        let empty = port(80, Handshakes::default());
        let [episode] = after(&[(0.0, Some(empty)), (5.0, Some(port(80, handshakes)))]).try_into().unwrap();
        assert_eq!(episode.cause, expected, "{overflows} {by_cause:?} {listen_drops}");
    };
    check(5, Some([4, 0, 0]), 9, Some(AcceptQueueFull));
    check(4, Some([5, 0, 0]), 9, Some(SynQueueFull));
    check(0, Some([1, 2, 0]), 3, Some(SynBacklogReserve));
    check(1, Some([1, 1, 2]), 5, Some(Other));
    check(2, Some([2, 2, 2]), 8, Some(AcceptQueueFull));
    check(7, None, 12, Some(AcceptQueueFull));
    check(5, None, 12, None);
    check(0, None, 12, None);
}

/// A port with 128 places whose queue had these peaks.
fn with_queue(packets: u64, length: u32, peaks: Option<Peaks>) -> Port {
    Port {
        queues: Queues {
            counts: QueueCounts { accepted: Some(10 * packets), ..QueueCounts::default() },
            accept_queue_peaks: peaks,
            demand: Some(length * 2),
            ..Queues::default()
        },
        listeners: vec![Listener::with_queue(0, 4_096), Listener::with_queue(length, 128)],
        ..port(80, Handshakes { established: Some(20 * packets), ..refused(packets, packets) })
    }
}

#[test]
fn the_peak_is_the_highest_length_that_is_known_to_be_of_this_time() {
    let peaks = |highest, at, windows: [u32; 3]| {
        let [last_1_second, last_15_seconds, last_60_seconds] = windows;
        Some(Peaks { last_1_second, last_15_seconds, last_60_seconds, highest, highest_at: Some(EPOCH + at) })
    };
    // Before the second sample nobody has seen the port, so its limit may have been another one.
    let check = |length, peaks: Option<Peaks>, expected| {
        let [episode] =
            after(&[(40.0, None), (62.5, Some(with_queue(1, length, peaks)))]).try_into().unwrap();
        assert_eq!(episode.peak, expected, "{length} {peaks:?}");
    };
    check(3, None, Some(3));
    check(3, peaks(200, 40.5, [0, 0, 0]), Some(200));
    check(3, peaks(200, 39.5, [0, 0, 0]), Some(3));
    check(3, peaks(200, 39.5, [5, 6, 70]), Some(6));
    check(9, peaks(200, 39.5, [5, 6, 70]), Some(9));
    let watched = [(0.0, Some(with_queue(0, 0, None))), (5.0, Some(with_queue(1, 3, None)))];
    let [episode] = after(&watched).try_into().unwrap();
    assert_eq!((episode.peak, episode.limit), (Some(129), Some(128)), "the lowest limit and one more");
}

#[test]
fn connections_that_came_through_are_counted_up_to_the_last_loss() {
    let readings = [
        (0.0, Some(with_queue(1, 0, None))),
        (5.0, Some(with_queue(2, 4, None))),
        // Nothing is lost, and more comes through.
        (8.0, Some(Port { handshakes: refused(2, 2), ..with_queue(9, 9, None) })),
        (10.0, Some(with_queue(10, 3, None))),
        (20.0, Some(Port { handshakes: refused(10, 10), ..with_queue(99, 0, None) })),
    ];
    let [episode] = after(&readings).try_into().unwrap();
    assert_eq!((episode.seconds, episode.ended), (10.0, Some(EPOCH + 10.0)));
    assert_eq!((episode.established, episode.established_per_second), (Some(180), Some(18.0)));
    assert_eq!((episode.accepted, episode.accepted_per_second), (Some(90), Some(9.0)));
    assert_eq!(episode.demand, Some(8), "as far as it was seen with a loss");
}

/// Ports 1 to `last`, each of which has refused so many connections.
fn ports(last: u16, refusals: u64) -> Vec<Port> {
    (1..=last).map(|number| port(number, refused(refusals, refusals))).collect()
}

#[test]
fn the_101st_that_goes_on_is_counted_and_not_recorded() {
    let mut episodes = Episodes::default();
    let mut not_recorded = |seconds, ports| {
        let model = observe(&mut episodes, seconds, ports);
        (model.episodes.len(), model.losses.get(LOSS_EPISODE_NOT_RECORDED).copied())
    };
    assert_eq!(not_recorded(0.0, ports(102, 0)), (0, None));
    assert_eq!(not_recorded(5.0, ports(102, 1)), (100, Some(2)));
    assert_eq!(not_recorded(10.0, ports(102, 2)), (100, Some(2)), "each is counted once");
    assert_eq!(not_recorded(20.0, ports(102, 2)), (100, Some(2)));
    let mut later = ports(102, 2);
    later.push(port(103, refused(1, 1)));
    assert_eq!(not_recorded(21.0, later), (101, Some(2)), "there is room again");
}

#[test]
fn the_last_hundred_that_ended_are_kept() {
    let mut episodes = Episodes::default();
    observe(&mut episodes, 0.0, ports(1, 0));
    let mut model = Model::empty();
    for burst in 1..=105_u32 {
        let begun = f64::from(burst) * 20.0;
        observe(&mut episodes, begun, ports(1, u64::from(burst)));
        model = observe(&mut episodes, begun + 10.0, ports(1, u64::from(burst)));
    }
    let ended: Vec<_> = model.episodes.iter().map(|one| one.ended.unwrap() - EPOCH).collect();
    assert_eq!(ended.len(), MOST_EPISODES);
    assert_eq!((ended.first(), ended.last()), (Some(&2_100.0), Some(&120.0)), "the newest first");
}
