//! What is written to the log while something is done, for tests.
use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tracing_subscriber::util::SubscriberInitExt;

/// A writer whose lines can be looked at.
#[derive(Default)]
struct Lines(Mutex<Vec<u8>>);

impl io::Write for &Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that an action makes on this thread, with their fields.
pub(super) fn lines_of(act: impl FnOnce()) -> Vec<Value> {
    let lines = Arc::new(Lines::default());
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::clone(&lines)).json().flatten_event(true);
    let guard = subscriber.finish().set_default();
    act();
    drop(guard);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
