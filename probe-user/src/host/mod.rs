//! Facts about the host: what is there, not what it means. Unknown is not false.
pub mod capabilities;

use std::{fs, thread};

use probe_common::settings::AddressRange;

use crate::plan::{
    decide::KernelFacts, discard_sites::discard_sites, kernel_types::KernelTypes, offsets::ResolvedOffsets,
};

/// The running kernel's types.
pub const BTF_FILE: &str = "/sys/kernel/btf/vmlinux";
/// The running kernel's symbols.
const KALLSYMS_FILE: &str = "/proc/kallsyms";
/// The CPUs that may ever be there, as `0-3` or `0,2-5`.
const POSSIBLE_CPUS_FILE: &str = "/sys/devices/system/cpu/possible";

/// The release of the running kernel, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Reads what a plan is decided from. `listeners`: how many sockets listen now, in all network namespaces.
///
/// # Errors
/// One line when the kernel has no BTF or one that cannot be parsed: nothing can be attached then.
pub fn kernel_facts(listeners: usize) -> Result<KernelFacts, String> {
    thread::scope(|scope| {
        let discard_sites = scope.spawn(read_discard_sites);
        let bytes = fs::read(BTF_FILE).map_err(|error| {
            format!("{BTF_FILE}: {error}: BPF needs a kernel built with CONFIG_DEBUG_INFO_BTF")
        })?;
        let types = KernelTypes::parse(&bytes).map_err(|error| format!("{BTF_FILE}: {error}"))?;
        Ok(KernelFacts {
            resolved: ResolvedOffsets::resolve(&types),
            types,
            discard_sites: discard_sites
                .join()
                .unwrap_or_else(|_| Err(format!("reading {KALLSYMS_FILE} panicked"))),
            possible_cpus: possible_cpus(),
            listeners,
        })
    })
}

/// The code that frees packets for listeners, from the kernel's symbols.
fn read_discard_sites() -> Result<Vec<AddressRange>, String> {
    let kallsyms = fs::read(KALLSYMS_FILE)
        .map_err(|error| format!("{KALLSYMS_FILE}: {error}: a service needs kernel-addresses.conf for it"))?;
    discard_sites(&String::from_utf8_lossy(&kallsyms))
}

/// The number of possible CPUs; 1 when the file says nothing that can be understood.
#[must_use]
pub fn possible_cpus() -> usize {
    fs::read_to_string(POSSIBLE_CPUS_FILE).ok().and_then(|text| count_cpus(&text)).unwrap_or(1)
}

/// One more than the highest number in a list like `0,2-5`: numbers in between may be nobody's.
fn count_cpus(list: &str) -> Option<usize> {
    list.trim().split(',').try_fold(0_usize, |count, part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then(|| last.checked_add(1).map(|next| count.max(next)))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_of_a_list_are_counted_with_those_that_it_leaves_out() {
        let check = |list: &str, expected| assert_eq!(count_cpus(list), expected, "{list}");
        check("0\n", Some(1));
        check("0-3\n", Some(4));
        check("0,2-5,9\n", Some(10));
        check("", None);
        check("5-2", None);
        check("0-18446744073709551615", None);
        check("zero", None);
    }
}
