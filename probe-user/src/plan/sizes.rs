//! How many listeners are told apart, and what the maps take of the kernel's memory for it.
//!
//! All of it is taken when the daemon starts and none later: a hook cannot wait for memory. So the number of rows is decided
//! then, from the listeners that the host has: at least [`USUAL_ROWS`], and twice as many as there are. What comes later and
//! finds no row is counted in the row for all others, and said in the log.
use probe_common::{
    accept_queue::{AcceptQueueCounters, AcceptedCounters, QUEUED_WAYS, QueuedSet},
    handshake::{HandshakeCounters, PortKey},
    listener::{ListenerIdentity, ListenerSlot},
};

/// Kernel memory that the rows of totals may take, for all CPUs together, unless a number of listeners is asked for.
const ROWS_BYTES: usize = 32 << 20;
/// The most listeners that are told apart on any host.
pub const MOST_ROWS: u32 = 16_384;
/// So many are told apart on a host that has few.
const USUAL_ROWS: u32 = 2_048;
/// The fewest, on hosts with very many CPUs.
const FEWEST_ROWS: u32 = 512;

/// What the number of rows is decided from.
#[derive(Clone, Copy, Debug)]
pub struct Host {
    /// CPUs that may ever be there, numbered from 0: each has a copy of the totals.
    pub possible_cpus: usize,
    /// Sockets that listen when the daemon starts.
    pub listeners: usize,
}

/// How many rows there shall be. `wished`: the listeners that somebody asked room for, whatever it takes.
#[must_use]
pub fn rows(host: Host, wished: Option<u32>) -> u32 {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    if let Some(listeners) = wished {
        // One row is for the others.
        return listeners.saturating_add(1).min(MOST_ROWS);
    }
    let wanted = number(host.listeners.saturating_mul(2)).clamp(USUAL_ROWS, MOST_ROWS);
    let affordable = number(ROWS_BYTES / row_bytes(host.possible_cpus)).clamp(FEWEST_ROWS, MOST_ROWS);
    wanted.next_power_of_two().min(affordable)
}

/// How many sets the places for so many connections in accept queues are in.
pub(super) fn queued_sets(connections: u32) -> u32 {
    connections.div_ceil(u32::try_from(QUEUED_WAYS).unwrap_or(u32::MAX))
}

/// What a row of totals takes, with the copies of all CPUs.
const fn row_bytes(possible_cpus: usize) -> usize {
    let cpus = if possible_cpus == 0 { 1 } else { possible_cpus };
    (size_of::<HandshakeCounters>() + size_of::<AcceptQueueCounters>()) * cpus + size_of::<AcceptedCounters>()
}

/// `struct htab_elem` of kernel/bpf/hashtab.c, before key and value.
const HASH_ENTRY: usize = 48;
/// `struct bucket` of the same file.
const HASH_BUCKET: usize = 16;
/// Maps whose length is always the same: REFUSED_CONNECTIONS, CHILDREN, LISTEN_CALLS and what is smaller.
const FIXED_BYTES: usize = (512 << 10)
    + 8_192 * (HASH_ENTRY + size_of::<u64>() + size_of::<PortKey>() + HASH_BUCKET)
    + 1_024 * (HASH_ENTRY + 3 * size_of::<u64>() + HASH_BUCKET)
    + (64 << 10);

/// What each CPU is in the middle of, and what it knows of listeners and network namespaces: CPU_STATE.
const STATE_BYTES: usize = 18 << 10;

/// Kernel memory of all maps, in bytes: what `tcp_backlog_maps_memory_bytes` shows, but for a few pages. `queued`: connections
/// whose wait is noted, in plans where they do not tell it themselves.
#[must_use]
pub fn map_bytes(possible_cpus: usize, rows: u32, queued: u32) -> u64 {
    let rows = wide(rows);
    let of_rows = rows * (row_bytes(possible_cpus) + size_of::<ListenerIdentity>() + size_of::<u32>());
    let of_hashes = hash::<u64, ListenerSlot>(rows) + hash::<PortKey, ListenerSlot>(rows);
    let of_queued = wide(queued_sets(queued)) * size_of::<QueuedSet>();
    let of_cpus = possible_cpus * STATE_BYTES;
    u64::try_from(of_rows + of_hashes + of_queued + of_cpus + FIXED_BYTES).unwrap_or(u64::MAX)
}

/// A hash whose entries are all there from the beginning.
fn hash<Key, Value>(entries: usize) -> usize {
    entries * (HASH_ENTRY + size_of::<Key>() + size_of::<Value>()) + entries.next_power_of_two() * HASH_BUCKET
}

fn wide(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_rows_for_twice_the_listeners_within_a_budget() {
        let check = |possible_cpus: usize, listeners: usize, expected: u32| {
            assert_eq!(
                rows(Host { possible_cpus, listeners }, None),
                expected,
                "{possible_cpus}, {listeners}"
            );
        };
        check(1, 0, 2_048);
        check(2, 100, 2_048);
        check(2, 1_025, 4_096);
        check(2, 10_000, 16_384);
        check(8, 10_000, 9_754);
        check(64, 100, 1_298);
        check(256, 10_000, 512);
        check(0, 20, 2_048);
        check(usize::MAX / (1 << 20), usize::MAX, 512);
    }

    #[test]
    fn who_asks_for_a_number_gets_it_whatever_it_takes() {
        let check = |wished: u32, expected: u32| {
            let host = Host { possible_cpus: 256, listeners: 5_000 };
            assert_eq!(rows(host, Some(wished)), expected);
        };
        check(16, 17);
        check(4_095, 4_096);
        check(u32::MAX, 16_384);
    }

    #[test]
    fn a_host_with_two_cpus_and_few_listeners_gives_less_than_eight_mebibytes() {
        let check = |possible_cpus: usize, listeners: usize, mebibytes: u64| {
            let rows = rows(Host { possible_cpus, listeners }, None);
            assert_eq!(map_bytes(possible_cpus, rows, 0) >> 20, mebibytes);
        };
        check(1, 100, 3);
        check(2, 100, 3);
        check(2, 10_000, 21);
        check(64, 100, 34);
        check(256, 100, 56);
    }
}
