//! The rooms of the house and the one way data flows through them.

use super::text_rules::has_word;
use super::{SourceFile, Violation};

/// Signals with a module of the same name in every layer. A new signal gets a row.
const SIGNALS: [&str; 3] = ["accept_queue", "handshake", "listener"];

/// Where each signal's module is in each layer.
const LAYERS: [&str; 3] = ["probe-common/src", "probe-ebpf/src/hooks", "probe-user/src/readers"];

/// aya has one home; the shared types may be put into its maps, and what programs cost is asked of the kernel by it.
pub(crate) fn aya_place(file: &SourceFile, violations: &mut Vec<Violation>) {
    const HOMES: [&str; 4] = [
        "probe-ebpf/",
        "probe-user/src/kernel/",
        "xtask/src/bench/kernel/programs.rs",
        "xtask/src/bench/loaded.rs",
    ];
    if file.is_in(&HOMES) {
        return;
    }
    let shared = file.is_in(&["probe-common/"]);
    for (index, line) in file.lines.iter().enumerate() {
        let names_it = (has_word(&line.code, "aya") || has_word(&line.code, "aya_log"))
            && (line.code.contains("aya::")
                || line.code.contains("aya_log::")
                || has_word(&line.code, "use"));
        if names_it && !(shared && line.code.contains("aya::Pod")) {
            let remedy = "only probe-user/src/kernel knows aya: give it a function for this";
            violations.push(file.violation(index + 1, "aya-place", remedy));
        }
    }
}

/// What is pure neither reads nor waits nor asks for the time. std::net's addresses are values.
pub(crate) fn purity(file: &SourceFile, violations: &mut Vec<Violation>) {
    const PURE: [&str; 4] =
        ["probe-user/src/model/", "probe-user/src/plan/", "probe-user/src/advice/", "probe-user/src/top/"];
    /// The edge of a pure room.
    const EDGES: [&str; 1] = ["probe-user/src/top/live.rs"];
    const ACTS: [&str; 11] = [
        "std::fs",
        "std::io",
        "std::process",
        "std::env",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "Instant::now",
        "SystemTime::now",
        "tokio",
    ];
    if !file.is_in(&PURE) || file.is_in(&EDGES) {
        return;
    }
    for (number, line) in file.shipped_lines() {
        if let Some(act) = ACTS.iter().find(|act| has_word(&line.code, act)) {
            let remedy = format!("this room is pure: take the value as an argument instead of {act}");
            violations.push(file.violation(number, "purity", remedy));
        }
    }
}

/// Data goes from readers through the model to render and advice, which know nothing before it.
pub(crate) fn direction(file: &SourceFile, violations: &mut Vec<Violation>) {
    const FORBIDDEN: [(&str, &[&str]); 5] = [
        ("probe-user/src/render/", &["readers", "kernel", "advice"]),
        ("probe-user/src/advice/", &["readers", "kernel", "render", "daemon"]),
        ("probe-user/src/model/", &["readers", "kernel", "render", "advice"]),
        ("probe-user/src/plan/", &["kernel", "render", "advice"]),
        ("probe-user/src/top/", &["readers", "kernel", "advice", "web"]),
    ];
    for (_, rooms) in FORBIDDEN.iter().filter(|(folder, _)| file.is_in(&[folder])) {
        for (number, line) in file.shipped_lines() {
            if let Some(room) = rooms.iter().find(|room| imports(&line.code, room)) {
                let remedy = format!("this room may not know {room}/: see docs/ARCHITECTURE.md");
                violations.push(file.violation(number, "direction", remedy));
            }
        }
    }
}

fn imports(code: &str, room: &str) -> bool {
    ["crate::", "super::super::", "tcp_backlog_probe::"]
        .iter()
        .any(|parent| has_word(code, &format!("{parent}{room}")))
}

