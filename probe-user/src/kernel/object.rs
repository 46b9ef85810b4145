//! The compiled kernel side, loaded with a plan's settings.
use std::hash::{DefaultHasher, Hash, Hasher};

use aya::{Btf, Ebpf, EbpfLoader, VerifierLogLevel, include_bytes_aligned};

use super::one_line;
use crate::plan::decide::Plan;

/// The eBPF object that the build script compiled.
static OBJECT: &[u8] = include_bytes_aligned!(env!("PROBE_EBPF_OBJECT"));

/// The rows of totals.
pub(super) const HANDSHAKE: &str = "HANDSHAKE";
/// What is noted of queues, per CPU.
pub(super) const ACCEPT_QUEUE: &str = "ACCEPT_QUEUE";
/// What is noted at accept().
pub(super) const ACCEPTED: &str = "ACCEPTED";
/// Connections in accept queues.
const QUEUED: &str = "QUEUED";
/// Whose each row is.
pub(super) const LISTENER_ROWS: &str = "LISTENER_ROWS";
/// From a listener's socket to its row.
pub(super) const LISTENERS: &str = "LISTENERS";
/// From a port to a row for all its listeners.
const PORT_ROWS: &str = "PORT_ROWS";
/// Rows that are nobody's.
pub(super) const FREE_ROWS: &str = "FREE_ROWS";
/// What could not be counted.
pub(super) const LOSSES: &str = "LOSSES";

/// Tells this eBPF object from every other one, and with it the layout of all maps.
#[must_use]
pub fn object_digest() -> u64 {
    let mut hasher = DefaultHasher::new();
    OBJECT.hash(&mut hasher);
    hasher.finish()
}

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
    let rows = plan.settings.rows;
    EbpfLoader::new()
        .btf(Some(&btf.0))
        // What the verifier says is asked for by aya itself when a load fails.
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("SETTINGS", &plan.settings, true)
        .override_global("KERNEL_OFFSETS", &plan.offsets, true)
        .override_global(aya_log::LEVEL, &log_level, true)
        .map_max_entries(HANDSHAKE, plan.total_entries)
        .map_max_entries(ACCEPT_QUEUE, plan.total_entries)
        .map_max_entries(ACCEPTED, rows)
        .map_max_entries(QUEUED, plan.queued_entries)
        .map_max_entries(LISTENER_ROWS, rows)
        .map_max_entries(LISTENERS, rows)
        .map_max_entries(PORT_ROWS, rows)
        .map_max_entries(FREE_ROWS, rows)
        .load(OBJECT)
        .map_err(|error| one_line::chain(&error))
}
