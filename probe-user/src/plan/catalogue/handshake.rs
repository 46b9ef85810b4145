//! SYNs and what becomes of their requests.
use super::{
    NOTHING, SOCK, SOCK_SKB, fentry, fexit, fexit_plain, if_present, kprobe, kretprobe, name, program,
};
use crate::plan::{
    hook::{Hook, Need, Program, ProgramKind, Variant, Wanted, Way},
    offsets::OffsetGroup::{OtherCpus, Packet, Request, Socket},
};

/// The packet is the fourth argument's, its listener the third's.
const THIRD_AND_FOURTH: super::Pointers = &[(2, "sock"), (3, "sk_buff")];

/// The functions that a listener's protocol has for a SYN, else the one that all of them call. Trampolines see it at its end.
pub(super) const SYN_RECEIVED: Hook = Hook {
    name: name::SYN_RECEIVED,
    measures: "SYNs that reach a listener, and those that it refuses",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[fexit_plain!("tcp_v4_conn_request", SOCK_SKB)],
                &[fexit_plain!("tcp_v6_conn_request", SOCK_SKB)],
                &[if_present(fexit_plain!("subflow_v4_conn_request", SOCK_SKB))],
                &[if_present(fexit_plain!("subflow_v6_conn_request", SOCK_SKB))],
            ],
            needs: &[Socket, Packet],
        },
        Way {
            variant: Variant::Trampoline,
            places: &[&[fexit_plain!("tcp_conn_request", THIRD_AND_FOURTH)]],
            needs: &[Socket, Packet],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[kprobe!("tcp_v4_conn_request", SOCK_SKB)],
                &[kretprobe!("tcp_v4_conn_request")],
                &[kprobe!("tcp_v6_conn_request", SOCK_SKB)],
                &[kretprobe!("tcp_v6_conn_request")],
                &[if_present(kprobe!("subflow_v4_conn_request", SOCK_SKB))],
                &[if_present(kretprobe!("subflow_v4_conn_request"))],
                &[if_present(kprobe!("subflow_v6_conn_request", SOCK_SKB))],
                &[if_present(kretprobe!("subflow_v6_conn_request"))],
            ],
            needs: &[Socket, Packet],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[&[kprobe!("tcp_conn_request", THIRD_AND_FOURTH)], &[kretprobe!("tcp_conn_request")]],
            needs: &[Socket, Packet],
        },
    ],
};

const HASH_ADD: &str = "inet_csk_reqsk_queue_hash_add";

/// A SYN that was neither dropped nor answered by a cookie is in the SYN queue: where that is known at its end, no function is
/// asked.
pub(super) const SYN_QUEUED: Hook = Hook {
    name: name::SYN_QUEUED,
    measures: "SYNs put in the SYN queue",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way { variant: Variant::Derived, places: &[], needs: &[OtherCpus] },
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[Program {
                    need: Need::UnlessExitSuffices,
                    ..fentry!("inet_csk_reqsk_queue_hash_add", SOCK)
                }],
                &[
                    fexit("fexit_inet_csk_reqsk_queue_hash_add_3", HASH_ADD, &[3], SOCK),
                    fexit("fexit_inet_csk_reqsk_queue_hash_add_2", HASH_ADD, &[2], SOCK),
                ],
            ],
            needs: &[Socket],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[kprobe!("inet_csk_reqsk_queue_hash_add", SOCK)],
                &[Program { returns: Some(true), ..kretprobe!("inet_csk_reqsk_queue_hash_add") }],
            ],
            needs: &[Socket],
        },
    ],
};

pub(super) const SYN_BACKLOG_RESERVE: Hook = Hook {
    name: name::SYN_BACKLOG_RESERVE,
    measures: "SYNs refused to keep the rest of tcp_max_syn_backlog for known clients",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[&[fexit("fexit_tcp_peer_is_proven", "tcp_peer_is_proven", &[2], NOTHING)]],
            needs: &[],
        },
        Way { variant: Variant::Kprobe, places: &[&[kretprobe!("tcp_peer_is_proven")]], needs: &[] },
    ],
};

pub(super) const SYNCOOKIE_SENT: Hook = Hook {
    name: name::SYNCOOKIE_SENT,
    measures: "SYNs answered with a cookie, so that they are not taken for lost or queued ones",
    wanted: Wanted::ForCookies,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[fentry!("cookie_v4_init_sequence", NOTHING)],
                &[fentry!("cookie_v6_init_sequence", NOTHING)],
            ],
            needs: &[],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[kprobe!("cookie_v4_init_sequence", NOTHING)],
                &[kprobe!("cookie_v6_init_sequence", NOTHING)],
            ],
            needs: &[],
        },
    ],
};

pub(super) const SYNACK_RETRANSMITS: Hook = Hook {
    name: name::SYNACK_RETRANSMITS,
    measures: "SYN-ACKs sent again",
    wanted: Wanted::Always,
    ways: &[Way {
        variant: Variant::Tracepoint,
        places: &[&[program(
            "tp_btf_tcp_retransmit_synack",
            ProgramKind::Tracepoint,
            "tcp_retransmit_synack",
            &[(0, "sock"), (1, "request_sock")],
        )]],
        needs: &[Socket, Request],
    }],
};

pub(super) const REQUEST_EXPIRED: Hook = Hook {
    name: name::REQUEST_EXPIRED,
    measures: "requests given up after their last SYN-ACK",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[fentry!("reqsk_timer_handler", &[(0, "timer_list")])],
                &[fexit_plain!("reqsk_timer_handler", &[(0, "timer_list")])],
            ],
            needs: &[Socket, Request],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[kprobe!("reqsk_timer_handler", &[(0, "timer_list")])],
                &[kretprobe!("reqsk_timer_handler")],
            ],
            needs: &[Socket, Request],
        },
    ],
};
