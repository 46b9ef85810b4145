//! Finding the network namespaces: the processes of `/proc` and the bind mounts of `ip netns`.
//!
//! A namespace that has neither a process nor a bind mount (only an open descriptor or a socket keeps
//! it) is not found; no interface of the kernel lists those. Of a process only the main thread is looked
//! at: one readlink(2) per process and scrape is the price that is paid. Of the calling process every
//! thread is: a self-test lives in a namespace in which nothing but one of its threads is.
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

use super::{DiscoverError, NetworkNamespace, OWN_NAMESPACE, is_gone};

/// The most namespaces that are visited; what is past it is counted in [`Discovery::past_budget`].
pub const NAMESPACE_BUDGET: usize = 4096;

/// The most ways in that are remembered of one namespace.
const ENTRANCES_PER_NAMESPACE: usize = 4;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The namespaces, the caller's own first, the others by inode number; at most [`NAMESPACE_BUDGET`].
    pub namespaces: Vec<NetworkNamespace>,
    /// Namespaces that were found but are past [`NAMESPACE_BUDGET`].
    pub past_budget: usize,
    /// Processes whose namespace may not be read: a namespace of theirs may be missing.
    pub unreadable_processes: usize,
    /// Why there are no bind mounts in the list, in one line.
    pub mounts_error: Option<String>,
}

/// Lists the network namespaces of the host as far as this process can see them.
///
/// # Errors
/// When the caller's own namespace cannot be told.
pub fn discover() -> Result<Discovery, DiscoverError> {
    let mut finds = Finds::new(own_inum()?);
    let mounts_error = match fs::read("/proc/self/mountinfo") {
        Ok(mountinfo) => {
            decode_mountinfo(&mountinfo).for_each(|(inum, path)| finds.add(inum, path));
            None
        }
        Err(cause) => {
            Some(format!("/proc/self/mountinfo cannot be read ({cause}): named namespaces may be missing"))
        }
    };
    let unreadable_processes = add_processes(&mut finds);
    // Last: a thread that only visits a namespace must not take the place of a process that lives there.
    add_own_threads(&mut finds);
    Ok(Discovery { unreadable_processes, mounts_error, ..finds.finish() })
}

/// The inode number of the calling thread's network namespace.
pub(crate) fn own_inum() -> Result<u32, DiscoverError> {
    let link = fs::read_link(OWN_NAMESPACE).map_err(|cause| DiscoverError::Own { cause })?;
    let link = link.to_string_lossy();
    decode_link(&link).ok_or_else(|| DiscoverError::OwnLink { link: link.into_owned() })
}

/// Adds the namespace of every process; returns how many may not be read.
fn add_processes(finds: &mut Finds) -> usize {
    let mut unreadable = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let path = entry.path().join("ns/net");
        match fs::read_link(&path) {
            Ok(link) => {
                if let Some(inum) = link.to_str().and_then(decode_link) {
                    finds.add(inum, path);
                }
            }
            // It ended since, or is a zombie, which is in no namespace any more.
            Err(error) if is_gone(&error) => {}
            Err(error) => unreadable += usize::from(error.kind() == io::ErrorKind::PermissionDenied),
        }
    }
    unreadable
}

/// Adds the namespace of every thread of the calling process.
fn add_own_threads(finds: &mut Finds) {
    for entry in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let path = entry.path().join("ns/net");
        // A thread that has ended since is in no namespace; others of one's own may always be read.
        let link = fs::read_link(&path).ok();
        if let Some(inum) = link.as_deref().and_then(Path::to_str).and_then(decode_link) {
            finds.add(inum, path);
        }
    }
}

/// The inode number in a link of the form `net:[4026531840]` (ns_get_name() of fs/nsfs.c).
fn decode_link(link: &str) -> Option<u32> {
    link.strip_prefix("net:[")?.strip_suffix(']')?.parse().ok()
}

/// The network namespaces that are bind-mounted, with their mount points: lines of
/// `/proc/self/mountinfo` (show_mountinfo() of fs/proc_namespace.c) whose file system is nsfs.
fn decode_mountinfo(mountinfo: &[u8]) -> impl Iterator<Item = (u32, PathBuf)> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(decode_mount)
}

/// One line: number, parent, device, root, mount point, options, optional fields, `-`, file system.
fn decode_mount(line: &[u8]) -> Option<(u32, PathBuf)> {
    let mut fields = line.split(|byte| *byte == b' ');
    let root = fields.nth(3)?;
    let mount_point = fields.next()?;
    fields.find(|field| *field == b"-")?;
    if fields.next()? != b"nsfs" {
        return None;
    }
    let inum = decode_link(str::from_utf8(root).ok()?)?;
    Some((inum, PathBuf::from(OsString::from_vec(unescape(mount_point)))))
}

/// Undoes mangle_path() of fs/seq_file.c: blank, tab, newline and backslash are `\` and three octal
/// digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    bytes
}

/// The namespaces found so far.
struct Finds {
    own: u32,
    entrances: BTreeMap<u32, Vec<PathBuf>>,
    past_budget: BTreeSet<u32>,
}

impl Finds {
    fn new(own: u32) -> Self {
        // The own namespace has its place whatever else is found.
        Self { own, entrances: BTreeMap::from([(own, Vec::new())]), past_budget: BTreeSet::new() }
    }

