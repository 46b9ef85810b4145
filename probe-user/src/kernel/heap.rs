//! Memory that is free, but not the kernel's yet.
use std::{fs, ops::Range};

use rustix::mm::{Advice, madvise};

/// Lets all threads allocate from one heap. Otherwise glibc makes one for every thread that allocates while
/// another does, and each keeps what its largest reading took. The daemon has too few threads to queue for it.
///
/// To be called before there are threads.
pub fn share_one_heap() {
    // SAFETY: takes no pointer. It only limits how many heaps are made from now on.
    let _whether_accepted = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// A piece of memory of this length is mapped alone, and the kernel's again as soon as nobody needs it: the model of some
/// thousand ports. glibc raises that length to 32 MiB after such pieces were freed, and keeps them from then on.
const LARGE: i32 = 2 << 20;

/// Keeps no large piece of memory that is free. To map it anew costs a page fault for each of its pages, which is little
/// beside what is read into it.
pub fn keep_no_large_pieces() {
    for (parameter, length) in [(libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, 2 * LARGE)] {
        // SAFETY: takes no pointer. What was allocated before is freed as it was allocated.
        let _whether_accepted = unsafe { libc::mallopt(parameter, length) };
    }
}

/// Lets the kernel give this process pages of 4 KiB only. Where `transparent_hugepage/enabled` is `always`, khugepaged else
/// puts a page of 2 MiB wherever one small page of it is in use (`max_ptes_none`), and brings all back that was given back.
///
/// To be called before memory is allocated that is to be given back.
pub fn refuse_huge_pages() {
    // SAFETY: takes no pointer. Kernels that have no huge pages refuse, and need not do anything either.
    let _whether_accepted = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

/// Bytes that are allocated: from the heap, and in pieces so large that they are mapped alone (mallinfo2(3)).
#[must_use]
pub fn heap_in_use() -> u64 {
    // SAFETY: takes nothing, and may be called at any time from any thread.
    let info = unsafe { libc::mallinfo2() };
    u64::try_from(info.uordblks.saturating_add(info.hblkhd)).unwrap_or(u64::MAX)
}

/// Gives the allocator's free memory back to the kernel. glibc keeps what was once used for good unless
/// it lies at the end of a heap: the kernel's types at start, a burst of listeners later.
pub fn give_free_memory_back() {
    // SAFETY: takes no pointer, and may be called at any time from any thread.
    let _whether_any_was_given = unsafe { libc::malloc_trim(0) };
}

/// Gives the pages of the program itself back that were read so far. Most of them are of the start (the kernel's types, the
/// eBPF object), and what is still needed comes back from the page cache by itself.
pub fn give_code_back() {
    let Ok(program) = fs::read_link("/proc/self/exe") else { return };
    let Ok(mappings) = fs::read_to_string("/proc/self/smaps") else { return };
    for range in pages_of(&mappings, &program.to_string_lossy()) {
        let length = range.end.saturating_sub(range.start);
        let start = std::ptr::without_provenance_mut(range.start);
        // SAFETY: a mapping of the program's file that cannot be written and never was, so that every page of it is read
        // from the file again when it is needed.
        let _whether_any_was_given = unsafe { madvise(start, length, Advice::LinuxDontNeed) };
    }
}

/// The mappings of a file that cannot be written, and of which no page was changed before that (by relocations).
fn pages_of(mappings: &str, file: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut current: Option<Range<usize>> = None;
    for line in mappings.lines() {
        if let Some(range) = range_of(line) {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let is_fixed = fields.next().is_some_and(|access| matches!(access, "r--p" | "r-xp"));
            current = Some(range).filter(|_| is_fixed && fields.nth(3) == Some(file));
        } else if line.split_ascii_whitespace().eq(["Anonymous:", "0", "kB"]) {
            ranges.extend(current.take());
        }
    }
    ranges
}

/// From a line that begins with `START-END `, in hexadecimal numbers.
fn range_of(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_never_written_is_read_from_the_file_again() {
        let mapping = |range: &str, access: &str, file: &str, changed: u32| {
            format!(
                "{range} {access} 00000000 fe:00 17 {file}\nRss: 8 kB\nAnonymous:      {changed} kB\nVmFlags: rd\n"
            )
        };
        let check = |access: &str, file: &str, changed: u32, expected: Option<Range<usize>>| {
            let text = mapping("1000-3000", access, file, changed) + &mapping("3000-4000", "rw-p", "/a", 0);
            assert_eq!(pages_of(&text, "/a"), Vec::from_iter(expected), "{text}");
        };
        check("r-xp", "/a", 0, Some(0x1000..0x3000));
        check("r--p", "/a", 0, Some(0x1000..0x3000));
        check("r--p", "/a", 4, None);
        check("rw-p", "/a", 0, None);
        check("r-xp", "/b", 0, None);
    }

    #[test]
    fn a_process_that_refuses_huge_pages_gets_none() {
        refuse_huge_pages();
        // SAFETY: takes no pointer.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) }, 1);
    }

    #[test]
    fn the_program_goes_on_without_its_pages() {
        give_code_back();
        assert_eq!(range_of("1000-3000 r--p"), Some(0x1000..0x3000));
        assert_eq!(range_of("Rss: 8 kB"), None);
    }
}
