//! One thread that reads, however many clients ask.
//!
//! A client gets a model that was read after it asked, never an older one. Clients that ask while
//! a reading is under way share the next one: at most one reading runs and at most one more is
//! wanted, whatever the number of clients.
//!
//! It is a thread of its own, not one of the runtime's: readers enter other network namespaces,
//! which is a property of the thread, and a pool would hand such a thread to somebody else.
use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::{
    model::Model,
    web::{SnapshotFuture, SnapshotSource},
};

/// Reads everything once and says what it means. Owns the kernel handles and the history.
pub type ReadModel = Box<dyn FnMut() -> anyhow::Result<Model> + Send>;

/// Who reads.
pub trait Reader: Send {
    /// Reads everything once and says what it means.
    ///
    /// # Errors
    /// When there is no model.
    fn read(&mut self) -> anyhow::Result<Model>;

    /// Called after each reading, when its model was handed on.
    fn rest(&mut self) {}

    /// Whether a reading that nobody asked for would find what the last one did, as far as that is cheap to tell.
    fn is_quiet(&mut self) -> bool {
        false
    }
}

impl Reader for ReadModel {
    fn read(&mut self) -> anyhow::Result<Model> {
        self()
    }
}

/// What a reading came to: one model, or one line, for all who asked.
type Outcome = Result<Arc<Model>, String>;

/// Said to every client once the thread has ended.
const ENDED: &str = "the collector has ended";

/// Whether the first reading has succeeded.
type Readiness = Result<(), String>;

/// The way to the thread that reads. The thread ends when the last of these is dropped.
#[derive(Clone, Debug)]
pub struct Collector {
    requests: Sender<oneshot::Sender<Outcome>>,
    readiness: watch::Receiver<Readiness>,
}

impl Collector {
    /// Starts the thread. It reads once at once, then when asked, and at every tick if there is an
    /// interval between ticks.
    ///
    /// Ticks keep the history of the attribution fine: the fewer packets between two readings, the
    /// more drops can be told to be overflows.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(read: ReadModel, interval: Option<Duration>) -> anyhow::Result<Self> {
        Self::start_reader(Box::new(read), interval)
    }

    /// The same with a reader that may say that a tick is not worth a reading.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_reader(reader: Box<dyn Reader>, interval: Option<Duration>) -> anyhow::Result<Self> {
        let (requests, queue) = channel();
        let (announce, readiness) = watch::channel(Err("nothing has been read yet".to_owned()));
        let worker = Worker { reader, queue, announce, ticks: Ticks::new(interval), failing: false };
        thread::Builder::new()
            .name("collector".to_owned())
            .spawn(move || worker.run())
            .context("cannot start the collector's thread")?;
        Ok(Self { requests, readiness })
    }

    /// Returns when the thread has ended, which it does of itself only by a defect.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut readiness = self.readiness.clone();
        async move { while readiness.changed().await.is_ok() {} }
    }
}

impl SnapshotSource for Collector {
    fn snapshot(&self) -> SnapshotFuture<'_> {
        let (reply, outcome) = oneshot::channel();
        // Asked here, not when the future is first polled: the model is newer than this call.
        let asked = self.requests.send(reply);
        Box::pin(async move {
            asked.map_err(|_| ENDED.to_owned())?;
            outcome.await.map_err(|_| ENDED.to_owned())?
        })
    }

    fn ready(&self) -> Readiness {
        // The thread owns the sender: when that is gone, so is the thread.
        self.readiness.has_changed().map_err(|_| ENDED.to_owned())?;
        self.readiness.borrow().clone()
    }
}

/// What the thread owns.
struct Worker {
    reader: Box<dyn Reader>,
    queue: Receiver<oneshot::Sender<Outcome>>,
    announce: watch::Sender<Readiness>,
    ticks: Ticks,
    failing: bool,
}

impl Worker {
    fn run(mut self) {
        let _obituary = Obituary;
        self.read_for(Vec::new());
        loop {
            let first = match self.ticks.wait() {
                Some(wait) => self.queue.recv_timeout(wait),
                None => self.queue.recv().map_err(RecvTimeoutError::from),
            };
            let mut clients = match first {
                Ok(client) => vec![client],
                Err(RecvTimeoutError::Timeout) if self.reader.is_quiet() => {
                    self.ticks.begin();
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => Vec::new(),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // All who asked before this reading begins may have it.
            clients.extend(self.queue.try_iter());
            self.read_for(clients);
        }
    }

    fn read_for(&mut self, clients: Vec<oneshot::Sender<Outcome>>) {
        self.ticks.begin();
        let outcome = self.reader.read().map(Arc::new).map_err(|error| one_line(&error));
        self.report(&outcome);
        for client in clients {
            // A client that hung up in the meantime misses nothing.
            let _ = client.send(outcome.clone());
        }
        drop(outcome);
        self.reader.rest();
    }

    /// Logs the first failure of a series and its end; a scrape every second shall not fill a disk.
    fn report(&mut self, outcome: &Outcome) {
        match outcome {
            Ok(_) => {
                if self.failing {
                    info!("reading works again");
                }
                self.announce.send_if_modified(|ready| std::mem::replace(ready, Ok(())).is_err());
            }
            Err(reason) => {
                if !self.failing {
                    warn!(%reason, "reading failed; said once until it works again");
                }
                // Ready once is ready: a scrape says for itself that it failed.
                self.announce.send_if_modified(|ready| match ready {
                    Err(known) if known != reason => {
                        known.clone_from(reason);
                        true
                    }
                    _ => false,
                });
            }
        }
        self.failing = outcome.is_err();
    }
}

/// Logs that the thread dies of a panic. Clients and the server see its channels close.
struct Obituary;

impl Drop for Obituary {
    fn drop(&mut self) {
        if thread::panicking() {
            error!("the collector's thread panicked: nothing is measured any more");
        }
    }
}

/// Whole intervals since the start. A tick that comes late does not move the ones after it, and
/// ticks that were missed are not made up for.
struct Ticks {
    start: Instant,
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl Ticks {
    /// An interval of zero is none: it would read without a pause.
    fn new(interval: Option<Duration>) -> Self {
        let interval = interval.filter(|interval| !interval.is_zero());
        Self { start: Instant::now(), interval, next: None }
    }

    /// A reading begins, for whatever reason: every tick up to now is served by it.
    fn begin(&mut self) {
        let elapsed = self.start.elapsed();
        self.next = self.interval.and_then(|interval| self.start.checked_add(next_tick(elapsed, interval)?));
    }

    /// How long to wait for the next tick; `None` without ticks.
    fn wait(&self) -> Option<Duration> {
        self.next.map(|next| next.saturating_duration_since(Instant::now()))
    }
}

/// The first multiple of the interval after `elapsed`; `None` for no interval, or past all time.
fn next_tick(elapsed: Duration, interval: Duration) -> Option<Duration> {
    let over = elapsed.as_nanos().checked_rem(interval.as_nanos())?;
    let wait = interval.checked_sub(Duration::from_nanos(u64::try_from(over).ok()?))?;
    elapsed.checked_add(wait)
}

/// The error with its causes, on one line.
fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests;
