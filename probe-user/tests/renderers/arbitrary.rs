//! Arbitrary models: any text where text is free, any count that a float can hold.
use std::{net::IpAddr, sync::Arc};

use proptest::{array, collection, option, prelude::*};
use tcp_backlog_probe::{
    model::{
        Backlog, Episode, Handshakes, Histogram, Host, LastAckRefused, Listener, LossCause, Model, Namespace,
        Overflows, Peaks, Port, QueueCounts, Queues, Rates, Softnet, SynDropped,
        audit::AuditedCounter,
        recent::Recent,
        series::{Exposure, PortTotals, Series},
    },
    plan::outcome::{Accounting, Coverage, HookOutcome, PlanOutcome, Variant},
    sample::{LimitsSample, OwnCostSample, OwnerSample, PortId},
};

/// Counts up to 2^53, which a float holds exactly, small ones as often as large ones.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![0..5_u64, 0..=1_u64 << 53]
}

/// Any text, with what needs escaping more often than chance would have it.
pub(crate) fn text() -> impl Strategy<Value = String> {
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

/// Quarters: JSON's decimal fractions hold them exactly.
pub(crate) fn quarters() -> impl Strategy<Value = f64> {
    any::<u32>().prop_map(|quarters| f64::from(quarters) / 4.0)
}

fn histogram() -> impl Strategy<Value = Histogram> {
    (collection::vec(0..1_u64 << 40, 4), quarters()).prop_map(|(counts, sum)| Histogram {
        upper_bounds: [0.25, 0.5, 4.0].into(),
        counts: counts.into(),
        sum,
    })
}

fn peaks() -> impl Strategy<Value = Peaks> {
    (any::<[u32; 4]>(), option::of(quarters())).prop_map(
        |([last_1_second, last_15_seconds, last_60_seconds, highest], highest_at)| Peaks {
            last_1_second,
            last_15_seconds,
            last_60_seconds,
            highest,
            highest_at,
        },
    )
}

fn rates() -> impl Strategy<Value = Rates> {
    array::uniform3(option::of(quarters())).prop_map(
        |[syn_received_per_second, established_per_second, accepted_per_second]| Rates {
            syn_received_per_second,
            established_per_second,
            accepted_per_second,
        },
    )
}

fn queue_counts() -> impl Strategy<Value = QueueCounts> {
    (option::of(count()), array::uniform2(option::of(histogram()))).prop_map(
        |(accepted, [accept_wait, accept_queue_fill])| QueueCounts {
            accepted,
            accept_wait,
            accept_queue_fill,
        },
    )
}

fn queues() -> impl Strategy<Value = Queues> {
    let both_peaks = array::uniform2(option::of(peaks()));
    let rest = any::<(Option<u32>, Option<u32>)>();
    (queue_counts(), both_peaks, option::of(quarters()), rest).prop_map(
        |(counts, [accept_queue_peaks, syn_queue_peaks], last_accept, (accepted_by, demand))| Queues {
            counts,
            accept_queue_peaks,
            syn_queue_peaks,
            last_accept,
            accepted_by,
            demand,
        },
    )
}

fn owner() -> impl Strategy<Value = OwnerSample> {
    (any::<u32>(), text(), array::uniform6(option::of(text()))).prop_map(|(pid, process, facts)| {
        let [command, application, unit, container, pod, user] = facts;
        OwnerSample { pid, process, command, application, unit, container, pod, user }
    })
}

fn listener() -> impl Strategy<Value = Listener> {
    let backlog = (option::of(any::<i32>()), option::of(count()));
    (any::<(u32, u32, u32, u32)>(), backlog, option::of(owner()), handshakes(), queues()).prop_map(
        |(
            (accept_queue_length, accept_queue_limit, inode, socket_drops),
            (requested, somaxconn),
            owner,
            handshakes,
            queues,
        )| {
            Listener {
                accept_queue_length,
                accept_queue_limit,
                backlog: Backlog::new(requested, accept_queue_limit, somaxconn),
                inode,
                socket_drops,
                owner: owner.map(Arc::new),
                handshakes: handshakes.into(),
                queues: queues.into(),
            }
        },
    )
}

fn port_id() -> impl Strategy<Value = PortId> {
    let parts = (0..4_u32, any::<IpAddr>(), any::<u16>());
    parts.prop_map(|(netns, address, port)| PortId { netns, address, port })
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    let rest = (
        option::of(text()),
        handshakes(),
        queues(),
        rates(),
        collection::vec(listener(), 0..3),
        (option::of(count()), option::of(count()), exposure()),
    );
    let port = |(
        id,
        (process, handshakes, queues, rates, listeners, (syn_queue_length, backlog_recommended, series)),
    ): (PortId, (Option<String>, _, _, _, _, (_, _, _)))| Port {
        id,
        process: process.map(Arc::from),
        handshakes,
        queues,
        rates,
        listeners,
        syn_queue_length,
        backlog_recommended,
        series,
    };
    collection::btree_map(port_id(), rest, 0..8).prop_map(move |ports| ports.into_iter().map(port).collect())
}

fn totals() -> impl Strategy<Value = PortTotals> {
    (handshakes(), queue_counts()).prop_map(|(handshakes, queues)| PortTotals { handshakes, queues })
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

fn limits() -> impl Strategy<Value = LimitsSample> {
    array::uniform6(option::of(count())).prop_map(|values| {
        let mut values = values.into_iter();
        LimitsSample::from_names(|_| values.next().flatten())
    })
}

fn host() -> impl Strategy<Value = Host> {
    let counters = array::uniform3(count());
    let softnet = collection::btree_map(0..9_u32, counters, 0..4).prop_map(|cpus| {
        let of_cpu = |(cpu, [processed, dropped, time_squeeze]): (u32, [u64; 3])| Softnet {
            cpu,
            processed,
            dropped,
            time_squeeze,
        };
        cpus.into_iter().map(of_cpu).collect()
    });
    let not_found = option::of(collection::btree_set(0..9_u32, 0..3));
    (any::<Option<u32>>(), not_found, option::of(count()), option::of(softnet)).prop_map(
        |(own_netns, namespaces_not_found, netdev_max_backlog, softnet)| Host {
            own_netns,
            namespaces_not_found,
            netdev_max_backlog,
            softnet,
        },
    )
}

fn namespaces() -> impl Strategy<Value = Vec<Namespace>> {
    let residual = (prop::sample::select(AuditedCounter::ALL.as_slice()), -(1_i64 << 53)..=1 << 53);
    let residuals = collection::vec(residual, 0..4);
    let rest = (array::uniform5(option::of(count())), residuals, limits(), option::of(text()));
    collection::btree_map(0..4_u32, rest, 0..4).prop_map(|namespaces| {
        let namespaces = namespaces.into_iter().map(|(netns, (counts, residuals, limits, error))| {
            let [listen_overflows, listen_drops, unattributed_overflows, unattributed_drops, age] = counts;
            Namespace {
                netns,
                listen_overflows,
                listen_drops,
                unattributed_overflows,
                unattributed_drops,
                residuals: residuals.into_iter().collect(),
                limits,
                syn_queues_age_milliseconds: age,
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

fn episode() -> impl Strategy<Value = Episode> {
    let cause = prop_oneof![
        Just(LossCause::AcceptQueueFull),
        Just(LossCause::SynQueueFull),
        Just(LossCause::SynBacklogReserve),
        Just(LossCause::Other),
    ];
    let counts = array::uniform5(option::of(count()));
    let times = (quarters(), quarters(), array::uniform3(option::of(quarters())));
    (port_id(), option::of(text()), times, any::<[Option<u32>; 3]>(), counts, option::of(cause)).prop_map(
        |(id, process, (begun, seconds, times), [peak, limit, demand], counts, cause)| {
            let [ended, established_per_second, accepted_per_second] = times;
            let [connections_refused, packets_refused, listen_drops, established, accepted] = counts;
            Episode {
                process: process.map(Arc::from),
                ended,
                seconds,
                peak,
                limit,
                demand,
                connections_refused,
                packets_refused,
                listen_drops,
                established,
                accepted,
                established_per_second,
                accepted_per_second,
                cause,
                ..Episode::beginning(id, begun)
            }
        },
    )
}

/// A model in which nothing fits anything else.
pub(crate) fn model() -> impl Strategy<Value = Model> {
    let losses = collection::btree_map("[a-z_]{1,8}", count(), 0..4);
    let cost = (option::of(count()), option::of(quarters()));
    let episodes = collection::vec(episode().prop_map(Arc::new), 0..4);
    let other = (option::of(handshakes()), queue_counts(), option::of(series()));
    let advice = option::of(super::advice::advice().prop_map(Arc::new));
    (plan(), ports(), other, namespaces(), host(), losses, (cost, episodes, advice, quarters())).prop_map(
        |(
            plan,
            ports,
            (other, other_queues, series),
            namespaces,
            host,
            losses,
            ((bytes, seconds), episodes, advice, taken),
        )| Model {
            taken,
            plan,
            ports,
            counted_since: seconds,
            other,
            other_queues,
            namespaces,
            host,
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
            episodes,
            advice,
            recent: Recent::default(),
        },
    )
}
