//! Looking through the open files of all processes for some sockets.
//!
//! A scan may take long, because somebody may have a million files open. It therefore stops when its time is up and
//! goes on from there in the next reading.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    time::{Duration, Instant},
    vec,
};

use rustix::io::Errno;

use super::process::{Descriptors, Identity, Process};

/// One process's way to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    /// When it started: first, because the oldest holder comes before the others.
    pub(super) start_time: u64,
    /// Its number.
    pub(super) pid: u32,
    /// The number of the open file.
    pub(super) descriptor: u32,
    /// Whether it opens sockets for others.
    pub(super) manager: bool,
}

impl Holder {
    pub(super) fn new(process: &Process, identity: &Identity, descriptor: u32) -> Self {
        Self {
            start_time: identity.start_time,
            pid: process.pid,
            descriptor,
            manager: identity.is_service_manager(process.pid),
        }
    }
}

/// Who was found to hold a socket. Of thousands of workers only one is remembered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Find {
    /// The oldest that is no service manager.
    server: Option<Holder>,
    /// The oldest service manager.
    manager: Option<Holder>,
}

impl Find {
    fn add(&mut self, holder: Holder) {
        let oldest = if holder.manager { &mut self.manager } else { &mut self.server };
        *oldest = Some(oldest.map_or(holder, |known| known.min(holder)));
    }

    /// The owner: a service manager only if nobody else holds the socket.
    pub(super) fn owner(&self) -> Option<Holder> {
        self.server.or(self.manager)
    }
}

/// A scan that is under way.
pub(super) struct Scan {
    /// The sockets that are looked for.
    pub(super) wanted: BTreeSet<u64>,
    /// What was found of them.
    pub(super) finds: BTreeMap<u64, Find>,
    /// Processes whose open files may not be read.
    pub(super) unreadable: usize,
    /// How long it has taken so far.
    pub(super) spent: Duration,
    processes: vec::IntoIter<u32>,
    current: Option<Visit>,
}

/// The process that is being looked through.
struct Visit {
    process: Process,
    descriptors: Descriptors,
    /// Read when the first of the sockets is found.
    identity: Option<Identity>,
    /// Which of the sockets it was found to hold so far.
    held: BTreeSet<u64>,
}

/// How many files are looked at between two looks at the clock.
const FILES_AT_ONCE: usize = 256;
/// That many files take a millisecond. What took longer than this is not work: the machine stood still, as when it is moved to
/// another host, and if a second of that were charged nobody would be looked for during the next hundred.
const MOST_OF_A_STEP: Duration = Duration::from_millis(20);

impl Scan {
    /// Begins to look for these sockets in all processes that there are now.
    ///
    /// # Errors
    /// When `/proc` cannot be listed.
    pub(super) fn begin(wanted: BTreeSet<u64>) -> io::Result<Self> {
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")? {
            processes.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(Self::of(processes, wanted))
    }

    /// Begins to look for these sockets in these processes.
    pub(super) fn of(processes: Vec<u32>, wanted: BTreeSet<u64>) -> Self {
        Self {
            wanted,
            finds: BTreeMap::new(),
            unreadable: 0,
            spent: Duration::ZERO,
            processes: processes.into_iter(),
            current: None,
        }
    }

    /// Goes on for about so long, and a step at least; returns whether it has finished.
    pub(super) fn go_on(&mut self, at_most: Duration) -> bool {
        let start = Instant::now();
        let mut before = start;
        loop {
            let finished = self.step();
            let now = Instant::now();
            self.spent = self.spent.saturating_add(now.duration_since(before).min(MOST_OF_A_STEP));
            if finished || now.duration_since(start) >= at_most {
                return finished;
            }
            before = now;
        }
    }

    /// Looks at some more files; returns whether there are no more.
    fn step(&mut self) -> bool {
        let Some(mut visit) = self.current.take() else { return !self.next_process() };
        for _ in 0..FILES_AT_ONCE {
            match visit.descriptors.next() {
                Some(Ok(file)) => {
                    let socket = file.socket.filter(|socket| self.wanted.contains(socket));
                    if let Some(socket) = socket
                        && self.found(&mut visit, socket, file.number)
                    {
                        return false;
                    }
                }
                Some(Err(error)) => {
                    self.unreadable += usize::from(is_refused(error));
                    return false;
                }
                None => return false,
            }
        }
        self.current = Some(visit);
        false
    }

