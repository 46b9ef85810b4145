//! Connections in accept queues, and what listen() was asked for.
use super::{NOTHING, SOCK, fentry, fexit, if_present, kprobe, name, program};
use crate::plan::{
    hook::{
        Hook,
        ProgramKind::{Fentry, Kprobe},
        Variant, Wanted, Way,
    },
    offsets::OffsetGroup::{Connection, SleepingExit, Socket},
};

pub(super) const ACCEPTED: Hook = Hook {
    name: name::ACCEPTED,
    measures: "connections that accept() takes, and how long they waited for it",
    wanted: Wanted::ForQueues,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[&[
                fexit("fexit_inet_csk_accept_4", "inet_csk_accept", &[4], SOCK),
                fexit("fexit_inet_csk_accept_2", "inet_csk_accept", &[2], SOCK),
            ]],
            needs: &[Socket, SleepingExit, Connection],
        },
        Way {
            variant: Variant::Trampoline,
            places: &[&[fentry!("security_sock_graft", SOCK)]],
            needs: &[Socket],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[&[kprobe!("security_sock_graft", SOCK)]],
            needs: &[Socket],
        },
    ],
};

const SYS_LISTEN: &str = "__sys_listen";
const SYS_LISTEN_SOCKET: &str = "__sys_listen_socket";
const LISTEN: &str = "inet_listen";
const LISTEN_SK: &str = "__inet_listen_sk";
const SOCKET: super::Pointers = &[(0, "socket")];

pub(super) const BACKLOG: Hook = Hook {
    name: name::BACKLOG,
    measures: "the backlog that listen() is asked for",
    wanted: Wanted::ByFunctions,
    ways: &[
        Way {
            variant: Variant::Trampoline,
            places: &[
                &[program("fentry_sys_listen", Fentry, SYS_LISTEN, NOTHING)],
                &[if_present(program("fentry_sys_listen_socket", Fentry, SYS_LISTEN_SOCKET, SOCKET))],
                &[fexit("fexit_inet_listen", LISTEN, &[2], SOCKET)],
                &[if_present(fexit("fexit_inet_listen_sk", LISTEN_SK, &[2], SOCK))],
            ],
            needs: &[Socket, SleepingExit],
        },
        Way {
            variant: Variant::Kprobe,
            places: &[
                &[program("kprobe_sys_listen", Kprobe, SYS_LISTEN, NOTHING)],
                &[if_present(program("kprobe_sys_listen_socket", Kprobe, SYS_LISTEN_SOCKET, SOCKET))],
                &[kprobe!("inet_listen", SOCKET)],
                &[if_present(program("kprobe_inet_listen_sk", Kprobe, LISTEN_SK, SOCK))],
            ],
            needs: &[Socket],
        },
    ],
};
