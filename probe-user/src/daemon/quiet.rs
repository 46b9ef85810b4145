//! Whether anything has happened since the last reading, told without one.
//!
//! Where drops are concluded from the sockets' own counters everything is read once a second, because the fewer packets lie
//! between two readings, the more is certain. On a host where nothing happens all these readings say the same.
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    netns,
    readers::netstat,
    sample::{NetstatSample, Sample},
};

/// So long after the last change every tick is a reading: episodes end and rows are given back within this time.
const UNSETTLED: Duration = Duration::from_secs(15);
/// A reading is due after so long even if nothing has happened: a little less than five ticks of a second.
const AT_MOST: Duration = Duration::from_millis(4_500);

/// What the last reading began with.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    /// `None` as long as it cannot be told.
    seen: Option<Fingerprint>,
    changed_at: Duration,
    read_at: Duration,
    /// The namespaces with listeners, and where their counters can be read from outside.
    namespaces: Vec<(u32, PathBuf)>,
    /// Whether these are all.
    all_are_known: bool,
}

/// Equal as long as nothing was counted.
#[derive(Debug, PartialEq, Eq)]
struct Fingerprint {
    rows: u64,
    namespaces: Vec<NetstatSample>,
}

impl Quiet {
    /// A reading begins. `rows`: [`crate::kernel::ProbeMaps::fingerprint`].
    pub(super) fn begin(&mut self, rows: u64, now: Duration) {
        self.look(rows, now);
        self.read_at = now;
    }

    /// What a reading has found: where the namespaces are others than before, the ways to them are looked for again.
    pub(super) fn end(&mut self, sample: &Sample) {
        let with_listeners =
            sample.namespaces.iter().filter(|one| one.listeners.as_ref().is_none_or(|all| !all.is_empty()));
        let numbers: Vec<u32> = with_listeners.map(|namespace| namespace.netns).collect();
        let known = self.namespaces.iter().map(|(netns, _)| *netns);
        if self.all_are_known && known.eq(numbers.iter().copied()) {
            return;
        }
        self.seen = None;
        let found = netns::discover().map(|discovery| discovery.namespaces).unwrap_or_default();
        let way = |netns: &u32| {
            let namespace = found.iter().find(|namespace| namespace.inum() == *netns)?;
            Some((*netns, namespace.entrances().find_map(counters_beside)?))
        };
        self.namespaces = numbers.iter().filter_map(way).collect();
        self.all_are_known = self.namespaces.len() == numbers.len();
    }

    /// Whether nothing has happened for a while, and the last reading is not too old.
    pub(super) fn is_quiet(&mut self, rows: u64, now: Duration) -> bool {
        self.look(rows, now);
        self.seen.is_some() && self.is_settled(now)
    }

    fn is_settled(&self, now: Duration) -> bool {
        now.saturating_sub(self.changed_at) >= UNSETTLED && now.saturating_sub(self.read_at) < AT_MOST
    }

    fn look(&mut self, rows: u64, now: Duration) {
        let namespaces: Option<Vec<_>> =
            self.namespaces.iter().map(|(_, path)| netstat::read_at(path).ok()).collect();
        // One that cannot be read has another way by now, or is gone.
        self.all_are_known &= namespaces.is_some();
        let seen =
            namespaces.filter(|_| self.all_are_known).map(|namespaces| Fingerprint { rows, namespaces });
        if seen.is_none() || seen != self.seen {
            self.changed_at = now;
        }
        self.seen = seen;
    }
}

/// `/proc/PID/net/netstat` where the entrance is `/proc/PID/ns/net`: of a namespace without a process there is none.
fn counters_beside(entrance: &Path) -> Option<PathBuf> {
    let process = entrance.strip_prefix("/proc").ok()?.components().next()?;
    Some(Path::new("/proc").join(process).join("net/netstat"))
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::sample::{ListenerSample, NamespaceSample};

    fn sample(netns: u32) -> Sample {
        let listener = ListenerSample {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 80,
            accept_queue_length: 0,
            accept_queue_limit: 1,
            drops: 0,
            inode: 1,
        };
        let namespace =
            NamespaceSample { netns, listeners: Some(vec![listener]), ..NamespaceSample::default() };
        Sample { namespaces: vec![namespace], ..Sample::default() }
    }

    #[test]
    fn it_is_quiet_a_while_after_the_last_change_and_not_for_long() {
        let mut quiet = Quiet { all_are_known: true, ..Quiet::default() };
        let at = Duration::from_secs;
        quiet.begin(1, at(100));
        assert!(!quiet.is_quiet(1, at(101)));
        quiet.begin(1, at(114));
        assert!(quiet.is_quiet(1, at(115)) && quiet.is_quiet(1, at(118)));
        assert!(!quiet.is_quiet(1, at(119)), "a reading is due");
        quiet.begin(1, at(119));
        assert!(quiet.is_quiet(1, at(120)) && !quiet.is_quiet(2, at(121)));
        quiet.begin(2, at(121));
        assert!(!quiet.is_quiet(2, at(122)));
    }

    #[test]
    fn a_namespace_without_a_way_to_its_counters_is_never_quiet() {
        let own = netns::discover().unwrap().namespaces[0].inum();
        let check = |netns: u32, expected: bool| {
            let mut quiet = Quiet::default();
            quiet.end(&sample(netns));
            assert_eq!(quiet.all_are_known, expected, "{netns}");
        };
        check(own, true);
        check(1, false);
    }

    #[test]
    fn counters_are_beside_the_entrance_by_a_process() {
        let check = |entrance: &str, expected: Option<&str>| {
            assert_eq!(counters_beside(Path::new(entrance)), expected.map(PathBuf::from));
        };
        check("/proc/17/ns/net", Some("/proc/17/net/netstat"));
        check("/run/netns/blue", None);
    }
}