    /// Notes that `path` leads to the namespace `inum`.
    fn add(&mut self, inum: u32, path: PathBuf) {
        if self.entrances.len() >= NAMESPACE_BUDGET && !self.entrances.contains_key(&inum) {
            self.past_budget.insert(inum);
            return;
        }
        let entrances = self.entrances.entry(inum).or_default();
        if entrances.len() < ENTRANCES_PER_NAMESPACE {
            entrances.push(path);
        }
    }

    fn finish(self) -> Discovery {
        let own = self.own;
        let mut namespaces: Vec<_> = self
            .entrances
            .into_iter()
            .map(|(inum, entrances)| NetworkNamespace { inum, entrances, own: inum == own })
            .collect();
        namespaces.sort_by_key(|namespace| (!namespace.own, namespace.inum));
        Discovery { namespaces, past_budget: self.past_budget.len(), ..Discovery::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_inode_number_is_read_from_the_link() {
        let check = |link: &str, expected: Option<u32>| assert_eq!(decode_link(link), expected, "{link}");
        check("net:[4026531840]", Some(4_026_531_840));
        check("mnt:[4026531840]", None);
        check("net:[]", None);
        check("net:[4294967296]", None);
        check("net:[1", None);
        check("", None);
    }

    #[test]
    fn bind_mounted_namespaces_are_found_in_mountinfo() {
        let check = |line: &str, expected: &[(u32, &str)]| {
            let found: Vec<_> = decode_mountinfo(line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|(inum, path)| (*inum, PathBuf::from(path))).collect();
            assert_eq!(found, expected, "{line}");
        };
        check("", &[]);
        check(
            "613 28 0:4 net:[4026532277] /run/netns/blue rw shared:3 master:1 - nsfs nsfs rw\n",
            &[(4_026_532_277, "/run/netns/blue")],
        );
        check("613 28 0:4 net:[7] /run/a\\040b rw - nsfs nsfs rw", &[(7, "/run/a b")]);
        check("613 28 0:4 net:[7] /run/a\\134040 rw - nsfs nsfs rw", &[(7, "/run/a\\040")]);
        check("613 28 0:4 mnt:[7] /run/mnt rw - nsfs nsfs rw", &[]);
        check("613 28 0:4 net:[7] /looks/like/it rw - ext4 /dev/sda rw", &[]);
        check("613 28 0:4 net:[7] /run/netns/cut rw shared:3", &[]);
    }

    #[test]
    fn a_namespace_is_listed_once_with_a_few_ways_in_and_the_own_one_first() {
        let mut finds = Finds::new(9);
        for number in 0..10 {
            finds.add(3, PathBuf::from(format!("/proc/{number}/ns/net")));
            finds.add(9, PathBuf::from(format!("/proc/{number}/ns/net")));
        }
        let discovery = finds.finish();
        let order: Vec<_> = discovery.namespaces.iter().map(|found| (found.inum, found.own)).collect();
        assert_eq!(order, [(9, true), (3, false)]);
        assert!(discovery.namespaces.iter().all(|found| found.entrances.len() == ENTRANCES_PER_NAMESPACE));
    }

    #[test]
    fn what_is_past_the_budget_is_counted_once_and_the_own_namespace_is_never_past_it() {
        let mut finds = Finds::new(u32::MAX);
        let budget = u32::try_from(NAMESPACE_BUDGET).unwrap();
        for inum in (0..budget + 5).chain(0..budget + 5) {
            finds.add(inum, PathBuf::from("/proc/1/ns/net"));
        }
        let discovery = finds.finish();
        assert_eq!(discovery.namespaces.len(), NAMESPACE_BUDGET);
        assert_eq!(discovery.past_budget, 6);
        assert_eq!(discovery.namespaces[0].inum, u32::MAX);
    }

    #[test]
    fn the_namespace_of_this_process_is_found() {
        let discovery = discover().unwrap();
        assert_eq!(discovery.namespaces[0].inum, own_inum().unwrap());
        assert!(discovery.namespaces[0].is_own());
    }

    #[test]
    fn the_threads_of_this_process_are_ways_into_their_namespaces() {
        let mut finds = Finds::new(0);
        thread::scope(|scope| {
            let (end, ended) = channel::<()>();
            scope.spawn(move || ended.recv());
            add_own_threads(&mut finds);
            drop(end);
        });
        let entrances = finds.entrances.get(&own_inum().unwrap()).map(Vec::as_slice).unwrap_or_default();
        // This one and the other; the test harness has more.
        assert!(entrances.len() >= 2, "{entrances:?}");
        assert!(entrances.iter().all(|path| path.starts_with("/proc/self/task")));
    }

    proptest! {
        #[test]
        fn no_mountinfo_makes_the_decoder_panic(bytes: Vec<u8>) {
            let _ = decode_mountinfo(&bytes).count();
        }

        #[test]
        fn no_mount_point_is_changed_by_escaping_and_back(path in "[ -~\t\n]{0,40}") {
            let escaped = path.bytes().flat_map(|byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                _ => vec![byte],
            });
            let escaped: Vec<u8> = escaped.collect();
            prop_assert_eq!(unescape(&escaped), path.into_bytes());
        }
    }
}
