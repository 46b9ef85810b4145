//! What systemd is told, and what it asks for: sd_notify(3), `Type=notify`, `WatchdogSec=`.
//!
//! Without a service manager (`NOTIFY_SOCKET` is not set) nothing is sent.
use std::time::Duration;

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

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        // It will notice, if it needs to; and nobody else can do anything about it.
        debug!(%error, "the service manager cannot be told");
    }
}
