//! Where the code lies that adds the packets which it frees to a listener's `sk_drops`.
use probe_common::settings::{AddressRange, DISCARD_SITES};

/// `discard_and_relse` of the two receive functions, and `tcp_drop_reason()` with its caller
/// (inlined there in some builds).
const FUNCTIONS: [&str; 4] = ["tcp_v4_rcv", "tcp_v6_rcv", "tcp_drop_reason", "tcp_rcv_state_process"];

/// Finds the functions, and the parts that the compiler split off them (`tcp_v4_rcv.cold`), in the
/// content of `/proc/kallsyms`. A function ends where the next symbol begins.
///
/// # Errors
/// One line when the addresses are hidden, or the functions are not there, or in too many parts.
pub fn discard_sites(kallsyms: &str) -> Result<Vec<AddressRange>, String> {
    let mut starts: Vec<u64> = vec![];
    let mut found: Vec<u64> = vec![];
    for line in kallsyms.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        // Modules come last, and none of the functions is in one.
        if words.next().is_some() || !matches!(kind, "t" | "T" | "w" | "W") {
            continue;
        }
        let Ok(address) = u64::from_str_radix(address, 16) else { continue };
        starts.push(address);
        let stem = name.split('.').next().unwrap_or(name);
        if FUNCTIONS.contains(&stem) {
            found.push(address);
        }
    }
    ranges(starts, found)
}

fn ranges(mut starts: Vec<u64>, found: Vec<u64>) -> Result<Vec<AddressRange>, String> {
    if found.is_empty() {
        return Err("/proc/kallsyms does not list tcp_v4_rcv".to_owned());
    }
    if found.contains(&0) {
        return Err(
            "/proc/kallsyms hides addresses: needs CAP_SYSLOG, kernel.kptr_restrict below 2".to_owned()
        );
    }
    if found.len() > DISCARD_SITES {
        return Err(format!("tcp_v4_rcv and its like are in {} parts", found.len()));
    }
    starts.sort_unstable();
    Ok(found
        .into_iter()
        .map(|start| {
            let next = starts.partition_point(|address| *address <= start);
            AddressRange { start, end: starts.get(next).copied().unwrap_or(u64::MAX) }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYMBOLS: &str = "\
ffffffff81000000 T _text
ffffffff81000100 t tcp_drop_reason
ffffffff81000180 T other
ffffffff81000200 T tcp_v4_rcv
ffffffff81000300 T tcp_rcv_state_process
ffffffff81000400 D some_data
ffffffff81000500 T tcp_v6_rcv
ffffffff81000600 t tcp_v4_rcv.cold
ffffffff81000700 T end
ffffffffc0000000 t tcp_v4_rcv\t[module]
";

    fn range(start: u64, end: u64) -> AddressRange {
        AddressRange { start: 0xffff_ffff_8100_0000 + start, end: 0xffff_ffff_8100_0000 + end }
    }

    #[test]
    fn a_function_ends_where_the_next_symbol_of_code_begins() {
        let expected = vec![
            range(0x100, 0x180),
            range(0x200, 0x300),
            range(0x300, 0x500),
            range(0x500, 0x600),
            range(0x600, 0x700),
        ];
        assert_eq!(discard_sites(SYMBOLS), Ok(expected));
    }

    #[test]
    fn hidden_addresses_and_missing_functions_are_told_apart() {
        let check = |kallsyms: &str, expected: &str| {
            let error = discard_sites(kallsyms).expect_err("must not be found");
            assert!(error.contains(expected), "{error}");
        };
        check("", "does not list");
        check("garbage\n\u{0}\n1 2\n", "does not list");
        check("0000000000000000 T tcp_v4_rcv\n", "hides addresses");
    }
}
