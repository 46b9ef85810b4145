//! Requests made by hand, and dumps of this host.
use std::net::TcpListener;

use netlink_packet_sock_diag::{
    constants::AF_INET,
    inet::{InetResponseHeader, SocketId},
};
use probe_common::handshake::PortKey;

use super::*;
use crate::readers::handshake::decode_counters;

/// What a dump shows of a request to this local end, or of a full socket.
fn response(address: &str, port: u16, attributes: &[Nla]) -> InetResponse {
    let socket_id =
        SocketId { source_port: port, source_address: address.parse().unwrap(), ..SocketId::new_v4() };
    let header = InetResponseHeader {
        family: AF_INET,
        state: TCP_SYN_RECV,
        timer: None,
        socket_id,
        recv_queue: 0,
        send_queue: 0,
        uid: 0,
        inode: 0,
    };
    InetResponse { header, nlas: attributes.iter().cloned().collect() }
}

fn listener(address: &str) -> ListenerSample {
    let address = address.parse().unwrap();
    ListenerSample { address, port: 80, accept_queue_length: 0, accept_queue_limit: 128, drops: 0, inode: 1 }
}

fn totals(rows: &[(u32, u64)]) -> Totals {
    let rows = rows.iter().enumerate().map(|(index, &(netns, syn_queued))| {
        let port = u16::try_from(index).unwrap();
        let port = PortKey { address: [0; 16], netns, port, family: u16::from(AF_INET) };
        let counters = HandshakeCounters { syn_queued, ..HandshakeCounters::default() };
        (port, counters)
    });
    decode_counters(rows)
}

#[test]
fn requests_are_numbers_per_local_end_and_no_objects() {
    let mut requests = Requests::default();
    for _ in 0..1_000 {
        requests.add(&response("10.0.0.1", 80, &[])).unwrap();
        requests.add(&response("10.0.0.2", 80, &[Nla::Mark(7)])).unwrap();
    }
    requests.add(&response("10.0.0.1", 81, &[])).unwrap();
    let queues: Vec<_> =
        requests.into_queues().map(|queue| (queue.address.to_string(), queue.port, queue.length)).collect();
    let expected = [("10.0.0.1", 80, 1_000), ("10.0.0.1", 81, 1), ("10.0.0.2", 80, 1_000)];
    assert_eq!(queues, expected.map(|(address, port, length)| (address.to_owned(), port, length)));
}

#[test]
fn a_full_socket_in_the_same_state_is_no_request() {
    let mut requests = Requests::default();
    requests.add(&response("10.0.0.1", 80, &[Nla::Mark(7), Nla::Shutdown(0)])).unwrap();
    assert_eq!(requests.into_queues().count(), 0);
}

#[test]
fn a_mark_is_what_was_queued_in_the_namespace_and_what_may_be_anybodys() {
    let check = |counted: bool, skipped: u64, expected: Option<[Mark; 3]>| {
        let mut reader = SynQueueReader::new(counted);
        reader.note_skipped_runs(skipped);
        let other = HandshakeCounters { syn_queued: 100, ..HandshakeCounters::default() };
        reader.begin(Some((&totals(&[(1, 3), (2, 5), (1, 4)]), &other)));
        assert_eq!(reader.marks.map(|marks| [1, 2, 3].map(|netns| marks.of(netns))), expected);
    };
    check(true, 0, Some([(7, 100), (5, 100), (0, 100)]));
    check(true, 2, Some([(7, 102), (5, 102), (0, 102)]));
    check(false, 0, None);
}

#[test]
fn without_totals_there_is_no_mark() {
    let mut reader = SynQueueReader::new(true);
    reader.begin(None);
    assert_eq!(reader.marks, None);
}

#[test]
fn where_nobody_listens_nothing_is_asked() {
    let mut reader = SynQueueReader::new(false);
    assert_eq!(reader.read(1, &[]), Ok(SynQueuesSample::default()));
    assert!(reader.pace.last(1).is_none());
}

#[test]
fn only_the_families_that_somebody_listens_with_are_asked_for() {
    let listening = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listening.local_addr().unwrap().port();
    for addresses in [&["0.0.0.0"][..], &["::"], &["0.0.0.0", "::1"]] {
        let listeners: Vec<_> = addresses.iter().map(|address| listener(address)).collect();
        let queues = dump(&listeners).unwrap();
        assert!(queues.iter().all(|queue| queue.port != port && queue.length > 0), "{queues:?}");
    }
}

#[test]
fn a_reading_while_the_last_dump_rests_gives_what_that_found_and_its_age() {
    let mut reader = SynQueueReader::new(false);
    let queues = vec![SynQueueSample { address: [10, 0, 0, 1].into(), port: 80, length: 3 }];
    let long = Duration::from_secs(3_600);
    reader.pace.note(1, (Duration::ZERO, long), None, Ok(queues.clone()));
    let found = reader.read(1, &[listener("0.0.0.0")]).unwrap();
    assert_eq!(found, SynQueuesSample { age_milliseconds: 0, queues });
    reader.pace.note(1, (Duration::ZERO, long), None, Err("refused".to_owned()));
    assert_eq!(reader.read(1, &[listener("0.0.0.0")]), Err("refused".to_owned()));
    reader.end(|netns| netns != 1);
    assert!(reader.pace.last(1).is_none());
}
