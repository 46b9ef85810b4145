//! The only reads of kernel memory, and what is read of a socket.
use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated::bpf_skc_to_tcp_sock};
use probe_common::handshake::{AF_INET, AF_INET6, PortKey};

use crate::{cast, settings::global};

/// A pointer into kernel memory: to a `struct sock`, `request_sock`, `sk_buff` or `net`.
pub(crate) type KernelPointer = *const c_void;

/// `IPPROTO_TCP` of `linux/in.h`.
const IPPROTO_TCP: u16 = 6;
/// `IPPROTO_MPTCP` of `linux/in.h`.
const IPPROTO_MPTCP: u16 = 262;

/// States of `net/tcp_states.h`, as `skc_state` has them.
pub(crate) const TCP_SYN_RECV: u8 = 3;
/// A socket that listens.
pub(crate) const TCP_LISTEN: u8 = 10;

/// `ETH_P_IP` of `linux/if_ether.h`, as `sk_buff.protocol` has it.
pub(crate) const ETH_P_IP: u16 = 0x0800_u16.to_be();

/// A way to read kernel memory.
pub(crate) trait KernelRead {
    /// Whether the program has typed pointers: it runs on a trampoline or a tracepoint, and not by a kprobe.
    const TYPED: bool;

    /// Reads the `T` that lies `offset` bytes behind `base`; `None` when it cannot be read.
    fn read<T: Copy>(base: KernelPointer, offset: u32) -> Option<T>;
}

/// Plain loads, for pointers whose type the verifier knows (arguments of fentry, fexit and
/// tp_btf programs, and pointers loaded from there). A fault reads as zero. No helper call.
pub(crate) struct Direct;

impl KernelRead for Direct {
    const TYPED: bool = true;

    #[inline(always)]
    fn read<T: Copy>(base: KernelPointer, offset: u32) -> Option<T> {
        // SAFETY: the verifier accepts this load only if `base` is a typed kernel pointer and
        // a field of `T`'s size lies at `offset`. Volatile, so that loads are neither merged
        // nor widened: the verifier checks each against the field that it names.
        Some(unsafe { base.byte_add(offset as usize).cast::<T>().read_volatile() })
    }
}

/// `bpf_probe_read_kernel()`, for pointers that are plain numbers to the verifier. `None` where the
/// kernel does not allow it: the verifier has removed the call then.
pub(crate) struct Probed;

impl KernelRead for Probed {
    const TYPED: bool = false;

    #[inline(always)]
    fn read<T: Copy>(base: KernelPointer, offset: u32) -> Option<T> {
        if global!(SETTINGS.may_probe) == 0 {
            return None;
        }
        let address = base.wrapping_byte_add(offset as usize).cast::<T>();
        // SAFETY: the helper checks the address and copies; every bit pattern is a valid `T` here.
        unsafe { bpf_probe_read_kernel(address) }.ok()
    }
}

/// The port that a socket listens on, or was made for.
#[inline(always)]
pub(crate) fn port_key<R: KernelRead>(sock: KernelPointer) -> Option<PortKey> {
    let family = R::read::<u16>(sock, global!(KERNEL_OFFSETS.sock_family))?;
    let net = namespace::<R>(sock)?;
    let mut key = PortKey {
        address: [0; 16],
        netns: R::read::<u32>(net, global!(KERNEL_OFFSETS.net_inum))?,
        port: R::read::<u16>(sock, global!(KERNEL_OFFSETS.sock_num))?,
        family,
    };
    if family == AF_INET6 {
        let offset = global!(KERNEL_OFFSETS.sock_v6_rcv_saddr);
        let high = R::read::<u64>(sock, offset)?;
        let low = R::read::<u64>(sock, offset + 8)?;
        let halves: [[u8; 8]; 2] = [high.to_ne_bytes(), low.to_ne_bytes()];
        // SAFETY: two arrays of eight bytes have the size and alignment of one of sixteen.
        key.address = unsafe { core::mem::transmute::<[[u8; 8]; 2], [u8; 16]>(halves) };
    } else if family == AF_INET {
        let address = R::read::<u32>(sock, global!(KERNEL_OFFSETS.sock_rcv_saddr))?.to_ne_bytes();
        let mut padded = [0; 16];
        (padded[0], padded[1], padded[2], padded[3]) = (address[0], address[1], address[2], address[3]);
        key.address = padded;
    } else {
        return None;
    }
    Some(key)
}

