//! Last ACKs, whatever becomes of them, and errors on behalf of a queued request.
use super::{SOCK, SOCK_SKB, fentry, fexit, fexit_plain, if_present, kprobe, kretprobe, name};
use crate::plan::{
    hook::{Hook, Program, Variant, Wanted, Way},
    offsets::OffsetGroup::{Counters, OtherCpus, Packet, Request, Socket},
};

const SOCK_SKB_REQUEST: super::Pointers = &[(0, "sock"), (1, "sk_buff"), (2, "request_sock")];
const CHECK_REQ_EXIT: &[Program] = &[
    fexit("fexit_tcp_check_req_5", "tcp_check_req", &[5], SOCK_SKB_REQUEST),
    fexit("fexit_tcp_check_req_6", "tcp_check_req", &[6], SOCK_SKB_REQUEST),
];
const V4_SYN_RECV: &str = "tcp_v4_syn_recv_sock";
const V6_SYN_RECV: &str = "tcp_v6_syn_recv_sock";

/// A kernel without SYN cookies has none of these functions.
pub(super) const SYNCOOKIE_CHECKED: Hook = Hook {
    name: name::SYNCOOKIE_CHECKED,
    measures: "SYN cookies that come back, and last ACKs with one that are refused",
    wanted: Wanted::ByKernelCounters,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[fentry!("cookie_v4_check", SOCK_SKB)],
                &[fexit("fexit_cookie_v4_check", "cookie_v4_check", &[2], SOCK_SKB)],
                &[if_present(fentry!("cookie_v6_check", SOCK_SKB))],
                &[if_present(fexit("fexit_cookie_v6_check", "cookie_v6_check", &[2], SOCK_SKB))],
            ],
            needs: &[Socket, Counters, Packet],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[kprobe!("cookie_v4_check", SOCK_SKB)],
                &[kretprobe!("cookie_v4_check")],
                &[if_present(kprobe!("cookie_v6_check", SOCK_SKB))],
                &[if_present(kretprobe!("cookie_v6_check"))],
            ],
            needs: &[Socket, Counters, Packet],
        },
    ],
};

pub(super) const REQUEST_ERROR: Hook = Hook {
    name: name::REQUEST_ERROR,
    measures: "requests ended by an ICMP error",
    wanted: Wanted::ByKernelCounters,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[&[fentry!("tcp_req_err", SOCK)], &[fexit_plain!("tcp_req_err", SOCK)]],
            needs: &[Socket, Counters, Request],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[&[kprobe!("tcp_req_err", SOCK)], &[kretprobe!("tcp_req_err")]],
            needs: &[Socket, Counters, Request],
        },
    ],
};

/// At the end of the caller of the function that makes the child, where the kernel's counters are known before it; else that
/// function, which refuses to as well; else around its caller. By the caller, those with a cookie are counted in the bracket
/// around `cookie_v4_check()`.
pub(super) const LAST_ACK: Hook = Hook {
    name: name::LAST_ACK,
    measures: "last ACKs, and those that are refused on behalf of a listener",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[CHECK_REQ_EXIT],
            needs: &[Socket, Counters, Packet, Request, OtherCpus],
        },
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[
                    fexit("fexit_tcp_v4_syn_recv_sock_6", V4_SYN_RECV, &[6], SOCK_SKB_REQUEST),
                    fexit("fexit_tcp_v4_syn_recv_sock_7", V4_SYN_RECV, &[7], SOCK_SKB_REQUEST),
                ],
                &[
                    fexit("fexit_tcp_v6_syn_recv_sock_6", V6_SYN_RECV, &[6], SOCK_SKB_REQUEST),
                    fexit("fexit_tcp_v6_syn_recv_sock_7", V6_SYN_RECV, &[7], SOCK_SKB_REQUEST),
                ],
            ],
            needs: &[Socket, Packet, Request],
        },
        Way {
            variant: Variant::Caller,
            places: &[&[fentry!("tcp_check_req", SOCK_SKB_REQUEST)], CHECK_REQ_EXIT],
            needs: &[Socket, Counters, Packet, Request],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[kprobe!("tcp_v4_syn_recv_sock", SOCK_SKB_REQUEST)],
                &[kretprobe!("tcp_v4_syn_recv_sock")],
                &[kprobe!("tcp_v6_syn_recv_sock", SOCK_SKB_REQUEST)],
                &[kretprobe!("tcp_v6_syn_recv_sock")],
            ],
            needs: &[Socket, Packet, Request],
        },
    ],
};
