//! What each CPU's network softirq has counted: `/proc/net/softnet_stat`.
use std::{fs, io};

use crate::sample::SoftnetSample;

/// The same in every network namespace: its numbers are the CPUs'.
const SOFTNET: &str = "/proc/thread-self/net/softnet_stat";
/// Lists the CPUs that are online, in the order of their numbers (show_stat() of fs/proc/stat.c).
const STAT: &str = "/proc/stat";
/// The column with the CPU's number, since Linux 5.10 ("net-sysfs: add backlog len and CPU id to softnet data").
const CPU_COLUMN: usize = 12;

/// Why the counters are unknown.
#[derive(Debug, thiserror::Error)]
pub enum SoftnetError {
    /// A file cannot be read.
    #[error("{path} cannot be read ({cause}): is /proc mounted?")]
    Read {
        /// The file.
        path: &'static str,
        /// What open(2) or read(2) said.
        cause: io::Error,
    },
    /// A line does not begin with three hexadecimal numbers.
    #[error("{path} has the line {line:?}, which is no row of counters", path = SOFTNET)]
    NoRow {
        /// The line.
        line: String,
    },
    /// It cannot be told which line is whose.
    #[error("{path} has {rows} lines for {online} CPUs that are online", path = SOFTNET)]
    Unassigned {
        /// How many lines.
        rows: usize,
        /// How many CPUs.
        online: usize,
    },
}

/// One line, of a CPU that may be unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    cpu: Option<u32>,
    processed: u32,
    dropped: u32,
    time_squeeze: u32,
}

/// Reads the counters of every CPU that is online.
///
/// # Errors
/// When a file cannot be read or does not follow its format.
pub fn read() -> Result<Vec<SoftnetSample>, SoftnetError> {
    let rows = decode(&read_file(SOFTNET)?)?;
    // Only older kernels need the other file.
    let numbered = rows.iter().all(|row| row.cpu.is_some());
    let online = if numbered { Vec::new() } else { decode_online(&read_file(STAT)?) };
    assign(&rows, &online)
}

fn read_file(path: &'static str) -> Result<String, SoftnetError> {
    fs::read_to_string(path).map_err(|cause| SoftnetError::Read { path, cause })
}

/// Decodes the table: for each CPU that is online a line of hexadecimal numbers without a heading
/// (softnet_seq_show() of net/core/net-procfs.c, before 3.10 of net/core/dev.c). The first three have always
/// been the same; what newer kernels have after the CPU's number is not of interest.
fn decode(table: &str) -> Result<Vec<Row>, SoftnetError> {
    table
        .lines()
        .map(|line| decode_row(line).ok_or_else(|| SoftnetError::NoRow { line: line.to_owned() }))
        .collect()
}

fn decode_row(line: &str) -> Option<Row> {
    let mut columns = line.split_ascii_whitespace().map(|column| u32::from_str_radix(column, 16).ok());
    let mut next = || columns.next().flatten();
    let (processed, dropped, time_squeeze) = (next()?, next()?, next()?);
    let cpu = columns.nth(CPU_COLUMN.checked_sub(3)?).flatten();
    Some(Row { cpu, processed, dropped, time_squeeze })
}

/// The numbers of the CPUs with a line of their own: `cpu0 ...`, beside the sum in the line `cpu  ...`.
fn decode_online(stat: &str) -> Vec<u32> {
    let number = |line: &str| line.strip_prefix("cpu")?.split_ascii_whitespace().next()?.parse().ok();
    stat.lines().filter(|line| !line.starts_with("cpu ")).filter_map(number).collect()
}

/// Gives each line its CPU. Older kernels leave out the CPUs that are offline and do not say which: both
/// files list those that are online in the same order, so the n-th line is the n-th of them, unless one came
/// or went between the two.
fn assign(rows: &[Row], online: &[u32]) -> Result<Vec<SoftnetSample>, SoftnetError> {
    let cpus: Option<Vec<u32>> = rows.iter().map(|row| row.cpu).collect();
    let cpus = cpus.unwrap_or_else(|| online.to_vec());
    if cpus.len() != rows.len() {
        return Err(SoftnetError::Unassigned { rows: rows.len(), online: cpus.len() });
    }
    let sample = |(row, cpu): (&Row, u32)| SoftnetSample {
        cpu,
        processed: row.processed,
        dropped: row.dropped,
        time_squeeze: row.time_squeeze,
    };
    Ok(rows.iter().zip(cpus).map(sample).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STAT_OF_TWO: &str = "cpu  9 9 9 9\ncpu0 4 4 4 4\ncpu2 5 5 5 5\nintr 1 2 3\ncpufreq 1\n";

    fn counters(table: &str, stat: &str) -> Result<Vec<[u32; 4]>, SoftnetError> {
        let samples = assign(&decode(table)?, &decode_online(stat))?;
        let numbers = |one: &SoftnetSample| [one.cpu, one.processed, one.dropped, one.time_squeeze];
        Ok(samples.iter().map(numbers).collect())
    }

    /// The columns between the counters and the CPU's number.
    fn row(counters: &str, rest: &str) -> String {
        format!("{counters} 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000{rest}\n")
    }

    #[test]
    fn every_cpu_has_its_counters_whatever_the_kernels_columns() {
        let check = |table: &str, expected: &[[u32; 4]]| {
            assert_eq!(counters(table, STAT_OF_TWO).unwrap(), expected, "{table}");
        };
        let (first, second) = ("000000ff 00000001 00000002", "ffffffff 00000003 00000004");
        // Of 6.12, of 5.10, and before.
        let with = |rests: [&str; 2]| row(first, rests[0]) + &row(second, rests[1]);
        let numbered = [[1, 255, 1, 2], [10, u32::MAX, 3, 4]];
        check(
            &with([" 00000000 00000001 00000000 00000000", " 00000000 0000000a 00000000 00000000"]),
            &numbered,
        );
        check(&with([" 00000000 00000001", " 00000000 0000000a"]), &numbered);
        check(&with(["", ""]), &[[0, 255, 1, 2], [2, u32::MAX, 3, 4]]);
        check("", &[[0_u32; 4]; 0][..]);
    }

    #[test]
    fn lines_without_numbers_that_are_not_as_many_as_cpus_belong_to_nobody() {
        let check = |lines: usize, expected: &str| {
            let table = row("00000001 00000000 00000000", "").repeat(lines);
            let message = counters(&table, STAT_OF_TWO).unwrap_err().to_string();
            assert!(message.ends_with(expected), "{message}");
        };
        check(1, "1 lines for 2 CPUs that are online");
        check(3, "3 lines for 2 CPUs that are online");
    }

    #[test]
    fn a_line_that_is_no_row_is_an_error_that_shows_it() {
        let check = |table: &str, line: &str| {
            let message = counters(table, STAT_OF_TWO).unwrap_err().to_string();
            assert_eq!(message, format!("{SOFTNET} has the line {line:?}, which is no row of counters"));
        };
        check("\n", "");
        check("00000001 00000002\n", "00000001 00000002");
        check("1 x 2\n", "1 x 2");
        check("1 2 100000000\n", "1 2 100000000");
    }

    #[test]
    fn the_file_of_this_host_is_understood() {
        let samples = read().unwrap();
        assert!(samples.iter().any(|sample| sample.processed > 0), "{samples:?}");
        assert!(samples.is_sorted_by(|left, right| left.cpu < right.cpu), "{samples:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_decoder_panic(table in "([0-9a-fx]{1,9}|[ \n]){0,60}", stat: String) {
            let _ = counters(&table, &stat);
        }
    }
}
