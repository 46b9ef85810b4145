//! Who listens: of every listening socket the process that it belongs to.
//!
//! A socket knows no process; `/proc/PID/fd` tells which processes hold it. Looking through all of them takes a
//! readlink(2) per open file of the host, about 5 us each (half a second for 100,000 files, measured), nearly all of it
//! in the kernel, which makes an inode for each link. So it is done only for sockets whose owner is not known, at most
//! one per cent of the time, and in slices. A known owner is verified in each reading by the one file that it was found by.
//!
//! Of several holders the owner is the one whose name an administrator would say:
//! 1. A service manager opened the socket for somebody (systemd's socket units). It is the owner only as long as
//!    nobody else holds the socket.
//! 2. Who accepts connections, if the kernel's hooks saw somebody do so. But a server that forks has the socket
//!    from its parent, so it is the parent, and its parent's, as long as they hold the socket: workers come and go.
//! 3. The oldest holder.
//!
//! A BPF iterator over the open files of all tasks (`iter/task_file`, task_file_seq_show()'s target of
//! kernel/bpf/task_iter.c) would do the same inside the kernel. It is not used: aya 0.14 can load one, but aya-ebpf
//! 0.2 has no macro for such a program, and `/proc` is there on hosts without BPF as well. A process whose main
//! thread has ended while others go on shows no open files in `/proc/PID/fd`: its listeners have no owner.
mod cgroup;
mod command;
mod process;
mod scan;
mod text;
mod users;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use self::{
    process::{Identity, Process},
    scan::{Holder, Scan},
    users::Users,
};
use crate::{sample::OwnerSample, sorted::Sorted};

/// A full scan takes at most this much of a reading, and goes on in the next.
const SLICE: Duration = Duration::from_millis(250);

/// The first one may take longer: it is part of the start, and `snapshot` has few readings.
const FIRST_SLICE: Duration = Duration::from_secs(2);

/// Looking may take one hundredth of the time.
const PAUSE_PER_WORK: u32 = 100;

/// Between two full scans, however short they are.
const SCAN_PAUSE: Duration = Duration::from_secs(1);

/// A socket that nobody holds is looked for less and less often, up to 2^this seconds: the kernel has listeners of
/// its own (NFS), and of those that may not be seen the next scan sees no more.
const MOST_DOUBLINGS: u32 = 6;

/// A service manager may have handed its socket on meanwhile.
const MANAGER_AGE: Duration = Duration::from_secs(15);

/// What is known of a process is read again when it is so old. A new name or user is noticed at once.
const FACTS_AGE: Duration = Duration::from_secs(15);

/// So many owners are verified in a reading, and the others in the next ones: with more listeners than this on a
/// host a change may be noticed some readings later.
const MOST_VERIFIED: usize = 128;

/// How far up a socket is followed from child to parent.
const MOST_ANCESTORS: usize = 16;

/// A listening socket, and who was seen with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenerHint {
    /// Its inode number, which no other socket of the host has.
    pub inode: u64,
    /// The process that called listen(2), if the hooks saw it.
    pub opened_by: Option<u32>,
    /// The process that called accept(2) last, if the hooks saw it.
    pub accepted_by: Option<u32>,
}

/// Finds the owners of listening sockets, and remembers them from reading to reading.
#[derive(Default)]
pub struct OwnerReader {
    sockets: Sorted<u64, Socket>,
    /// Where the verification of owners goes on.
    verified_up_to: u64,
    /// What is known of the owners, by process number.
    facts: BTreeMap<u32, Facts>,
    users: Users,
    scan: Option<Scan>,
    has_scanned: bool,
    scans: Pace,
    looks: Pace,
    /// Processes that the last full scan could not look into.
    unreadable: usize,
}

/// What is known of a listening socket.
#[derive(Debug, Default)]
struct Socket {
    holder: Option<Holder>,
    /// The last acceptor that was looked at.
    acceptor: Option<u32>,
    /// Whether the acceptor led to the holder.
    by_acceptor: bool,
    /// When a full scan is worth while, if one is needed at all.
    scan_at: Duration,
    /// Full scans in a row that found nobody.
    misses: u32,
}

/// What is known of a process.
#[derive(Debug)]
struct Facts {
    identity: Identity,
    read_at: Duration,
    owner: Arc<OwnerSample>,
}

/// Work that is done one hundredth of the time.
#[derive(Debug, Default)]
struct Pace {
    not_before: Duration,
}

impl Pace {
    fn allows(&self, now: Duration) -> bool {
        now >= self.not_before
    }

    fn charge(&mut self, now: Duration, spent: Duration, at_least: Duration) {
        let pause = spent.saturating_mul(PAUSE_PER_WORK).max(at_least);
        self.not_before = now.saturating_add(spent).saturating_add(pause);
    }
}

impl Socket {
    /// A full scan would tell something, now or later.
    fn is_open_question(&self) -> bool {
        self.holder.is_none_or(|holder| holder.manager)
    }

