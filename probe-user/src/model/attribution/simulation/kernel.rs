//! A kernel that is made up. Its steps are single increments in the kernel's order, on two CPUs,
//! mixed with the single reads of a sample by a tape of random bytes. The one rule is assumption 1
//! of the ledger: what was under way when one source was read is finished when the next one is.
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr},
};

use super::super::{Attributed, HookSample, NamespaceSample, PortId, Sample};
use probe_common::handshake::HandshakeCounters;

use crate::sample::{ListenerSample, NetstatSample};

pub(super) const NETNS: u32 = 7;
pub(super) const PORTS: usize = 3;
const CPUS: usize = 2;

/// What the kernel does, one memory write each.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Overflow,
    SocketDrop,
    ListenDrop,
    Discarded,
    /// What the listener dropped counts as the port's, and which of it as an overflow.
    Truth {
        overflow: bool,
    },
    OpenRow,
    Show,
    Hide,
    CloseRow,
}

/// What can happen to a listener, as the row of steps that it is.
pub(super) const SYN_OVERFLOW: &[Step] =
    &[Step::Overflow, Step::Truth { overflow: true }, Step::SocketDrop, Step::ListenDrop];
const SYN_DROP: &[Step] = &[Step::Truth { overflow: false }, Step::SocketDrop, Step::ListenDrop];
const ACK_OVERFLOW: &[Step] = &[
    Step::Overflow,
    Step::Truth { overflow: true },
    Step::SocketDrop,
    Step::ListenDrop,
    Step::SocketDrop,
    Step::Discarded,
];
pub(super) const DUPLICATE: &[Step] = &[Step::SocketDrop, Step::Discarded];
pub(super) const OPEN: &[Step] = &[Step::OpenRow, Step::Show];
const CLOSE: &[Step] = &[Step::Hide, Step::CloseRow];

#[derive(Clone, Copy, Debug, Default)]
struct Socket {
    port: usize,
    drops: u32,
    shown: bool,
    busy: bool,
}

/// Steps under way on one CPU.
#[derive(Clone, Debug, Default)]
struct Work {
    socket: usize,
    steps: VecDeque<Step>,
    /// It was under way when the last source was read.
    old: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    present: bool,
    closed: u64,
    discarded: u64,
    opened: u64,
}

