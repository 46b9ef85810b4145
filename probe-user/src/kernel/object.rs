//! The compiled kernel side, loaded with a plan's settings.
use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};

use super::one_line;
use crate::plan::decide::Plan;

/// The eBPF object that the build script compiled.
static OBJECT: &[u8] = include_bytes_aligned!(env!("PROBE_EBPF_OBJECT"));

/// The map of ports.
pub(super) const HANDSHAKE: &str = "HANDSHAKE";
/// The row of the ports that the map has no room for.
pub(super) const HANDSHAKE_OTHER: &str = "HANDSHAKE_OTHER";
/// What could not be counted.
pub(super) const LOSSES: &str = "LOSSES";

/// The kernel's types in the form that aya needs to attach by name.
pub struct KernelBtf(pub(super) Btf);

impl KernelBtf {
    /// Reads `/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// One line when it is not there or cannot be parsed.
    pub fn read() -> Result<Self, String> {
        Btf::from_sys_fs().map(Self).map_err(|error| one_line::chain(&error))
    }
}

/// Creates the maps and gets the programs ready; none is in the kernel yet.
pub(super) fn load(plan: &Plan, btf: &KernelBtf, log_level: u8) -> Result<Ebpf, String> {
    EbpfLoader::new()
        .btf(Some(&btf.0))
        // What the verifier says is asked for by aya itself when a load fails.
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("SETTINGS", &plan.settings, true)
        .override_global("KERNEL_OFFSETS", &plan.offsets, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries(HANDSHAKE, plan.port_entries)
        .load(OBJECT)
        .map_err(|error| one_line::chain(&error))
}
