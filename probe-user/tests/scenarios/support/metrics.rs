//! The daemon's metrics, parsed from the Prometheus text format.
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// One scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    series: Vec<Series>,
}

#[derive(Clone, Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// Everything that a scrape says of one port; `None` is an absent series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortNumbers {
    pub(crate) syn_received: Option<u64>,
    pub(crate) syn_queued: Option<u64>,
    pub(crate) established: Option<u64>,
    pub(crate) last_ack_received: Option<u64>,
    pub(crate) last_ack_refused: Option<u64>,
    pub(crate) synack_retransmits: Option<u64>,
    pub(crate) overflows_syn: Option<u64>,
    pub(crate) overflows_ack: Option<u64>,
    pub(crate) overflows_undivided: Option<u64>,
    pub(crate) listen_drops: Option<u64>,
    pub(crate) queue_length: Option<u64>,
    pub(crate) queue_limit: Option<u64>,
    pub(crate) listeners: Option<u64>,
}

impl PortNumbers {
    /// Overflows of every stage together.
    pub(crate) fn overflows(&self) -> Option<u64> {
        [self.overflows_syn, self.overflows_ack, self.overflows_undivided]
            .into_iter()
            .flatten()
            .reduce(|sum, stage| sum + stage)
    }
}

impl Metrics {
    /// Parses the text format; panics on a line that is none.
    pub(crate) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self {
            series: lines
                .map(|line| parse_line(line).unwrap_or_else(|| panic!("not a sample: {line}")))
                .collect(),
        }
    }

    /// The value of the one series of this name that has these labels (and maybe others).
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let mut found = self.with_labels(name, labels);
        let first = found.next()?;
        if let Some(second) = found.next() {
            panic!("{name} {labels:?} is there twice: {first:?} and {second:?}");
        }
        Some(first.as_count())
    }

    /// The sum over every series of this name that has these labels; `None` when there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        self.with_labels(name, labels).map(Series::as_count).reduce(|sum, value| sum + value)
    }

    /// Every value of this name with these labels, whatever it is.
    pub(crate) fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        self.with_labels(name, labels).map(|series| series.value).collect()
    }

    /// The value of a label in every series of this name.
    pub(crate) fn label_values(&self, name: &str, label: &str) -> Vec<&str> {
        self.with_labels(name, &[])
            .filter_map(|series| series.labels.get(label).map(String::as_str))
            .collect()
    }

    /// A label of the first series of this name that has these labels.
    pub(crate) fn label(&self, name: &str, labels: &[(&str, &str)], label: &str) -> Option<&str> {
        self.with_labels(name, labels).next()?.labels.get(label).map(String::as_str)
    }

    /// The inode numbers of all namespaces that are mentioned.
    pub(crate) fn namespaces(&self) -> BTreeSet<u64> {
        self.series.iter().filter_map(|series| series.labels.get("netns")?.parse().ok()).collect()
    }

    /// Every total of a namespace and its ports, by name and labels; but not by the process, which may get
    /// known later or change.
    pub(crate) fn totals_of_namespace(&self, netns: u64) -> Vec<(String, u64)> {
        let identity = |series: &Series| {
            let labels = series.labels.iter().filter(|(label, _)| *label != "process");
            format!("{} {:?}", series.name, labels.collect::<Vec<_>>())
        };
        self.with_labels_any_name(&[("netns", &netns.to_string())])
            .filter(|series| series.name.ends_with("_total"))
            .map(|series| (identity(series), series.as_count()))
            .collect()
    }

    /// The addresses that have a series of any metric for this port number in this namespace.
    pub(crate) fn addresses_of_port(&self, netns: u64, port: u16) -> Vec<&str> {
        let (netns, port) = (netns.to_string(), port.to_string());
        let mut addresses: Vec<&str> = self
            .with_labels_any_name(&[("netns", &netns), ("port", &port)])
            .filter_map(|series| series.labels.get("address").map(String::as_str))
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// One counter of a port; `None` is an absent series.
    pub(crate) fn of_port(&self, netns: u64, address: SocketAddr, name: &str) -> Option<u64> {
        let (netns, number) = (netns.to_string(), address.port().to_string());
        let address = address.ip().to_string();
        let labels = [("netns", netns.as_str()), ("address", address.as_str()), ("port", number.as_str())];
        self.value(&format!("tcp_backlog_{name}"), &labels)
    }

    /// What is said of a port.
    pub(crate) fn port(&self, netns: u64, address: SocketAddr) -> PortNumbers {
        let netns = netns.to_string();
        let (address, port) = (address.ip().to_string(), address.port().to_string());
        let labels = [("netns", netns.as_str()), ("address", address.as_str()), ("port", port.as_str())];
        let value = |name: &str| self.value(&format!("tcp_backlog_{name}"), &labels);
        let overflows = |stage: &str| {
            let [netns, address, port] = labels;
            self.value("tcp_backlog_accept_queue_overflows_total", &[netns, address, port, ("stage", stage)])
        };
        PortNumbers {
            syn_received: value("syn_received_total"),
            syn_queued: value("syn_queued_total"),
            established: value("established_total"),
            last_ack_received: value("last_ack_received_total"),
            last_ack_refused: self.sum("tcp_backlog_last_ack_refused_total", &labels),
            synack_retransmits: value("synack_retransmits_total"),
            overflows_syn: overflows("syn"),
            overflows_ack: overflows("ack"),
            overflows_undivided: overflows("undivided"),
            listen_drops: value("listen_drops_total"),
            queue_length: value("accept_queue_length"),
            queue_limit: value("accept_queue_limit"),
            listeners: value("listeners"),
        }
    }

    fn with_labels(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = &Series> {
        self.with_labels_any_name(labels).filter(move |series| series.name == name)
    }

    fn with_labels_any_name(&self, labels: &[(&str, &str)]) -> impl Iterator<Item = &Series> {
        self.series.iter().filter(move |series| series.has_labels(labels))
    }
}

impl Series {
    fn has_labels(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(label, value)| self.labels.get(*label).is_some_and(|own| own == value))
    }

    /// A count is a whole number that is not negative.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    fn as_count(&self) -> u64 {
        let whole = self.value.fract() == 0.0 && (0.0..9e15).contains(&self.value);
        assert!(whole, "not a count: {self:?}");
        self.value as u64
    }
}

/// `name{label="value",...} number`
fn parse_line(line: &str) -> Option<Series> {
    let name_end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    Some(Series { name: name.into(), labels, value: rest.trim().parse().ok()? })
}

/// The labels up to the closing brace, and what follows it.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (label, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquote(quoted)?;
        labels.insert(label.to_owned(), value);
        rest = after;
    }
}

/// A label's value up to its closing quote, without escapes, and what follows it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(index + 1..)?)),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped => escaped,
            }),
            other => value.push(other),
        }
    }
    None
}
