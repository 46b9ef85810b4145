//! Listeners, from their opening to what their end costs.
use super::{SOCK, fentry, kprobe, name, program};
use crate::plan::{
    hook::{Hook, ProgramKind::Tracepoint, Variant, Wanted, Way},
    offsets::OffsetGroup::{Packet, Socket},
};

/// A socket's change of state, for those that begin or end to listen.
const STATE_CHANGES: Way = Way {
    variant: Variant::Tracepoint,
    places: &[&[program("tp_btf_inet_sock_set_state_listener", Tracepoint, "inet_sock_set_state", SOCK)]],
    needs: &[Socket],
};

pub(super) const LISTENER: Hook = Hook {
    name: name::LISTENER,
    measures: "listeners opened and closed, so that each has counts of its own",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[&[fentry!("inet_csk_listen_start", SOCK)], &[fentry!("inet_csk_listen_stop", SOCK)]],
            needs: &[Socket],
        },
        // Not by kprobes: these run where a softirq may interrupt them, and the kernel leaves out every
        // kprobe that it meets then (kprobe_running()), those of the packets that came in among them.
        STATE_CHANGES,
    ],
};

pub(super) const CLOSED_UNACCEPTED: Hook = Hook {
    name: name::CLOSED_UNACCEPTED,
    measures: "connections reset because their listener was closed before it accepted them",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[&[fentry!("inet_child_forget", SOCK)]],
            needs: &[Socket],
        },
        Way { variant: Variant::Kprobe, places: &[&[kprobe!("inet_child_forget", SOCK)]], needs: &[Socket] },
    ],
};

pub(super) const LISTENER_DROPS: Hook = Hook {
    name: name::LISTENER_DROPS,
    measures: "listeners opened and closed, with the drops that they take along",
    wanted: Wanted::BySocketDrops,
    ways: &[STATE_CHANGES],
};

pub(super) const PACKET_FREED: Hook = Hook {
    name: name::PACKET_FREED,
    measures: "packets freed on behalf of a listener, and last ACKs refused",
    wanted: Wanted::BySocketDrops,
    ways: &[Way {
        variant: Variant::Tracepoint,
        places: &[&[program("tp_btf_kfree_skb", Tracepoint, "kfree_skb", &[(0, "sk_buff"), (3, "sock")])]],
        needs: &[Socket, Packet],
    }],
};
