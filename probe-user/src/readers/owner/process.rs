//! One process: a folder of `/proc` that is opened once, so that everything that is read of it is of the same
//! process, even if its number is given to another one meanwhile.
use std::{ffi::CStr, fs::File, io::Read, mem::MaybeUninit, os::fd::OwnedFd};

use procfs::{FromRead, process::Stat};
use rustix::{
    fs::{CWD, Dir, Mode, OFlags, fstat, openat, readlinkat_raw},
    io::{Errno, Result},
};

use super::{cgroup, command, text::clean};
use crate::sample::OwnerSample;

/// The most of a command line that is looked at. A Java class path alone may take a hundred kilobytes, and the
/// main class comes after it.
const MOST_COMMAND_LINE: u64 = 1 << 20;

/// The most of `/proc/PID/cgroup`: a path per hierarchy.
const MOST_CGROUPS: u64 = 64 << 10;

/// The most of `/proc/PID/stat`: 52 numbers and a name.
const MOST_STAT: u64 = 4 << 10;

/// Room for the target of any link that is a socket: `socket:[4294967295]`.
const LINK: [MaybeUninit<u8>; 32] = [MaybeUninit::uninit(); 32];

/// A process that was there when this was opened.
pub(super) struct Process {
    /// Its number.
    pub(super) pid: u32,
    folder: OwnedFd,
}

/// What a process is known by, and what tells that it has become another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Ticks between the boot and its start: with the number it names one process for good.
    pub(super) start_time: u64,
    /// Its parent.
    pub(super) parent: u32,
    /// Its name, as in `/proc/PID/comm`.
    pub(super) name: String,
    /// Its effective user.
    pub(super) uid: u32,
}

impl Identity {
    /// Whether it opens sockets for others: the system's first process, and systemd on behalf of a user.
    pub(super) fn is_service_manager(&self, pid: u32) -> bool {
        pid == 1 || self.name == "systemd"
    }
}

impl Process {
    /// Opens it; `None` when it has ended.
    pub(super) fn open(pid: u32) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, format!("/proc/{pid}"), flags, Mode::empty()).ok()?;
        Some(Self { pid, folder })
    }

    /// `/proc/PID/stat` (do_task_stat() of fs/proc/array.c), and the owner of the folder, which is the
    /// effective user (task_dump_owner() of fs/proc/base.c); `None` when it has ended.
    pub(super) fn identity(&self) -> Option<Identity> {
        let stat = Stat::from_read(self.read("stat", MOST_STAT)?.as_slice()).ok()?;
        let uid = fstat(&self.folder).ok()?.st_uid;
        Some(Identity {
            start_time: stat.starttime,
            parent: u32::try_from(stat.ppid).unwrap_or_default(),
            name: clean(stat.comm.as_bytes()).unwrap_or_default(),
            uid,
        })
    }

    /// Everything that is shown of it. The kernel does not know its user's name.
    pub(super) fn facts(&self, identity: &Identity, user: String) -> OwnerSample {
        let command = command::decode(&self.read("cmdline", MOST_COMMAND_LINE).unwrap_or_default());
        let membership = cgroup::decode(&self.read("cgroup", MOST_CGROUPS).unwrap_or_default());
        OwnerSample {
            pid: self.pid,
            process: identity.name.clone(),
            command: command.notable,
            application: command.application.map(str::to_owned),
            unit: membership.unit,
            container: membership.container,
            pod: membership.pod,
            user: Some(user),
        }
    }

    /// Whether this descriptor of its is this socket.
    pub(super) fn holds(&self, descriptor: u32, inode: u64) -> bool {
        let mut link = LINK;
        let path = format!("fd/{descriptor}");
        readlinkat_raw(&self.folder, path, &mut link).is_ok_and(|(link, _)| socket_inode(link) == Some(inode))
    }

    /// Its open files.
    pub(super) fn descriptors(&self) -> Result<Descriptors> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(&self.folder, "fd", flags, Mode::empty())?;
        let entries = Dir::read_from(&folder)?;
        Ok(Descriptors { folder, entries })
    }

    fn read(&self, name: &str, most: u64) -> Option<Vec<u8>> {
        let file = openat(&self.folder, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }
}

