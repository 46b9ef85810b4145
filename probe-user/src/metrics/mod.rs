//! What a metric is, and the one list of them all: [`catalogue::CATALOGUE`].
//!
//! Data only. `render::prometheus` fills it with numbers and `render::markdown` makes a page of
//! it; neither can name a metric that is not in it.
pub mod catalogue;

/// One metric, as Prometheus and its documentation know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name of the family.
    pub name: &'static str,
    /// Counter, gauge, histogram or information.
    pub kind: Kind,
    /// What one of its numbers counts.
    pub unit: Unit,
    /// What it means and which kernel number it is; one paragraph, the `HELP` line.
    pub help: &'static str,
    /// Its labels, in the order in which they are written.
    pub labels: &'static [Label],
    /// What must be attached for it to exist.
    pub needs: Needs,
    /// What it describes.
    pub group: Group,
}

/// How a metric's numbers behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows until its origin starts anew.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something was how large: buckets, their sum and their count.
    Histogram,
    /// Always 1: the labels are the message. A gauge in the exposition.
    Info,
}

impl Kind {
    /// The word in the documentation.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// The unit of a metric, which ends its name unless it is a plain number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things that are counted, or no unit at all.
    Number,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A part of a whole: 1 is all of it.
    Ratio,
}

impl Unit {
    /// How a name in this unit ends, before any `_total`.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Number => "",
            Self::Seconds => "_seconds",
            Self::Bytes => "_bytes",
            Self::Ratio => "_ratio",
        }
    }
}

/// A label. There are no others: each has a bounded set of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    /// Inode number of the network namespace, or `other`.
    Netns,
    /// Local address of the listeners, or `other`.
    Address,
    /// Local port of the listeners, or `other`.
    Port,
    /// Name of the process that the port belongs to, empty when it is not known, or `other`.
    Process,
    /// The notable part of that process's command line.
    Command,
    /// The application server or framework that it is.
    Application,
    /// Its systemd unit.
    Unit,
    /// The container that it is in.
    Container,
    /// The uid of the Kubernetes pod that it is in.
    Pod,
    /// The user that it runs as.
    User,
    /// Which limit made a backlog what it is: `application`, `somaxconn`, `maximum`.
    Bound,
    /// What is wrong: the names of `model::advice::Rule`.
    Rule,
    /// How bad it is: `losing`, `warning`, `notice`.
    Severity,
    /// The length of a window of time: `1s`, `15s`, `60s`.
    Window,
    /// The step of the handshake: `syn`, `ack`, or `undivided` where they cannot be told apart.
    Stage,
    /// Why a packet was refused, or `undivided` where the causes cannot be told apart.
    Cause,
    /// A counter of `TcpExt`, by the kernel's name.
    Counter,
    /// Number of the CPU.
    Cpu,
    /// A hook of the catalogue of hooks.
    Hook,
    /// What a hook is attached as, or `skipped`.
    Variant,
    /// Why, in one line. Fixed while the daemon runs.
    Reason,
    /// The method of accounting.
    Method,
    /// Where numbers come from: `events` or `polled`.
    Source,
    /// Version of the daemon.
    Version,
    /// Release of the kernel.
    Kernel,
}

impl Label {
    /// The label's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Netns => "netns",
            Self::Address => "address",
            Self::Port => "port",
            Self::Process => "process",
            Self::Command => "command",
            Self::Application => "application",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::User => "user",
            Self::Bound => "bound",
            Self::Rule => "rule",
            Self::Severity => "severity",
            Self::Window => "window",
            Self::Stage => "stage",
            Self::Cause => "cause",
            Self::Counter => "counter",
            Self::Cpu => "cpu",
            Self::Hook => "hook",
            Self::Variant => "variant",
            Self::Reason => "reason",
            Self::Method => "method",
            Self::Source => "source",
            Self::Version => "version",
            Self::Kernel => "kernel",
        }
    }
}

/// What must be attached for a metric to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Trampolines or kprobes: no tracepoint tells it.
    FullPlan,
    /// A hook of any plan.
    AnyPlan,
    /// A hook that sees the listener's queue: the tracepoint is `sock:sk_data_ready`, from 6.3 on.
    QueueEvents,
    /// Trampolines or kprobes, and accounting by the kernel's counters.
    KernelCounters,
    /// Hooks, and accounting by socket drops.
    SocketDrops,
    /// No hook: the daemon asks `sock_diag` or reads `/proc`.
    Nothing,
}

impl Needs {
    /// The plans that give it, for the documentation.
    #[must_use]
    pub const fn plans(self) -> &'static str {
        match self {
            Self::FullPlan => "trampoline, kprobe",
            Self::AnyPlan => "trampoline, kprobe, tracepoint",
            Self::QueueEvents => "trampoline, kprobe, tracepoint (6.3 and later)",
            Self::KernelCounters => "trampoline, kprobe (accounting kernel-counters)",
            Self::SocketDrops => "tracepoint (accounting socket-drops)",
            Self::Nothing => "every host",
        }
    }
}

/// What a metric describes: the chapters of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// One listening port.
    Port,
    /// One network namespace.
    Namespace,
    /// The host as a whole.
    Host,
    /// The probe: what it measures with, and what it missed.
    Probe,
    /// The daemon as a process.
    Process,
}

impl Group {
    /// Every group, in the order of the documentation.
    pub const ALL: [Self; 5] = [Self::Port, Self::Namespace, Self::Host, Self::Probe, Self::Process];

    /// The heading of its chapter.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Port => "Listening ports",
            Self::Namespace => "Network namespaces",
            Self::Host => "The host",
            Self::Probe => "The probe itself",
            Self::Process => "The daemon's process",
        }
    }
}
