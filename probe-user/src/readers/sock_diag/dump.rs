//! The bytes of a `sock_diag` dump: the request, and what its parts say.
use std::{collections::HashSet, fmt, io, num::NonZeroI32};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use rustix::io::Errno;

/// Netlink messages in one part begin at multiples of this (`NLMSG_ALIGNTO`).
const MESSAGE_ALIGNMENT: usize = 4;

/// Which half of the sockets a dump gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`, with the dual-stack listeners and their requests.
    Inet6,
}

impl fmt::Display for Family {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Inet => "IPv4",
            Self::Inet6 => "IPv6",
        })
    }
}

/// Why an answer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The kernel has no such dump.
    #[error("the kernel has no tcp_diag: load the module, or build with CONFIG_INET_TCP_DIAG")]
    NoTcpDiag,
    /// The kernel refused.
    #[error("the kernel refused: {0}")]
    Refused(io::Error),
    /// The answer does not follow the format.
    #[error("an answer that cannot be decoded: {0}")]
    Malformed(String),
    /// A socket comes without its drops.
    #[error("the listener on port {port} comes without INET_DIAG_SKMEMINFO: its drops are unknown")]
    NoDrops {
        /// The listener's port.
        port: u16,
    },
}

/// What is asked for, and what becomes of it.
pub(in crate::readers) trait Collector: Default {
    /// What it collects, in a word.
    const WHAT: &'static str;
    /// In which state the sockets are: a number of `enum` in net/tcp_states.h.
    const STATE: u8;
    /// Which attributes are asked for.
    const EXTENSIONS: ExtensionFlags;
    /// There may be so many that not even their numbers shall be remembered during a dump.
    const INNUMERABLE: bool;

    /// Takes one socket.
    fn add(&mut self, socket: &InetResponse) -> Result<(), DumpError>;
}

/// The drops of a socket that was asked for with [`ExtensionFlags::SKMEMINFO`]: `sk_drops` is the last of the
/// figures that sk_get_meminfo() of net/core/sock.c gives.
pub(in crate::readers) fn drops(socket: &InetResponse) -> Result<u32, DumpError> {
    let drops = socket.nlas.iter().find_map(|attribute| match attribute {
        Nla::MemInfo(memory) => Some(memory.drops),
        _ => None,
    });
    drops.ok_or(DumpError::NoDrops { port: socket.header.socket_id.source_port })
}

/// What is to be done after a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Receive another part.
    More,
    /// Begin again: the table changed in a way that the kernel could not follow.
    Interrupted,
    /// That was the last part.
    Complete,
}

/// The bytes that ask for TCP sockets of one family.
pub(super) fn encode_request<C: Collector>(family: Family, sequence: u32) -> Vec<u8> {
    let (family, socket_id) = match family {
        Family::Inet => (AF_INET, SocketId::new_v4()),
        Family::Inet6 => (AF_INET6, SocketId::new_v6()),
    };
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: C::EXTENSIONS,
        states: StateFlags::from_bits_truncate(1 << C::STATE),
        socket_id,
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// Kernel-wide numbers of the sockets that were taken (sock_gen_cookie()). The walk goes on at a position in
/// a hash chain, so a socket that is put into it between two parts shifts another one into the next part
/// again: counted twice, its drops would be too.
#[derive(Debug, Default)]
struct Taken {
    before: HashSet<[u8; 8]>,
    now: HashSet<[u8; 8]>,
}

impl Taken {
    /// Another part begins: none but the last part's sockets can come again, as long as fewer sockets are
    /// put into a chain between two parts than a part has.
    fn forget_but_the_last_part(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// Whether it is the first time.
    fn insert(&mut self, cookie: [u8; 8]) -> bool {
        !self.before.contains(&cookie) && self.now.insert(cookie)
    }
}

/// A dump as far as it has come.
#[derive(Debug)]
pub(super) struct Dump<C> {
    family: Family,
    sequence: u32,
    collector: C,
    taken: Taken,
}

impl<C: Collector> Dump<C> {
    pub(super) fn new(family: Family, sequence: u32) -> Self {
        Self { family, sequence, collector: C::default(), taken: Taken::default() }
    }

    /// Takes one received part, which is a row of messages.
    pub(super) fn add_part(&mut self, part: &[u8]) -> Result<Progress, DumpError> {
        if C::INNUMERABLE {
            self.taken.forget_but_the_last_part();
        }
        let mut rest = part;
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| DumpError::Malformed(error.to_string()))?;
            let length = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            let progress = self.add_message(message)?;
            if progress != Progress::More {
                return Ok(progress);
            }
            // The last message may come without its padding.
            rest = rest.get(length.next_multiple_of(MESSAGE_ALIGNMENT)..).unwrap_or_default();
        }
        Ok(Progress::More)
    }

    /// What a complete dump gave.
    pub(super) fn into_collector(self) -> C {
        self.collector
    }

    fn add_message(&mut self, message: NetlinkMessage<SockDiagMessage>) -> Result<Progress, DumpError> {
        let (header, payload) = message.into_parts();
        if header.sequence_number != self.sequence {
            return Ok(Progress::More);
        }
        if header.flags & NLM_F_DUMP_INTR != 0 {
            return Ok(Progress::Interrupted);
        }
        match payload {
            NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                self.add_socket(&response)?;
                Ok(Progress::More)
            }
            // netlink_dump_done() puts what the dump function returned into the last message.
            NetlinkPayload::Done(done) => refusal(NonZeroI32::new(done.code)),
            NetlinkPayload::Error(error) => refusal(error.code),
            NetlinkPayload::Overrun(_) => Ok(Progress::Interrupted),
            _ => Ok(Progress::More),
        }
    }

    fn add_socket(&mut self, socket: &InetResponse) -> Result<(), DumpError> {
        let header = &socket.header;
        let asked_for =
            header.state == C::STATE && header.socket_id.source_address.is_ipv6() == self.is_ipv6();
        if !asked_for || !self.taken.insert(header.socket_id.cookie) {
            return Ok(());
        }
        self.collector.add(socket)
    }

    fn is_ipv6(&self) -> bool {
        self.family == Family::Inet6
    }
}

/// What the kernel's answer to the whole request means: a negative errno, or none for "done".
fn refusal(code: Option<NonZeroI32>) -> Result<Progress, DumpError> {
    let Some(code) = code.map(|code| code.get().saturating_neg()) else { return Ok(Progress::Complete) };
    let is = |errno: Errno| errno.raw_os_error() == code;
    if is(Errno::NOENT) {
        // __sock_diag_cmd() and inet_diag_lock_handler() found no handler and could load none.
        Err(DumpError::NoTcpDiag)
    } else if is(Errno::INTR) || is(Errno::NOBUFS) {
        Ok(Progress::Interrupted)
    } else {
        Err(DumpError::Refused(io::Error::from_raw_os_error(code)))
    }
}

#[cfg(test)]
mod tests;
