//! The `KERNEL_OFFSETS` global: where the running kernel keeps the fields that are read.
//!
//! Filled in by the user side from the kernel's BTF; a field that no attached
//! program reads may be 0.

/// Byte offsets within kernel structures and numbers of kernel enumerators.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelOffsets {
    /// `struct sock`: `__sk_common.skc_family`, u16.
    pub sock_family: u32,
    /// `struct sock`: `__sk_common.skc_state`, u8.
    pub sock_state: u32,
    /// `struct sock`: `__sk_common.skc_num`, u16 in host order.
    pub sock_num: u32,
    /// `struct sock`: `__sk_common.skc_rcv_saddr`, be32.
    pub sock_rcv_saddr: u32,
    /// `struct sock`: `__sk_common.skc_v6_rcv_saddr`, 16 bytes; 0 without IPv6.
    pub sock_v6_rcv_saddr: u32,
    /// `struct sock`: `__sk_common.skc_net.net`, a pointer to `struct net`.
    pub sock_net: u32,
    /// `struct sock`: `sk_protocol`, u16 (since 5.6).
    pub sock_protocol: u32,
    /// `struct sock`: `sk_ack_backlog`, u32 (since 5.4).
    pub sock_ack_backlog: u32,
    /// `struct sock`: `sk_max_ack_backlog`, u32 (since 5.4).
    pub sock_max_ack_backlog: u32,
    /// `struct sock`: `sk_drops`, `atomic_t`.
    pub sock_drops: u32,
    /// `struct inet_sock`, which begins with the `struct sock`: `inet_sport`, be16.
    pub inet_sport: u32,
    /// `struct net`: `ns.inum`, u32.
    pub net_inum: u32,
    /// `struct net`: `mib.net_statistics`, a per-CPU pointer to `struct linux_mib`.
    pub net_statistics: u32,
    /// `struct linux_mib`: `mibs[LINUX_MIB_LISTENOVERFLOWS]`, u64; `LINUX_MIB_LISTENDROPS` is its neighbour.
    pub mib_listen_overflows: u32,
    /// `struct request_sock`: `__req_common.skc_listener`, a pointer to the listener.
    pub request_listener: u32,
    /// `struct sk_buff`: `protocol`, be16.
    pub skb_protocol: u32,
    /// `struct sk_buff`: `head`, a pointer.
    pub skb_head: u32,
    /// `struct sk_buff`: `end`, u32: the offset of `struct skb_shared_info` from `head`.
    pub skb_end: u32,
    /// `struct skb_shared_info`: `gso_segs`, u16.
    pub shared_info_gso_segs: u32,
    /// `struct bpf_array`: `pptrs`, an array of per-CPU pointers.
    pub bpf_array_pptrs: u32,
    /// The number of `SKB_DROP_REASON_TCP_LISTEN_OVERFLOW`; 0 where the kernel has none (before 6.15).
    pub reason_tcp_listen_overflow: u32,
}

impl KernelOffsets {
    /// What the object holds before the user side fills it in.
    pub const UNSET: Self = Self {
        sock_family: 0,
        sock_state: 0,
        sock_num: 0,
        sock_rcv_saddr: 0,
        sock_v6_rcv_saddr: 0,
        sock_net: 0,
        sock_protocol: 0,
        sock_ack_backlog: 0,
        sock_max_ack_backlog: 0,
        sock_drops: 0,
        inet_sport: 0,
        net_inum: 0,
        net_statistics: 0,
        mib_listen_overflows: 0,
        request_listener: 0,
        skb_protocol: 0,
        skb_head: 0,
        skb_end: 0,
        shared_info_gso_segs: 0,
        bpf_array_pptrs: 0,
        reason_tcp_listen_overflow: 0,
    };
}

#[cfg(feature = "user")]
// SAFETY: repr(C), integers only, no padding (abi_checks).
unsafe impl aya::Pod for KernelOffsets {}
