//! The clocks of this host.
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::sample::Instants;

/// Nanoseconds of the clock that `bpf_ktime_get_ns()` gives.
pub(super) fn monotonic() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(tv_sec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(tv_nsec).unwrap_or_default())
}

/// Both clocks at one instant.
#[expect(clippy::cast_precision_loss, reason = "seconds stay far below 2^52")]
pub(super) fn read() -> Instants {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    Instants { monotonic: monotonic(), unix_seconds: tv_sec as f64 + tv_nsec as f64 / 1e9 }
}