    /// The acceptor, if it has something to say that is not known yet.
    fn new_acceptor(&self, hint: &ListenerHint) -> Option<u32> {
        hint.accepted_by
            .filter(|pid| !self.by_acceptor && (self.holder.is_none() || self.acceptor != Some(*pid)))
    }

    fn is_held_by(&mut self, holder: Holder) {
        self.holder = Some(holder);
        self.misses = 0;
    }
}

impl OwnerReader {
    /// The owners of these sockets, by inode number, as far as they are known. `now` is the time since any fixed
    /// instant. What could not be read is added to `read_errors`, one line each.
    pub fn read(
        &mut self,
        listeners: &[ListenerHint],
        now: Duration,
        read_errors: &mut Vec<String>,
    ) -> Sorted<u64, Arc<OwnerSample>> {
        self.take_in(listeners, now);
        self.verify(now);
        self.follow_hints(listeners, now);
        read_errors.extend(self.scan(now));
        let owners = self.owners(now);
        let unknown = self.sockets.len().saturating_sub(owners.len());
        read_errors.extend(shortcoming(self.unreadable, unknown));
        owners
    }

    /// Forgets sockets that are closed and adds new ones.
    fn take_in(&mut self, listeners: &[ListenerHint], now: Duration) {
        let are_known = || listeners.iter().all(|hint| self.sockets.contains_key(&hint.inode));
        if listeners.len() == self.sockets.len() && are_known() {
            return;
        }
        let mut known = std::mem::take(&mut self.sockets);
        let new = || Socket { scan_at: now, ..Socket::default() };
        let keep = |hint: &ListenerHint| (hint.inode, known.remove(&hint.inode).unwrap_or_else(new));
        self.sockets = listeners.iter().map(keep).collect();
    }

    /// Checks that owners are still there and still hold their sockets, by one readlink(2) for each socket.
    fn verify(&mut self, now: Duration) {
        let mut held: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        let after = self.sockets.iter_from(self.verified_up_to);
        let sockets = after.chain(self.sockets.iter());
        for (inode, socket) in sockets.take(MOST_VERIFIED.min(self.sockets.len())) {
            self.verified_up_to = inode.saturating_add(1);
            if let Some(holder) = socket.holder {
                held.entry(holder.pid).or_default().push(*inode);
            }
        }
        for (pid, inodes) in held {
            self.verify_process(pid, &inodes, now);
        }
    }

    fn verify_process(&mut self, pid: u32, inodes: &[u64], now: Duration) {
        let process = Process::open(pid);
        let found = process.as_ref().and_then(|process| Some((process, process.identity()?)));
        for inode in inodes {
            let Some(socket) = self.sockets.get_mut(inode) else { continue };
            let holds = |(process, identity): &(&Process, Identity)| {
                let holder = socket.holder.filter(|holder| holder.start_time == identity.start_time);
                holder.is_some_and(|holder| process.holds(holder.descriptor, *inode))
            };
            if !found.as_ref().is_some_and(holds) {
                *socket = Socket { scan_at: now, ..Socket::default() };
            }
        }
        match found {
            Some((process, identity)) => self.refresh(process, identity, now),
            None => drop(self.facts.remove(&pid)),
        }
    }

    /// Reads the facts about a process if they are missing, old or those of another program.
    fn refresh(&mut self, process: &Process, identity: Identity, now: Duration) {
        let fresh =
            |facts: &Facts| facts.identity == identity && now.saturating_sub(facts.read_at) < FACTS_AGE;
        if !self.facts.get(&process.pid).is_some_and(fresh) {
            let user = self.users.name(identity.uid, now);
            let owner = Arc::new(process.facts(&identity, user));
            self.facts.insert(process.pid, Facts { identity, read_at: now, owner });
        }
    }

    /// Looks at the processes that the hooks saw, first those that accept.
    fn follow_hints(&mut self, listeners: &[ListenerHint], now: Duration) {
        self.look_at_hinted(listeners, now, true);
        self.look_at_hinted(listeners, now, false);
    }

    fn look_at_hinted(&mut self, listeners: &[ListenerHint], now: Duration, acceptors: bool) {
        if !self.looks.allows(now) {
            return;
        }
        let mut hinted: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        for hint in listeners {
            let Some(socket) = self.sockets.get(&hint.inode) else { continue };
            let opener = || hint.opened_by.filter(|_| socket.holder.is_none());
            if let Some(pid) = if acceptors { socket.new_acceptor(hint) } else { opener() } {
                hinted.entry(pid).or_default().insert(hint.inode);
            }
        }
        let mut spent = Duration::ZERO;
        for (pid, inodes) in hinted {
            if spent >= SLICE {
                break;
            }
            spent = spent.saturating_add(self.look_at(pid, inodes, acceptors));
        }
        if spent > Duration::ZERO {
            self.looks.charge(now, spent, Duration::ZERO);
        }
    }

