//! The private network and the client that speaks TCP itself, with real listeners.
use std::{
    io::{ErrorKind, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use libtest_mimic::Trial;
use socket2::{Domain, Protocol, Socket, Type};
use tcp_backlog_probe::{
    netns::{discover, visit},
    prove::{Client, HandshakeId, Ledger, NetworkError, PrivateNetwork},
};

use crate::scenarios::support::{
    kernel_counters::KernelCounters,
    sockets::{ANY_IPV6, IPV4, IPV6},
    trials::trials_of,
    wait::{PATIENCE, ensure, wait_until},
};

pub(crate) fn trials() -> Vec<Trial> {
    trials_of!("raw_client":
        a_handshake_over_ipv4_is_accepted_and_its_data_arrives,
        a_handshake_over_ipv6_is_accepted_and_its_data_arrives,
        a_dual_stack_listener_accepts_handshakes_of_both_kinds,
        of_fifty_handshakes_that_end_at_once_a_backlog_of_sixteen_takes_seventeen,
        half_open_handshakes_are_answered_again,
        syns_that_meet_a_full_syn_queue_get_cookies_whose_acks_are_accepted,
        a_syn_sent_again_belongs_to_the_same_connection,
        an_ack_that_answers_nothing_is_reset_by_the_listener,
        a_handshake_that_its_client_resets_is_forgotten,
        a_syn_to_a_broadcast_address_is_dropped_by_the_listener,
        a_handshake_is_not_acknowledged_before_it_is_answered_nor_by_another_client,
        a_private_network_is_discovered_without_a_process_in_it,
        what_the_host_forwards_or_filters_changes_nothing,
        no_answer_is_missed_among_thousands,
        a_private_network_has_sysctls_of_its_own,
        a_panic_in_a_private_network_is_an_error_and_the_network_goes_on
    )
}

/// A network, a listener in it and a client.
struct Bench {
    network: PrivateNetwork,
    listener: Socket,
    server: SocketAddr,
    client: Client,
}

impl Bench {
    /// A listener that is bound to `bound` and reached at `reached`.
    fn new(bound: IpAddr, reached: IpAddr, backlog: i32) -> Self {
        let network = PrivateNetwork::new().expect("a private network (root is needed)");
        let listener = network.run(move || listen(bound, backlog)).expect("a listener");
        let port = listener.local_addr().ok().and_then(|address| address.as_socket());
        let server = SocketAddr::new(reached, port.expect("a port").port());
        let client = Client::open(&network).expect("a client");
        Self { network, listener, server, client }
    }

    fn ipv4(backlog: i32) -> Self {
        Self::new(IPV4, IPV4, backlog)
    }

    fn counters(&self) -> KernelCounters {
        self.network.run(KernelCounters::of_this_thread).expect("the counters")
    }

    fn wait_for_counters(&self, what: &str, reached: impl Fn(&KernelCounters) -> bool) {
        wait_until(what, || {
            let counters = self.counters();
            ensure(reached(&counters), || format!("{counters:?}"))
        });
    }

    /// Sends the SYNs and waits for their SYN-ACKs.
    fn syns(&mut self, count: u64) -> Vec<HandshakeId> {
        let before = self.client.ledger().handshakes_answered;
        let handshakes = (0..count).map(|_| self.client.syn(self.server).expect("a SYN")).collect();
        let answered = move |ledger: &Ledger| ledger.handshakes_answered == before + count;
        self.client.wait("every SYN is answered", PATIENCE, answered).expect("SYN-ACKs");
        handshakes
    }

    fn accept(&self) -> Socket {
        wait_until("a connection to accept", || {
            self.listener.accept().map(|(socket, _)| socket).map_err(|error| error.to_string())
        })
    }

    /// How many connections can be accepted now.
    fn accept_all(&self) -> usize {
        let mut accepted = Vec::new();
        loop {
            match self.listener.accept() {
                // Kept open until all are counted.
                Ok(connection) => accepted.push(connection),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return accepted.len(),
                Err(error) => panic!("accept: {error}"),
            }
        }
    }
}

fn listen(bound: IpAddr, backlog: i32) -> Socket {
    let address = SocketAddr::new(bound, 0);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP));
    let socket = socket.expect("a TCP socket");
    if bound == ANY_IPV6 {
        socket.set_only_v6(false).expect("a dual-stack listener");
    }
    socket.bind(&address.into()).expect("bind");
    socket.listen(backlog).expect("listen");
    socket.set_nonblocking(true).expect("non-blocking accept");
    socket
}

