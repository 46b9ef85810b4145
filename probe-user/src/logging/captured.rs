//! What is written to the log while something is done, for tests.
use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing::Subscriber;
use tracing_subscriber::util::SubscriberInitExt;

/// A writer whose lines can be looked at.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<u8>>);

impl io::Write for &Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written while a subscriber is the current one of this thread.
pub(crate) fn written<S: Subscriber + Send + Sync + 'static>(
    subscriber: impl FnOnce(Arc<Lines>) -> S,
    work: impl FnOnce(),
) -> String {
    let lines = Arc::new(Lines::default());
    let guard = subscriber(Arc::clone(&lines)).set_default();
    work();
    drop(guard);
    String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
}

/// The lines that some work makes, with their fields.
pub(crate) fn lines_of(work: impl FnOnce()) -> Vec<Value> {
    let everything = tracing_subscriber::EnvFilter::new("trace");
    let text = written(|lines| super::json(everything, lines).finish(), work);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
