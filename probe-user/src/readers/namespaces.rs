//! Every network namespace: its listeners, between two reads of its TcpExt counters.
use crate::{
    kernel,
    netns::{self, Discovery},
    readers::{listener, netstat, syn_queue::SynQueueReader, sysctl},
    sample::NamespaceSample,
};

/// What was read.
#[derive(Debug, Default)]
pub struct Namespaces {
    /// Each that was found, also if it could not be entered.
    pub namespaces: Vec<NamespaceSample>,
    /// `net.core.netdev_max_backlog`, the same in all; one of them shows it.
    pub netdev_max_backlog: Option<u64>,
    /// How many processes hide theirs.
    pub hidden_processes: usize,
    /// None is missing.
    pub all_found: bool,
}

/// Reads every network namespace of the host. What concerns no single one is added to `read_errors`, one line each.
pub fn read(syn_queues: &mut SynQueueReader, read_errors: &mut Vec<String>) -> Namespaces {
    let discovery = match netns::discover() {
        Ok(discovery) => discovery,
        Err(error) => {
            read_errors.push(error.to_string());
            return Namespaces::default();
        }
    };
    let shortcomings = shortcomings(&discovery);
    let all_found = shortcomings.is_empty();
    read_errors.extend(shortcomings);
    let mut netdev_max_backlog = None;
    let visits = netns::visit(&discovery.namespaces, |netns| {
        let mut errors = Vec::new();
        netdev_max_backlog = netdev_max_backlog.or_else(|| sysctl::read_netdev_max_backlog(&mut errors));
        read_here(netns, syn_queues, errors)
    });
    syn_queues.end(|netns| discovery.namespaces.iter().any(|namespace| namespace.inum() == netns));
    let sample = |(netns, visit): (u32, Result<NamespaceSample, netns::VisitError>)| {
        visit.unwrap_or_else(|error| NamespaceSample {
            netns,
            error: Some(error.to_string()),
            ..NamespaceSample::default()
        })
    };
    Namespaces {
        namespaces: visits.into_iter().map(sample).collect(),
        netdev_max_backlog,
        hidden_processes: discovery.unreadable_processes,
        all_found,
    }
}

/// Reads the namespace that the calling thread is in.
///
/// The order is what the model builds on: all that `netstat_before` counts has reached the sockets
/// when they are read, and all that the sockets show has reached `netstat_after`.
fn read_here(netns: u32, syn_queues: &mut SynQueueReader, mut errors: Vec<String>) -> NamespaceSample {
    let netstat_before = netstat::read();
    let listeners = listener::read();
    let netstat_after = netstat::read();
    // Before a line is added by the others: both reads of one file fail alike.
    let of_netstat = [&netstat_before, &netstat_after].into_iter().filter_map(|read| read.as_ref().err());
    errors.extend(of_netstat.map(ToString::to_string));
    errors.dedup();
    errors.extend(listeners.as_ref().err().map(ToString::to_string));
    let limits = sysctl::read_limits(&mut errors);
    // Whoever does not know who listens does not know whose the requests are.
    let queues = listeners.as_ref().ok().map(|listeners| syn_queues.read(netns, listeners)).transpose();
    NamespaceSample {
        netns,
        cookie: kernel::namespace_cookie(),
        listeners: listeners.ok(),
        netstat_before: netstat_before.ok(),
        netstat_after: netstat_after.ok(),
        limits,
        syn_queues: queues.map_err(|error| errors.push(error)).ok().flatten(),
        error: (!errors.is_empty()).then(|| errors.join("; ")),
    }
}

/// What the discovery could not see, one line each.
fn shortcomings(discovery: &Discovery) -> Vec<String> {
    let mut lines: Vec<_> = discovery.mounts_error.iter().cloned().collect();
    if discovery.past_budget > 0 {
        lines.push(format!(
            "{} network namespaces are not read: more than {} were found",
            discovery.past_budget,
            netns::NAMESPACE_BUDGET
        ));
    }
    if discovery.unreadable_processes > 0 {
        lines.push(format!(
            "/proc/PID/ns/net of {} processes is not readable: their network namespaces may be missing \
             (no CAP_SYS_PTRACE, or a security module)",
            discovery.unreadable_processes
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_own_namespace_is_read_with_its_listeners_between_its_counters() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut read_errors = Vec::new();
        let found = read(&mut SynQueueReader::new(false), &mut read_errors);
        assert_eq!(found.all_found, read_errors.is_empty(), "{read_errors:?}");
        let own = found.namespaces.first().unwrap();
        assert_eq!(own.error, None);
        let found = own.listeners.as_ref().unwrap();
        assert!(found.iter().any(|entry| (entry.address, entry.port) == (address.ip(), address.port())));
        assert!(own.limits.tcp_max_syn_backlog.is_some());
        assert!(own.syn_queues.is_some());
        assert!(own.netstat_before.unwrap().listen_drops <= own.netstat_after.unwrap().listen_drops);
    }

    #[test]
    fn what_the_discovery_could_not_see_is_said() {
        let check = |discovery: Discovery, expected: &[&str]| {
            let lines = shortcomings(&discovery);
            assert_eq!(lines.len(), expected.len(), "{lines:?}");
            assert!(lines.iter().zip(expected).all(|(line, part)| line.contains(part)), "{lines:?}");
        };
        check(Discovery::default(), &[]);
        check(Discovery { past_budget: 3, ..Discovery::default() }, &["3 network namespaces are not read"]);
        check(Discovery { unreadable_processes: 2, ..Discovery::default() }, &["of 2 processes"]);
        check(
            Discovery { mounts_error: Some("no mounts".to_owned()), ..Discovery::default() },
            &["no mounts"],
        );
    }
}