fn read(socket: &Socket, expected: &str) {
    let mut text = String::new();
    wait_until(expected, || {
        let mut bytes = [0; 64];
        match (&mut &*socket).read(&mut bytes) {
            Ok(length) => text.push_str(std::str::from_utf8(&bytes[..length]).expect("text")),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("read: {error}"),
        }
        ensure(text == expected, || text.clone())
    });
}

fn a_handshake_is_accepted_and_data_arrives(bound: IpAddr, reached: IpAddr) {
    let mut bench = Bench::new(bound, reached, 8);
    let id = bench.syns(1)[0];
    bench.client.last_ack(id).expect("a last ACK");
    let connection = bench.accept();
    connection.set_nonblocking(true).expect("non-blocking read");
    bench.client.data(id, b"first, ").expect("data");
    bench.client.second_data(id, b"second").expect("more data");
    read(&connection, "first, second");
    drop(connection);
    let closed = |ledger: &Ledger| ledger.handshake(id).is_some_and(|handshake| handshake.finished);
    bench.client.wait("the server closes", PATIENCE, closed).expect("a FIN");
    bench.client.reset(id).expect("a reset");
    let handshake = bench.client.ledger().handshake(id).expect("its own handshake");
    assert_eq!((handshake.synacks, handshake.resets), (1, 0));
    let counters = bench.counters();
    assert_eq!((counters.passive_opens, counters.resets_sent), (1, 0), "{counters:?}");
}

fn a_handshake_over_ipv4_is_accepted_and_its_data_arrives() {
    a_handshake_is_accepted_and_data_arrives(IPV4, IPV4);
}

fn a_handshake_over_ipv6_is_accepted_and_its_data_arrives() {
    a_handshake_is_accepted_and_data_arrives(IPV6, IPV6);
}

fn a_dual_stack_listener_accepts_handshakes_of_both_kinds() {
    a_handshake_is_accepted_and_data_arrives(ANY_IPV6, IPV4);
    a_handshake_is_accepted_and_data_arrives(ANY_IPV6, IPV6);
}

fn fifty_handshakes_at_once_meet_a_backlog_of_sixteen(address: IpAddr) {
    let mut bench = Bench::new(address, address, 16);
    let handshakes = bench.syns(50);
    for id in handshakes {
        bench.client.last_ack(id).expect("a last ACK");
    }
    bench.wait_for_counters("33 last ACKs are refused", |now| now.listen_overflows >= 33);
    assert_eq!(bench.accept_all(), 17);
    let counters = bench.counters();
    assert_eq!((counters.listen_overflows, counters.resets_sent), (33, 0), "{counters:?}");
    assert_eq!(bench.client.ledger().last_acks_sent, 50);
}

fn of_fifty_handshakes_that_end_at_once_a_backlog_of_sixteen_takes_seventeen() {
    fifty_handshakes_at_once_meet_a_backlog_of_sixteen(IPV4);
    fifty_handshakes_at_once_meet_a_backlog_of_sixteen(IPV6);
}

fn half_open_handshakes_are_answered_again() {
    let mut bench = Bench::ipv4(8);
    bench.syns(3);
    let again = |ledger: &Ledger| ledger.synacks_again >= 3;
    bench.client.wait("SYN-ACKs come again", PATIENCE, again).expect("SYN-ACKs");
    let ledger = bench.client.ledger();
    assert_eq!((ledger.handshakes_answered, ledger.synacks_received), (3, 6), "{ledger}");
    assert_eq!(bench.counters().syn_retransmits, 3);
}

