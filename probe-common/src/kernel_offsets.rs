//! The `KERNEL_OFFSETS` global: where the running kernel keeps the fields that are read.
//!
//! Filled in by the user side from the kernel's BTF; a field that no attached
//! program reads may be 0.

/// Declares [`KernelOffsets`], so that no list of its fields can forget one.
macro_rules! kernel_offsets {
    ($($(#[$documentation:meta])* $field:ident,)+) => {
        /// Byte offsets within kernel structures and numbers of kernel enumerators.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct KernelOffsets {
            $($(#[$documentation])* pub $field: u32,)+
        }

        impl KernelOffsets {
            /// How many fields there are.
            pub const FIELDS: usize = [$(stringify!($field)),+].len();

            /// What the object holds before the user side fills it in.
            pub const UNSET: Self = Self { $($field: 0,)+ };
        }
    };
}

kernel_offsets! {
    /// `struct sock`: `__sk_common.skc_family`, u16.
    sock_family,
    /// `struct sock`: `__sk_common.skc_state`, u8.
    sock_state,
    /// `struct sock`: `__sk_common.skc_hash`, u32: `inet_ehashfn()` of a connection.
    sock_hash,
    /// `struct sock`: `__sk_common.skc_num`, u16 in host order.
    sock_num,
    /// `struct sock`: `__sk_common.skc_rcv_saddr`, be32.
    sock_rcv_saddr,
    /// `struct sock`: `__sk_common.skc_v6_rcv_saddr`, 16 bytes; 0 without IPv6.
    sock_v6_rcv_saddr,
    /// `struct sock`: `__sk_common.skc_net.net`, a pointer to `struct net`.
    sock_net,
    /// `struct sock`: `sk_protocol`, u16 (since 5.6).
    sock_protocol,
    /// `struct sock`: `sk_ack_backlog`, u32 (since 5.4).
    sock_ack_backlog,
    /// `struct sock`: `sk_max_ack_backlog`, u32 (since 5.4).
    sock_max_ack_backlog,
    /// `struct sock`: `sk_drops`, `atomic_t`.
    sock_drops,
    /// `struct inet_sock`, which begins with the `struct sock`: `inet_sport`, be16.
    inet_sport,
    /// `struct sock`: `sk_socket`, a pointer to `struct socket`.
    sock_socket,
    /// From a `struct socket` to the inode number of the `struct socket_alloc` that it begins:
    /// `vfs_inode.i_ino`, unsigned long.
    socket_inode_number,
    /// `struct inet_connection_sock`, which begins with the `struct sock`: `icsk_accept_queue.qlen`, the
    /// length of the SYN queue, `atomic_t`.
    accept_queue_syn_length,
    /// `struct socket`: `sk`, a pointer to `struct sock`.
    socket_sock,
    /// `struct mptcp_sock`, which begins with the `struct sock`: `first`, a pointer to the `struct sock` of the
    /// first subflow; 0 without MPTCP.
    mptcp_first_subflow,
    /// `struct tcp_sock`, which begins with the `struct sock`: `rcvq_space.time`, u64: microseconds, by CLOCK_MONOTONIC.
    tcp_established_at,
    /// `struct net`: `ns.inum`, u32.
    net_inum,
    /// `struct net`: `hash_mix`, u32: a random number of its own (since 5.1, 355b98553789).
    net_hash_mix,
    /// `struct net`: `mib.net_statistics`, a per-CPU pointer to `struct linux_mib`.
    net_statistics,
    /// `struct net`: `ipv4.sysctl_tcp_syncookies`; its lowest byte holds it in every version.
    net_syncookies,
    /// `struct net`: `ipv4.sysctl_tcp_fastopen`; its lowest byte has the flag in every version.
    net_fastopen,
    /// `struct net`: `ipv4.sysctl_tcp_abort_on_overflow`; its lowest byte holds it in every version.
    net_abort_on_overflow,
    /// `struct linux_mib`: `mibs[LINUX_MIB_LISTENOVERFLOWS]`, u64; `LINUX_MIB_LISTENDROPS` is its neighbour.
    mib_listen_overflows,
    /// `struct linux_mib`: `mibs[LINUX_MIB_SYNCOOKIESSENT]`, u64; followed by
    /// `LINUX_MIB_SYNCOOKIESRECV` and `LINUX_MIB_SYNCOOKIESFAILED`.
    mib_syncookies_sent,
    /// `struct linux_mib`: `mibs[LINUX_MIB_TCPREQQFULLDOCOOKIES]`, u64; `LINUX_MIB_TCPREQQFULLDROP` is its neighbour.
    mib_syn_queue_full,
    /// `struct request_sock`: `__req_common.skc_listener`, a pointer to the listener.
    request_listener,
    /// `struct request_sock`: `rsk_timer`, a `struct timer_list`.
    request_timer,
    /// `struct tcp_request_sock`, which begins with the `struct request_sock`: `rcv_isn`, u32: the sequence
    /// number of the client's SYN.
    request_client_isn,
    /// `struct timer_list`: `entry.pprev`, a pointer, null while the timer is not pending.
    timer_is_pending,
    /// `struct sk_buff`: `protocol`, be16.
    skb_protocol,
    /// `struct sk_buff`: `network_header`, u16: an offset from `head`.
    skb_network_header,
    /// `struct sk_buff`: `transport_header`, u16: an offset from `head`.
    skb_transport_header,
    /// `struct sk_buff`: `head`, a pointer.
    skb_head,
    /// `struct sk_buff`: `end`, u32: the offset of `struct skb_shared_info` from `head`.
    skb_end,
    /// `struct skb_shared_info`: `gso_segs`, u16.
    shared_info_gso_segs,
    /// `struct bpf_array`: `pptrs`, an array of per-CPU pointers.
    bpf_array_pptrs,
    /// The number of `SKB_DROP_REASON_TCP_LISTEN_OVERFLOW`; 0 where the kernel has none (before 6.15).
    reason_tcp_listen_overflow,
    /// The BTF id of the function `bpf_rdonly_cast()`; 0 where the kernel has none (before 6.2), and then no type is set.
    function_rdonly_cast,
    /// The BTF id of `struct linux_mib`, which is a row of u64; of this type and those below 0 where nothing can be cast to it.
    type_linux_mib,
    /// The BTF id of `struct inet_connection_sock`.
    type_inet_connection_sock,
    /// The BTF id of `struct tcp_sock`.
    type_tcp_sock,
    /// The BTF id of `struct tcp_request_sock`.
    type_tcp_request_sock,
    /// The BTF id of `struct skb_shared_info`.
    type_skb_shared_info,
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for KernelOffsets {}