impl Row {
    /// What the hooks do to the row of a listener with so many drops.
    fn step(&mut self, step: Step, drops: u32) {
        self.present = true;
        match step {
            Step::Discarded => self.discarded += 1,
            Step::OpenRow => {
                self.opened += 1;
                self.closed = self.closed.wrapping_sub(u64::from(drops));
            }
            Step::CloseRow => self.closed = self.closed.wrapping_add(u64::from(drops)),
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Kernel {
    counters: [NetstatSample; CPUS],
    sockets: Vec<Socket>,
    rows: [Row; PORTS],
    pub(super) truth: [Attributed; PORTS],
    work: [Work; CPUS],
    pub(super) hooks_attached: bool,
    /// The namespace's, if the kernel tells it.
    pub(super) cookie: Option<u64>,
    /// What its namespaces counted while the hooks were attached.
    pub(super) counted: NetstatSample,
    pub(super) tape: VecDeque<u8>,
    /// How rarely something happens, up to 15.
    calm: usize,
}

impl Kernel {
    pub(super) fn new(tape: Vec<u8>, calm: usize) -> Self {
        Self { tape: tape.into(), calm, ..Self::default() }
    }

    /// The next choice; 0 when the tape is at its end.
    pub(super) fn choice(&mut self) -> usize {
        usize::from(self.tape.pop_front().unwrap_or_default())
    }

    /// A few steps of anything.
    pub(super) fn run(&mut self) {
        for _ in 0..(self.choice() % 16).saturating_sub(self.calm) {
            let choice = self.choice();
            let cpu = choice % CPUS;
            if !self.work[cpu].steps.is_empty() {
                self.step(cpu);
                continue;
            }
            let idle: Vec<_> = (0..self.sockets.len()).filter(|socket| !self.sockets[*socket].busy).collect();
            let socket = idle.get(choice / 16 % idle.len().max(1)).copied();
            match (socket, choice / 2 % 8) {
                (_, 0) if self.sockets.len() < 12 => {
                    let socket = self.add_socket(choice / 16 % PORTS);
                    self.start(cpu, socket, OPEN);
                }
                (Some(socket), 1) if self.sockets[socket].shown => self.start(cpu, socket, CLOSE),
                (Some(socket), 1) => self.start(cpu, socket, OPEN),
                (Some(socket), kind) if self.sockets[socket].shown => {
                    let events = [SYN_OVERFLOW, SYN_DROP, ACK_OVERFLOW, DUPLICATE];
                    self.start(cpu, socket, events[kind % events.len()]);
                }
                _ => {}
            }
        }
    }

    pub(super) fn add_socket(&mut self, port: usize) -> usize {
        self.sockets.push(Socket { port, ..Socket::default() });
        self.sockets.len() - 1
    }

    pub(super) fn start(&mut self, cpu: usize, socket: usize, steps: &[Step]) {
        self.sockets[socket].busy = true;
        self.work[cpu] = Work { socket, steps: steps.iter().copied().collect(), old: false };
    }

    fn step(&mut self, cpu: usize) {
        let work = &mut self.work[cpu];
        let socket = &mut self.sockets[work.socket];
        let row = &mut self.rows[socket.port];
        match work.steps.pop_front() {
            Some(Step::Overflow) => {
                self.counters[cpu].listen_overflows += 1;
                self.counted.listen_overflows += u64::from(self.hooks_attached);
            }
            Some(Step::SocketDrop) => socket.drops = socket.drops.wrapping_add(1),
            Some(Step::ListenDrop) => {
                self.counters[cpu].listen_drops += 1;
                self.counted.listen_drops += u64::from(self.hooks_attached);
            }
            Some(Step::Truth { overflow }) if self.hooks_attached => {
                self.truth[socket.port].listen_drops += 1;
                self.truth[socket.port].accept_queue_overflows += u64::from(overflow);
            }
            Some(Step::Show) => socket.shown = true,
            Some(Step::Hide) => socket.shown = false,
            Some(step) if self.hooks_attached => row.step(step, socket.drops),
            _ => {}
        }
        socket.busy = !work.steps.is_empty();
    }

    /// Finishes what was under way when the last source was read.
    fn finish_old(&mut self) {
        for cpu in 0..CPUS {
            while self.work[cpu].old && !self.work[cpu].steps.is_empty() {
                self.step(cpu);
            }
        }
    }

    /// The time between two sources.
    fn pause(&mut self) {
        self.work.iter_mut().for_each(|work| work.old = true);
        self.run();
        self.finish_old();
    }

    pub(super) fn finish_all(&mut self) {
        self.work.iter_mut().for_each(|work| work.old = true);
        self.finish_old();
    }

    /// The namespace goes, with its sockets, and another one gets its number.
    pub(super) fn rebirth(&mut self) {
        self.finish_all();
        for socket in 0..self.sockets.len() {
            if self.sockets[socket].shown {
                self.start(0, socket, CLOSE);
                self.finish_all();
            }
        }
        self.counters = [NetstatSample::default(); CPUS];
        self.cookie = self.cookie.map(|cookie| cookie + 1);
        self.sockets.clear();
    }
}

/// The reads of a sample, with things happening in between.
impl Kernel {
    fn read_rows(&mut self) -> [Row; PORTS] {
        let mut rows = [Row::default(); PORTS];
        for (port, row) in rows.iter_mut().enumerate() {
            self.run();
            *row = self.rows[port];
        }
        rows
    }

    fn read_counters(&mut self) -> NetstatSample {
        let mut sum = NetstatSample::default();
        for cpu in 0..CPUS {
            sum.listen_overflows += self.counters[cpu].listen_overflows;
            self.run();
            sum.listen_drops += self.counters[cpu].listen_drops;
            self.run();
        }
        sum
    }

    fn read_sockets(&mut self) -> Vec<ListenerSample> {
        let mut listeners = Vec::new();
        let mut next = 0;
        while next < self.sockets.len() {
            let Socket { port, drops, shown, .. } = self.sockets[next];
            if shown {
                let PortId { address, port, .. } = id(port);
                listeners.push(ListenerSample {
                    address,
                    port,
                    accept_queue_length: 0,
                    accept_queue_limit: 0,
                    drops,
                    inode: 0,
                });
            }
            self.run();
            next += 1;
        }
        listeners
    }

    pub(super) fn sample(&mut self) -> Sample {
        let before = self.read_rows();
        self.pause();
        let netstat_before = self.read_counters();
        self.pause();
        let listeners = self.read_sockets();
        self.pause();
        let netstat_after = self.read_counters();
        self.pause();
        let after = self.read_rows();
        self.pause();
        let namespace = NamespaceSample {
            netns: NETNS,
            cookie: self.cookie,
            listeners: Some(listeners),
            netstat_before: Some(netstat_before),
            netstat_after: Some(netstat_after),
            ..NamespaceSample::default()
        };
        Sample { hooks: Some(hooks(&before, &after)), namespaces: vec![namespace], ..Sample::default() }
    }
}

pub(super) fn id(port: usize) -> PortId {
    PortId { netns: NETNS, address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: u16::try_from(port).unwrap() }
}

/// What the readers make of two reads of the map.
fn hooks(before: &[Row; PORTS], after: &[Row; PORTS]) -> HookSample {
    let totals = |rows: &[Row; PORTS]| {
        let present = rows.iter().enumerate().filter(|(_, row)| row.present);
        let counters = |(port, row): (usize, &Row)| {
            let counters = HandshakeCounters {
                discarded_segments: row.discarded,
                closed_listener_drops: row.closed,
                listeners_opened: row.opened,
                ..HandshakeCounters::default()
            };
            (id(port), counters)
        };
        present.map(counters).collect()
    };
    HookSample { ports: totals(after), ports_before: totals(before), ..HookSample::default() }
}
