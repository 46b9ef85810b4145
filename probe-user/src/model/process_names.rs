//! The name of the process that a port belongs to, which outlives its listeners.
//!
//! The totals of a port do not end when its server is restarted, and neither shall their label.
use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use super::port::lowest;
use crate::{
    sample::{OwnerSample, PortId, Sample},
    sorted::Sorted,
};

/// Names of so many ports are kept, as many as there are totals of ports without a listener. Those that have
/// a listener now are kept in any case.
const MOST_NAMES: usize = 16_384;

/// The names that are remembered from sample to sample.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct ProcessNames {
    names: Sorted<PortId, Name>,
    /// How many samples there have been.
    samples: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Name {
    process: Arc<str>,
    /// The last sample in which the port was open.
    seen: u64,
}

impl ProcessNames {
    /// Takes in a sample; returns the names after it. A port that is open, and whose owner is not known at the
    /// moment, keeps its name as well: mostly its server has just been restarted.
    pub(super) fn observe(&mut self, sample: &Sample) -> Sorted<PortId, Arc<str>> {
        self.samples = self.samples.saturating_add(1);
        let owners = owners(sample);
        let with_name = owners.iter().filter_map(|(port, owner)| owner.map(|_| *port));
        self.names.make_room_for(with_name, || Name { process: "".into(), seen: 0 });
        for (port, owner) in owners {
            if let Some(known) = self.names.get_mut(&port) {
                known.see(owner, self.samples);
            }
        }
        self.forget_the_oldest(MOST_NAMES);
        self.names.iter().map(|(port, name)| (*port, Arc::clone(&name.process))).collect()
    }

    /// Keeps `most` names, but those of all ports that are open.
    fn forget_the_oldest(&mut self, most: usize) {
        let excess = self.names.len().saturating_sub(most);
        if excess == 0 {
            return;
        }
        let closed = self.names.iter().filter(|(_, name)| name.seen < self.samples);
        let mut by_age: Vec<_> = closed.map(|(port, name)| (name.seen, *port)).collect();
        by_age.sort_unstable();
        let forgotten: BTreeSet<_> = by_age.into_iter().take(excess).map(|(_, port)| port).collect();
        self.names.retain(|port, _| !forgotten.contains(port));
    }
}

impl Name {
    fn see(&mut self, owner: Option<&OwnerSample>, sample: u64) {
        self.seen = sample;
        if let Some(owner) = owner.filter(|owner| *owner.process != *self.process) {
            self.process = owner.process.as_str().into();
        }
    }
}

/// The owner of every open port, if any is known.
fn owners(sample: &Sample) -> Sorted<PortId, Option<&OwnerSample>> {
    let mut ports = Vec::new();
    for namespace in &sample.namespaces {
        for socket in namespace.listeners.iter().flatten() {
            let owner = sample.owners.get(&u64::from(socket.inode)).map(Arc::as_ref);
            ports.push((socket.port_in(namespace.netns), owner));
        }
    }
    Sorted::joined(ports, |known, more| *known = lowest(known.iter().copied().chain(more)))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::sample::{ListenerSample, NamespaceSample};

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A socket on a port, with the number and name of its owner.
    type Open<'a> = (u16, Option<(u32, &'a str)>);

    fn sample(sockets: &[Open<'_>]) -> Sample {
        let mut sample = Sample { namespaces: vec![NamespaceSample::default()], ..Sample::default() };
        let mut listeners = Vec::new();
        for (inode, (port, owner)) in (1_u32..).zip(sockets) {
            listeners.push(ListenerSample {
                address: ADDRESS,
                port: *port,
                accept_queue_length: 0,
                accept_queue_limit: 1,
                drops: 0,
                inode,
            });
            if let Some((pid, process)) = owner {
                let owner =
                    OwnerSample { pid: *pid, process: (*process).to_owned(), ..OwnerSample::default() };
                sample.owners.insert(u64::from(inode), Arc::new(owner));
            }
        }
        sample.namespaces[0].listeners = Some(listeners);
        sample
    }

    /// The names by port number after the last of the samples.
    #[track_caller]
    fn check(samples: &[&[Open<'_>]], expected: &[(u16, &str)]) {
        let mut names = ProcessNames::default();
        let last = samples.iter().map(|sockets| names.observe(&sample(sockets))).last().unwrap();
        let found: Vec<_> = last.iter().map(|(id, name)| (id.port, &**name)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_port_has_the_name_of_its_owner_and_of_several_that_of_the_lowest_number() {
        check(&[&[(80, Some((7, "nginx"))), (81, None)]], &[(80, "nginx")]);
        check(
            &[&[(80, Some((9, "b"))), (80, Some((7, "a"))), (80, Some((8, "c"))), (80, None)]],
            &[(80, "a")],
        );
    }

    #[test]
    fn a_port_that_closes_keeps_its_name_until_it_has_another() {
        let java: &[_] = &[(80, Some((7, "java")))];
        check(&[java, &[]], &[(80, "java")]);
        check(&[java, &[], &[(80, None)]], &[(80, "java")]);
        check(&[java, &[(80, Some((9, "nginx")))]], &[(80, "nginx")]);
    }

    #[test]
    fn what_was_closed_longest_is_forgotten_first_and_never_what_is_open() {
        let mut names = ProcessNames::default();
        for port in [4, 3, 2] {
            names.observe(&sample(&[(port, Some((1, "a")))]));
        }
        let kept = |names: &ProcessNames| names.names.keys().map(|id| id.port).collect::<Vec<_>>();
        names.forget_the_oldest(3);
        assert_eq!(kept(&names), [2, 3, 4]);
        names.forget_the_oldest(2);
        assert_eq!(kept(&names), [2, 3]);
        names.forget_the_oldest(0);
        assert_eq!(kept(&names), [2]);
    }
}
