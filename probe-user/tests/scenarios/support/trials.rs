//! Trials: what the harness of libtest-mimic runs, and what is told of one that fails.
use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Mutex, PoisonError},
};

use libtest_mimic::{Completion, Failed, Trial};

use super::daemon::Log;

thread_local! {
    /// Of the trial that this thread runs.
    static REPORT: RefCell<Report> = RefCell::default();
}

#[derive(Default)]
struct Report {
    panics: String,
    logs: Vec<Log>,
}

/// Why a trial was not carried out.
struct Lacking(String);

/// Ends the trial of this thread as one that this kernel cannot have, because it has no such thing. The harness calls
/// it ignored and tells the reason; `cargo xtask vm` puts it into its table.
pub(crate) fn lacks(what: &str) -> ! {
    // No panic that anybody should see.
    resume_unwind(Box::new(Lacking(format!("no {what}"))))
}

/// A trial that fails when `body` panics, and then tells the logs of its daemons as well.
pub(crate) fn trial(name: String, body: impl FnOnce() + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        REPORT.take();
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(()) => Ok(Completion::Completed),
            Err(payload) => match payload.downcast::<Lacking>() {
                Ok(lacking) => Ok(Completion::ignored_with(lacking.0)),
                Err(payload) => Err(failure(REPORT.take(), &*payload)),
            },
        }
    })
}

fn failure(report: Report, payload: &(dyn std::any::Any + Send)) -> Failed {
    let Report { mut panics, logs } = report;
    if panics.is_empty() {
        // It happened in another thread, and was handed on.
        panics = message_of(payload);
    }
    let logs = logs.iter().map(|log| format!("\n--- log of the daemon ---\n{}---", log.text()));
    Failed::from(panics + &logs.collect::<String>())
}

/// Trials of plain functions, named `module::function`.
macro_rules! trials_of {
    ($module:literal: $($function:ident),+) => {
        vec![$(
            $crate::scenarios::support::trials::trial(
                concat!($module, "::", stringify!($function)).to_owned(),
                $function,
            )
        ),+]
    };
}
pub(crate) use trials_of;

/// Keeps what panics say for the report, beside showing it at once.
pub(crate) fn report_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        default(panic);
        REPORT.with_borrow_mut(|report| report.panics += &format!("{panic}\n"));
    }));
}

/// The trial of this thread depends on the daemon with this log.
pub(crate) fn report_log_on_failure(log: &Log) {
    REPORT.with_borrow_mut(|Report { logs, .. }| {
        if !logs.iter().any(|known| known.is(log)) {
            logs.push(log.clone());
        }
    });
}

/// Lines for whoever started the trials.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Keeps a line until no trial runs: printed at once it could end up in the middle of another one.
pub(crate) fn tell(line: String) {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).push(line);
}

/// Prints what was told.
#[expect(clippy::print_stdout, reason = "the harness prints there as well")]
pub(crate) fn print_told() {
    for line in TOLD.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
        println!("{line}");
    }
}

/// What a panic said.
pub(crate) fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    let message = payload.downcast_ref::<String>().map(String::as_str);
    message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}
