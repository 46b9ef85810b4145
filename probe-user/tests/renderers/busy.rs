//! What the golden files' busy server has lost: its queues, its rates and a burst.
use tcp_backlog_probe::{
    model::{Episode, Histogram, LossCause, Peaks, QueueCounts, Queues, Rates},
    sample::PortId,
};

use super::models::HOST;

/// A queue of 128 that was full, and waits of a tenth of a second and more.
pub(crate) fn full_queues() -> Queues {
    let histogram = |upper_bounds: &[f64], counts: &[u64], sum| {
        Some(Histogram { upper_bounds: upper_bounds.into(), counts: counts.into(), sum })
    };
    let peaks = |last_60_seconds, highest| {
        let highest_at = Some(1_790_000_123.5);
        Some(Peaks { last_1_second: 0, last_15_seconds: 1, last_60_seconds, highest, highest_at })
    };
    let counts = QueueCounts {
        accepted: Some(910),
        accept_wait: histogram(&[0.0625, 0.125, 0.25], &[0, 800, 109, 1], 113.75),
        accept_queue_fill: histogram(&[0.5, 0.9, 1.0], &[64, 51, 795, 129], 951.5),
    };
    Queues {
        counts,
        accept_queue_peaks: peaks(129, 129),
        syn_queue_peaks: peaks(40, 67),
        last_accept: Some(1_790_000_200.25),
        accepted_by: Some(4_242),
        demand: Some(3_000),
    }
}

pub(crate) fn full_rates() -> Rates {
    Rates {
        syn_received_per_second: Some(301.5),
        established_per_second: Some(88.25),
        accepted_per_second: Some(80.0),
    }
}

/// A burst that the Java server could not take, and which is over.
pub(crate) fn episode() -> Episode {
    let id = PortId { netns: HOST, address: "::".parse().unwrap(), port: 8080 };
    Episode {
        process: Some("java".into()),
        ended: Some(1_790_000_125.0),
        seconds: 4.0,
        peak: Some(129),
        limit: Some(128),
        connections_refused: Some(1_171),
        packets_refused: Some(1_961),
        listen_drops: Some(1_961),
        cause: Some(LossCause::AcceptQueueFull),
        demand: Some(3_000),
        established: Some(1_039),
        accepted: Some(910),
        established_per_second: Some(259.75),
        accepted_per_second: Some(227.5),
        ..Episode::beginning(id, 1_790_000_121.0)
    }
}
