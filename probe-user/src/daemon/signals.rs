//! What is asked of the daemon by signals.
use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM, which systemd sends, or SIGINT, which a terminal sends: end in good order.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The handlers.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
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
            hangup: handler(SignalKind::hangup(), "SIGHUP")?,
        })
    }

    /// Returns at the next of them. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Request {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.hangup.recv() => return Request::Reload,
        };
        info!(signal = name, "asked to stop");
        Request::Stop
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    use super::{Request, Signals};

    async fn check(signal: Signal, expected: Request) {
        let mut signals = Signals::install().unwrap();
        // Sent before anybody waits: it must not be lost.
        kill_process(getpid(), signal).unwrap();
        assert_eq!(timeout(Duration::from_secs(10), signals.next()).await, Ok(expected));
    }

    #[tokio::test]
    async fn systemds_signal_the_terminals_and_the_one_to_reload_are_all_received() {
        check(Signal::TERM, Request::Stop).await;
        check(Signal::INT, Request::Stop).await;
        check(Signal::HUP, Request::Reload).await;
    }
}
