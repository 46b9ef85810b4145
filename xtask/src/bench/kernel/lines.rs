//! What the inside of a machine tells the outside: one JSON object a line, behind a mark of its own.

use serde::{Deserialize, Serialize};

/// Lines of a machine that are for us begin so.
const MARK: &str = "BENCH ";

/// One finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Line {
    /// The cost of a connection or packet, of each batch of a slot. Slots are numbered in their order in time.
    Batches { slot: u32, watcher: String, workload: String, instructions: Vec<f64> },
    /// A watcher is ready: how long that took, and how much of it its threads were on the processor.
    Ready { watcher: String, instructions: f64, busy: f64 },
    /// A watcher that cannot be measured, and why.
    Failed { watcher: String, reason: String },
    /// A program that a watcher loaded.
    Program(Program),
    /// What a program did for each connection or packet of a workload.
    Runs { watcher: String, program: u32, workload: String, runs: f64, instructions: f64 },
    /// What all programs of a watcher together did for each connection of a workload.
    OfPrograms { watcher: String, workload: String, instructions: f64 },
}

/// A program of a watcher, as the kernel tells of it; what an old kernel does not tell is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) watcher: String,
    pub(super) id: u32,
    pub(super) name: String,
    /// How many instructions the verifier walked through.
    pub(super) verified: Option<u32>,
    /// Bytes after the verifier, and as machine code.
    pub(super) translated_bytes: Option<u32>,
    pub(super) jited_bytes: u32,
}

impl Line {
    /// Says it.
    pub(super) fn say(&self) {
        // Numbers and texts are always valid JSON.
        println!("{MARK}{}", serde_json::to_string(self).unwrap_or_default());
    }
}

/// What a machine told, in its order. A line that was torn apart tells nothing.
pub(super) fn lines_in(log: &str) -> Vec<Line> {
    log.lines().filter_map(|line| serde_json::from_str(line.strip_prefix(MARK)?.trim()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_out_as_it_went_in() {
        let lines = [
            Line::Batches {
                slot: 3,
                watcher: "nothing".to_owned(),
                workload: "accepted".to_owned(),
                instructions: vec![60_000.5, 61_000.0],
            },
            Line::Failed { watcher: "peer".to_owned(), reason: "a \"quoted\"\nreason".to_owned() },
        ];
        let log: String =
            lines.iter().map(|line| format!("{MARK}{}\n", serde_json::to_string(line).unwrap())).collect();
        assert_eq!(lines_in(&log), lines);
    }

    #[test]
    fn what_else_a_machine_says_is_no_finding() {
        let log = "LAB: kernel 6.1.0\nkernel| [1.0] BENCH \nBENCH {\"kind\":\"ready\",\"watch\nBENCH \n\
                   BENCH {\"kind\":\"ready\",\"watcher\":\"a\",\"instructions\":1.0,\"busy\":0.5}\r\n";
        let ready = Line::Ready { watcher: "a".to_owned(), instructions: 1.0, busy: 0.5 };
        assert_eq!(lines_in(log), [ready]);
    }

    #[test]
    fn what_a_kernel_does_not_tell_is_absent() {
        let log = "BENCH {\"kind\":\"program\",\"watcher\":\"a\",\"id\":7,\"name\":\"b\",\"verified\":null,\
                   \"translated_bytes\":8,\"jited_bytes\":9}";
        let [Line::Program(program)] = &lines_in(log)[..] else { panic!("no program") };
        assert_eq!(program.verified, None);
    }
}
