//! What the stories have in common: a real server with a queue that is too short for the clients that come.

use std::path::Path;

use anyhow::Result;

use crate::setup::servers::Server;

/// The port of every story's server. It is in a network of its own.
pub(super) const PORT: u16 = 8080;

/// What makes the queue short, and with it what the way out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clamp {
    /// The kernel cuts what the server asks for. The remedy is what `doctor` prints, to the letter, and a restart.
    Somaxconn,
    /// The server asks for no more. The remedy is the server's own setting, with the number that is recommended.
    Application,
}

impl Clamp {
    /// The rule of `doctor` that has to find it.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Somaxconn => "clamped_by_somaxconn",
            Self::Application => "clamped_by_application",
        }
    }
}

/// Writes a server's own folder, which it sees as /srv, and gives the command that starts it.
/// Takes its root file system, the folder, the backlog (`None`: the server's default) and the port.
pub(super) type Prepare = fn(&Path, &Path, Option<u32>, u16) -> Result<Vec<String>>;

/// One story.
pub(super) struct Story {
    pub(super) name: &'static str,
    /// The situation, for whoever watches.
    pub(super) about: &'static str,
    pub(super) server: &'static Server,
    pub(super) prepare: Prepare,
    /// The page that is asked for.
    pub(super) path: &'static str,
    /// The backlog that the server is configured with; `None` is its own default.
    pub(super) backlog: Option<u32>,
    /// What it asks listen() for then.
    pub(super) asks_for: u32,
    /// `net.core.somaxconn` at first.
    pub(super) somaxconn: u32,
    pub(super) clamp: Clamp,
    /// So many connections within a second.
    pub(super) connections: u32,
}
