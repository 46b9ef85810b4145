//! What this process's network namespace counted.

use std::fs;

use anyhow::{Context as _, Result};

const FILE: &str = "/proc/net/netstat";

/// A counter of TcpExt.
pub(super) fn counter(name: &str) -> Result<u64> {
    let text = fs::read_to_string(FILE)?;
    counter_in(&text, name).with_context(|| format!("bench: no {name} in {FILE}"))
}

/// The sum of some counters of TcpExt; one that this kernel has not counts nothing.
pub(super) fn sum(names: &[&str]) -> Result<u64> {
    let text = fs::read_to_string(FILE)?;
    Ok(names.iter().filter_map(|name| counter_in(&text, name)).sum())
}

fn counter_in(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let position = lines.next()?.split_whitespace().position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(position)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows\nTcpExt: 3 5\nIpExt: InPkts\nIpExt: 9\n";
        assert_eq!(counter_in(text, "ListenOverflows"), Some(5));
        assert_eq!(counter_in(text, "SyncookiesSent"), Some(3));
        assert_eq!(counter_in(text, "InPkts"), None);
    }

    #[test]
    fn what_a_kernel_does_not_count_is_nothing() {
        assert!(sum(&["ListenOverflows", "NothingOfTheKind"]).is_ok());
        assert!(counter("NothingOfTheKind").is_err());
    }
}
