//! What systemd is told, and what it asks for: sd_notify(3), `Type=notify`, `WatchdogSec=`.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing is sent.
use std::{env, io, os::fd::BorrowedFd, time::Duration};

use sd_notify::NotifyState;
use tracing::debug;

/// The daemon answers; `status` is what `systemctl status` shows.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is being read again: [`ready`] ends it.
pub fn reloading() {
    // systemd from 253 on wants to know when it began.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => debug!(%error, "the time of the reload cannot be told"),
    }
}

/// The daemon ends.
pub fn stopping() {
    send(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
}

/// Everything that has to live does.
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often [`alive`] has to be said: twice within what `WatchdogSec=` allows. `None` without a watchdog.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|allowed| allowed / 2)
}

/// As many descriptors as one datagram can have (`SCM_MAX_FD` of include/net/scm.h).
const MOST_DESCRIPTORS: usize = 253;

/// Whether there is one.
#[must_use]
pub fn is_there() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// Gives it descriptors to keep while the daemon is restarted, all under one name. It gives them back at the start.
///
/// # Errors
/// When it cannot be told. That it does not want them, it does not say.
pub fn keep(name: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for some in descriptors.chunks(MOST_DESCRIPTORS) {
        // It polls what it keeps and drops what is at its end. BPF maps say so at all times (bpf_map_poll() of
        // kernel/bpf/syscall.c).
        let states = [NotifyState::FdStore, NotifyState::FdName(name), NotifyState::Custom("FDPOLL=0")];
        sd_notify::notify_with_fds(&states, some)?;
    }
    Ok(())
}

/// Lets it close what it keeps under a name.
///
/// # Errors
/// When it cannot be told.
pub fn forget(name: &str) -> io::Result<()> {
    sd_notify::notify(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)])
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        // It will notice, if it needs to; and nobody else can do anything about it.
        debug!(%error, "the service manager cannot be told");
    }
}
