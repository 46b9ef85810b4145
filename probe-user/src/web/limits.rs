//! What a client can take from the daemon: so many connections, so long a request, so long a silence.
//!
//! hyper sets few limits of itself. Without them a client that sends half a request and waits keeps a descriptor of a
//! root daemon for ever, and a thousand of them keep Prometheus out. So:
//!
//! - **Places.** A listener has 64 connections at a time ([`Limits::connections`]). Who comes when all places are taken does
//!   not wait for somebody to leave: a connection that *waits for its client* is given up for it. That is one whose handshake
//!   or request is not complete, one that is idle, or one whose client does not take its answer. The client (an IPv4
//!   address or an IPv6 /64) that has the most such connections loses its oldest. So a thousand half requests cost a
//!   scraper nothing, and whoever holds many places loses his own first. Only a connection for which an answer is being made
//!   is never given up; that takes 9 s at most. A place is free when the connection's memory is, so memory is bounded
//!   however fast they come. (`places.rs`)
//! - **Time.** A request has to be complete 10 s after its connection was opened, TLS handshake included, or after its own
//!   first byte. Bytes do not lengthen it, so sending them one by one gains nothing. An answer that nobody takes, and a
//!   connection without a request, end after 150 s; a client that was told that this was all has a second to hang up.
//!   (`connection.rs`)
//! - **Size.** The head of a request has 16 KiB and 64 headers at most (431), its URI 2 KiB (414). No byte of a body is
//!   ever asked for or read: a request with one is answered and its connection closed. (`server.rs`)
//! - **Work.** Two answers are made at a time, on threads of their own; others wait for their turn, up to 9 s. A password
//!   that is not known yet is checked one at a time, and after each that was wrong the next check waits as long as it
//!   took: a flood of them costs half a processor. A connection whose password is being checked still counts as waiting for its
//!   client, so such a flood does not keep places either. (`handlers.rs`, `access/users.rs`)
//!
//! The Unix socket has places, and answers at a time, of its own: `doctor` is served whatever happens on the network.
use std::time::Duration;

/// The limits that a test may want smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// The time within which a request has to be complete.
    pub request: Duration,
    /// The time within which the client must take some of its answer, or ask anew.
    pub silence: Duration,
}

impl Default for Limits {
    /// 64 connections; 10 s for a request; and a little more than two minutes, the longest sensible scrape interval,
    /// so that a scraper can keep its connection.
    fn default() -> Self {
        Self { connections: 64, request: Duration::from_secs(10), silence: Duration::from_secs(150) }
    }
}

/// The longest head of a request, in bytes.
pub(super) const LONGEST_HEAD: usize = 16 << 10;
/// The most headers of a request.
pub(super) const MOST_HEADERS: usize = 64;
/// The longest path and query, in bytes.
pub(super) const LONGEST_URI: usize = 2 << 10;
/// Answers that are made at the same time.
pub(super) const ANSWERS_AT_ONCE: usize = 2;
