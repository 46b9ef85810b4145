//! Whose the requests in the SYN queues are.
//!
//! The kernel shows a request with the address that its SYN went to, and not with its listener.
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::{
    sample::{NamespaceSample, PortId},
    sorted::Sorted,
};

/// How many requests each listening port of the namespace has; `None` when that is not known. Requests that
/// belong to no listener, as those of one that was closed a moment ago, are left out.
pub(super) fn lengths(namespace: &NamespaceSample) -> Option<Sorted<PortId, u64>> {
    let queues = &namespace.syn_queues.as_ref()?.queues;
    let listeners = namespace.listeners.as_ref()?.iter();
    let mut lengths: Sorted<PortId, u64> =
        listeners.map(|listener| (listener.port_in(namespace.netns), 0)).collect();
    let mut addresses = BTreeMap::<u16, Vec<IpAddr>>::new();
    // Most listeners have no requests at most times: nobody has to know where they listen then.
    for id in lengths.keys().filter(|_| !queues.is_empty()) {
        addresses.entry(id.port).or_default().push(id.address);
    }
    for queue in queues {
        let listening = addresses.get(&queue.port).map(Vec::as_slice).unwrap_or_default();
        let id = |address| PortId { netns: namespace.netns, address, port: queue.port };
        let owner = owner(queue.address, listening).map(id);
        if let Some(length) = owner.and_then(|owner| lengths.get_mut(&owner)) {
            *length = length.saturating_add(queue.length);
        }
    }
    Some(lengths)
}

/// Which of the addresses with a listener on the port has the request: the only one; else the same one, else
/// that which stands for all of the family, as in __inet_lookup_listener() of net/ipv4/inet_hashtables.c.
fn owner(address: IpAddr, listening: &[IpAddr]) -> Option<IpAddr> {
    if let [only] = listening {
        return Some(*only);
    }
    wider(address).into_iter().find(|candidate| listening.contains(candidate))
}

/// The addresses that a listener of the request's family may have, the narrowest first. A dual-stack listener
/// shows its requests by IPv4 with v4-mapped addresses, in its own family.
fn wider(address: IpAddr) -> [IpAddr; 3] {
    let any = match address {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let any_ipv4 = if mapped { Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into() } else { any };
    [address, any_ipv4, any]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{ListenerSample, SynQueueSample, SynQueuesSample};

    fn listener(address: &str, port: u16) -> ListenerSample {
        let address = address.parse().unwrap();
        ListenerSample { address, port, accept_queue_length: 0, accept_queue_limit: 8, drops: 0, inode: 1 }
    }

    /// A namespace with listeners on port 80 and one on port 81, and these requests for port 80.
    fn namespace(listening: &[&str], requests: &[(&str, u64)]) -> NamespaceSample {
        let mut listeners: Vec<_> = listening.iter().map(|address| listener(address, 80)).collect();
        listeners.push(listener("0.0.0.0", 81));
        let queue = |&(address, length): &(&str, u64)| SynQueueSample {
            address: address.parse().unwrap(),
            port: 80,
            length,
        };
        let queues = requests.iter().map(queue).collect();
        NamespaceSample {
            netns: 7,
            listeners: Some(listeners),
            syn_queues: Some(SynQueuesSample { age_milliseconds: 0, queues }),
            ..NamespaceSample::default()
        }
    }

    #[track_caller]
    fn check(listening: &[&str], requests: &[(&str, u64)], expected: &[(&str, u64)]) {
        let lengths = lengths(&namespace(listening, requests)).unwrap();
        let of = |address: &str, port| {
            lengths.get(&PortId { netns: 7, address: address.parse().unwrap(), port }).copied()
        };
        for (address, length) in expected {
            assert_eq!(of(address, 80), Some(*length), "{address}");
        }
        assert_eq!(of("0.0.0.0", 81), Some(0));
        assert_eq!(lengths.len(), expected.len() + 1);
    }

    #[test]
    fn the_only_port_of_a_number_has_all_its_requests() {
        check(&["::"], &[("::1", 2), ("::ffff:10.0.0.1", 3)], &[("::", 5)]);
        check(&["0.0.0.0"], &[("10.0.0.1", 2), ("10.0.0.2", 3)], &[("0.0.0.0", 5)]);
        check(&["10.0.0.1", "10.0.0.1"], &[("10.0.0.1", 2)], &[("10.0.0.1", 2)]);
        check(&["::"], &[], &[("::", 0)]);
    }

    #[test]
    fn of_several_the_same_address_comes_first_and_then_the_one_for_all() {
        check(
            &["10.0.0.1", "0.0.0.0"],
            &[("10.0.0.1", 2), ("10.0.0.2", 3)],
            &[("10.0.0.1", 2), ("0.0.0.0", 3)],
        );
        check(&["fd00::1", "::"], &[("fd00::1", 2), ("fd00::2", 3)], &[("fd00::1", 2), ("::", 3)]);
        check(&["127.0.0.1", "::1"], &[("127.0.0.1", 2), ("::1", 3)], &[("127.0.0.1", 2), ("::1", 3)]);
    }

    #[test]
    fn a_dual_stack_listeners_requests_by_ipv4_are_its_own() {
        check(
            &["127.0.0.1", "::"],
            &[("127.0.0.1", 2), ("::ffff:127.0.0.2", 3), ("::1", 4)],
            &[("127.0.0.1", 2), ("::", 7)],
        );
        check(
            &["::ffff:10.0.0.1", "::ffff:0.0.0.0", "::"],
            &[("::ffff:10.0.0.1", 2), ("::ffff:10.0.0.2", 3), ("fd00::1", 4)],
            &[("::ffff:10.0.0.1", 2), ("::ffff:0.0.0.0", 3), ("::", 4)],
        );
    }

    #[test]
    fn requests_that_fit_no_listener_are_left_out() {
        check(&["10.0.0.1", "10.0.0.2"], &[("10.0.0.3", 2)], &[("10.0.0.1", 0), ("10.0.0.2", 0)]);
        check(&["10.0.0.1", "::"], &[("10.0.0.2", 2)], &[("10.0.0.1", 0), ("::", 0)]);
        check(&[], &[("10.0.0.1", 2)], &[]);
    }

    #[test]
    fn what_was_not_read_is_unknown() {
        let whole = namespace(&["::"], &[]);
        assert_eq!(lengths(&NamespaceSample { syn_queues: None, ..whole.clone() }), None);
        assert_eq!(lengths(&NamespaceSample { listeners: None, ..whole }), None);
    }
}
