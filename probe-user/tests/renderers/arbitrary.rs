//! Arbitrary models: any text where text is free, any count that a float can hold.
use std::net::IpAddr;

use proptest::{array, collection, option, prelude::*};
use tcp_backlog_probe::{
    model::{
        Handshakes, LastAckRefused, Listener, Model, Namespace, Overflows, Port, SynDropped,
        audit::AuditedCounter,
        series::{Exposure, PortTotals, Series},
    },
    plan::outcome::{Accounting, Coverage, HookOutcome, PlanOutcome, Variant},
    sample::{OwnCostSample, PortId},
};

/// Counts up to 2^53, which a float holds exactly, small ones as often as large ones.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_u64, 0..=1_u64 << 53]
}

/// Any text, with what needs escaping more often than chance would have it.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a\"\\\\\n{}=, #\r]{0,12}"]
}

fn overflows() -> impl Strategy<Value = Overflows> {
    prop_oneof![
        (option::of(count()), option::of(count())).prop_map(|(syn, ack)| Overflows {
            syn,
            ack,
            undivided: None
        }),
        option::of(count()).prop_map(|undivided| Overflows { undivided, ..Overflows::default() }),
    ]
}

/// Boxed: the strategy is a large value, and every listener of every port has one.
fn handshakes() -> BoxedStrategy<Handshakes> {
    let parts = (array::uniform4(option::of(count())), array::uniform3(option::of(count())));
    (collection::vec(option::of(count()), 15), parts, overflows())
        .prop_map(|(counts, (syn_dropped, last_ack_refused), accept_queue_overflows)| {
            let mut counts = counts.into_iter();
            let mut next = || counts.next().flatten();
            let [accept_queue_full, syn_queue_full, syn_backlog_reserve, other] = syn_dropped;
            let syn_dropped = SynDropped { accept_queue_full, syn_queue_full, syn_backlog_reserve, other };
            let [accept_queue_full, other, undivided] = last_ack_refused;
            Handshakes {
                syn_received: next(),
                syn_queued: next(),
                syn_dropped,
                syncookies_sent: next(),
                syncookies_received: next(),
                syncookies_failed: next(),
                syn_queue_full_cookies: next(),
                last_ack_received: next(),
                last_ack_refused: LastAckRefused { accept_queue_full, other, undivided },
                established: next(),
                synack_retransmits: next(),
                request_errors: next(),
                requests_aborted: next(),
                requests_expired: next(),
                closed_unaccepted: next(),
                connections_refused: next(),
                accept_queue_overflows,
                listen_drops: next(),
            }
        })
        .boxed()
}

fn listener() -> impl Strategy<Value = Listener> {
    (any::<(u32, u32, u32)>(), handshakes()).prop_map(
        |((accept_queue_length, accept_queue_limit, inode), handshakes)| Listener {
            accept_queue_length,
            accept_queue_limit,
            inode,
            handshakes,
        },
    )
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    let id = (0..4_u32, any::<IpAddr>(), any::<u16>()).prop_map(|(netns, address, port)| PortId {
        netns,
        address,
        port,
    });
    let rest = (handshakes(), collection::vec(listener(), 0..3), option::of(count()), exposure());
    collection::btree_map(id, rest, 0..8).prop_map(|ports| {
        let ports = ports.into_iter().map(|(id, (handshakes, listeners, backlog_recommended, series))| {
            Port { id, handshakes, listeners, backlog_recommended, series }
        });
        ports.collect()
    })
}

fn totals() -> impl Strategy<Value = PortTotals> {
    handshakes().prop_map(|handshakes| PortTotals { handshakes })
}

fn exposure() -> impl Strategy<Value = Exposure> {
    let part = option::of(totals().prop_map(Box::new));
    (any::<bool>(), part).prop_map(|(own, totals)| Exposure { own, totals })
}

fn series() -> impl Strategy<Value = Series> {
    (count(), count(), option::of(totals())).prop_map(|(ports, ports_in_other, other)| Series {
        ports,
        ports_in_other,
        other,
    })
}

fn namespaces() -> impl Strategy<Value = Vec<Namespace>> {
    let residual = (prop::sample::select(AuditedCounter::ALL.as_slice()), -(1_i64 << 53)..=1 << 53);
    let residuals = collection::vec(residual, 0..4);
    let rest = (array::uniform4(option::of(count())), residuals, option::of(text()));
    collection::btree_map(0..4_u32, rest, 0..4).prop_map(|namespaces| {
        let namespaces = namespaces.into_iter().map(|(netns, (counts, residuals, error))| {
            let [listen_overflows, listen_drops, unattributed_overflows, unattributed_drops] = counts;
            Namespace {
                netns,
                listen_overflows,
                listen_drops,
                unattributed_overflows,
                unattributed_drops,
                residuals: residuals.into_iter().collect(),
                error,
            }
        });
        namespaces.collect()
    })
}

fn plan() -> impl Strategy<Value = PlanOutcome> {
    let variant = prop_oneof![
        Just(Variant::Trampoline),
        Just(Variant::Caller),
        Just(Variant::Kprobe),
        Just(Variant::Tracepoint),
    ];
    let accounting = prop_oneof![
        Just(Accounting::KernelCounters),
        Just(Accounting::Conditions),
        Just(Accounting::SocketDrops),
        Just(Accounting::None),
    ];
    let hooks = collection::btree_map("[a-z_]{1,12}", (option::of(variant), text()), 0..5);
    let given = any::<[bool; 8]>();
    (hooks, given, accounting).prop_map(|(hooks, given, accounting)| {
        let [syn_received, syn_queued, established, last_ack_received, ..] = given;
        let [.., last_ack_refused, synack_retransmits, discards_known, syncookies_sent] = given;
        let hook = |(hook, (variant, reason))| HookOutcome {
            hook,
            measures: "something".to_owned(),
            attached_to: Vec::new(),
            variant,
            reason,
        };
        PlanOutcome {
            hooks: hooks.into_iter().map(hook).collect(),
            coverage: Coverage {
                syn_received,
                syn_queued,
                established,
                last_ack_received,
                last_ack_refused,
                synack_retransmits,
                accounting,
                discards_known,
                syncookies_sent,
                ..Coverage::NOTHING
            },
        }
    })
}

/// A model in which nothing fits anything else.
pub(crate) fn model() -> impl Strategy<Value = Model> {
    let losses = collection::btree_map("[a-z_]{1,8}", count(), 0..4);
    // Quarters of a second: JSON's decimal fractions hold them exactly.
    let seconds = any::<u32>().prop_map(|quarters| f64::from(quarters) / 4.0);
    let cost = (option::of(count()), option::of(seconds));
    let others = (option::of(handshakes()), option::of(series()));
    (plan(), ports(), others, namespaces(), losses, cost).prop_map(
        |(plan, ports, (other, series), namespaces, losses, (bytes, seconds))| Model {
            plan,
            ports,
            other,
            namespaces,
            losses,
            read_errors: vec![],
            own_cost: OwnCostSample {
                cpu_seconds: seconds,
                resident_bytes: bytes,
                start_unix_seconds: seconds,
                open_descriptors: bytes,
                map_bytes: bytes,
                listener_rows: bytes.map(|bytes| (bytes, bytes)),
            },
            series,
        },
    )
}
