//! What the daemon itself takes from the host: its own `/proc/self`.
use procfs::{
    ProcResult,
    process::{Process, Stat},
};

use crate::sample::OwnCostSample;

/// What turns the figures of `/proc/PID/stat` into seconds and bytes.
#[derive(Clone, Copy, Debug)]
struct Units {
    /// `sysconf(_SC_CLK_TCK)`.
    ticks_per_second: u64,
    /// `sysconf(_SC_PAGESIZE)`.
    page_bytes: u64,
    /// `btime` of `/proc/stat`, in seconds since the epoch; read once per thread.
    boot_unix_seconds: Option<u64>,
}

/// Reads what this process uses. What cannot be read is `None` and a line in `read_errors`;
/// `map_bytes` and
/// `listener_rows` are left `None`, the maps belong to another room.
pub fn read(read_errors: &mut Vec<String>) -> OwnCostSample {
    let mut keep = Keep { read_errors };
    let Some(process) = keep.value("/proc/self", Process::myself()) else { return OwnCostSample::default() };
    let stat = keep.value("/proc/self/stat", process.stat());
    let open_descriptors = keep.value("/proc/self/fd", process.fd_count());
    let units = Units {
        ticks_per_second: procfs::ticks_per_second(),
        page_bytes: procfs::page_size(),
        boot_unix_seconds: keep.value("/proc/stat", procfs::boot_time_secs()),
    };
    let cost = stat.map(|stat| decode(&stat, units)).unwrap_or_default();
    OwnCostSample { open_descriptors: open_descriptors.and_then(|count| u64::try_from(count).ok()), ..cost }
}

/// Converts the figures of `/proc/PID/stat` (do_task_stat() of fs/proc/array.c).
#[expect(clippy::cast_precision_loss, reason = "ticks and seconds stay far below 2^52")]
fn decode(stat: &Stat, units: Units) -> OwnCostSample {
    let seconds = |ticks: u64| ticks as f64 / units.ticks_per_second as f64;
    OwnCostSample {
        cpu_seconds: Some(seconds(stat.utime.saturating_add(stat.stime))),
        resident_bytes: Some(stat.rss.saturating_mul(units.page_bytes)),
        start_unix_seconds: units.boot_unix_seconds.map(|boot| boot as f64 + seconds(stat.starttime)),
        open_descriptors: None,
        map_bytes: None,
        listener_rows: None,
    }
}

/// Turns failed reads into lines.
struct Keep<'a> {
    read_errors: &'a mut Vec<String>,
}

impl Keep<'_> {
    fn value<T>(&mut self, file: &str, read: ProcResult<T>) -> Option<T> {
        read.map_err(|error| {
            self.read_errors
                .push(format!("{file} cannot be read, the daemon's own cost is not known: {error}"));
        })
        .ok()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use procfs::FromRead;

    use super::*;

    const STAT: &str = "7 (a (b) c) S 1 7 7 0 -1 4194560 1 2 3 4 250 50 0 0 20 0 1 0 1000 4096 25 \
        18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0";

    #[test]
    fn ticks_become_seconds_and_pages_become_bytes() {
        let units = Units { ticks_per_second: 100, page_bytes: 4096, boot_unix_seconds: Some(1_000_000) };
        let cost = decode(&Stat::from_read(STAT.as_bytes()).unwrap(), units);
        assert_eq!(cost.cpu_seconds, Some(3.0));
        assert_eq!(cost.resident_bytes, Some(25 * 4096));
        assert_eq!(cost.start_unix_seconds, Some(1_000_010.0));
    }

    #[test]
    fn an_unknown_boot_time_is_an_unknown_start_and_nothing_else() {
        let units = Units { ticks_per_second: 100, page_bytes: 4096, boot_unix_seconds: None };
        let cost = decode(&Stat::from_read(STAT.as_bytes()).unwrap(), units);
        assert_eq!(cost.start_unix_seconds, None);
        assert_eq!(cost.cpu_seconds, Some(3.0));
    }

    #[test]
    fn this_process_has_a_cost() {
        let mut read_errors = Vec::new();
        let cost = read(&mut read_errors);
        assert_eq!(read_errors, [""; 0]);
        assert!(cost.resident_bytes.unwrap() > 100_000);
        assert!(cost.open_descriptors.unwrap() >= 3);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - cost.start_unix_seconds.unwrap()).abs() < 3600.0);
        assert_eq!(cost.map_bytes, None);
    }
}
