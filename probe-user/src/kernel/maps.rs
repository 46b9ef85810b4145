//! The maps of the kernel side, read whole.
use std::fs;

use super::object::{HANDSHAKE, HANDSHAKE_OTHER, LOSSES};
use crate::readers::handshake::{HandshakeSource, SourceError};
use aya::{
    Ebpf,
    maps::{Map, MapData, MapError, PerCpuArray, PerCpuHashMap},
};
use probe_common::handshake::{HandshakeCounters, PortKey};

/// The maps that the hooks write. Dropping them detaches the hooks.
pub struct ProbeMaps {
    handshake: PerCpuHashMap<MapData, PortKey, HandshakeCounters>,
    other: PerCpuArray<MapData, HandshakeCounters>,
    losses: PerCpuArray<MapData, u64>,
    /// Holds the programs and their links.
    ebpf: Ebpf,
}

impl ProbeMaps {
    pub(super) fn take(mut ebpf: Ebpf) -> Result<Self, SourceError> {
        Ok(Self {
            handshake: take(&mut ebpf, HANDSHAKE)?,
            other: take(&mut ebpf, HANDSHAKE_OTHER)?,
            losses: take(&mut ebpf, LOSSES)?,
            ebpf,
        })
    }

    /// The programs and their links.
    pub(super) const fn ebpf_mut(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }
}

impl HandshakeSource for ProbeMaps {
    /// Entries are never deleted, so the iteration misses none that was there before it.
    fn ports(&self) -> Result<Vec<(PortKey, Vec<HandshakeCounters>)>, SourceError> {
        self.handshake
            .iter()
            .map(|entry| entry.map(|(key, values)| (key, values.to_vec())))
            .collect::<Result<_, _>>()
            .map_err(unreadable(HANDSHAKE))
    }

    fn other(&self) -> Result<Vec<HandshakeCounters>, SourceError> {
        let values = self.other.get(&0, 0);
        values.map(|values| values.to_vec()).map_err(unreadable(HANDSHAKE_OTHER))
    }

    fn losses(&self) -> Result<Vec<Vec<u64>>, SourceError> {
        (0..self.losses.len())
            .map(|index| self.losses.get(&index, 0).map(|values| values.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(unreadable(LOSSES))
    }
}

fn take<T: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<T, SourceError> {
    let Some(map) = ebpf.take_map(name) else {
        return Err(SourceError { map: name, cause: "not in the eBPF object".into() });
    };
    T::try_from(map).map_err(unreadable(name))
}

fn unreadable(map: &'static str) -> impl Fn(MapError) -> SourceError {
    move |error| SourceError { map, cause: Box::new(error) }
}

/// Kernel memory of all BPF maps that this process holds: the `memlock` lines of `/proc/self/fdinfo`
/// (an estimate before 6.4, exact since `map_mem_usage`). `None` when it cannot be read.
#[must_use]
pub fn map_bytes() -> Option<u64> {
    sum_of_descriptors("map_type", "memlock")
}

/// Runs of the programs that this process holds that the kernel left out, because the program was
/// already running on the CPU and was interrupted (`bpf_prog_inc_misses_counter()`): events that are
/// counted nowhere. The `recursion_misses` lines of `/proc/self/fdinfo` (5.12). `None` when it
/// cannot be read.
#[must_use]
pub fn skipped_runs() -> Option<u64> {
    sum_of_descriptors("prog_type", "recursion_misses")
}

/// The sum of one number over the descriptors of one kind.
fn sum_of_descriptors(kind: &str, key: &str) -> Option<u64> {
    let mut total = 0_u64;
    for entry in fs::read_dir("/proc/self/fdinfo").ok()?.flatten() {
        // A descriptor may be gone by now.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        total = total.saturating_add(number_in(&text, kind, key).unwrap_or(0));
    }
    Some(total)
}

/// One number of a descriptor's information, if the descriptor is of the kind.
fn number_in(fdinfo: &str, kind: &str, key: &str) -> Option<u64> {
    let value =
        |key: &str| fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim));
    value(kind)?;
    value(key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_descriptors_of_the_kind_are_counted() {
        let check = |fdinfo: &str, kind: &str, key: &str, expected| {
            assert_eq!(number_in(fdinfo, kind, key), expected, "{fdinfo}");
        };
        check("pos:\t0\nmap_type:\t5\nmemlock:\t4096\n", "map_type", "memlock", Some(4096));
        check("pos:\t0\nprog_type:\t26\nmemlock:\t4096\n", "map_type", "memlock", None);
        check("pos:\t0\nmap_type:\t5\nmemlock:\tmany\n", "map_type", "memlock", None);
        check("prog_type:\t26\nrecursion_misses:\t3\n", "prog_type", "recursion_misses", Some(3));
        check("", "prog_type", "recursion_misses", None);
    }
}
