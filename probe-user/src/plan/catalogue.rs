//! Every hook once: what it measures, in which ways it can be attached, and what each way needs.
use super::{
    hook::{Hook, Need, Program, ProgramKind, Variant, Wanted, Way},
    offsets::OffsetGroup,
};

/// Names of hooks that decisions depend on.
pub mod name {
    /// SYNs.
    pub const SYN_RECEIVED: &str = "syn_received";
    /// Requests in the SYN queue.
    pub const SYN_QUEUED: &str = "syn_queued";
    /// Children in the accept queue.
    pub const ESTABLISHED: &str = "established";
    /// Last ACKs.
    pub const LAST_ACK: &str = "last_ack";
    /// SYN-ACKs sent again.
    pub const SYNACK_RETRANSMITS: &str = "synack_retransmits";
    /// Refusals of packets for a queued request.
    pub const REQUEST_REFUSED: &str = "request_refused";
    /// Listeners that come and go.
    pub const LISTENER: &str = "listener";
    /// Packets freed on behalf of a listener.
    pub const PACKET_FREED: &str = "packet_freed";
}

const SOCK: &[(usize, &str)] = &[(0, "sock")];

/// A program that fits any number of arguments.
const fn program(
    name: &'static str,
    kind: ProgramKind,
    target: &'static str,
    pointers: &'static [(usize, &'static str)],
) -> Program {
    Program { name, kind, target, arguments: &[], returns: None, pointers, need: Need::Required }
}

/// An exit program, which finds the returned value behind the arguments: one for each number of them.
const fn fexit(
    name: &'static str,
    target: &'static str,
    arguments: &'static [usize],
    pointers: &'static [(usize, &'static str)],
) -> Program {
    let kind = Fexit;
    Program { name, kind, target, arguments, returns: Some(true), pointers, need: Need::Required }
}

use OffsetGroup::{Counters, Packet, Request, Socket};
use ProgramKind::{Fentry, Fexit, Kprobe, Kretprobe, Tracepoint};

