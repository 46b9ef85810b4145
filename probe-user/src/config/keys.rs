//! Every key of the configuration once: where else it can be said, what holds where it is not, what it is for.
use clap::ValueEnum;

use super::Config;

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// At a reload (SIGHUP).
    Reload,
    /// At the next start: changing it means to attach anew.
    Restart,
}

/// A key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// As in TOML: `ports.limit`.
    pub path: &'static str,
    /// The flag that comes before the file, without its dashes.
    pub flag: Option<&'static str>,
    /// The environment variable, which comes after the flag and before the file.
    pub environment: Option<&'static str>,
    /// When a changed value takes effect.
    pub effect: Effect,
    /// Its value in TOML; `None` where there is none, and for rules, which are shown as they were written.
    pub value: fn(&Config) -> Option<String>,
    /// What a file might say, in TOML, where [`Key::value`] of the default says nothing.
    pub example: &'static str,
    /// What it is, for whoever edits the file: lines of at most 110 characters.
    pub help: &'static str,
}

/// All keys, in the order of the file. `[[ports.include]]` and `[[ports.exclude]]` are lists of rules.
pub const KEYS: [Key; 14] = [
    Key {
        path: "http.listen",
        flag: Some("listen"),
        environment: Some("TCP_BACKLOG_PROBE_LISTEN"),
        effect: Effect::Restart,
        value: |config| Some(quoted(&config.listen.to_string())),
        example: "",
        help: "Where /metrics and the rest are served. Whoever reaches the address may read them.",
    },
    Key {
        path: "http.web_config_file",
        flag: Some("web-config-file"),
        environment: Some("TCP_BACKLOG_PROBE_WEB_CONFIG_FILE"),
        effect: Effect::Reload,
        value: |config| config.web_config_file.as_ref().map(|path| quoted(&path.to_string_lossy())),
        example: "\"/etc/tcp-backlog-probe/web.yml\"",
        help: "TLS, passwords and headers, by a file in the format of Prometheus' exporters. A reload reads it again, with\n\
               the certificates that it names.",
    },
    Key {
        path: "http.socket",
        flag: Some("socket"),
        environment: Some("TCP_BACKLOG_PROBE_SOCKET"),
        effect: Effect::Restart,
        value: |config| Some(quoted(&config.socket.to_string())),
        example: "",
        help: "Where `doctor` asks, without TLS and passwords: a path, which root and the daemon's group may open, or none;\n\
               auto is /run/tcp-backlog-probe/probe.sock, if that is possible.",
    },
    Key {
        path: "hooks.plan",
        flag: Some("plan"),
        environment: Some("TCP_BACKLOG_PROBE_PLAN"),
        effect: Effect::Restart,
        value: |config| named(config.wishes.plan),
        example: "",
        help: "How the kernel's functions are watched: auto takes the cheapest way that works, hook by hook.\n\
               auto, trampoline, kprobe, tracepoint, none",
    },
    Key {
        path: "hooks.accounting",
        flag: Some("accounting"),
        environment: Some("TCP_BACKLOG_PROBE_ACCOUNTING"),
        effect: Effect::Restart,
        value: |config| named(config.wishes.accounting),
        example: "",
        help: "How refused packets are counted where functions are watched: auto, kernel-counters, conditions",
    },
    Key {
        path: "hooks.queues",
        flag: Some("queues"),
        environment: Some("TCP_BACKLOG_PROBE_QUEUES"),
        effect: Effect::Restart,
        value: |config| named(config.wishes.queues),
        example: "",
        help: "Whether it is noted how full queues get and how long connections wait in them: full, or off, where every\n\
               instruction counts. What they refuse is counted all the same.",
    },
    Key {
        path: "hooks.accept_wait_connections",
        flag: Some("accept-wait-connections"),
        environment: Some("TCP_BACKLOG_PROBE_ACCEPT_WAIT_CONNECTIONS"),
        effect: Effect::Restart,
        value: |config| Some(config.wishes.queued_connections.to_string()),
        example: "",
        help: "Connections in accept queues, on the whole host, whose wait for accept() can be measured at once in the\n\
               kprobe plan; 24 bytes of kernel memory each. In the trampoline plan all are measured.",
    },
    Key {
        path: "hooks.listeners",
        flag: Some("listeners"),
        environment: Some("TCP_BACKLOG_PROBE_LISTENERS"),
        effect: Effect::Restart,
        value: |config| config.wishes.listeners.map(|listeners| listeners.to_string()),
        example: "4096",
        help: "How many listeners are told apart, at most 16383; those past it are counted in the row `other`. Each takes\n\
               500 bytes of kernel memory, and 400 for every CPU. Without it there is room for twice the listeners that\n\
               there are at the start, at least 2047, as far as that takes no more than 32 MiB.",
    },
    Key {
        path: "ports.limit",
        flag: Some("ports-limit"),
        environment: Some("TCP_BACKLOG_PROBE_PORTS_LIMIT"),
        effect: Effect::Reload,
        value: |config| Some(config.series.limit.to_string()),
        example: "",
        help: "The most ports with series of their own in /metrics, the busiest; the others are in the row `other`.",
    },
    Key {
        path: "ports.include",
        flag: None,
        environment: None,
        effect: Effect::Reload,
        value: |_| None,
        example: "port = \"8000-8999\"         # a number or a range\n\
                  process = \"java*\"          # the name of the process: * any characters, ? one\n\
                  address = \"10.0.0.0/8\"     # a network or one address\n\
                  netns = 4026531840         # as in ls -l /proc/PID/ns/net",
        help: "If there is any, only ports that match one have series of their own. All keys of one rule must fit.",
    },
    Key {
        path: "ports.exclude",
        flag: None,
        environment: None,
        effect: Effect::Reload,
        value: |_| None,
        example: "port = 22",
        help: "Ports that match one have no series of their own.",
    },
    Key {
        path: "state.file",
        flag: None,
        environment: None,
        effect: Effect::Restart,
        value: |config| config.state_file.as_ref().map(|path| quoted(&path.to_string_lossy())),
        example: "\"/var/lib/tcp-backlog-probe/state.json\"",
        help: "Keeps the demands of the last day, from which backlogs are recommended, over a restart. Its folder\n\
               has to be there.",
    },
    Key {
        path: "log.format",
        flag: Some("log-format"),
        environment: Some("TCP_BACKLOG_PROBE_LOG_FORMAT"),
        effect: Effect::Restart,
        value: |config| named(config.log_format),
        example: "",
        help: "How log lines are written to standard error: text, json",
    },
    Key {
        path: "log.level",
        flag: Some("log-level"),
        environment: Some("TCP_BACKLOG_PROBE_LOG_LEVEL"),
        effect: Effect::Reload,
        value: |config| Some(quoted(&config.log_level)),
        example: "",
        help: "What is logged: error, warn, info, debug, trace, or a filter such as \"tcp_backlog_probe=debug\"",
    },
];

impl Key {
    /// The table and the name in it.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or(("", self.path))
    }

    /// Whether it is a list of rules, each with a heading of its own.
    pub(super) fn is_rules(&self) -> bool {
        self.example.contains(" = ")
    }
}

/// A string of TOML. Its escapes are those of Rust for what can be in a path or a filter.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A value that the command line knows by name.
fn named(value: impl ValueEnum) -> Option<String> {
    value.to_possible_value().map(|value| quoted(value.get_name()))
}