/// The port of a listener that is about to be closed, too. `tcp_set_state()` has already taken a port
/// back (`inet_put_port()`, `skc_num` is 0) that the kernel had chosen itself; `inet_sport` stays.
#[inline(always)]
pub(crate) fn listening_port<R: KernelRead>(sock: KernelPointer) -> Option<PortKey> {
    let mut key = port_key::<R>(sock)?;
    if key.port == 0 {
        key.port = u16::from_be(Probed::read::<u16>(sock, global!(KERNEL_OFFSETS.inet_sport))?);
    }
    Some(key)
}

/// The inode number of a socket, as in `/proc/PID/fd`; 0 when it has none or it cannot be read.
#[inline(always)]
pub(crate) fn inode_number<R: KernelRead>(sock: KernelPointer) -> u64 {
    match R::read::<KernelPointer>(sock, global!(KERNEL_OFFSETS.sock_socket)) {
        // The struct socket_alloc around it is no type that the verifier follows a pointer to.
        Some(socket) if !socket.is_null() => {
            Probed::read::<u64>(socket, global!(KERNEL_OFFSETS.socket_inode_number)).unwrap_or(0)
        }
        _ => 0,
    }
}

/// Whether an IPv6 function only passes the packet on to its IPv4 twin: a dual-stack listener's
/// IPv4 connection, which is counted there.
#[inline(always)]
pub(crate) fn is_passed_on<R: KernelRead>(skb: KernelPointer) -> bool {
    R::read::<u16>(skb, global!(KERNEL_OFFSETS.skb_protocol)) == Some(ETH_P_IP)
}

/// Whether a function returned something. Through memory: the compiler must not fold the pointer into
/// arithmetic with other conditions, which the verifier refuses.
#[inline(always)]
pub(crate) fn is_something(result: u64) -> bool {
    core::hint::black_box(result != 0)
}

/// The state of a socket, a `TCP_*` of `net/tcp_states.h`.
#[inline(always)]
pub(crate) fn state<R: KernelRead>(sock: KernelPointer) -> Option<u8> {
    R::read::<u8>(sock, global!(KERNEL_OFFSETS.sock_state))
}

/// Whether a socket's protocol is TCP. An MPTCP listener's queues belong to its first subflow,
/// which is a TCP socket; its own socket is not counted.
#[inline(always)]
pub(crate) fn is_tcp<R: KernelRead>(sock: KernelPointer) -> bool {
    has_protocol::<R>(sock, IPPROTO_TCP)
}

/// Whether a socket's protocol is MPTCP.
#[inline(always)]
pub(crate) fn is_mptcp<R: KernelRead>(sock: KernelPointer) -> bool {
    has_protocol::<R>(sock, IPPROTO_MPTCP)
}

#[inline(always)]
fn has_protocol<R: KernelRead>(sock: KernelPointer, protocol: u16) -> bool {
    R::read::<u16>(sock, global!(KERNEL_OFFSETS.sock_protocol)) == Some(protocol)
}

/// Whether the SYN queue is full, which it is at its limit or one above it: the comparison of
/// `inet_csk_reqsk_queue_is_full()` changed in 2025, in stable trees as well.
#[inline(always)]
pub(crate) fn syn_queue_is_full<R: KernelRead>(listener: KernelPointer) -> bool {
    let length = syn_queue_length::<R>(listener);
    let limit = R::read::<u32>(listener, global!(KERNEL_OFFSETS.sock_max_ack_backlog));
    match (length, limit) {
        (Some(length), Some(limit)) => length >= limit,
        _ => false,
    }
}

/// The network namespace of a socket, a `struct net`.
#[inline(always)]
pub(crate) fn namespace<R: KernelRead>(sock: KernelPointer) -> Option<KernelPointer> {
    R::read::<KernelPointer>(sock, global!(KERNEL_OFFSETS.sock_net))
}

/// The per-CPU pointer to the counters (`struct linux_mib`) of a network namespace.
#[inline(always)]
pub(crate) fn statistics<R: KernelRead>(net: KernelPointer) -> Option<KernelPointer> {
    R::read::<KernelPointer>(net, global!(KERNEL_OFFSETS.net_statistics))
}

