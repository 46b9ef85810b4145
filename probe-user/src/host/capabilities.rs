//! What this process may do, and how it gives that up.
use std::{fs, io};

use rustix::thread::{CapabilitySet, capabilities, remove_capability_from_bounding_set, set_capabilities};

/// Bits of `linux/capability.h`.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Where the kernel lists a process's capabilities.
const STATUS_FILE: &str = "/proc/self/status";

/// The effective capabilities of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Reads `CapEff` of `/proc/self/status`; `None` when it cannot be read.
    #[must_use]
    pub fn read() -> Option<Self> {
        parse(&fs::read_to_string(STATUS_FILE).ok()?)
    }

    /// Whether tracing programs may be loaded: CAP_BPF and CAP_PERFMON (5.8), or CAP_SYS_ADMIN.
    #[must_use]
    pub const fn may_trace(self) -> bool {
        self.has(CAP_SYS_ADMIN) || (self.has(CAP_BPF) && self.has(CAP_PERFMON))
    }

    /// Whether other network namespaces may be entered: CAP_SYS_ADMIN.
    #[must_use]
    pub const fn may_enter_namespaces(self) -> bool {
        self.has(CAP_SYS_ADMIN)
    }

    const fn has(self, bit: u32) -> bool {
        self.0 & (1 << bit) != 0
    }
}

/// Gives capabilities up for good: this thread, and those that it starts from now on, have them no more. Returns
/// those that it had.
///
/// # Errors
/// When the kernel refuses; then nothing was given up, except that no program that is started may have them.
pub fn give_up(unneeded: CapabilitySet) -> io::Result<CapabilitySet> {
    let mut sets = capabilities(None)?;
    let had = sets.permitted.intersection(unneeded);
    if sets.effective.contains(CapabilitySet::SETPCAP) {
        for capability in unneeded.iter() {
            remove_capability_from_bounding_set(capability)?;
        }
    }
    // With these two the kernel takes it out of the ambient set as well.
    sets.permitted.remove(unneeded);
    sets.inheritable.remove(unneeded);
    sets.effective.remove(unneeded);
    set_capabilities(None, sets)?;
    Ok(had)
}

/// What of these the calling thread may not do; nothing where that cannot be told.
#[must_use]
pub fn missing_of(wanted: CapabilitySet) -> CapabilitySet {
    capabilities(None).map_or(CapabilitySet::empty(), |sets| wanted.difference(sets.effective))
}

/// Does something as if this thread did not have these capabilities.
///
/// # Errors
/// When the kernel refuses to take them or to give them back.
pub fn while_without<T>(missing: CapabilitySet, attempt: impl FnOnce() -> T) -> io::Result<T> {
    let before = capabilities(None)?;
    let mut without = before;
    without.effective.remove(missing);
    set_capabilities(None, without)?;
    let outcome = attempt();
    set_capabilities(None, before)?;
    Ok(outcome)
}

/// As in `CAP_BPF, CAP_PERFMON`.
#[must_use]
pub fn names(set: CapabilitySet) -> String {
    set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect::<Vec<_>>().join(", ")
}

fn parse(status: &str) -> Option<Capabilities> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok().map(Capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_up_is_gone_in_this_thread_and_those_that_it_starts() {
        let unneeded = CapabilitySet::SYSLOG.union(CapabilitySet::PERFMON);
        let outcome = std::thread::spawn(move || {
            let before = capabilities(None).unwrap();
            let hidden = while_without(unneeded, || capabilities(None).unwrap().effective).unwrap();
            assert!(!hidden.intersects(unneeded));
            assert_eq!(while_without(unneeded, || missing_of(unneeded)).unwrap(), unneeded);
            assert_eq!(capabilities(None).unwrap(), before, "only meanwhile");
            assert_eq!(give_up(unneeded).unwrap(), before.permitted.intersection(unneeded));
            let after = std::thread::spawn(|| capabilities(None).unwrap()).join().unwrap();
            assert!(!after.permitted.union(after.effective).union(after.inheritable).intersects(unneeded));
            assert_eq!(after.permitted, before.permitted.difference(unneeded), "nothing else");
        });
        outcome.join().unwrap();
        assert_eq!(names(unneeded), "CAP_SYSLOG, CAP_PERFMON");
    }

    #[test]
    fn bpf_and_perfmon_together_or_sys_admin_alone_may_trace() {
        let check = |status: &str, expected: Option<bool>| {
            assert_eq!(parse(status).map(Capabilities::may_trace), expected, "{status}");
        };
        check("CapEff:\t0000000000000000\n", Some(false));
        check("CapInh:\t0\nCapEff:\t000001ffffffffff\n", Some(true));
        check("CapEff:\t000000c000000000\n", Some(true));
        check("CapEff:\t0000008000000000\n", Some(false));
        check("CapEff:\t0000000000200000\n", Some(true));
        check("CapEff:\tnothing\n", None);
        check("", None);
    }
}
