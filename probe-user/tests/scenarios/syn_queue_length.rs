//! How many handshakes are half open: the kernel lists the requests of every port.
use std::net::SocketAddr;

use super::{
    Setup,
    support::{
        daemon::Daemon,
        half_open::HalfOpen,
        sockets::{ANY_IPV6, IPV4, IPV6, take_fast_opens},
        wait::{ensure, wait_until},
    },
};

const BACKLOG: u32 = 64;

/// Listeners of every kind, two of them with one port number.
pub(crate) fn every_port_has_as_many_requests_as_the_kernel_lists(setup: &Setup) {
    let daemon = setup.shared_daemon();
    let mut network = HalfOpen::new();
    let backlog = i32::try_from(BACKLOG).expect("a small backlog");
    let (_ipv4_socket, ipv4) = network.listen((IPV4, 0).into(), backlog);
    let (_ipv6_socket, ipv6) = network.listen((IPV6, ipv4.port()).into(), backlog);
    let (_dual_socket, dual) = network.listen((ANY_IPV6, 0).into(), backlog);
    let ports = [ipv4, ipv6, dual];
    compare(&daemon, &network, &ports, [0, 0, 0]);

    let of_ipv4 = network.client().syns(ipv4, 5);
    compare(&daemon, &network, &ports, [5, 0, 0]);
    network.client().syns(ipv6, 7);
    network.client().syns(SocketAddr::new(IPV4, dual.port()), 3);
    compare(&daemon, &network, &ports, [5, 7, 3]);
    network.client().syns(SocketAddr::new(IPV6, dual.port()), 4);
    network.client().syns(ipv4, 2);
    compare(&daemon, &network, &ports, [7, 7, 7]);

    // Clients that give up take their requests with them.
    network.client().reset(&of_ipv4);
    compare(&daemon, &network, &ports, [2, 7, 7]);
    // The others end when their SYN-ACK would be sent again.
    network.set_sysctl("ipv4.tcp_synack_retries", 0);
    compare(&daemon, &network, &ports, [0, 0, 0]);
    network.set_sysctl("ipv4.tcp_synack_retries", 5);
    network.client().syns(ipv6, 1);
    compare(&daemon, &network, &ports, [0, 1, 0]);
}

/// A connection by Fast Open whose last ACK is missing is listed in the same state as a request, but waits in the
/// accept queue.
pub(crate) fn a_connection_by_fast_open_is_not_in_the_syn_queue(setup: &Setup) {
    const SERVER: u32 = 2;
    const WITHOUT_COOKIE: u32 = 0x200;
    let daemon = setup.shared_daemon();
    let mut network = HalfOpen::new();
    network.set_sysctl("ipv4.tcp_fastopen", SERVER | WITHOUT_COOKIE);
    let (socket, address) = network.listen((IPV4, 0).into(), 8);
    take_fast_opens(&socket, 4);
    network.client().fast_open(address);
    network.client().syns(address, 2);
    wait_until("one connection and two requests", || {
        let listed = network.requests(IPV4, address.port());
        let metrics = daemon.scrape();
        let of = |name: &str| metrics.of_port(network.inode(), address, name);
        let seen = (of("accept_queue_length"), of("syn_queue_length"));
        ensure(listed == 3 && seen == (Some(1), Some(2)), || format!("{listed} listed, {seen:?} shown"))
    });
}

/// A closed port has no queue, even while requests of its listener are still listed.
pub(crate) fn a_closed_port_has_no_syn_queue(setup: &Setup) {
    let daemon = setup.shared_daemon();
    let mut network = HalfOpen::new();
    let (socket, address) = network.listen((IPV4, 0).into(), 8);
    network.client().syns(address, 3);
    wait_until("three requests", || {
        let length = length(&daemon, &network, address);
        ensure(length == Some(3), || format!("{length:?}"))
    });
    drop(socket);
    assert_eq!(length(&daemon, &network, address), None);
    let netns = network.inode().to_string();
    let limits = daemon.scrape().values("tcp_backlog_syn_queue_limit", &[("netns", &netns)]);
    assert_eq!(limits, [0.0; 0]);
}

/// Waits until the kernel lists so many requests, and the daemon shows as many.
fn compare(daemon: &Daemon, network: &HalfOpen, ports: &[SocketAddr; 3], expected: [u64; 3]) {
    wait_until(&format!("{expected:?} requests"), || {
        let listed = || ports.map(|port| network.requests(port.ip(), port.port()));
        let before = listed();
        let metrics = daemon.scrape();
        let after = listed();
        ensure(before == expected && after == expected, || {
            format!("the kernel lists {before:?}, {after:?}")
        })?;
        let netns = network.inode();
        let of = |name: &str| ports.map(|port| metrics.of_port(netns, port, name));
        let seen = of("syn_queue_length");
        ensure(seen == expected.map(Some), || format!("the daemon shows {seen:?}"))?;
        let limits = of("syn_queue_limit");
        ensure(limits == [Some(u64::from(BACKLOG)); 3], || format!("limits: {limits:?}"))
    });
}

fn length(daemon: &Daemon, network: &HalfOpen, address: SocketAddr) -> Option<u64> {
    daemon.scrape().of_port(network.inode(), address, "syn_queue_length")
}
