//! Every network namespace: its listeners, between two reads of its TcpExt counters.
use crate::{
    netns::{self, Discovery},
    readers::{listener, netstat},
    sample::NamespaceSample,
};

/// Reads every network namespace of the host. What concerns no single one is added to `read_errors`,
/// one line each.
pub fn read(read_errors: &mut Vec<String>) -> Vec<NamespaceSample> {
    let discovery = match netns::discover() {
        Ok(discovery) => discovery,
        Err(error) => {
            read_errors.push(error.to_string());
            return Vec::new();
        }
    };
    read_errors.extend(shortcomings(&discovery));
    let visits = netns::visit(&discovery.namespaces, read_here);
    let sample = |(netns, visit): (u32, Result<NamespaceSample, netns::VisitError>)| {
        visit.unwrap_or_else(|error| NamespaceSample {
            netns,
            error: Some(error.to_string()),
            ..NamespaceSample::default()
        })
    };
    visits.into_iter().map(sample).collect()
}

/// Reads the namespace that the calling thread is in.
///
/// The order is what the model builds on: all that `netstat_before` counts has reached the sockets
/// when they are read, and all that the sockets show has reached `netstat_after`.
fn read_here(netns: u32) -> NamespaceSample {
    let netstat_before = netstat::read();
    let listeners = listener::read();
    let netstat_after = netstat::read();
    let mut errors: Vec<_> = [&netstat_before, &netstat_after]
        .into_iter()
        .filter_map(|read| read.as_ref().err())
        .map(ToString::to_string)
        .collect();
    errors.extend(listeners.as_ref().err().map(ToString::to_string));
    errors.dedup();
    NamespaceSample {
        netns,
        listeners: listeners.ok(),
        netstat_before: netstat_before.ok(),
        netstat_after: netstat_after.ok(),
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
        let namespaces = read(&mut Vec::new());
        let own = namespaces.first().unwrap();
        assert_eq!(own.error, None);
        let found = own.listeners.as_ref().unwrap();
        assert!(found.iter().any(|entry| (entry.address, entry.port) == (address.ip(), address.port())));
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