/// Files that have to be there.
pub(crate) fn missing_files(files: &[SourceFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut require = |path: String, rule, remedy: &str| {
        // A module may have grown into a folder.
        let folder = path.replace(".rs", "/");
        if !files.iter().any(|file| file.path == path || (folder != path && file.path.starts_with(&folder))) {
            violations.push(Violation { path, line: 1, rule, remedy: remedy.to_owned() });
        }
    };
    require("CHANGELOG.md".to_owned(), "changelog", "write down what users notice");
    for signal in SIGNALS {
        for layer in LAYERS {
            require(
                format!("{layer}/{signal}.rs"),
                "signal",
                "a signal has a module of its name in every layer",
            );
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn aya_is_at_home() {
        check(aya_place, "probe-user/src/kernel/maps.rs", "use aya::Ebpf;\n", &[]);
        check(aya_place, "probe-user/src/daemon/run.rs", "use aya::Ebpf;\nlet a: aya::Btf;\n", &[1, 2]);
        check(aya_place, "probe-user/src/daemon/run.rs", "use aya_log::EbpfLogger;\n", &[1]);
        check(aya_place, "xtask/src/bench/kernel/programs.rs", "use aya::programs;\n", &[]);
        check(aya_place, "xtask/src/bench/loaded.rs", "use aya::programs;\n", &[]);
        check(aya_place, "xtask/src/bench/kernel/running.rs", "use aya::programs;\n", &[1]);
        check(aya_place, "probe-user/src/daemon/run.rs", "// aya::Btf\nuse playa::x;\nlet aya = 1;\n", &[]);
        check(aya_place, "probe-common/src/loss.rs", "unsafe impl aya::Pod for A {}\nuse aya::Ebpf;\n", &[2]);
        check(aya_place, "probe-ebpf/src/main.rs", "use aya_ebpf::macros::map;\n", &[]);
    }

    #[test]
    fn the_model_only_computes() {
        let path = "probe-user/src/model/port.rs";
        check(purity, path, "use std::fs;\nInstant::now();\ntokio::spawn(x);\n", &[1, 2, 3]);
        check(purity, path, "use std::net::IpAddr;\nuse std::time::Instant;\n", &[]);
        check(purity, path, "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n", &[]);
        check(purity, "probe-user/src/advice/application.rs", "use std::fs;\n", &[1]);
        check(purity, "probe-user/src/readers/netstat.rs", "use std::fs;\n", &[]);
        check(purity, "probe-user/src/top/state.rs", "Instant::now();\n", &[1]);
        check(purity, "probe-user/src/top/live.rs", "Instant::now();\n", &[]);
    }

    #[test]
    fn data_flows_one_way() {
        check(direction, "probe-user/src/render/json.rs", "use crate::readers::netstat;\n", &[1]);
        check(direction, "probe-user/src/render/json.rs", "use crate::model::Model;\n", &[]);
        check(direction, "probe-user/src/advice/mod.rs", "crate::kernel::load();\n", &[1]);
        check(direction, "probe-user/src/advice/mod.rs", "use crate::render;\nuse crate::daemon;\n", &[1, 2]);
        check(
            direction,
            "probe-user/src/advice/mod.rs",
            "use crate::{model::Model, sample::OwnerSample};\n",
            &[],
        );
        check(direction, "probe-user/src/top/rows.rs", "use crate::{model::Model, render::words};\n", &[]);
        check(direction, "probe-user/src/top/live.rs", "use crate::kernel::load;\n", &[1]);
        check(direction, "probe-user/src/plan/offsets.rs", "use crate::kernel_types;\n", &[]);
        check(direction, "probe-user/src/daemon/mod.rs", "use crate::readers::netstat;\n", &[]);
    }

    #[test]
    fn a_signal_is_in_every_layer() {
        let file = |path: &str| SourceFile::new(path, "");
        let mut files = vec![
            file("CHANGELOG.md"),
            file("probe-common/src/accept_queue.rs"),
            file("probe-ebpf/src/hooks/accept_queue.rs"),
            file("probe-user/src/readers/accept_queue.rs"),
            file("probe-common/src/handshake.rs"),
            file("probe-ebpf/src/hooks/handshake/mod.rs"),
            file("probe-common/src/listener.rs"),
            file("probe-ebpf/src/hooks/listener.rs"),
            file("probe-user/src/readers/listener.rs"),
        ];
        let missing: Vec<String> =
            missing_files(&files).into_iter().map(|violation| violation.path).collect();
        assert_eq!(missing, ["probe-user/src/readers/handshake.rs"]);
        files.push(file("probe-user/src/readers/handshake.rs"));
        assert_eq!(missing_files(&files), []);
    }
}
