//! From the kernel's types to the offsets that the programs need.
//!
//! No kernel version is looked at: a field is where BTF says, or what needs it is left out.
use probe_common::kernel_offsets::KernelOffsets;

use super::kernel_types::{KernelTypes, TypeError};

/// Offsets that belong together: what needs one of a group needs all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetGroup {
    /// A listener's port, state and accept queue.
    Socket,
    /// The kernel's own counters of this CPU.
    Counters,
    /// A request: its listener, its timer, its client.
    Request,
    /// A packet's protocol, headers and number of segments.
    Packet,
    /// What CPUs know can be told to all of them at once (`bpf_map_lookup_percpu_elem()`, 07343110b293, 5.19).
    OtherCpus,
    /// A connection that is established: since when.
    Connection,
    /// The kernel takes care of threads that sleep in a function whose exit is watched, when the program goes
    /// (e21aa341785c, 5.12 and stable trees): else they would return to code that is no more.
    SleepingExit,
}

impl OffsetGroup {
    /// Whether what it stands for is read by `bpf_probe_read_kernel()`.
    #[must_use]
    pub const fn needs_probing(self) -> bool {
        matches!(self, Self::Counters | Self::Request | Self::Packet | Self::OtherCpus | Self::Connection)
    }
}

/// The offsets of one kernel, and the groups that it lacks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolvedOffsets {
    /// What the programs get; fields of missing groups are 0.
    pub offsets: KernelOffsets,
    /// Missing groups, with the reason.
    pub missing: Vec<(OffsetGroup, TypeError)>,
}

impl ResolvedOffsets {
    /// Looks every field up.
    #[must_use]
    pub fn resolve(types: &KernelTypes) -> Self {
        let mut resolved = Self::default();
        let fill: [(OffsetGroup, FillGroup); 7] = [
            (OffsetGroup::Socket, fill_socket),
            (OffsetGroup::Counters, fill_counters),
            (OffsetGroup::Request, fill_request),
            (OffsetGroup::Packet, fill_packet),
            (OffsetGroup::OtherCpus, find_lookup_for_other_cpus),
            (OffsetGroup::Connection, fill_connection),
            (OffsetGroup::SleepingExit, find_trampoline_image),
        ];
        for (group, fill) in fill {
            let mut offsets = resolved.offsets;
            match fill(types, &mut offsets) {
                Ok(()) => resolved.offsets = offsets,
                Err(error) => resolved.missing.push((group, error)),
            }
        }
        fill_types_to_cast_to(types, &mut resolved.offsets);
        resolved
    }

    /// Why a group is missing; `None` when it is there.
    #[must_use]
    pub fn why_missing(&self, group: OffsetGroup) -> Option<&TypeError> {
        self.missing.iter().find(|(missing, _)| *missing == group).map(|(_, error)| error)
    }
}

/// What `bpf_rdonly_cast()` needs: nothing where the kernel has no such function, or a type is not the only one of
/// its name.
fn fill_types_to_cast_to(types: &KernelTypes, to: &mut KernelOffsets) {
    let Some(function) = types.function_id("bpf_rdonly_cast") else { return };
    let id = |structure| types.structure_id(structure).unwrap_or(0);
    to.function_rdonly_cast = function;
    to.type_linux_mib = id("linux_mib");
    to.type_inet_connection_sock = id("inet_connection_sock");
    to.type_tcp_sock = id("tcp_sock");
    to.type_tcp_request_sock = id("tcp_request_sock");
    to.type_skb_shared_info = id("skb_shared_info");
}

/// Offsets for programs that cast nothing.
#[must_use]
pub const fn without_casts(offsets: KernelOffsets) -> KernelOffsets {
    KernelOffsets {
        function_rdonly_cast: 0,
        type_linux_mib: 0,
        type_inet_connection_sock: 0,
        type_tcp_sock: 0,
        type_tcp_request_sock: 0,
        type_skb_shared_info: 0,
        ..offsets
    }
}

type FillGroup = fn(&KernelTypes, &mut KernelOffsets) -> Result<(), TypeError>;