fn syns_that_meet_a_full_syn_queue_get_cookies_whose_acks_are_accepted() {
    let mut bench = Bench::ipv4(8);
    let handshakes = bench.syns(20);
    let with_cookie = bench.counters().syn_queue_full_cookies;
    assert!((10..=12).contains(&with_cookie), "{with_cookie}");
    for id in &handshakes[15..] {
        bench.client.last_ack(*id).expect("a last ACK");
    }
    bench.wait_for_counters("cookies come back", |now| now.cookies_received == 5);
    assert_eq!(bench.accept_all(), 5);
    assert_eq!(bench.counters().resets_sent, 0);
}

fn a_syn_sent_again_belongs_to_the_same_connection() {
    let mut bench = Bench::ipv4(8);
    let id = bench.syns(1)[0];
    bench.client.syn_again(id).expect("a SYN");
    let again = |ledger: &Ledger| ledger.synacks_received == 2;
    bench.client.wait("it is answered again", PATIENCE, again).expect("a SYN-ACK");
    let ledger = bench.client.ledger();
    assert_eq!((ledger.handshakes_answered, ledger.synacks_again), (1, 1), "{ledger}");
    bench.client.last_ack(id).expect("a last ACK");
    bench.client.last_ack_again(id).expect("a last ACK");
    bench.client.data(id, b"x").expect("data");
    read(&nonblocking(bench.accept()), "x");
    assert_eq!(bench.accept_all(), 0);
}

fn nonblocking(socket: Socket) -> Socket {
    socket.set_nonblocking(true).expect("non-blocking read");
    socket
}

fn an_ack_that_answers_nothing_is_reset_by_the_listener() {
    for address in [IPV4, IPV6] {
        let mut bench = Bench::new(address, address, 8);
        let id = bench.client.bad_cookie_ack(bench.server).expect("an ACK");
        let reset = |ledger: &Ledger| ledger.resets_received == 1;
        bench.client.wait("a reset", PATIENCE, reset).expect("a reset");
        assert_eq!(bench.client.ledger().handshake(id).map(|handshake| handshake.resets), Some(1));
        assert_eq!(bench.counters().resets_sent, 1);
        assert_eq!(bench.accept_all(), 0);
    }
}

fn a_handshake_that_its_client_resets_is_forgotten() {
    let mut bench = Bench::ipv4(8);
    let id = bench.syns(1)[0];
    bench.client.reset(id).expect("a reset");
    bench.client.last_ack(id).expect("a last ACK");
    let reset = |ledger: &Ledger| ledger.resets_received == 1;
    bench.client.wait("the listener knows it no more", PATIENCE, reset).expect("a reset");
    assert_eq!(bench.accept_all(), 0);
}

fn a_syn_to_a_broadcast_address_is_dropped_by_the_listener() {
    let broadcast = IpAddr::V4(Ipv4Addr::new(127, 255, 255, 255));
    let mut bench = Bench::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), broadcast, 8);
    bench.client.syn(bench.server).expect("a SYN");
    bench.wait_for_counters("the SYN is dropped", |now| now.listen_drops == 1);
    assert_eq!(bench.counters().listen_overflows, 0);
}

fn a_handshake_is_not_acknowledged_before_it_is_answered_nor_by_another_client() {
    let mut bench = Bench::ipv4(8);
    let nobody = SocketAddr::new(IPV4, 1);
    let id = bench.client.syn(nobody).expect("a SYN");
    let error = bench.client.last_ack(id).expect_err("nothing to acknowledge");
    assert!(error.to_string().starts_with("no SYN-ACK came to 192.0.2.1:1024"), "{error}");
    let mut other = Client::open(&bench.network).expect("a client");
    other.syn_again(id).expect_err("another client's handshake");
    let second = other.syn(bench.server).expect("a SYN");
    let client = other.ledger().handshake(second).expect("its own").client;
    assert_eq!(client, "192.0.2.1:1025".parse().expect("an address"));
}

