//! What the kernel says of maps and programs by the descriptors that this process has of them: `/proc/self/fdinfo`.
use std::{fs, fs::File, os::unix::fs::FileExt};

use super::missed_kprobes::MissedKprobes;

/// Kernel memory of all BPF maps that this process holds: the `memlock` lines of `/proc/self/fdinfo`
/// (an estimate before 6.4, exact since `map_mem_usage`). `None` when it cannot be read.
#[must_use]
pub fn map_bytes() -> Option<u64> {
    let files = files_of("map_type")?;
    files.iter().map(|file| Some(number_in(&text_of(file)?, "memlock").unwrap_or(0))).sum()
}

/// Runs of the programs that this process holds that the kernel left out, because the program was
/// already running on the CPU and was interrupted (`bpf_prog_inc_misses_counter()`): events that are
/// counted nowhere. The `recursion_misses` lines of `/proc/self/fdinfo` (5.12). And those of kprobes that were left out
/// before their program was asked (6.7).
#[derive(Debug, Default)]
pub struct SkippedRuns {
    /// The files of the programs, which stay the same once everything is attached.
    files: Vec<File>,
    kprobes: MissedKprobes,
}

impl SkippedRuns {
    /// How many there have been. `None` when it cannot be read.
    pub fn read(&mut self) -> Option<u64> {
        if self.files.is_empty() {
            self.files = files_of("prog_type")?;
        }
        let sum: Option<u64> = self.files.iter().map(|file| of_program(&text_of(file)?)).sum();
        if sum.is_none() {
            // A descriptor is not what it was: they are looked for the next time.
            self.files.clear();
        }
        Some(sum?.saturating_add(self.kprobes.read()))
    }
}

/// Nothing is 0 where the kernel does not tell.
fn of_program(fdinfo: &str) -> Option<u64> {
    is_of(fdinfo, "prog_type").then(|| number_in(fdinfo, "recursion_misses").unwrap_or(0))
}

/// The files of the descriptors of one kind.
fn files_of(kind: &str) -> Option<Vec<File>> {
    let mut files = Vec::new();
    for entry in fs::read_dir("/proc/self/fdinfo").ok()?.flatten() {
        // A descriptor may be gone by now.
        let Ok(file) = File::open(entry.path()) else { continue };
        if text_of(&file).is_some_and(|text| is_of(&text, kind)) {
            files.push(file);
        }
    }
    Some(files)
}

/// More than the kernel ever says of a map or a program.
const MOST_BYTES: usize = 4096;

fn text_of(file: &File) -> Option<String> {
    let mut bytes = [0; MOST_BYTES];
    let length = file.read_at(&mut bytes, 0).ok()?;
    Some(String::from_utf8_lossy(bytes.get(..length)?).into_owned())
}

fn is_of(fdinfo: &str, kind: &str) -> bool {
    value_in(fdinfo, kind).is_some()
}

fn number_in(fdinfo: &str, key: &str) -> Option<u64> {
    value_in(fdinfo, key)?.parse().ok()
}

/// One line of a descriptor's information.
fn value_in<'a>(fdinfo: &'a str, key: &str) -> Option<&'a str> {
    fdinfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':').map(str::trim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_descriptor_is_found_by_its_key() {
        let check =
            |fdinfo: &str, key: &str, expected| assert_eq!(number_in(fdinfo, key), expected, "{fdinfo}");
        check("pos:\t0\nmap_type:\t5\nmemlock:\t4096\n", "memlock", Some(4096));
        check("pos:\t0\nmap_type:\t5\nmemlock:\tmany\n", "memlock", None);
        check("", "memlock", None);
    }

    #[test]
    fn only_programs_have_runs() {
        let check = |fdinfo: &str, expected| assert_eq!(of_program(fdinfo), expected, "{fdinfo}");
        check("prog_type:\t26\nrecursion_misses:\t3\n", Some(3));
        check("prog_type:\t26\n", Some(0));
        check("map_type:\t5\nrecursion_misses:\t3\n", None);
    }

    #[test]
    fn this_process_has_neither_maps_nor_programs() {
        assert_eq!((map_bytes(), SkippedRuns::default().read()), (Some(0), Some(0)));
    }
}