fn fill_socket(types: &KernelTypes, to: &mut KernelOffsets) -> Result<(), TypeError> {
    let common = |field| types.offset("sock", &["__sk_common", field]);
    to.sock_family = common("skc_family")?;
    to.sock_state = common("skc_state")?;
    to.sock_hash = common("skc_hash")?;
    to.sock_num = common("skc_num")?;
    to.sock_rcv_saddr = common("skc_rcv_saddr")?;
    // A kernel without CONFIG_IPV6 has no such field, and no socket that needs it.
    to.sock_v6_rcv_saddr = common("skc_v6_rcv_saddr").unwrap_or(0);
    to.sock_net = types.offset("sock", &["__sk_common", "skc_net", "net"])?;
    to.sock_protocol = types.offset("sock", &["sk_protocol"])?;
    to.sock_ack_backlog = types.offset("sock", &["sk_ack_backlog"])?;
    to.sock_max_ack_backlog = types.offset("sock", &["sk_max_ack_backlog"])?;
    to.sock_drops = types.offset("sock", &["sk_drops"])?;
    to.inet_sport = types.offset("inet_sock", &["inet_sport"])?;
    to.sock_socket = types.offset("sock", &["sk_socket"])?;
    to.socket_inode_number = types.offset("socket_alloc", &["vfs_inode", "i_ino"])?;
    to.accept_queue_syn_length =
        types.offset("inet_connection_sock", &["icsk_accept_queue", "qlen", "counter"])?;
    to.net_fastopen = types.offset("net", &["ipv4", "sysctl_tcp_fastopen"])?;
    to.net_syncookies = types.offset("net", &["ipv4", "sysctl_tcp_syncookies"])?;
    to.socket_sock = types.offset("socket", &["sk"])?;
    // Without CONFIG_MPTCP, or before it had the field, nothing is found by it.
    to.mptcp_first_subflow = types.offset("mptcp_sock", &["first"]).unwrap_or(0);
    to.net_inum = types.offset("net", &["ns", "inum"])?;
    Ok(())
}

/// The structure that came with the care for sleeping threads.
fn find_trampoline_image(types: &KernelTypes, _: &mut KernelOffsets) -> Result<(), TypeError> {
    types.offset("bpf_tramp_image", &["image"]).map(drop)
}

/// The helper's number: nothing is read by it.
fn find_lookup_for_other_cpus(types: &KernelTypes, _: &mut KernelOffsets) -> Result<(), TypeError> {
    types.enumerator("bpf_func_id", "BPF_FUNC_map_lookup_percpu_elem").map(drop)
}

fn fill_connection(types: &KernelTypes, to: &mut KernelOffsets) -> Result<(), TypeError> {
    to.tcp_established_at = types.offset("tcp_sock", &["rcvq_space", "time"])?;
    Ok(())
}

fn fill_counters(types: &KernelTypes, to: &mut KernelOffsets) -> Result<(), TypeError> {
    to.net_hash_mix = types.offset("net", &["hash_mix"])?;
    to.net_statistics = types.offset("net", &["mib", "net_statistics"])?;
    to.bpf_array_pptrs = types.offset("bpf_array", &["pptrs"])?;
    to.net_abort_on_overflow = types.offset("net", &["ipv4", "sysctl_tcp_abort_on_overflow"])?;
    to.mib_listen_overflows = counters(types, &["LINUX_MIB_LISTENOVERFLOWS", "LINUX_MIB_LISTENDROPS"])?;
    let cookies = ["LINUX_MIB_SYNCOOKIESSENT", "LINUX_MIB_SYNCOOKIESRECV", "LINUX_MIB_SYNCOOKIESFAILED"];
    to.mib_syncookies_sent = counters(types, &cookies)?;
    to.mib_syn_queue_full =
        counters(types, &["LINUX_MIB_TCPREQQFULLDOCOOKIES", "LINUX_MIB_TCPREQQFULLDROP"])?;
    Ok(())
}

/// Where a row of counters begins in `struct linux_mib`. They are read at once: neighbours since they
/// were introduced.
fn counters(types: &KernelTypes, names: &[&'static str]) -> Result<u32, TypeError> {
    let numbers = names.iter().map(|name| types.enumerator("", name)).collect::<Result<Vec<_>, _>>()?;
    let first = numbers.first().copied().unwrap_or_default();
    let stray = (first..).zip(numbers).zip(names).find(|((expected, number), _)| expected != number);
    if let Some((_, name)) = stray {
        return Err(TypeError::NoEnumerator(format!("{name} behind its neighbour")));
    }
    Ok(types.offset("linux_mib", &["mibs"])? + 8 * first)
}

fn fill_request(types: &KernelTypes, to: &mut KernelOffsets) -> Result<(), TypeError> {
    to.request_listener = types.offset("request_sock", &["__req_common", "skc_listener"])?;
    to.request_timer = types.offset("request_sock", &["rsk_timer"])?;
    to.request_client_isn = types.offset("tcp_request_sock", &["rcv_isn"])?;
    to.timer_is_pending = types.offset("timer_list", &["entry", "pprev"])?;
    Ok(())
}

fn fill_packet(types: &KernelTypes, to: &mut KernelOffsets) -> Result<(), TypeError> {
    to.skb_protocol = types.offset("sk_buff", &["protocol"])?;
    to.skb_network_header = types.offset("sk_buff", &["network_header"])?;
    to.skb_transport_header = types.offset("sk_buff", &["transport_header"])?;
    to.skb_head = types.offset("sk_buff", &["head"])?;
    to.skb_end = types.offset("sk_buff", &["end"])?;
    to.shared_info_gso_segs = types.offset("skb_shared_info", &["gso_segs"])?;
    // Absent before 6.15: 0 is SKB_NOT_DROPPED_YET, no reason of any packet.
    to.reason_tcp_listen_overflow =
        types.enumerator("skb_drop_reason", "SKB_DROP_REASON_TCP_LISTEN_OVERFLOW").unwrap_or(0);
    Ok(())
}
