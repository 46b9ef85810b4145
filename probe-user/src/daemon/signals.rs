//! The two signals that end the daemon in good order.
use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// SIGTERM, which systemd sends, and SIGINT, which a terminal sends.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals from now on, so that one that comes while the daemon starts is not lost.
    /// They no longer end the process of themselves.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn install() -> anyhow::Result<Self> {
        let handler =
            |kind, name: &str| signal(kind).with_context(|| format!("cannot install a handler for {name}"));
        Ok(Self {
            terminate: handler(SignalKind::terminate(), "SIGTERM")?,
            interrupt: handler(SignalKind::interrupt(), "SIGINT")?,
        })
    }

    /// Returns at the first of them.
    pub async fn received(mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "asked to stop");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    use super::Signals;

    async fn check(signal: Signal) {
        let signals = Signals::install().unwrap();
        // Sent before anybody waits: it must not be lost.
        kill_process(getpid(), signal).unwrap();
        timeout(Duration::from_secs(10), signals.received()).await.unwrap();
    }

    #[tokio::test]
    async fn systemds_signal_and_the_terminals_are_both_received() {
        check(Signal::TERM).await;
        check(Signal::INT).await;
    }
}
