//! What this process may do.
use std::fs;

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

fn parse(status: &str) -> Option<Capabilities> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok().map(Capabilities)
}

#[cfg(test)]
mod tests {
    use super::*;

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