/// Every hook, in the order in which they are attached: a bracket's entry before its exit, and
/// what accounting stands on first.
pub const CATALOGUE: &[Hook] = &[
    Hook {
        name: name::SYN_RECEIVED,
        measures: "SYNs that reach a listener, and those that it refuses",
        wanted: Wanted::ByFunctions,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[program("fentry_tcp_conn_request", Fentry, "tcp_conn_request", &[(2, "sock")])],
                    &[program("fexit_tcp_conn_request", Fexit, "tcp_conn_request", &[(2, "sock")])],
                ],
                needs: &[Socket],
            },
            Way {
                variant: Variant::Kprobe,
                places: &[
                    &[program("kprobe_tcp_conn_request", Kprobe, "tcp_conn_request", &[(2, "sock")])],
                    &[program("kretprobe_tcp_conn_request", Kretprobe, "tcp_conn_request", &[])],
                ],
                needs: &[Socket],
            },
        ],
    },
    Hook {
        name: name::REQUEST_REFUSED,
        measures: "last ACKs refused on behalf of a listener",
        wanted: Wanted::ByKernelCounters,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[program("fentry_tcp_check_req", Fentry, "tcp_check_req", SOCK)],
                    &[
                        fexit("fexit_tcp_check_req_5", "tcp_check_req", &[5], SOCK),
                        fexit("fexit_tcp_check_req_6", "tcp_check_req", &[6], SOCK),
                    ],
                ],
                needs: &[Socket, Counters],
            },
            Way {
                variant: Variant::Kprobe,
                places: &[
                    &[program("kprobe_tcp_check_req", Kprobe, "tcp_check_req", SOCK)],
                    &[program("kretprobe_tcp_check_req", Kretprobe, "tcp_check_req", &[])],
                ],
                needs: &[Socket, Counters],
            },
        ],
    },
    Hook {
        name: "cookie_refused",
        measures: "last ACKs with a SYN cookie refused",
        wanted: Wanted::ByKernelCounters,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[program("fentry_tcp_get_cookie_sock", Fentry, "tcp_get_cookie_sock", SOCK)],
                    &[
                        fexit("fexit_tcp_get_cookie_sock_5", "tcp_get_cookie_sock", &[5], SOCK),
                        fexit("fexit_tcp_get_cookie_sock_4", "tcp_get_cookie_sock", &[4], SOCK),
                    ],
                ],
                needs: &[Socket, Counters],
            },
            Way {
                variant: Variant::Kprobe,
                places: &[
                    &[program("kprobe_tcp_get_cookie_sock", Kprobe, "tcp_get_cookie_sock", SOCK)],
                    &[program("kretprobe_tcp_get_cookie_sock", Kretprobe, "tcp_get_cookie_sock", &[])],
                ],
                needs: &[Socket, Counters],
            },
        ],
    },
    Hook {
        name: "request_error",
        measures: "requests ended by an ICMP error",
        wanted: Wanted::ByKernelCounters,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[program("fentry_tcp_req_err", Fentry, "tcp_req_err", SOCK)],
                    &[program("fexit_tcp_req_err", Fexit, "tcp_req_err", SOCK)],
                ],
                needs: &[Socket, Counters, Request],
            },
            Way {
                variant: Variant::Kprobe,
                places: &[
                    &[program("kprobe_tcp_req_err", Kprobe, "tcp_req_err", SOCK)],
                    &[program("kretprobe_tcp_req_err", Kretprobe, "tcp_req_err", &[])],
                ],
                needs: &[Socket, Counters, Request],
            },
        ],
    },
    Hook {
        name: name::LAST_ACK,
        measures: "last ACKs, and whether a child socket was made",
        wanted: Wanted::ByFunctions,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[
                        fexit("fexit_tcp_v4_syn_recv_sock_6", V4_SYN_RECV, &[6], SOCK_SKB),
                        fexit("fexit_tcp_v4_syn_recv_sock_7", V4_SYN_RECV, &[7], SOCK_SKB),
                    ],
                    &[
                        fexit("fexit_tcp_v6_syn_recv_sock_6", V6_SYN_RECV, &[6], SOCK_SKB),
                        fexit("fexit_tcp_v6_syn_recv_sock_7", V6_SYN_RECV, &[7], SOCK_SKB),
                    ],
                ],
                needs: &[Socket, Packet],
            },
            // No program of its own: the bracket around tcp_check_req() counts them.
            Way { variant: Variant::Caller, places: &[], needs: &[Socket, Counters] },
            Way {
                variant: Variant::Kprobe,
                places: &[
                    &[program("kprobe_tcp_v4_syn_recv_sock", Kprobe, V4_SYN_RECV, SOCK_SKB)],
                    &[program("kretprobe_tcp_v4_syn_recv_sock", Kretprobe, V4_SYN_RECV, &[])],
                    &[program("kprobe_tcp_v6_syn_recv_sock", Kprobe, V6_SYN_RECV, SOCK_SKB)],
                    &[program("kretprobe_tcp_v6_syn_recv_sock", Kretprobe, V6_SYN_RECV, &[])],
                ],
                needs: &[Socket, Packet],
            },
        ],
    },
    Hook {
        name: name::SYN_QUEUED,
        measures: "SYNs put in the SYN queue",
        wanted: Wanted::ByFunctions,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[Program {
                        need: Need::UnlessExitSuffices,
                        ..program("fentry_inet_csk_reqsk_queue_hash_add", Fentry, HASH_ADD, SOCK)
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
                    &[program("kprobe_inet_csk_reqsk_queue_hash_add", Kprobe, HASH_ADD, SOCK)],
                    &[Program {
                        returns: Some(true),
                        ..program("kretprobe_inet_csk_reqsk_queue_hash_add", Kretprobe, HASH_ADD, &[])
                    }],
                ],
                needs: &[Socket],
            },
        ],
    },
    Hook {
        name: name::ESTABLISHED,
        measures: "finished handshakes put in the accept queue",
        wanted: Wanted::Always,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[program("fentry_inet_csk_complete_hashdance", Fentry, HASHDANCE, SOCK)],
                    &[fexit("fexit_inet_csk_complete_hashdance", HASHDANCE, &[4], SOCK)],
                    &[fexit("fexit_inet_csk_reqsk_queue_add", QUEUE_ADD, &[3], SOCK)],
                ],
                needs: &[Socket],
            },
            Way {
                variant: Variant::Kprobe,
                places: &[
                    &[program("kprobe_inet_csk_complete_hashdance", Kprobe, HASHDANCE, SOCK)],
                    &[program("kretprobe_inet_csk_complete_hashdance", Kretprobe, HASHDANCE, &[])],
                    &[program("kprobe_inet_csk_reqsk_queue_add", Kprobe, QUEUE_ADD, SOCK)],
                    &[program("kretprobe_inet_csk_reqsk_queue_add", Kretprobe, QUEUE_ADD, &[])],
                ],
                needs: &[Socket],
            },
            Way {
                variant: Variant::Tracepoint,
                places: &[&[program("tp_btf_sk_data_ready", Tracepoint, "sk_data_ready", SOCK)]],
                needs: &[Socket],
            },
            Way {
                variant: Variant::Tracepoint,
                places: &[&[program("tp_btf_inet_sock_set_state_child", Tracepoint, SET_STATE, SOCK)]],
                needs: &[Socket],
            },
        ],
    },
    Hook {
        name: "cookie_sent",
        measures: "SYNs answered with a cookie, so that they are not taken for lost ones",
        wanted: Wanted::ByConditions,
        ways: &[
            Way {
                variant: Variant::Trampoline,
                places: &[
                    &[program("fentry_cookie_v4_init_sequence", Fentry, "cookie_v4_init_sequence", &[])],
                    &[program("fentry_cookie_v6_init_sequence", Fentry, "cookie_v6_init_sequence", &[])],
                ],
                needs: &[],
            },
            Way {
                variant: Variant::Kprobe,
                places: &[
                    &[program("kprobe_cookie_v4_init_sequence", Kprobe, "cookie_v4_init_sequence", &[])],
                    &[program("kprobe_cookie_v6_init_sequence", Kprobe, "cookie_v6_init_sequence", &[])],
                ],
                needs: &[],
            },
        ],
    },
    Hook {
        name: name::SYNACK_RETRANSMITS,
        measures: "SYN-ACKs sent again",
        wanted: Wanted::Always,
        ways: &[Way {
            variant: Variant::Tracepoint,
            places: &[&[program(
                "tp_btf_tcp_retransmit_synack",
                Tracepoint,
                "tcp_retransmit_synack",
                &[(0, "sock"), (1, "request_sock")],
            )]],
            needs: &[Socket, Request],
        }],
    },
    Hook {
        name: name::LISTENER,
        measures: "listeners opened and closed, with the drops that they take along",
        wanted: Wanted::BySocketDrops,
        ways: &[Way {
            variant: Variant::Tracepoint,
            places: &[&[program("tp_btf_inet_sock_set_state_listener", Tracepoint, SET_STATE, SOCK)]],
            needs: &[Socket],
        }],
    },
    Hook {
        name: name::PACKET_FREED,
        measures: "packets freed on behalf of a listener, and last ACKs refused",
        wanted: Wanted::BySocketDrops,
        ways: &[Way {
            variant: Variant::Tracepoint,
            places: &[&[program(
                "tp_btf_kfree_skb",
                Tracepoint,
                "kfree_skb",
                &[(0, "sk_buff"), (3, "sock")],
            )]],
            needs: &[Socket, Packet],
        }],
    },
];

const SOCK_SKB: &[(usize, &str)] = &[(0, "sock"), (1, "sk_buff")];
const V4_SYN_RECV: &str = "tcp_v4_syn_recv_sock";
const V6_SYN_RECV: &str = "tcp_v6_syn_recv_sock";
const HASH_ADD: &str = "inet_csk_reqsk_queue_hash_add";
const QUEUE_ADD: &str = "inet_csk_reqsk_queue_add";
const HASHDANCE: &str = "inet_csk_complete_hashdance";
const SET_STATE: &str = "inet_sock_set_state";
