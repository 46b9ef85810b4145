//! Finished handshakes.
use super::{SOCK, fentry, fexit, kprobe, kretprobe, name, program};
use crate::plan::{
    hook::{Hook, Need, Program, ProgramKind::Tracepoint, Variant, Wanted, Way},
    offsets::OffsetGroup::Socket,
};

const HASHDANCE: &str = "inet_csk_complete_hashdance";
const QUEUE_ADD: &str = "inet_csk_reqsk_queue_add";
const SOCK_AND_CHILD: super::Pointers = &[(0, "sock"), (2, "sock")];

/// The same program, where nobody sees the child when it is made.
const fn unless_child_is_seen(program: Program) -> Program {
    Program { need: Need::UnlessChildIsSeen, ..program }
}

pub(super) const ESTABLISHED: Hook = Hook {
    name: name::ESTABLISHED,
    measures: "finished handshakes put in the accept queue",
    wanted: Wanted::Always,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[unless_child_is_seen(fentry!("inet_csk_complete_hashdance", SOCK))],
                &[Program {
                    need: Need::UnlessCallerIsSeen,
                    ..fexit("fexit_inet_csk_complete_hashdance", HASHDANCE, &[4], SOCK)
                }],
                &[Program { need: Need::IfKnownAtEnd, ..fentry!("mptcp_finish_join", SOCK) }],
                &[fentry!("inet_csk_reqsk_queue_add", SOCK_AND_CHILD)],
                &[fexit("fexit_inet_csk_reqsk_queue_add", QUEUE_ADD, &[3], SOCK_AND_CHILD)],
            ],
            needs: &[Socket],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[unless_child_is_seen(kprobe!("inet_csk_complete_hashdance", SOCK))],
                &[kretprobe!("inet_csk_complete_hashdance")],
                &[kprobe!("inet_csk_reqsk_queue_add", SOCK_AND_CHILD)],
                &[kretprobe!("inet_csk_reqsk_queue_add")],
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
            places: &[&[program(
                "tp_btf_inet_sock_set_state_child",
                Tracepoint,
                "inet_sock_set_state",
                SOCK,
            )]],
            needs: &[Socket],
        },
    ],
};
