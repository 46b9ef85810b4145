//! Owners of this process's own sockets; other processes are looked at in `tests/scenarios/owners.rs`.
use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    os::fd::{AsFd, OwnedFd},
    process::{self, Child, Command, Stdio},
};

use rustix::{
    fs::fstat,
    process::{Pid, Signal, kill_process},
};

use super::*;

/// Far enough from the last scan, whatever that took.
const LATER: Duration = Duration::from_hours(1);

fn hint(socket: impl AsFd) -> ListenerHint {
    ListenerHint { inode: fstat(socket).unwrap().st_ino, ..ListenerHint::default() }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Reads until no scan is under way.
fn read(reader: &mut OwnerReader, hints: &[ListenerHint], now: Duration) -> Sorted<u64, Arc<OwnerSample>> {
    loop {
        let owners = reader.read(hints, now, &mut Vec::new());
        if reader.scan.is_none() {
            return owners;
        }
    }
}

fn pid_of(owners: &Sorted<u64, Arc<OwnerSample>>, hint: &ListenerHint) -> Option<u32> {
    owners.get(&hint.inode).map(|owner| owner.pid)
}

#[test]
fn the_owner_of_a_socket_of_this_process_is_this_process() {
    let listener = listener();
    let hint = hint(&listener);
    let owners = read(&mut OwnerReader::default(), &[hint], Duration::ZERO);
    let owner = owners.get(&hint.inode).unwrap();
    assert_eq!(owner.pid, process::id());
    assert!(owner.user.is_some());
}

#[test]
fn a_socket_that_is_new_right_after_a_scan_waits_for_the_next_unless_there_is_a_hint() {
    let check = |give: fn(&mut ListenerHint), found: bool| {
        let mut reader = OwnerReader::default();
        let (first, second) = (listener(), listener());
        let (first, mut second) = (hint(&first), hint(&second));
        read(&mut reader, &[first], Duration::ZERO);
        give(&mut second);
        let owners = read(&mut reader, &[first, second], Duration::from_millis(1));
        assert_eq!(pid_of(&owners, &second), found.then(process::id));
        assert_eq!(pid_of(&owners, &first), Some(process::id()));
        let owners = read(&mut reader, &[first, second], LATER);
        assert_eq!(pid_of(&owners, &second), Some(process::id()));
    };
    check(|_| (), false);
    check(|hint| hint.opened_by = Some(process::id()), true);
    check(|hint| hint.accepted_by = Some(process::id()), true);
    // Whoever it was does not hold the socket.
    check(|hint| hint.opened_by = Some(1), false);
    check(|hint| hint.accepted_by = Some(u32::MAX), false);
}

/// A process that holds a socket as its standard input; it ends with the test.
struct Sleeper(Child);

impl Sleeper {
    fn of(listener: &TcpListener) -> Self {
        let socket: OwnedFd = listener.try_clone().unwrap().into();
        Self(Command::new("sleep").arg("600").stdin(socket).spawn().unwrap())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn of_a_server_that_forks_the_process_that_has_the_socket_from_nobody_is_the_owner() {
    let listener = listener();
    let (worker, other) = (Sleeper::of(&listener), Sleeper::of(&listener));
    let hint = hint(&listener);
    let mut reader = OwnerReader::default();
    for accepted_by in [None, Some(worker.0.id()), Some(other.0.id())] {
        let hint = ListenerHint { accepted_by, ..hint };
        assert_eq!(pid_of(&read(&mut reader, &[hint], Duration::ZERO), &hint), Some(process::id()));
        let hinted_from_the_start = read(&mut OwnerReader::default(), &[hint], Duration::ZERO);
        assert_eq!(pid_of(&hinted_from_the_start, &hint), Some(process::id()));
    }
    drop(listener);
    // Of two that are left it is the one that accepts, and it is seen without a scan.
    let hint = ListenerHint { accepted_by: Some(other.0.id()), ..hint };
    assert_eq!(pid_of(&read(&mut reader, &[hint], LATER), &hint), Some(other.0.id()));
}

#[test]
fn who_accepts_is_the_owner_rather_than_an_older_process_that_only_holds_the_socket() {
    let listener = listener();
    // Its parent ends: it is nobody's worker. What starts it says its number.
    let script = "exec 3<&0; sleep 600 <&3 >/dev/null & echo $!";
    let socket: OwnedFd = listener.try_clone().unwrap().into();
    let mut shell =
        Command::new("sh").args(["-c", script]).stdin(socket).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
    shell.wait().unwrap();
    let server: u32 = line.trim().parse().unwrap();

    let hint = hint(&listener);
    let mut reader = OwnerReader::default();
    let before = read(&mut reader, &[hint], Duration::ZERO);
    let hint = ListenerHint { accepted_by: Some(server), ..hint };
    let after = read(&mut reader, &[hint], Duration::from_millis(1));
    let pid = Pid::from_raw(i32::try_from(server).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(pid_of(&before, &hint), Some(process::id()));
    assert_eq!(pid_of(&after, &hint), Some(server));
}

#[test]
fn an_owner_is_verified_by_the_file_that_it_was_found_by() {
    let mut reader = OwnerReader::default();
    let first = listener();
    let hint = hint(&first);
    read(&mut reader, &[hint], Duration::ZERO);
    let second = first.try_clone().unwrap();
    drop(first);
    // The old file is closed, and it is too early to look for the new one.
    assert_eq!(pid_of(&read(&mut reader, &[hint], Duration::from_millis(1)), &hint), None);
    assert_eq!(pid_of(&read(&mut reader, &[hint], LATER), &hint), Some(process::id()));
    drop(second);
    assert_eq!(pid_of(&read(&mut reader, &[hint], LATER * 2), &hint), None);
}

#[test]
fn owners_of_many_sockets_are_verified_in_turn() {
    let mut reader = OwnerReader::default();
    let gone = Holder { start_time: 0, pid: u32::MAX, descriptor: 3, manager: false };
    let count = u64::try_from(3 * MOST_VERIFIED).unwrap();
    let socket = |inode| (inode, Socket { holder: Some(gone), ..Socket::default() });
    reader.sockets = (0..count).map(socket).collect();
    let mut known = Vec::new();
    for _ in 0..3 {
        reader.verify(Duration::ZERO);
        known.push(reader.sockets.values().filter(|socket| socket.holder.is_some()).count());
    }
    assert_eq!(known, [2 * MOST_VERIFIED, MOST_VERIFIED, 0]);
}

#[test]
fn sockets_that_are_closed_are_forgotten_with_what_is_known_of_their_owners() {
    let mut reader = OwnerReader::default();
    let listener = listener();
    read(&mut reader, &[hint(&listener)], Duration::ZERO);
    assert_eq!((reader.sockets.len(), reader.facts.len()), (1, 1));
    assert!(read(&mut reader, &[], Duration::from_secs(1)).is_empty());
    assert_eq!((reader.sockets.len(), reader.facts.len()), (0, 0));
}

#[test]
fn what_nobody_holds_is_looked_for_less_and_less_often() {
    let mut reader = OwnerReader::default();
    let nobodys = ListenerHint { inode: u64::MAX, ..ListenerHint::default() };
    let mut now = Duration::ZERO;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(read(&mut reader, &[nobodys], now).is_empty());
        let next = reader.sockets.get(&u64::MAX).unwrap().scan_at;
        pauses.push((next - now).as_secs());
        // The pace has its own say.
        now = next.max(reader.scans.not_before);
    }
    assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 64, 64]);
}

#[test]
fn looking_takes_a_hundredth_of_the_time() {
    let check = |spent: u64, at_least: u64, expected: u64| {
        let mut pace = Pace::default();
        let (now, expected) = (Duration::from_millis(10), Duration::from_millis(expected));
        assert!(pace.allows(now));
        pace.charge(now, Duration::from_millis(spent), Duration::from_millis(at_least));
        assert!(!pace.allows(expected - Duration::from_nanos(1)) && pace.allows(expected), "{spent}");
    };
    check(1, 1000, 1011);
    check(30, 1000, 3040);
    check(1, 0, 111);
}

#[test]
fn processes_that_cannot_be_read_are_a_complaint_only_while_an_owner_is_missing() {
    let check = |unreadable: usize, unknown: usize, expected: &[&str]| {
        let line = shortcoming(unreadable, unknown).unwrap_or_default();
        assert!(expected.iter().all(|part| line.contains(part)), "{line}");
        assert_eq!(line.is_empty(), expected.is_empty(), "{line}");
    };
    check(0, 0, &[]);
    check(3, 0, &[]);
    check(0, 3, &[]);
    check(3, 2, &["of 3 processes", "of 2 listeners", "CAP_SYS_PTRACE"]);
}