fn a_private_network_is_discovered_without_a_process_in_it() {
    let network = PrivateNetwork::new().expect("a private network (root is needed)");
    let found = discover().expect("network namespaces");
    assert!(found.namespaces.iter().any(|namespace| namespace.inum() == network.inum()));
    assert!(
        !found.namespaces.iter().any(|namespace| namespace.is_own() && namespace.inum() == network.inum())
    );
    let visits = visit(&found.namespaces, |_| KernelCounters::of_this_thread());
    let visit = visits.into_iter().find(|(inum, _)| *inum == network.inum());
    visit.expect("the network").1.expect("a way into it");
    assert_eq!(network.without_ipv6(), None);
}

fn what_the_host_forwards_or_filters_changes_nothing() {
    for (address, sysctls) in [
        (IPV4, &["ipv4.ip_forward", "ipv4.conf.all.rp_filter", "ipv4.conf.lo.rp_filter"][..]),
        (IPV6, &["ipv6.conf.all.forwarding", "ipv6.conf.lo.forwarding"]),
    ] {
        let mut bench = Bench::new(address, address, 8);
        for name in sysctls {
            bench.network.set_sysctl(name, 1).expect("a sysctl");
        }
        let id = bench.syns(1)[0];
        bench.client.last_ack(id).expect("a last ACK");
        bench.accept();
        let packets = bench.network.run(packets_of_loopback).expect("the interface's counters");
        // SYN, SYN-ACK, last ACK, the FIN of the connection that was accepted and dropped: none went round.
        assert_eq!((packets, bench.counters().resets_sent), (4, 0));
    }
}

/// Packets that the loopback interface has received, by its line in `/proc/net/dev`.
fn packets_of_loopback() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").expect("/proc/net/dev");
    let line = text.lines().find_map(|line| line.trim().strip_prefix("lo:")).expect("the loopback interface");
    line.split_whitespace().nth(1).expect("packets").parse().expect("a number")
}

fn no_answer_is_missed_among_thousands() {
    for address in [IPV4, IPV6] {
        let mut bench = Bench::new(address, address, 16);
        let handshakes = bench.syns(5_000);
        for id in handshakes {
            bench.client.last_ack(id).expect("a last ACK");
        }
        bench.wait_for_counters("all but 17 last ACKs are refused", |now| now.listen_overflows >= 4_983);
        assert_eq!(bench.accept_all(), 17);
        let counters = bench.counters();
        assert_eq!((counters.listen_overflows, counters.resets_sent), (4_983, 0), "{counters:?}");
    }
}

fn a_private_network_has_sysctls_of_its_own() {
    let network = PrivateNetwork::new().expect("a private network (root is needed)");
    let read = |network: &PrivateNetwork| {
        let read = || std::fs::read_to_string("/proc/sys/net/core/somaxconn").expect("somaxconn");
        network.run(read).expect("the network")
    };
    network.set_sysctl("core.somaxconn", 77).expect("a sysctl");
    assert_eq!(read(&network), "77\n");
    assert_ne!(read(&PrivateNetwork::new().expect("another")), "77\n");
    let error = network.set_sysctl("core/no_such_name", 1).expect_err("no such sysctl").to_string();
    assert!(error.starts_with("/proc/sys/net/core/no_such_name cannot be set to 1 ("), "{error}");
}

fn a_panic_in_a_private_network_is_an_error_and_the_network_goes_on() {
    let network = PrivateNetwork::new().expect("a private network (root is needed)");
    let panicked = network.run(|| -> () { panic!("on purpose") });
    assert!(matches!(panicked, Err(NetworkError::Panicked { message }) if message == "on purpose"));
    assert_eq!(network.run(|| 7).expect("the network"), 7);
}
