//! The bytes of a `sock_diag` dump: the request, and what its parts say.
use std::{collections::BTreeSet, fmt, io, num::NonZeroI32};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use rustix::io::Errno;

use crate::sample::ListenerSample;

/// Netlink messages in one part begin at multiples of this (`NLMSG_ALIGNTO`).
const MESSAGE_ALIGNMENT: usize = 4;

/// Which half of the listeners a dump gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `AF_INET`.
    Inet,
    /// `AF_INET6`, with the dual-stack listeners.
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

/// The bytes that ask for the listening TCP sockets of one family, with their memory figures.
pub(super) fn encode_request(family: Family, sequence: u32) -> Vec<u8> {
    let (family, socket_id) = match family {
        Family::Inet => (AF_INET, SocketId::new_v4()),
        Family::Inet6 => (AF_INET6, SocketId::new_v6()),
    };
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        // sk_drops is the last of the figures that sk_get_meminfo() of net/core/sock.c gives.
        extensions: ExtensionFlags::SKMEMINFO,
        states: StateFlags::LISTEN,
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

/// A dump as far as it has come.
#[derive(Debug)]
pub(super) struct Dump {
    family: Family,
    sequence: u32,
    listeners: Vec<ListenerSample>,
    /// Kernel-wide numbers of the sockets in `listeners` (sock_gen_cookie()). The walk goes on at a
    /// position in a hash chain, so a listener that is opened between two parts shifts another one into
    /// the next part again: counted twice, its drops would be too.
    cookies: BTreeSet<[u8; 8]>,
}

impl Dump {
    pub(super) fn new(family: Family, sequence: u32) -> Self {
        Self { family, sequence, listeners: Vec::new(), cookies: BTreeSet::new() }
    }

    /// Takes one received part, which is a row of messages.
    pub(super) fn add_part(&mut self, part: &[u8]) -> Result<Progress, DumpError> {
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

    /// The listeners of a complete dump.
    pub(super) fn into_listeners(self) -> Vec<ListenerSample> {
        self.listeners
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
                self.add_listener(&response)?;
                Ok(Progress::More)
            }
            // netlink_dump_done() puts what the dump function returned into the last message.
            NetlinkPayload::Done(done) => refusal(NonZeroI32::new(done.code)),
            NetlinkPayload::Error(error) => refusal(error.code),
            NetlinkPayload::Overrun(_) => Ok(Progress::Interrupted),
            _ => Ok(Progress::More),
        }
    }

    fn add_listener(&mut self, response: &InetResponse) -> Result<(), DumpError> {
        let header = &response.header;
        let asked_for =
            header.state == TCP_LISTEN && header.socket_id.source_address.is_ipv6() == self.is_ipv6();
        if !asked_for || !self.cookies.insert(header.socket_id.cookie) {
            return Ok(());
        }
        let port = header.socket_id.source_port;
        let drops = response.nlas.iter().find_map(|attribute| match attribute {
            Nla::MemInfo(memory) => Some(memory.drops),
            _ => None,
        });
        self.listeners.push(ListenerSample {
            address: header.socket_id.source_address,
            port,
            accept_queue_length: header.recv_queue,
            accept_queue_limit: header.send_queue,
            drops: drops.ok_or(DumpError::NoDrops { port })?,
            inode: header.inode,
        });
        Ok(())
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
