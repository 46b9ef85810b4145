//! The TcpExt counters of a network namespace that concern listeners: `/proc/PID/net/netstat`.
use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::sample::NetstatSample;

/// The file, in the network namespace of the thread that reads it.
///
/// The entry follows a thread through setns(2) since Linux 5.0, 1fde6f21d90f ("proc: fix /proc/net/*
/// after setns(2)"); before, a cached entry went on showing the namespace of the first read.
const NETSTAT: &str = "/proc/thread-self/net/netstat";

/// More than the file has on most kernels.
const USUAL_BYTES: usize = 8 << 10;

/// Why the counters are unknown.
#[derive(Debug, thiserror::Error)]
pub enum NetstatError {
    /// The file cannot be read.
    #[error("{path} cannot be read ({cause}): is /proc mounted?", path = NETSTAT)]
    Read {
        /// What open(2) or read(2) said.
        cause: io::Error,
    },
    /// A counter is not in the file.
    #[error("{path} has no TcpExt {key}: the kernel does not count it", path = NETSTAT)]
    Missing {
        /// The counter's name.
        key: &'static str,
    },
    /// A counter is no number.
    #[error("{path} has {value:?} as TcpExt {key}, which is no number", path = NETSTAT)]
    NoNumber {
        /// The counter's name.
        key: &'static str,
        /// What stands in its place.
        value: String,
    },
}

/// Reads the counters of the calling thread's network namespace.
///
/// # Errors
/// When the file cannot be read or has not both counters.
pub fn read() -> Result<NetstatSample, NetstatError> {
    decode(&contents(Path::new(NETSTAT)).map_err(|cause| NetstatError::Read { cause })?)
}

/// Reads the counters of a network namespace by the file of a process in it.
///
/// # Errors
/// When the file cannot be read or has not all counters.
pub fn read_at(path: &Path) -> Result<NetstatSample, NetstatError> {
    decode(&contents(path).map_err(|cause| NetstatError::Read { cause })?)
}

/// The file at one go, as a rule: its length is not known before.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Decodes the file: for each group a line of names and a line of values, both beginning with the
/// group's name and a colon (netstat_seq_show() of net/ipv4/proc.c).
///
/// The kernel adds up the CPUs one after the other, for each first ListenOverflows and then ListenDrops
/// (snmp_get_cpu_field_batch()): the two are no snapshot of one instant.
fn decode(netstat: &[u8]) -> Result<NetstatSample, NetstatError> {
    let text = String::from_utf8_lossy(netstat);
    let mut groups = text.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let names = groups.next().unwrap_or_default();
    let values = groups.next().unwrap_or_default();
    let counter = |key: &'static str| {
        let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        let (_, value) = pairs.find(|(name, _)| *name == key).ok_or(NetstatError::Missing { key })?;
        value.parse().map_err(|_| NetstatError::NoNumber { key, value: value.to_owned() })
    };
    NetstatSample::try_from_names(counter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: &str =
        "SyncookiesSent SyncookiesRecv SyncookiesFailed TCPReqQFullDoCookies TCPReqQFullDrop TCPTimeouts";

    #[test]
    fn every_counter_is_found_wherever_it_stands() {
        let check = |text: &str, listen_overflows, listen_drops| {
            let text = text.replace("NAMES", NAMES).replace("VALUES", "11 12 13 14 15 16");
            let expected = NetstatSample {
                listen_overflows,
                listen_drops,
                syncookies_sent: 11,
                syncookies_received: 12,
                syncookies_failed: 13,
                syn_queue_full_cookies: 14,
                syn_queue_full_drops: 15,
                timeouts: 16,
            };
            assert_eq!(decode(text.as_bytes()).unwrap(), expected, "{text}");
        };
        check("TcpExt: NAMES ListenOverflows ListenDrops\nTcpExt: VALUES 3 5\n", 3, 5);
        let strangers = "TcpExt: A ListenDrops B NAMES ListenOverflows\nTcpExt: 1 2 3 VALUES 4\n";
        check(&format!("{strangers}IpExt: X\nIpExt: 9\n"), 4, 2);
        check(&format!("IpExt: ListenDrops\nIpExt: 9\n{strangers}"), 4, 2);
        check(
            "TcpExt: ListenOverflows ListenDrops NAMES\nTcpExt: 18446744073709551615 0 VALUES\n",
            u64::MAX,
            0,
        );
    }

    #[test]
    fn a_counter_that_is_missing_is_an_error_that_names_it_and_the_file() {
        let check = |text: &str, expected: &str| {
            let message = decode(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains(NETSTAT), "{message:?}");
        };
        check("", "no TcpExt ListenOverflows");
        check("TcpExt: ListenOverflows\nTcpExt: 1\n", "no TcpExt ListenDrops");
        check("TcpExt: ListenOverflows ListenDrops\nTcpExt: 1\n", "no TcpExt ListenDrops");
        check("TcpExt: ListenOverflows ListenDrops\n", "no TcpExt ListenOverflows");
        check("TcpExt: ListenOverflows ListenDrops\nTcpExt: 1 -2\n", "\"-2\" as TcpExt ListenDrops");
        check("TcpExt: ListenOverflows ListenDrops\nTcpExt: 1 2\n", "no TcpExt TCPReqQFullDrop");
    }

    #[test]
    fn the_file_of_this_host_is_understood() {
        let counters = read().unwrap();
        assert!(counters.listen_overflows <= counters.listen_drops);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
        }

        #[test]
        fn no_text_makes_the_decoder_panic(
            text in "(TcpExt:|ListenDrops|ListenOverflows|[0-9]{1,22}|[ \n]){0,20}",
        ) {
            let _ = decode(text.as_bytes());
        }
    }
}
