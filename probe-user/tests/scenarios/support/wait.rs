//! Waiting for a condition: the only place of the tests that sleeps.
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long any condition may take. Far more than it takes on real hardware: the kernels of the
/// matrix run under software emulation, on a machine that does other work as well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Repeats `attempt` until it succeeds, and returns what it gives; panics with the last failure
/// when `what` has not come about within [`PATIENCE`].
pub(crate) fn wait_until<T>(what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Ok(value) => return value,
            Err(failure) if Instant::now() > deadline => {
                panic!("not within {PATIENCE:?}: {what}\nlast attempt: {failure}")
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Lets time pass, where it is what is measured.
pub(crate) fn pause_for(time: Duration) {
    thread::sleep(time);
}

/// `Ok` when the condition holds; else `failure`, which is only made when it is needed.
pub(crate) fn ensure(holds: bool, failure: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(failure()) }
}
