//! What is wrong and what cures it, as data: the rules of `advice/` make it, renderers write it.
use std::{net::IpAddr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Episode;

/// The version of [`Advice`]'s JSON form: within a version fields are only added.
pub const ADVICE_VERSION: u32 = 1;

/// What is asked: about which while, and about which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// The length of the while that ends now, in seconds.
    pub seconds: u64,
    /// Nothing but this port number, and what concerns the host as a whole; `None`: every port.
    pub port: Option<u16>,
}

impl Default for Question {
    /// A quarter of an hour, as operators look back; and every port.
    fn default() -> Self {
        Self { seconds: 900, port: None }
    }
}

/// An [`Advice`] and what happened in its while, as one answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// The verdicts.
    #[serde(flatten)]
    pub advice: Advice,
    /// When it was made, in seconds since the epoch.
    pub taken: f64,
    /// The times in which ports were losing connections, the newest first, as far as they reach into the while.
    pub episodes: Vec<Arc<Episode>>,
}

/// All verdicts on a host, over a while that ends now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// [`ADVICE_VERSION`] of the writer.
    pub version: u32,
    /// All in one word.
    pub health: Health,
    /// The length of the while, in seconds: what was asked for or a little more, or less where no more is remembered.
    pub window_seconds: f64,
    /// The worst first.
    pub verdicts: Vec<Verdict>,
    /// The accept queue with the least room left; `None` when nobody listens, or nobody may look.
    pub fullest: Option<Headroom>,
    /// How many listening ports were looked at.
    pub ports: u64,
    /// What could not be looked at, one line each.
    pub not_judged: Vec<String>,
}

/// How a host is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing to say.
    Healthy,
    /// Something should be changed, but nothing is lost.
    Advice,
    /// Connections were lost within the while.
    Losing,
    /// Nothing can be said: no listener of the host could be read.
    Unknown,
}

impl Health {
    /// The word in JSON.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Advice => "advice",
            Self::Losing => "losing",
            Self::Unknown => "unknown",
        }
    }
}

/// How bad a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something is not as somebody meant it to be.
    Notice,
    /// Connections will be lost soon, or clients suffer already.
    Warning,
    /// Connections are lost.
    Losing,
}

impl Severity {
    /// The word in JSON and in the label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Losing => "losing",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

/// Declares [`Rule`], so that no list of its values can forget one.
macro_rules! rules {
    ($($(#[$documentation:meta])* $rule:ident = $label:literal,)+) => {
        /// What may be wrong. Of verdicts that are equally bad the one whose rule stands first is shown first: causes
        /// before consequences.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        pub enum Rule {
            $($(#[$documentation])* #[serde(rename = $label)] $rule,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$rule,)+];

            /// The name in JSON, in the log and in the label.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$rule => $label,)+
                }
            }
        }
    };
}

rules! {
    /// Connections wait, and nobody has called accept() for seconds.
    AcceptorStalled = "acceptor_stalled",
    /// The kernel would give a listener more by now, but it has not listened again.
    RaisedNotApplied = "raised_not_applied",
    /// `net.core.somaxconn` made less of a backlog than was asked for.
    ClampedBySomaxconn = "clamped_by_somaxconn",
    /// The application asks for less than the kernel would allow, and it is not enough.
    ClampedByApplication = "clamped_by_application",
    /// More connections came at once than any limit allows for.
    BurstTooBig = "burst_too_big",
    /// One member of a reuseport group overflows while others have room.
    ReuseportImbalance = "reuseport_imbalance",
    /// Accepted connections had waited for long, and others found no room.
    AcceptorSlow = "acceptor_slow",
    /// The SYN queue was full.
    SynQueueFull = "syn_queue_full",
    /// Packets were dropped and it cannot be told why.
    PacketsDropped = "packets_dropped",
    /// Packets were dropped for want of memory or a route, or by a security module.
    OtherDrops = "other_drops",
    /// The kernel counted overflows that cannot be charged to a port.
    OverflowsOfNobody = "overflows_of_nobody",
    /// Clients whose handshake meets a full queue are reset.
    AbortOnOverflow = "abort_on_overflow",
    /// Packets were dropped before they reached the network stack.
    SoftnetDrops = "softnet_drops",
    /// A queue was nearly full.
    NearOverflow = "near_overflow",
    /// SYN-ACKs are lost on their way to clients, or the answers are.
    SynacksRetransmitted = "synacks_retransmitted",
    /// A network namespace has a lower limit than the host, whose sysctl does not reach it.
    LimitOfAnotherNamespace = "limit_of_another_namespace",
}

/// One thing that is wrong at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// What is wrong.
    pub rule: Rule,
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// It in one sentence without a full stop, with its numbers.
    pub title: String,
    /// What that means, where it is not plain from the title.
    pub meaning: Option<String>,
    /// The numbers that it is concluded from, within the while unless they say otherwise.
    pub evidence: Vec<Evidence>,
    /// What to do, in this order.
    pub remedy: Vec<Step>,
}

/// Where something is wrong: a port, or a network namespace, or with neither the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// Inode number of the network namespace.
    pub netns: Option<u32>,
    /// The listeners' local address.
    pub address: Option<IpAddr>,
    /// Their port.
    pub port: Option<u16>,
    /// The process that they belong to.
    pub process: Option<Arc<str>>,
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What it is, in a few words.
    pub what: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: EvidenceUnit,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EvidenceUnit {
    /// Things that its name says.
    Number,
    /// Seconds.
    Seconds,
    /// Things per second.
    PerSecond,
    /// A part of a whole: 1 is all of it.
    Ratio,
}

/// One step of a remedy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// What it is for.
    pub kind: StepKind,
    /// What to do, in one sentence.
    pub text: String,
    /// The command that does it, or the line that does where the text says: `None` where it is a matter of choice.
    pub command: Option<String>,
}

/// What a step is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepKind {
    /// A command that takes effect at once.
    Now,
    /// What makes it last over a restart of the host.
    Lasting,
    /// A setting of the application.
    Application,
    /// A restart or reload.
    Restart,
    /// A look that tells more.
    Look,
}

/// How much room a queue had left at its fullest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Headroom {
    /// Whose queue it is.
    #[serde(flatten)]
    pub place: Place,
    /// The most connections that were in it.
    pub highest: u32,
    /// Its limit.
    pub limit: u32,
}
