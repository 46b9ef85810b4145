//! Listeners that come and go: what they take with them must not be lost.
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use aya_log_ebpf::debug;
use probe_common::handshake::PortKey;

use crate::{
    count::{add_anywhere, counters_of},
    kernel_read::{Direct, KernelPointer, KernelRead, Probed, is_tcp, port_key},
    settings::global,
};

/// States of `net/tcp_states.h`.
pub(super) const TCP_ESTABLISHED: i32 = 1;
pub(super) const TCP_SYN_RECV: i32 = 3;
const TCP_CLOSE: i32 = 7;
pub(super) const TCP_LISTEN: u8 = 10;

/// The port of a listener that is about to be closed, too. `tcp_set_state()` has already taken a port
/// back (`inet_put_port()`, `skc_num` is 0) that the kernel had chosen itself; `inet_sport` stays.
#[inline(always)]
fn listening_port(sock: KernelPointer) -> Option<PortKey> {
    let mut key = port_key::<Direct>(sock)?;
    if key.port == 0 {
        key.port = u16::from_be(Probed::read::<u16>(sock, global!(KERNEL_OFFSETS.inet_sport))?);
    }
    Some(key)
}

/// A socket begins or ends to listen.
///
/// `TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)`, before the new state is stored: on
/// the way out of LISTEN `sk_drops` is still there to be read, and the port still known.
#[btf_tracepoint(function = "inet_sock_set_state")]
fn tp_btf_inet_sock_set_state_listener(ctx: BtfTracePointContext) -> i32 {
    let sock: KernelPointer = ctx.arg(0);
    let (from, to) = (ctx.arg::<i32>(1), ctx.arg::<i32>(2));
    let opened = from == TCP_CLOSE && to == i32::from(TCP_LISTEN);
    let closed = from == i32::from(TCP_LISTEN) && to == TCP_CLOSE;
    if !(opened || closed) || !is_tcp::<Direct>(sock) {
        return 0;
    }
    let (Some(key), Some(drops)) =
        (listening_port(sock), Direct::read::<u32>(sock, global!(KERNEL_OFFSETS.sock_drops)))
    else {
        return 0;
    };
    let Some(counters) = counters_of(&key) else { return 0 };
    if opened {
        // A socket that listens for the second time still has the drops of the first.
        add_anywhere!(counters, closed_listener_drops, u64::from(drops).wrapping_neg());
        add_anywhere!(counters, listeners_opened, 1);
        debug!(&ctx, "listener opened: netns {} port {}", key.netns, key.port);
    } else {
        add_anywhere!(counters, closed_listener_drops, u64::from(drops));
        debug!(&ctx, "listener closed: netns {} port {} drops {}", key.netns, key.port, drops);
    }
    0
}
