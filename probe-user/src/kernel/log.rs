//! What the kernel side says (aya-log), passed on to the daemon's own log.
use aya_log::EbpfLogger;
use tokio::io::{Interest, unix::AsyncFd};

use super::maps::ProbeMaps;

/// `aya_log::Level::Debug` for `AYA_LOG_LEVEL`: the listeners' comings and goings.
pub const LEVEL_DEBUG: u8 = 4;
/// Nothing is said, and the verifier has removed the code that would.
pub const LEVEL_OFF: u8 = 0;

/// Passes the kernel side's messages on, in a task of the current runtime, until the maps are dropped.
///
/// # Errors
/// One line when the ring buffer cannot be watched.
pub fn forward_logs(maps: &mut ProbeMaps) -> Result<(), String> {
    let ebpf = maps.ebpf_mut().ok_or("the programs were loaded by a process before this one")?;
    let logger = EbpfLogger::init(ebpf).map_err(|error| error.to_string())?;
    // SAFETY: the logger owns its ring buffer's descriptor and gives the same one at every call, open
    // until it is dropped, and AsyncFd takes itself off the reactor before it drops what it owns.
    let registered = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
    let mut logger = registered.map_err(|error| format!("cannot watch the ring buffer: {error}"))?;
    tokio::spawn(async move {
        loop {
            match logger.readable_mut().await {
                Ok(mut ready) => {
                    ready.get_inner_mut().flush();
                    ready.clear_ready();
                }
                Err(error) => {
                    tracing::warn!(%error, "no more messages from the kernel side");
                    return;
                }
            }
        }
    });
    Ok(())
}
