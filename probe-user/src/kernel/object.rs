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
    let object = with_cast_function(OBJECT, plan.offsets.function_rdonly_cast);
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
        .map_max_entries(QUEUED, plan.settings.queued_sets.max(1))
        .map_max_entries(LISTENER_ROWS, rows)
        .map_max_entries(LISTENERS, rows)
        .map_max_entries(PORT_ROWS, rows)
        .map_max_entries(FREE_ROWS, rows)
        .load(&object)
        .map_err(|error| one_line::chain(&error))
}

/// The instruction that stands for a call of `bpf_rdonly_cast()` (`cast.rs` of the kernel side).
const CAST: [u8; 8] = [0x85, 0x20, 0, 0, 0xed, 0x57, 0xca, 0x7f];
/// `r0 = 0`.
const NO_CAST: [u8; 8] = [0xb7, 0, 0, 0, 0, 0, 0, 0];

/// The object, with the kernel's number for the function written in each call of it; for 0 it is called nowhere.
fn with_cast_function(object: &[u8], function: u32) -> Vec<u8> {
    let mut instruction = NO_CAST;
    if function != 0 {
        instruction = CAST;
        let number = instruction.iter_mut().skip(4);
        number.zip(function.to_ne_bytes()).for_each(|(place, byte)| *place = byte);
    }
    // Sections with instructions are aligned to them.
    let mut object = object.to_vec();
    for place in object.chunks_exact_mut(CAST.len()).filter(|place| *place == CAST) {
        place.copy_from_slice(&instruction);
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_number_of_the_function_is_in_every_call() {
        let calls = |object: &[u8]| object.chunks_exact(8).filter(|place| *place == CAST).count();
        assert!(calls(OBJECT) > 10, "the compiler has put the instructions elsewhere");
        let mut with_number = CAST;
        with_number[4..].copy_from_slice(&7_u32.to_ne_bytes());
        let check = |function, expected: [u8; 8]| {
            let object = with_cast_function(OBJECT, function);
            let found = object.chunks_exact(8).filter(|place| *place == expected).count();
            assert_eq!((object.len(), calls(&object)), (OBJECT.len(), 0));
            assert!(found >= calls(OBJECT), "{found} of {expected:x?}");
        };
        check(7, with_number);
        check(0, NO_CAST);
    }
}
