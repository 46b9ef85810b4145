//! Where each server sets its backlog, in its own words: knowledge that is data.
//!
//! The rows are in `applications.toml`. A row tells what a server is called in its own documentation and what
//! it asks listen() for if nobody says anything, so that an advice can be followed without a search.
use std::sync::LazyLock;

use serde::Deserialize;
use wildmatch::WildMatch;

use crate::sample::OwnerSample;

/// What is known of one server or runtime.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Its own, for machines: small letters, digits and hyphens.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// The values of [`OwnerSample::application`] that mean it.
    #[serde(default)]
    pub applications: Vec<String>,
    /// Patterns of [`OwnerSample::command`] that mean it: `*` any characters, `?` one.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Patterns of [`OwnerSample::process`], which the kernel cuts after 15 bytes.
    #[serde(default)]
    pub processes: Vec<String>,
    /// What it asks listen() for unless it is told otherwise; several where versions or libraries differ, the
    /// likeliest first; empty where it depends on other settings.
    pub defaults: Vec<DefaultBacklog>,
    /// The setting in its own words, with [`PLACEHOLDER`] where the number goes: [`Application::setting_for`].
    setting: String,
    /// The file, the command line or the part of the program where the setting belongs.
    pub place: String,
    /// What makes the server listen again, with the new number.
    pub takes_effect: TakesEffect,
    /// Limits that look alike and are others, and what else is worth knowing.
    pub note: String,
}

/// What stands in a setting for the backlog.
const PLACEHOLDER: &str = "{backlog}";
/// And for the port.
const PORT_PLACEHOLDER: &str = "{port}";

/// What a server asks listen() for unless it is told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum DefaultBacklog {
    /// This number; a negative one asks for as much as there is.
    Number(i32),
    /// What it is told by a file of the host.
    FromHost(HostLimit),
}

/// A limit of the host that a server reads by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostLimit {
    /// `net.core.somaxconn` of its network namespace, when it starts.
    Somaxconn,
}

/// What makes a server listen again with another backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakesEffect {
    /// It has to end and be started again.
    Restart,
    /// It listens again when it is told to read its configuration, if the number there is another one. If only
    /// `net.core.somaxconn` was raised, it takes a restart all the same.
    Reload,
}

impl TakesEffect {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Reload => "reload",
        }
    }
}

impl Application {
    /// The setting that asks for this backlog on this port.
    #[must_use]
    pub fn setting_for(&self, backlog: u64, port: u16) -> String {
        let setting = self.setting.replace(PLACEHOLDER, &backlog.to_string());
        setting.replace(PORT_PLACEHOLDER, &port.to_string())
    }
}

/// Every row, in the order of the file; empty if the file were broken, which a test excludes.
static APPLICATIONS: LazyLock<Vec<Application>> =
    LazyLock::new(|| parse(include_str!("applications.toml")).unwrap_or_default());

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    application: Vec<Application>,
}

fn parse(text: &str) -> Result<Vec<Application>, toml::de::Error> {
    toml::from_str(text).map(|table: Table| table.application)
}

/// The server or runtime that a process is; `None` where it is none that is known here.
///
/// What was recognised by a whole command line says more than a script's or main class's name, and that more than
/// the name of the process. Of several rows the first counts.
#[must_use]
pub fn application_of(owner: &OwnerSample) -> Option<&'static Application> {
    let find = |fits: &dyn Fn(&Application) -> bool| APPLICATIONS.iter().find(|row| fits(row));
    let is_known_as = |name: &String| Some(name) == owner.application.as_ref();
    let is_called = |patterns: &[String], name: &str| {
        patterns.iter().any(|pattern| WildMatch::new(pattern).matches(name))
    };
    find(&|row| row.applications.iter().any(is_known_as))
        .or_else(|| owner.command.as_ref().and_then(|name| find(&|row| is_called(&row.commands, name))))
        .or_else(|| find(&|row| is_called(&row.processes, &owner.process)))
}

#[cfg(test)]
mod tests;
