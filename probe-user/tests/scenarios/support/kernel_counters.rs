//! The kernel's own counters of a network namespace: the truth that the daemon is held against.
use std::{collections::BTreeMap, fs};

/// Counters of `/proc/net/netstat` and `/proc/net/snmp` that handshakes move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelCounters {
    /// `TcpExt: ListenOverflows`: packets refused because an accept queue was full.
    pub(crate) listen_overflows: u64,
    /// `TcpExt: ListenDrops`: the same and every other failure to take a handshake further.
    pub(crate) listen_drops: u64,
    /// `TcpExt: TCPReqQFullDrop`: SYNs dropped because the SYN queue was full.
    pub(crate) syn_queue_full_drops: u64,
    /// `TcpExt: TCPReqQFullDoCookies`: SYNs answered with a cookie for the same reason.
    pub(crate) syn_queue_full_cookies: u64,
    /// `TcpExt: SyncookiesRecv`: last ACKs with a good cookie.
    pub(crate) cookies_received: u64,
    /// `TcpExt: TCPDeferAcceptDrop`: bare last ACKs left aside under `TCP_DEFER_ACCEPT`.
    pub(crate) deferred_acks: u64,
    /// `TcpExt: TCPSynRetrans`: SYNs and SYN-ACKs sent again.
    pub(crate) syn_retransmits: u64,
    /// `Tcp: PassiveOpens`: children that became established.
    pub(crate) passive_opens: u64,
    /// `Tcp: RetransSegs`: segments of any kind sent again.
    pub(crate) retransmitted_segments: u64,
    /// `Tcp: OutRsts`: segments with RST.
    pub(crate) resets_sent: u64,
}

impl KernelCounters {
    /// Reads those of the calling thread's namespace.
    pub(crate) fn of_this_thread() -> Self {
        let mut fields = read("netstat");
        fields.extend(read("snmp"));
        let field = |name: &str| *fields.get(name).unwrap_or_else(|| panic!("the kernel has no {name}"));
        Self {
            listen_overflows: field("TcpExt:ListenOverflows"),
            listen_drops: field("TcpExt:ListenDrops"),
            syn_queue_full_drops: field("TcpExt:TCPReqQFullDrop"),
            syn_queue_full_cookies: field("TcpExt:TCPReqQFullDoCookies"),
            cookies_received: field("TcpExt:SyncookiesRecv"),
            deferred_acks: field("TcpExt:TCPDeferAcceptDrop"),
            syn_retransmits: field("TcpExt:TCPSynRetrans"),
            passive_opens: field("Tcp:PassiveOpens"),
            retransmitted_segments: field("Tcp:RetransSegs"),
            resets_sent: field("Tcp:OutRsts"),
        }
    }

    /// One more, which not every kernel has: of the calling thread's namespace, as `Group:Name`.
    pub(crate) fn named(name: &str) -> Option<u64> {
        read("netstat").get(name).copied()
    }

    /// What was counted since `start`.
    pub(crate) const fn since(&self, start: &Self) -> Self {
        Self {
            listen_overflows: self.listen_overflows - start.listen_overflows,
            listen_drops: self.listen_drops - start.listen_drops,
            syn_queue_full_drops: self.syn_queue_full_drops - start.syn_queue_full_drops,
            syn_queue_full_cookies: self.syn_queue_full_cookies - start.syn_queue_full_cookies,
            cookies_received: self.cookies_received - start.cookies_received,
            deferred_acks: self.deferred_acks - start.deferred_acks,
            syn_retransmits: self.syn_retransmits - start.syn_retransmits,
            passive_opens: self.passive_opens - start.passive_opens,
            retransmitted_segments: self.retransmitted_segments - start.retransmitted_segments,
            resets_sent: self.resets_sent - start.resets_sent,
        }
    }
}

/// `name -> value` of a file made of pairs of lines: the names, then the values.
fn read(file: &str) -> BTreeMap<String, u64> {
    let path = format!("/proc/thread-self/net/{file}");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {path}: {error}"));
    let mut fields = BTreeMap::new();
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut names = names.split_whitespace();
        let group = names.next().unwrap_or_default();
        for (name, value) in names.zip(values.split_whitespace().skip(1)) {
            // Tcp:MaxConn is -1: the only one that is no counter.
            if let Ok(value) = value.parse() {
                fields.insert(format!("{group}{name}"), value);
            }
        }
    }
    fields
}
