//! Every hook once: what it measures, in which ways it can be attached, and what each way needs.
//!
//! One module per group of hooks, named after the files of `probe-ebpf/src/hooks`.
mod accept_queue;
mod established;
mod handshake;
mod last_ack;
mod listener;

use super::hook::{Hook, Need, Program, ProgramKind};

/// Names of hooks that decisions depend on.
pub mod name {
    /// SYNs.
    pub const SYN_RECEIVED: &str = "syn_received";
    /// Requests in the SYN queue.
    pub const SYN_QUEUED: &str = "syn_queued";
    /// SYNs refused for the sake of `tcp_max_syn_backlog`.
    pub const SYN_BACKLOG_RESERVE: &str = "syn_backlog_reserve";
    /// SYNs answered with a cookie.
    pub const SYNCOOKIE_SENT: &str = "syncookie_sent";
    /// Children in the accept queue.
    pub const ESTABLISHED: &str = "established";
    /// Connections that accept() takes.
    pub const ACCEPTED: &str = "accepted";
    /// What listen() is asked for.
    pub const BACKLOG: &str = "backlog_requested";
    /// Last ACKs, and those that are refused.
    pub const LAST_ACK: &str = "last_ack";
    /// SYN-ACKs sent again.
    pub const SYNACK_RETRANSMITS: &str = "synack_retransmits";
    /// SYN cookies that came back.
    pub const SYNCOOKIE_CHECKED: &str = "syncookie_checked";
    /// Requests ended by an ICMP error.
    pub const REQUEST_ERROR: &str = "request_error";
    /// Requests given up after their last SYN-ACK.
    pub const REQUEST_EXPIRED: &str = "request_expired";
    /// Listeners that come and go.
    pub const LISTENER: &str = "listener";
    /// What listeners bring and take along.
    pub const LISTENER_DROPS: &str = "listener_drops";
    /// Connections reset with their listener.
    pub const CLOSED_UNACCEPTED: &str = "closed_unaccepted";
    /// Packets freed on behalf of a listener.
    pub const PACKET_FREED: &str = "packet_freed";
}

/// Every hook, in the order in which they are attached: listeners before what happens to them, a
/// bracket's entry before its exit, and what tells that a SYN was answered before what takes it for lost.
pub const CATALOGUE: &[Hook] = &[
    accept_queue::BACKLOG,
    listener::LISTENER,
    handshake::SYN_QUEUED,
    handshake::SYN_BACKLOG_RESERVE,
    handshake::SYNCOOKIE_SENT,
    handshake::SYN_RECEIVED,
    last_ack::LAST_ACK,
    last_ack::SYNCOOKIE_CHECKED,
    last_ack::REQUEST_ERROR,
    accept_queue::ACCEPTED,
    established::ESTABLISHED,
    handshake::SYNACK_RETRANSMITS,
    handshake::REQUEST_EXPIRED,
    listener::CLOSED_UNACCEPTED,
    listener::LISTENER_DROPS,
    listener::PACKET_FREED,
];

/// Arguments that are read, with the structure that they must point to.
type Pointers = &'static [(usize, &'static str)];

const NOTHING: Pointers = &[];
const SOCK: Pointers = &[(0, "sock")];
const SOCK_SKB: Pointers = &[(0, "sock"), (1, "sk_buff")];

/// A program that fits any number of arguments.
const fn program(name: &'static str, kind: ProgramKind, target: &'static str, pointers: Pointers) -> Program {
    Program { name, kind, target, arguments: &[], returns: None, pointers, need: Need::Required }
}

/// An exit program, which finds the returned value behind the arguments: one for each number of them.
const fn fexit(
    name: &'static str,
    target: &'static str,
    arguments: &'static [usize],
    pointers: Pointers,
) -> Program {
    Program { arguments, returns: Some(true), ..program(name, ProgramKind::Fexit, target, pointers) }
}

/// The same program, where the kernel may do without its target.
const fn if_present(program: Program) -> Program {
    Program { need: Need::IfPresent, ..program }
}

/// The program of a kind for a target: they are named after the two.
macro_rules! named {
    ($prefix:literal, $kind:ident, $target:literal, $pointers:expr) => {
        super::program(
            concat!($prefix, "_", $target),
            crate::plan::hook::ProgramKind::$kind,
            $target,
            $pointers,
        )
    };
}
use named;

macro_rules! fentry {
    ($target:literal, $pointers:expr) => {
        super::named!("fentry", Fentry, $target, $pointers)
    };
}
use fentry;

/// At the exit of a function whose returned value is not asked for.
macro_rules! fexit_plain {
    ($target:literal, $pointers:expr) => {
        super::named!("fexit", Fexit, $target, $pointers)
    };
}
use fexit_plain;

macro_rules! kprobe {
    ($target:literal, $pointers:expr) => {
        super::named!("kprobe", Kprobe, $target, $pointers)
    };
}
use kprobe;

macro_rules! kretprobe {
    ($target:literal) => {
        super::named!("kretprobe", Kretprobe, $target, &[])
    };
}
use kretprobe;