/// A random number that tells a network namespace from another in the same memory (`net_hash_mix()`).
#[inline(always)]
pub(crate) fn hash_mix<R: KernelRead>(net: KernelPointer) -> Option<u32> {
    R::read::<u32>(net, global!(KERNEL_OFFSETS.net_hash_mix))
}

/// `sk_drops` of a listener: what it has lost so far, and what was discarded on its behalf.
#[inline(always)]
pub(crate) fn socket_drops<R: KernelRead>(listener: KernelPointer) -> Option<u32> {
    R::read::<u32>(listener, global!(KERNEL_OFFSETS.sock_drops))
}

/// `net.ipv4.tcp_syncookies` where the listener lives.
#[inline(always)]
pub(crate) fn syncookies<R: KernelRead>(listener: KernelPointer) -> Option<u8> {
    namespace::<R>(listener).and_then(|net| R::read::<u8>(net, global!(KERNEL_OFFSETS.net_syncookies)))
}

/// Whether `net.ipv4.tcp_fastopen` lets listeners make connections of SYNs (`TFO_SERVER_ENABLE`).
#[inline(always)]
pub(crate) fn serves_fast_opens<R: KernelRead>(listener: KernelPointer) -> bool {
    const SERVER: u8 = 2;
    namespace::<R>(listener)
        .and_then(|net| R::read::<u8>(net, global!(KERNEL_OFFSETS.net_fastopen)))
        .is_none_or(|flags| flags & SERVER != 0)
}

/// Whether `net.ipv4.tcp_abort_on_overflow` is set where the listener lives.
#[inline(always)]
pub(crate) fn aborts_on_overflow<R: KernelRead>(listener: KernelPointer) -> bool {
    namespace::<R>(listener)
        .and_then(|net| R::read::<u8>(net, global!(KERNEL_OFFSETS.net_abort_on_overflow)))
        .is_some_and(|value| value != 0)
}

/// How many connections are in a listener's accept queue, and its limit.
#[inline(always)]
pub(crate) fn accept_queue<R: KernelRead>(listener: KernelPointer) -> Option<(u32, u32)> {
    let length = R::read::<u32>(listener, global!(KERNEL_OFFSETS.sock_ack_backlog))?;
    let limit = R::read::<u32>(listener, global!(KERNEL_OFFSETS.sock_max_ack_backlog))?;
    Some((length, limit))
}

/// How many requests are in a listener's SYN queue. The number lies behind the `struct sock`, where the verifier
/// follows no pointer to one.
#[inline(always)]
pub(crate) fn syn_queue_length<R: KernelRead>(listener: KernelPointer) -> Option<u32> {
    let id = global!(KERNEL_OFFSETS.type_inet_connection_sock);
    behind_sock::<R, u32>(id, listener, global!(KERNEL_OFFSETS.accept_queue_syn_length))
}

/// Reads what lies behind the `struct sock` of a TCP socket, in a structure of this BTF `id` that begins with it.
#[inline(always)]
fn behind_sock<R: KernelRead, T: Copy>(id: u32, sock: KernelPointer, offset: u32) -> Option<T> {
    if R::TYPED && id == 0 {
        // SAFETY: the verifier accepts the call only with a typed pointer; the helper checks what it points to.
        let typed = unsafe { bpf_skc_to_tcp_sock(sock.cast_mut()) };
        return if typed.is_null() { None } else { Direct::read::<T>(typed.cast_const().cast(), offset) };
    }
    cast::read(id, sock, offset)
}

/// When a connection was established, by `bpf_ktime_get_ns()`; 0 for not yet. `tcp_init_buffer_space()` notes it, in
/// microseconds, and nothing changes it before somebody reads from the connection.
#[inline(always)]
pub(crate) fn established_at<R: KernelRead>(child: KernelPointer) -> Option<u64> {
    let (id, offset) = (global!(KERNEL_OFFSETS.type_tcp_sock), global!(KERNEL_OFFSETS.tcp_established_at));
    behind_sock::<R, u64>(id, child, offset).map(|microseconds| microseconds.wrapping_mul(1_000))
}

/// `sk_acceptq_is_full()` of `net/sock.h`: the same comparison in every version since 5.4.
#[inline(always)]
pub(crate) fn accept_queue_is_full<R: KernelRead>(listener: KernelPointer) -> bool {
    accept_queue::<R>(listener).is_some_and(|(length, limit)| length > limit)
}