    /// Looks for sockets in one process, and from there up to its ancestors; returns how long it took.
    fn look_at(&mut self, pid: u32, inodes: BTreeSet<u64>, is_acceptor: bool) -> Duration {
        let mut scan = Scan::of(vec![pid], inodes);
        scan.go_on(SLICE);
        let mut spent = scan.spent;
        for inode in &scan.wanted {
            let Some(socket) = self.sockets.get_mut(inode) else { continue };
            if is_acceptor {
                socket.acceptor = Some(pid);
            }
            let holder = scan.finds.get(inode).and_then(scan::Find::owner);
            if let Some(holder) = holder.filter(|holder| !holder.manager) {
                socket.is_held_by(first_of_its_line(holder, *inode, &mut spent));
                socket.by_acceptor = is_acceptor;
            }
        }
        spent
    }

    /// Begins a full scan if one is needed and allowed, or goes on with the one that is under way; returns what
    /// went wrong.
    fn scan(&mut self, now: Duration) -> Option<String> {
        let due = |socket: &Socket| socket.is_open_question() && socket.scan_at <= now;
        if self.scan.is_none() && self.scans.allows(now) && self.sockets.values().any(due) {
            let questions = self.sockets.iter().filter(|(_, socket)| socket.is_open_question());
            match Scan::begin(questions.map(|(inode, _)| *inode).collect()) {
                Ok(scan) => self.scan = Some(scan),
                Err(error) => return Some(format!("/proc cannot be listed, owners are not known: {error}")),
            }
        }
        let mut scan = self.scan.take()?;
        let slice = if self.has_scanned { SLICE } else { FIRST_SLICE };
        self.has_scanned = true;
        if scan.go_on(slice) {
            self.scans.charge(now, scan.spent, SCAN_PAUSE);
            self.conclude(&scan, now);
        } else {
            self.scan = Some(scan);
        }
        None
    }

    /// Takes over what a full scan has found.
    fn conclude(&mut self, scan: &Scan, now: Duration) {
        self.unreadable = scan.unreadable;
        for inode in &scan.wanted {
            // A hint may have been quicker.
            let socket = self.sockets.get_mut(inode).filter(|socket| socket.is_open_question());
            let Some(socket) = socket else { continue };
            match scan.finds.get(inode).and_then(scan::Find::owner) {
                Some(holder) => {
                    socket.is_held_by(holder);
                    socket.scan_at = now.saturating_add(MANAGER_AGE);
                }
                None => {
                    socket.holder = None;
                    socket.misses = socket.misses.saturating_add(1).min(MOST_DOUBLINGS);
                    socket.scan_at = now.saturating_add(Duration::from_secs(1 << socket.misses));
                }
            }
        }
    }

    /// What is known of the owners.
    fn owners(&mut self, now: Duration) -> Sorted<u64, Arc<OwnerSample>> {
        let holders: Vec<(u64, Holder)> =
            self.sockets.iter().filter_map(|(inode, socket)| Some((*inode, socket.holder?))).collect();
        let mut owners = Vec::with_capacity(holders.len());
        for (inode, holder) in holders {
            let known = |facts: &&Facts| facts.identity.start_time == holder.start_time;
            if self.facts.get(&holder.pid).filter(known).is_none()
                && let Some(process) = Process::open(holder.pid)
                && let Some(identity) = process.identity()
            {
                self.refresh(&process, identity, now);
            }
            let facts = self.facts.get(&holder.pid).filter(known);
            owners.extend(facts.map(|facts| (inode, Arc::clone(&facts.owner))));
        }
        let own: BTreeSet<u32> = owners.iter().map(|(_, owner): &(_, Arc<OwnerSample>)| owner.pid).collect();
        self.facts.retain(|pid, _| own.contains(pid));
        owners.into_iter().collect()
    }
}

/// The first of a line of ancestors that all hold the socket, and are no service managers.
fn first_of_its_line(mut holder: Holder, inode: u64, spent: &mut Duration) -> Holder {
    for _ in 0..MOST_ANCESTORS {
        match parent_that_holds(holder, inode, spent) {
            Some(parent) if !parent.manager => holder = parent,
            _ => break,
        }
    }
    holder
}

fn parent_that_holds(child: Holder, inode: u64, spent: &mut Duration) -> Option<Holder> {
    let parent = Process::open(child.pid)?.identity()?.parent;
    let process = Process::open(parent)?;
    // fork(2) keeps the numbers of open files.
    if process.holds(child.descriptor, inode) {
        return Some(Holder::new(&process, &process.identity()?, child.descriptor));
    }
    let mut scan = Scan::of(vec![parent], BTreeSet::from([inode]));
    scan.go_on(SLICE);
    *spent = spent.saturating_add(scan.spent);
    scan.finds.get(&inode)?.owner()
}

/// What the scan could not see, in one line, as long as somebody misses it.
fn shortcoming(unreadable: usize, unknown: usize) -> Option<String> {
    (unreadable > 0 && unknown > 0).then(|| {
        format!(
            "/proc/PID/fd of {unreadable} processes is not readable: the owners of {unknown} listeners are not known \
             (no CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or a security module)"
        )
    })
}

#[cfg(test)]
mod tests;