    /// Opens the next process that is still there; returns whether there is one.
    fn next_process(&mut self) -> bool {
        for pid in self.processes.by_ref() {
            let Some(process) = Process::open(pid) else { continue };
            match process.descriptors() {
                Ok(descriptors) => {
                    self.current =
                        Some(Visit { process, descriptors, identity: None, held: BTreeSet::new() });
                    return true;
                }
                Err(error) => self.unreadable += usize::from(is_refused(error)),
            }
        }
        false
    }

    /// Notes that the process holds the socket; returns whether nothing is left to be found in it.
    fn found(&mut self, visit: &mut Visit, socket: u64, descriptor: u32) -> bool {
        if visit.identity.is_none() {
            visit.identity = visit.process.identity();
        }
        // It has ended: so has its hold on anything.
        let Some(identity) = &visit.identity else { return true };
        self.finds.entry(socket).or_default().add(Holder::new(&visit.process, identity, descriptor));
        visit.held.insert(socket);
        visit.held.len() == self.wanted.len()
    }
}

/// Whether a privilege is missing, rather than the process. With CAP_DAC_READ_SEARCH the list of files may be
/// readable and its links not (proc_pid_readlink() of fs/proc/base.c).
fn is_refused(error: Errno) -> bool {
    matches!(error, Errno::ACCESS | Errno::PERM)
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd, process};

    use rustix::fs::fstat;

    use super::*;

    fn scan_to_its_end(processes: Vec<u32>, wanted: &[u64]) -> Scan {
        let mut scan = Scan::of(processes, wanted.iter().copied().collect());
        while !scan.go_on(Duration::from_millis(1)) {}
        scan
    }

    #[test]
    fn sockets_are_found_with_their_holder_even_where_one_is_held_twice() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let again = listeners[0].try_clone().unwrap();
        let inodes = listeners.each_ref().map(|listener| fstat(listener).unwrap().st_ino);
        let scan = scan_to_its_end(vec![u32::MAX, process::id()], &[inodes[0], inodes[1], u64::MAX]);
        for (inode, listener) in inodes.iter().zip(&listeners) {
            let owner = scan.finds[inode].owner().unwrap();
            assert_eq!(owner.pid, process::id());
            let descriptors = [listener.as_raw_fd(), again.as_raw_fd()];
            assert!(descriptors.contains(&i32::try_from(owner.descriptor).unwrap()), "{owner:?}");
        }
        assert_eq!((scan.finds.len(), scan.unreadable), (2, 0));
    }

    #[test]
    fn the_owner_is_the_oldest_holder_and_a_service_manager_only_if_there_is_no_other() {
        let holder = |start_time, pid, manager| Holder { start_time, pid, descriptor: 3, manager };
        let check = |holders: &[Holder], expected: Option<Holder>| {
            let mut find = Find::default();
            holders.iter().for_each(|holder| find.add(*holder));
            assert_eq!(find.owner(), expected, "{holders:?}");
        };
        let (manager, master, worker) = (holder(0, 1, true), holder(7, 90, false), holder(9, 80, false));
        check(&[], None);
        check(&[manager], Some(manager));
        check(&[manager, worker], Some(worker));
        check(&[worker, manager, master], Some(master));
        check(&[holder(7, 91, false), master], Some(master));
    }

    #[test]
    fn a_scan_goes_on_where_it_stopped() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let inode = fstat(&listener).unwrap().st_ino;
        let mut scan = Scan::begin(BTreeSet::from([inode])).unwrap();
        let mut pauses = 0;
        while !scan.go_on(Duration::from_nanos(1)) {
            pauses += 1;
        }
        assert!(pauses > 0);
        assert_eq!(scan.finds[&inode].owner().unwrap().pid, process::id());
        assert!(scan.spent > Duration::ZERO);
    }
}
