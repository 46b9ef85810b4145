//! What a lab machine is made of: static programs, modules and a script as init.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::initramfs::Initramfs;
use crate::libtest::HANDSHAKES_VARIABLE;
use crate::{build, processes, workspace};

/// The daemon's path inside.
pub(crate) const DAEMON: &str = "/bin/tcp-backlog-probe";
const INIT: &str = include_str!("init.sh");

/// Compiles tests/in_vm, static and with the daemon's own profile, so that its library is compiled
/// once for both.
pub(super) fn build_tests() -> Result<PathBuf> {
    let mut cargo = workspace::cargo("test");
    cargo
        .args(["--package", "tcp-backlog-probe", "--test", "in_vm", "--release"])
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .stderr(Stdio::inherit());
    build::link_statically(&mut cargo);
    let messages = processes::output_of(&mut cargo).context("the tests of the lab did not compile")?;
    executable_in(&messages).context("cargo built no test binary in_vm")
}

/// The program in cargo's messages, one JSON object a line.
fn executable_in(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message.pointer("/target/name").is_some_and(|name| name == "in_vm"))
        .find_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
}

/// The static programs of a lab machine.
#[derive(Clone, Copy)]
pub(super) struct Programs<'a> {
    pub(super) busybox: &'a Path,
    pub(super) daemon: &'a Path,
    pub(super) tests: &'a Path,
}

/// Writes the root file system of a machine that runs the tests.
pub(super) fn pack(
    archive: &Path,
    programs: &Programs<'_>,
    modules: &[PathBuf],
    test_arguments: &[String],
    handshakes: Option<&str>,
) -> Result<()> {
    let script = test_script(test_arguments, handshakes);
    let mut initramfs = begin(archive, programs.busybox, modules, &script)?;
    initramfs.program(DAEMON.trim_start_matches('/'), &read(programs.daemon)?)?;
    initramfs.program("bin/in_vm", &read(programs.tests)?)?;
    initramfs.finish()?;
    Ok(())
}

/// Begins the root file system of any machine: init, busybox, the modules, and the script that init runs.
pub(crate) fn begin(
    archive: &Path,
    busybox: &Path,
    modules: &[PathBuf],
    script: &str,
) -> Result<Initramfs<BufWriter<File>>> {
    let mut initramfs = Initramfs::create(archive)?;
    for folder in ["bin", "dev", "modules"] {
        initramfs.folder(folder)?;
    }
    initramfs.device("dev/console", 5, 1)?;
    initramfs.program("init", INIT.as_bytes())?;
    initramfs.program("run-tests", script.as_bytes())?;
    initramfs.program("bin/busybox", &read(busybox)?)?;
    for (order, module) in modules.iter().enumerate() {
        let name = module.file_name().context("a module without a name")?.to_string_lossy();
        initramfs.program(&format!("modules/{order}-{name}"), &read(module)?)?;
    }
    Ok(initramfs)
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn test_script(arguments: &[String], handshakes: Option<&str>) -> String {
    let quoted = arguments.iter().map(|argument| format!(" '{}'", argument.replace('\'', r"'\''")));
    // Without the variable the tests look for the daemon where cargo built it.
    let handshakes = handshakes.map(|count| format!(" {HANDSHAKES_VARIABLE}='{count}'")).unwrap_or_default();
    format!(
        "#!/bin/sh\nexport RUST_BACKTRACE=1 NO_COLOR=1 TCP_BACKLOG_PROBE_BINARY={DAEMON}{handshakes}\nexec /bin/in_vm{}\n",
        quoted.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_binary_is_found_in_cargos_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/no\"}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"in_vm\"},\"executable\":null}\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"in_vm\"},\"executable\":\"/yes\"}\nplain\n";
        assert_eq!(executable_in(messages), Some(PathBuf::from("/yes")));
        assert_eq!(executable_in(""), None);
    }

    #[test]
    fn arguments_reach_the_test_binary_unchanged() {
        let script = test_script(&["--exact".to_owned(), "it's".to_owned()], Some("7"));
        assert!(script.contains(" TCP_BACKLOG_PROBE_HANDSHAKES='7'\n"), "{script}");
        assert!(script.ends_with("exec /bin/in_vm '--exact' 'it'\\''s'\n"), "{script}");
    }
}
