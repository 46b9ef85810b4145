//! What a configuration file may hold.
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    ConfigError,
    values::{Network, PortRange, name, nearest, parsed, socket_address, whole_number},
};
use crate::{
    daemon::local_socket::SocketWish,
    logging::LogFormat,
    plan::wishes::{AccountingWish, PlanWish, QueuesWish},
};

/// The whole file.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) http: Http,
    pub(super) hooks: Hooks,
    pub(super) ports: Ports,
    pub(super) state: State,
    pub(super) log: Log,
}

/// `[http]`: where and how the numbers are served.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Http {
    #[serde(deserialize_with = "socket_address")]
    pub(super) listen: Option<SocketAddr>,
    pub(super) web_config_file: Option<PathBuf>,
    #[serde(deserialize_with = "parsed")]
    pub(super) socket: Option<SocketWish>,
}

/// `[hooks]`: how to be attached.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Hooks {
    #[serde(deserialize_with = "name")]
    pub(super) plan: Option<PlanWish>,
    #[serde(deserialize_with = "name")]
    pub(super) accounting: Option<AccountingWish>,
    #[serde(deserialize_with = "name")]
    pub(super) queues: Option<QueuesWish>,
    #[serde(deserialize_with = "whole_number")]
    pub(super) accept_wait_connections: Option<u32>,
    #[serde(deserialize_with = "whole_number")]
    pub(super) listeners: Option<u32>,
}

/// `[log]`: what is said on standard error.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Log {
    #[serde(deserialize_with = "name")]
    pub(super) format: Option<LogFormat>,
    pub(super) level: Option<String>,
}

/// `[ports]`: which ports have series of their own.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Ports {
    #[serde(deserialize_with = "whole_number")]
    pub(super) limit: Option<u32>,
    pub(super) include: Vec<Rule>,
    pub(super) exclude: Vec<Rule>,
}

/// `[[ports.include]]` and `[[ports.exclude]]`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rule {
    pub(super) port: Option<PortRange>,
    pub(super) address: Option<Network>,
    #[serde(deserialize_with = "whole_number")]
    pub(super) netns: Option<u32>,
    pub(super) process: Option<String>,
}

/// `[state]`: what outlives a restart.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct State {
    pub(super) file: Option<PathBuf>,
}

/// Reads the text of a file. `path` is for the error only.
pub(super) fn parse(path: &Path, text: &str) -> Result<File, ConfigError> {
    let error = |key: String, error: &toml::de::Error| ConfigError {
        file: Some(path.to_owned()),
        line: error.span().map(|span| line_of(text, span.start)),
        problem: plain(error.message()),
        key,
    };
    let document = toml::Deserializer::parse(text).map_err(|failure| error(String::new(), &failure))?;
    serde_path_to_error::deserialize(document).map_err(|failure| {
        let path = failure.path().to_string();
        let key = if path == "." { String::new() } else { path };
        error(key, failure.inner())
    })
}

/// Lines are numbered from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

/// The message on one line; that of an unknown key says which known one may be meant.
fn plain(message: &str) -> String {
    unknown_key(message).unwrap_or_else(|| message.trim().replace('\n', ", "))
}

/// serde's "unknown field `limt`, expected one of `limit`, `include`" in other words.
fn unknown_key(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown field")?.split('`').skip(1).step_by(2);
    let given = names.next()?;
    let known: Vec<_> = names.collect();
    let nearest = nearest(given, &known)?;
    Some(format!("unknown key {given:?}: is {nearest:?} meant? Known here: {}", known.join(", ")))
}
