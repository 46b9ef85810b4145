//! Log lines on standard error, for people or for machines.
//!
//! Dependencies that log through the `log` crate, such as aya, arrive here too: the feature
//! `tracing-log` of tracing-subscriber installs the bridge together with the subscriber.
use std::io::{self, IsTerminal};

use anyhow::anyhow;
use clap::ValueEnum;
use tracing_subscriber::{
    EnvFilter,
    fmt::{MakeWriter, SubscriberBuilder, format},
    reload,
    util::SubscriberInitExt,
};

/// The form of a log line, as `--log-format` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Starts logging for the whole process; call it once.
///
/// The filter is a level (`debug`) or directives (`info,tcp_backlog_probe::readers=trace`).
///
/// # Errors
/// In one line what is wrong with the filter; or when logging was started before.
pub fn init(log_format: LogFormat, level: &str) -> anyhow::Result<LogLevel> {
    let filter = filter(level)?;
    let (installed, level) = match log_format {
        LogFormat::Text => {
            let builder = text(filter, io::stderr, io::stderr().is_terminal()).with_filter_reloading();
            let handle = builder.reload_handle();
            let set = move |filter| handle.reload(filter);
            (builder.finish().try_init(), LogLevel(Box::new(set)))
        }
        LogFormat::Json => {
            let builder = json(filter, io::stderr).with_filter_reloading();
            let handle = builder.reload_handle();
            let set = move |filter| handle.reload(filter);
            (builder.finish().try_init(), LogLevel(Box::new(set)))
        }
    };
    installed.map_err(|error| anyhow!("cannot start logging: {error}"))?;
    Ok(level)
}

/// The way to change what is logged.
pub struct LogLevel(Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>);

impl LogLevel {
    /// Logs this from now on: a level or directives, as for [`init`].
    ///
    /// # Errors
    /// In one line what is wrong with the filter.
    pub fn set(&self, level: &str) -> anyhow::Result<()> {
        (self.0)(filter(level)?).map_err(|error| anyhow!("the log level cannot be changed: {error}"))
    }
}

#[cfg(test)]
impl LogLevel {
    /// One that takes every level and changes nothing.
    pub(crate) fn of_nobody() -> Self {
        Self(Box::new(|_| Ok(())))
    }
}

/// Whether it is a level or directives.
pub(crate) fn check_level(level: &str) -> Result<(), String> {
    filter(level).map(drop).map_err(|error| error.to_string())
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::builder().parse(level).map_err(|error| {
        anyhow!("log level {level:?} is neither a level such as info or debug nor a filter: {error}")
    })
}

/// Colours are for terminals only: in a file or the journal they are noise.
fn text<W>(
    filter: EnvFilter,
    writer: W,
    colours: bool,
) -> SubscriberBuilder<format::DefaultFields, format::Format, EnvFilter, W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(colours)
}

/// Fields at the top level, where collectors of logs look for them.
fn json<W>(
    filter: EnvFilter,
    writer: W,
) -> SubscriberBuilder<format::JsonFields, format::Format<format::Json>, EnvFilter, W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).json().flatten_event(true)
}

#[cfg(test)]
pub(crate) mod captured;

#[cfg(test)]
mod tests {
    use super::{captured::written, *};

    #[track_caller]
    fn check_filter(level: &str, expected: &str) {
        assert_eq!(filter(level).unwrap().to_string(), expected);
    }

    #[track_caller]
    fn check_bad_filter(level: &str) {
        let error = filter(level).unwrap_err().to_string();
        assert!(error.starts_with(&format!("log level {level:?} is neither")), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn a_level_or_directives_make_a_filter() {
        check_filter("debug", "debug");
        check_filter("info,tcp_backlog_probe=trace", "tcp_backlog_probe=trace,info");
    }

    #[test]
    fn a_bad_filter_is_one_line() {
        check_bad_filter("loud==");
        check_bad_filter("a=loud");
    }

    #[test]
    fn text_without_a_terminal_has_no_escape_codes() {
        let text = written(
            |lines| text(filter("info").unwrap(), lines, false).finish(),
            || tracing::info!(address = "[::]:1", "listening"),
        );
        assert!(text.ends_with("listening address=\"[::]:1\"\n"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn json_has_its_fields_at_the_top_level() {
        let text = written(
            |lines| json(filter("info").unwrap(), lines).finish(),
            || tracing::info!(address = "[::]:1", "listening"),
        );
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["address"], "[::]:1");
        assert_eq!(line["message"], "listening");
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn what_is_below_the_level_is_not_logged() {
        let text = written(
            |lines| text(filter("warn").unwrap(), lines, false).finish(),
            || tracing::info!("not said"),
        );
        assert_eq!(text, "");
    }

    #[test]
    fn lines_of_the_log_crate_arrive() {
        let text = written(
            |lines| text(filter("info").unwrap(), lines, false).finish(),
            || tracing_log::log::warn!("from the kernel side"),
        );
        assert!(text.contains("WARN") && text.ends_with("from the kernel side\n"), "{text}");
    }
}
