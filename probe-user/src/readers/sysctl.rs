//! Sysctls: one number each, below `/proc/sys`.
//!
//! What is below `/proc/sys/net` is of the network namespace of the thread that looks
//! (net_ctl_header_lookup() of net/sysctl_net.c).
use std::{fs, io, path::PathBuf};

use crate::sample::LimitsSample;

/// The only one that is of no single network namespace. Its table is registered in the initial one
/// (sysctl_core_init() of net/core/sysctl_net_core.c), so no other shows it.
const NETDEV_MAX_BACKLOG: &str = "net.core.netdev_max_backlog";

/// Why a sysctl that is there is unknown.
#[derive(Debug, thiserror::Error)]
pub enum SysctlError {
    /// It cannot be read.
    #[error("{} cannot be read: {cause}", path(name).display())]
    Read {
        /// The sysctl.
        name: &'static str,
        /// What open(2) or read(2) said.
        cause: io::Error,
    },
    /// It is no number from 0 on.
    #[error("{} has {value:?}, which is no count", path(name).display())]
    NoCount {
        /// The sysctl.
        name: &'static str,
        /// What it says.
        value: String,
    },
}

/// Reads those of the calling thread's network namespace. What is there and unknown all the same adds a
/// line to `errors`.
pub fn read_limits(errors: &mut Vec<String>) -> LimitsSample {
    LimitsSample::from_names(|name| keep(read(name), errors))
}

/// Reads `net.core.netdev_max_backlog`; `None` outside of the initial network namespace.
pub fn read_netdev_max_backlog(errors: &mut Vec<String>) -> Option<u64> {
    keep(read(NETDEV_MAX_BACKLOG), errors)
}

fn keep(value: Result<Option<u64>, SysctlError>, errors: &mut Vec<String>) -> Option<u64> {
    value.unwrap_or_else(|error| {
        errors.push(error.to_string());
        None
    })
}

/// Reads one. A kernel that does not have it, and one that hides it, have no such file.
fn read(name: &'static str) -> Result<Option<u64>, SysctlError> {
    match fs::read(path(name)) {
        Ok(bytes) => decode(name, &bytes).map(Some),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(SysctlError::Read { name, cause }),
    }
}

/// A number and a line break (proc_dointvec() of kernel/sysctl.c and its like).
fn decode(name: &'static str, bytes: &[u8]) -> Result<u64, SysctlError> {
    let text = String::from_utf8_lossy(bytes);
    let value = text.trim_end();
    value.parse().map_err(|_| SysctlError::NoCount { name, value: value.to_owned() })
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "net.core.somaxconn";

    #[test]
    fn a_sysctl_is_a_number_and_a_line_break() {
        let check = |text: &str, expected: u64| assert_eq!(decode(NAME, text.as_bytes()).unwrap(), expected);
        check("4096\n", 4096);
        check("0\n", 0);
        check("1", 1);
    }

    #[test]
    fn what_is_no_count_is_an_error_that_names_the_file() {
        let check = |text: &str, expected: &str| {
            let message = decode(NAME, text.as_bytes()).unwrap_err().to_string();
            assert_eq!(message, format!("/proc/sys/net/core/somaxconn has {expected}, which is no count"));
        };
        check("", "\"\"");
        check("-1\n", "\"-1\"");
        check("4096 131072\n", "\"4096 131072\"");
        check("99999999999999999999\n", "\"99999999999999999999\"");
    }

    #[test]
    fn a_sysctl_that_is_not_there_is_unknown_and_no_error() {
        let mut errors = Vec::new();
        assert_eq!(keep(read("net.core.no_such_name"), &mut errors), None);
        assert_eq!(errors, [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_a_line_that_names_the_file() {
        let mut errors = Vec::new();
        // A folder.
        assert_eq!(keep(read("net.core"), &mut errors), None);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("/proc/sys/net/core cannot be read: "), "{errors:?}");
    }

    #[test]
    fn this_host_has_limits() {
        let mut errors = Vec::new();
        let limits = read_limits(&mut errors);
        assert_eq!(errors, [""; 0]);
        assert!(limits.tcp_max_syn_backlog.is_some_and(|limit| limit > 0), "{limits:?}");
        assert!(limits.tcp_synack_retries.is_some(), "{limits:?}");
    }
}
