//! Kprobes and kretprobes that the kernel left out before any program could run.
//!
//! It does so where a CPU is in the middle of another one (`kprobe_running()`), and where it finds no room for the
//! return of a function. What a program counts is then counted nowhere. A link tells how often (`bpf_get_kprobe_info()`
//! in kernel/trace/bpf_trace.c, 6.7); before, nobody knows.
use std::os::fd::RawFd;

use super::handover;

/// `BPF_OBJ_GET_INFO_BY_FD` of `enum bpf_cmd`.
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// `BPF_LINK_TYPE_PERF_EVENT` of `enum bpf_link_type`.
const PERF_EVENT: u32 = 7;
/// `BPF_PERF_EVENT_KPROBE` and `BPF_PERF_EVENT_KRETPROBE` of `enum bpf_perf_event_type`.
const KPROBES: [u32; 2] = [3, 4];

/// `union bpf_attr` of that command.
#[repr(C)]
struct Question {
    descriptor: u32,
    length: u32,
    answer: u64,
}

/// The beginning of `struct bpf_link_info`, of a link to the event of a kprobe.
#[repr(C)]
#[derive(Default)]
struct Answer {
    link_type: u32,
    link: u32,
    program: u32,
    /// The union behind it is aligned to eight bytes.
    padding: u32,
    event_type: u32,
    reserved: u32,
    /// Where the name of the function is wanted, which it is not.
    function: u64,
    function_length: u32,
    offset: u32,
    address: u64,
    missed: u64,
}

/// How often each of this process' kprobes was left out.
#[derive(Debug, Default)]
pub(super) struct MissedKprobes {
    /// Links, and what they said last. They stay the same once everything is attached.
    links: Option<Vec<(RawFd, u64)>>,
}

impl MissedKprobes {
    /// The sum of them, as far as the kernel tells.
    pub(super) fn read(&mut self) -> u64 {
        let found = || {
            let links = handover::links().unwrap_or_default();
            links.into_iter().filter_map(|link| Some((link, missed(link)?))).collect()
        };
        let links = self.links.get_or_insert_with(found);
        for (link, last) in links.iter_mut() {
            *last = missed(*link).unwrap_or(*last);
        }
        links.iter().map(|(_, missed)| missed).sum()
    }
}

/// `None` where it is no link of a kprobe, or may not be asked.
fn missed(link: RawFd) -> Option<u64> {
    let mut answer = Answer::default();
    let question = Question {
        descriptor: link.try_into().ok()?,
        length: size_of::<Answer>().try_into().ok()?,
        answer: (&raw mut answer) as u64,
    };
    // SAFETY: both structures are as the kernel expects them and live until it returns; it writes no more than `length`.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw const question, size_of::<Question>())
    };
    let is_kprobe = answer.link_type == PERF_EVENT && KPROBES.contains(&answer.event_type);
    (result == 0 && is_kprobe).then_some(answer.missed)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_answer_is_laid_out_as_in_the_kernels_header() {
        let union = 16;
        assert_eq!(offset_of!(Answer, event_type), union);
        assert_eq!(offset_of!(Answer, function), union + 8);
        assert_eq!(offset_of!(Answer, address), union + 24);
        assert_eq!(offset_of!(Answer, missed), union + 32);
    }

    #[test]
    fn what_is_no_link_has_missed_nothing() {
        assert_eq!(missed(-1), None);
        assert_eq!(missed(0), None);
        assert_eq!(MissedKprobes::default().read(), 0);
    }
}