/// The open files of a process, one after the other: `/proc/PID/fd` (proc_readfd() of fs/proc/fd.c).
pub(super) struct Descriptors {
    folder: OwnedFd,
    entries: Dir,
}

/// One open file.
pub(super) struct Descriptor {
    /// Its number.
    pub(super) number: u32,
    /// The socket that it is, if it is one.
    pub(super) socket: Option<u64>,
}

impl Iterator for Descriptors {
    type Item = Result<Descriptor>;

    /// A link that may not be read ends the listing; one that is closed meanwhile is passed over.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let entry = match self.entries.next()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error)),
            };
            // The folder itself and the one above.
            let Some(number) = decimal(entry.file_name()) else { continue };
            let mut link = LINK;
            match readlinkat_raw(&self.folder, entry.file_name(), &mut link) {
                Ok((link, _)) => return Some(Ok(Descriptor { number, socket: socket_inode(link) })),
                Err(Errno::NOENT | Errno::SRCH) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn decimal(name: &CStr) -> Option<u32> {
    name.to_str().ok()?.parse().ok()
}

/// The inode number in a link of the form `socket:[12345]` (sockfs_dname() of net/socket.c).
fn socket_inode(link: &[u8]) -> Option<u64> {
    str::from_utf8(link.strip_prefix(b"socket:[")?.strip_suffix(b"]")?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsRawFd, process};

    use super::*;

    #[test]
    fn only_a_link_to_a_socket_has_its_inode() {
        let check = |link: &[u8], expected: Option<u64>| assert_eq!(socket_inode(link), expected, "{link:?}");
        check(b"socket:[12345]", Some(12_345));
        check(b"socket:[4294967295]", Some(4_294_967_295));
        check(b"socket:[1", None);
        check(b"socket:[]", None);
        check(b"socket:[x]", None);
        check(b"pipe:[12345]", None);
        check(b"/tmp/socket:[12345]", None);
        check(b"", None);
    }

    #[test]
    fn this_process_holds_its_own_listener_until_it_is_closed() {
        let process = Process::open(process::id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = u32::try_from(listener.as_raw_fd()).unwrap();
        let found = process.descriptors().unwrap().map(Result::unwrap).find(|file| file.number == number);
        let inode = found.unwrap().socket.unwrap();
        assert!(process.holds(number, inode));
        assert!(!process.holds(number, inode + 1));
        drop(listener);
        assert!(!process.holds(number, inode));
    }

    #[test]
    fn this_process_is_described() {
        let process = Process::open(process::id()).unwrap();
        let identity = process.identity().unwrap();
        let facts = process.facts(&identity, "somebody".to_owned());
        assert_eq!((facts.pid, facts.process.as_str()), (process::id(), identity.name.as_str()));
        assert_eq!(facts.user.as_deref(), Some("somebody"));
        let command = facts.command.unwrap();
        // The name is cut to 15 bytes.
        assert!(command.starts_with(&identity.name), "{command}");
        assert_eq!(process.identity().unwrap(), identity);
    }

    #[test]
    fn who_opens_sockets_for_others_is_known_by_number_or_name() {
        let check = |pid: u32, name: &str, expected: bool| {
            let identity = Identity { start_time: 0, parent: 1, name: name.to_owned(), uid: 0 };
            assert_eq!(identity.is_service_manager(pid), expected, "{pid} {name}");
        };
        check(1, "init", true);
        check(77, "systemd", true);
        check(77, "systemd-resolve", false);
        check(77, "nginx", false);
    }

    #[test]
    fn a_process_that_is_not_there_is_no_error() {
        assert!(Process::open(u32::MAX).is_none());
    }
}
