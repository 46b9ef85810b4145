//! What the daemon uses of a CPU while nothing happens, while connections come, and in a flood of SYNs.
//!
//! Programs in the kernel count packets, and the daemon reads what they have counted: once a second where anything has
//! changed, otherwise less often. So the first packet of a second costs it a reading, and the 20,000th costs it nothing.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::Arguments;
use crate::bench::netstat;
use crate::bench::process::CpuClock;
use crate::bench::spread::{Interval, interval};
use crate::bench::stage;
use crate::bench::traffic::{Client, FIRST_PORT, Flood, Full, Server, listen};
use crate::daemon::Daemon;

/// What comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    #[default]
    Nothing,
    Connections,
    /// SYNs to a listener that takes connections: its SYN queue fills, and then it answers with cookies.
    Answered,
    /// SYNs to one whose accept queue is full: each is an overflow.
    Dropped,
}

impl Kind {
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Connections => "connections",
            Self::Answered => "SYNs that are answered by cookies",
            Self::Dropped => "SYNs that a full queue drops",
        }
    }

    /// The kernel's counter that rises by each.
    const fn counter(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Connections => None,
            Self::Answered => Some("SyncookiesSent"),
            Self::Dropped => Some("ListenOverflows"),
        }
    }
}

/// What the daemon used while so much came.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) kind: Kind,
    pub(super) per_second: f64,
    /// Shares of one CPU, each time.
    pub(super) cpu: Vec<f64>,
}

impl Figures {
    /// How much more of a CPU it is than another's, by the turns that came one after the other.
    pub(super) fn above(&self, other: &Self) -> Option<Interval> {
        let each = self.cpu.iter().zip(&other.cpu).map(|(own, other)| own - other);
        interval(&each.collect::<Vec<_>>())
    }

    /// What floods stand beside.
    pub(super) fn is_trickle(&self) -> bool {
        self.kind == Kind::Connections && self.per_second <= 1.0
    }

    pub(super) const fn is_flood(&self) -> bool {
        matches!(self.kind, Kind::Answered | Kind::Dropped)
    }
}

/// What comes, and how much of it a second. A single connection makes the daemon read every second: floods stand beside that.
const CIRCUMSTANCES: [(Kind, f64); 6] = [
    (Kind::Connections, 1.0),
    (Kind::Answered, 2_000.0),
    (Kind::Answered, 20_000.0),
    (Kind::Dropped, 2_000.0),
    (Kind::Dropped, 20_000.0),
    (Kind::Connections, 200.0),
];
const LISTENERS: usize = 100;
/// A daemon that has just started looks for owners, and rests 15 s after the last change at the earliest.
const SETTLE: Duration = Duration::from_secs(20);
/// What a change brings about by itself, such as the first reading of the SYN queues, is over, and the SYN queue is full.
const BEGIN: Duration = Duration::from_millis(1_500);
/// How often each has its turn, one after the other: what else the machine does is in all of them alike.
/// Of fewer than six there is no interval.
const TURNS: u32 = 6;
/// The first of the listeners.
const OPEN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, FIRST_PORT);

pub(super) fn measure(binary: &Path, arguments: &Arguments) -> Result<Vec<Figures>> {
    println!("bench: floods");
    stage::lead_floods_to_loopback()?;
    let _server = Server::start(listen(LISTENERS)?)?;
    let full = Full::open()?;
    let daemon = Daemon::start(binary, &[])?;
    let mut clock = CpuClock::of(daemon.process.id());
    let time = arguments.flood_time() / TURNS;
    thread::sleep(SETTLE);
    let at_rest = (0..TURNS).map(|_| clock.share_over(time, || {})).collect();
    let mut figures = vec![Figures { cpu: at_rest, ..Figures::default() }];
    let of = |(kind, per_second)| Figures { kind, per_second, cpu: Vec::new() };
    figures.extend(CIRCUMSTANCES.map(of));
    for _ in 0..TURNS {
        for one in figures.iter_mut().skip(1) {
            let cpu = match one.kind {
                Kind::Answered => in_a_flood(one, OPEN, &mut clock, time)?,
                Kind::Dropped => in_a_flood(one, full.address, &mut clock, time)?,
                Kind::Nothing | Kind::Connections => {
                    let _client = Client::start(LISTENERS, Some(one.per_second));
                    thread::sleep(BEGIN);
                    clock.share_over(time, || {})
                }
            };
            one.cpu.push(cpu);
        }
    }
    Ok(figures)
}

/// What of a CPU is used, while as many SYNs come as are to come.
fn in_a_flood(
    Figures { kind, per_second, .. }: &Figures,
    server: SocketAddrV4,
    clock: &mut CpuClock,
    time: Duration,
) -> Result<f64> {
    let flood = Flood::start(server, *per_second)?;
    thread::sleep(BEGIN);
    let counter = kind.counter().unwrap_or_default();
    let (begun, sent, counted) = (Instant::now(), flood.sent(), netstat::counter(counter)?);
    let cpu = clock.share_over(time, || {});
    let sent = (flood.sent() - sent) as f64;
    let counted = (netstat::counter(counter)? - counted) as f64;
    let wished = per_second * begun.elapsed().as_secs_f64();
    // The sender may be kept waiting; requests that expire leave places in the SYN queue, for which no cookie is sent.
    ensure!(
        sent >= 0.9 * wished && counted >= 0.95 * sent,
        "bench: {sent} SYNs of {wished:.0} came and {counted} raised {counter}: this was no flood of {}",
        kind.words()
    );
    Ok(cpu)
}
