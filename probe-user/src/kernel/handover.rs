//! Maps, programs and links as descriptors: somebody else can keep them while this process is gone, and as long as he
//! does the hooks go on counting.
//!
//! Everything that is attached is open in this process and nothing else of its kind is: so what has to be kept is found
//! in `/proc/self/fd`, by the names that the kernel gives to files without a path (`anon_inode_getfd()` in
//! kernel/bpf/syscall.c and kernel/events/core.c). A link holds its program, and the event of a kprobe before 5.15, which
//! has no link, does, too.
use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

use aya::maps::{Map, MapData};
use serde::{Deserialize, Serialize};

use super::{maps::ProbeMaps, one_line, retirement::Retirement};

/// How long the arrays are that are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Rows.
    pub(super) rows: u32,
    /// Rows of all CPUs.
    pub(super) total_entries: u32,
}

impl Layout {
    /// How many listeners are told apart.
    #[must_use]
    pub const fn rows(&self) -> u32 {
        self.rows
    }
}

/// What kind of thing a descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Kind {
    Map,
    Program,
    Link,
    Event,
}

impl Kind {
    /// From the name of a file as `/proc/self/fd` has it.
    fn from_name(name: &str) -> Option<Self> {
        match name.strip_prefix("anon_inode:")?.trim_matches(['[', ']']) {
            "bpf-map" => Some(Self::Map),
            "bpf-prog" => Some(Self::Program),
            "bpf_link" | "bpf-link" => Some(Self::Link),
            "perf_event" => Some(Self::Event),
            _ => None,
        }
    }

    fn of(descriptor: RawFd) -> Option<Self> {
        Self::from_name(fs::read_link(format!("/proc/self/fd/{descriptor}")).ok()?.to_str()?)
    }
}

/// How many there are of each kind: if one is missing, something is no longer attached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory(BTreeMap<Kind, usize>);

impl Inventory {
    /// Counts descriptors.
    #[must_use]
    pub fn of(descriptors: &[OwnedFd]) -> Self {
        let mut counts = BTreeMap::new();
        for kind in descriptors.iter().filter_map(|descriptor| Kind::of(descriptor.as_raw_fd())) {
            *counts.entry(kind).or_default() += 1;
        }
        Self(counts)
    }
}

/// The numbers of this process' descriptors of links.
pub(super) fn links() -> io::Result<Vec<RawFd>> {
    numbers(|kind| kind == Kind::Link)
}

fn numbers(are_wanted: impl Fn(Kind) -> bool) -> io::Result<Vec<RawFd>> {
    let mut numbers: Vec<RawFd> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()));
    }
    numbers.retain(|number| Kind::of(*number).is_some_and(&are_wanted));
    Ok(numbers)
}

/// A second descriptor of everything that is attached.
///
/// # Errors
/// When `/proc/self/fd` cannot be read, or there is no room for more descriptors.
pub fn attached() -> io::Result<Vec<OwnedFd>> {
    // All numbers first: a second descriptor is in the folder as well.
    let numbers = numbers(|_| true)?;
    let twice = |number: &RawFd| {
        // SAFETY: it was open an instant ago. Only this thread attaches and detaches, so it still is; if it were not,
        // the kernel would refuse to duplicate it, or duplicate what took its number, which is as good as another.
        let borrowed = unsafe { BorrowedFd::borrow_raw(*number) };
        borrowed.try_clone_to_owned()
    };
    numbers.iter().map(twice).collect()
}

/// Goes on with what was attached by a process before this one. `retirement` is how far that one was.
///
/// # Errors
/// In one line, when something that is needed is not there or cannot be used.
pub fn adopt(descriptors: Vec<OwnedFd>, layout: Layout, retirement: Retirement) -> Result<ProbeMaps, String> {
    let mut maps = BTreeMap::new();
    for descriptor in descriptors.iter().filter(|one| Kind::of(one.as_raw_fd()) == Some(Kind::Map)) {
        let again = descriptor.try_clone().map_err(|error| format!("no room for a descriptor: {error}"))?;
        let map = MapData::from_fd(again).map_err(|error| one_line::chain(&error))?;
        let info = map.info().map_err(|error| one_line::chain(&error))?;
        let name = info.name_as_str().unwrap_or_default().to_owned();
        maps.insert(name, Map::from_map_data(map).map_err(|error| one_line::chain(&error))?);
    }
    ProbeMaps::adopt(maps, descriptors, layout, retirement).map_err(|error| one_line::chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_name_what_has_no_path() {
        let check = |name: &str, kind: Option<Kind>| assert_eq!(Kind::from_name(name), kind, "{name}");
        check("anon_inode:bpf-map", Some(Kind::Map));
        check("anon_inode:bpf-prog", Some(Kind::Program));
        check("anon_inode:bpf_link", Some(Kind::Link));
        check("anon_inode:[perf_event]", Some(Kind::Event));
        check("anon_inode:[eventpoll]", None);
        check("socket:[4711]", None);
        check("/dev/null", None);
    }
}
