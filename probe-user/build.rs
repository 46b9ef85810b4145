//! Compiles the kernel side (../probe-ebpf) and tells the daemon where the object is.
//!
//! The object lands in `PROBE_EBPF_OBJECT`, for `include_bytes_aligned!(env!(..))`. Everything that
//! is needed beyond cargo is described in CONTRIBUTING.md and put in place by `cargo xtask setup`.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[path = "../xtask/src/toolchain_layout.rs"]
mod toolchain_layout;

use toolchain_layout::{CACHE_VARIABLE, Compiler, EbpfTarget, Toolchain, cache_root};

const REMEDY: &str =
    "run `cargo xtask setup`, or `rustup component add rust-src` and `cargo install bpf-linker`";

fn main() -> ExitCode {
    match build() {
        Ok(object) => {
            println!("cargo::rustc-env=PROBE_EBPF_OBJECT={}", object.display());
            ExitCode::SUCCESS
        }
        Err(Failure::Preparation(message)) => {
            println!("cargo::error={message}");
            ExitCode::SUCCESS
        }
        Err(Failure::Compilation(message)) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

/// Cargo fails the build for either. It shows all that this script and its children have printed
/// if the script fails, too: right for rustc's errors, a wall around a one-line hint.
enum Failure {
    Preparation(String),
    Compilation(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Preparation(message)
    }
}

fn build() -> Result<PathBuf, Failure> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let workspace = package.parent().unwrap_or(&package);
    watch(workspace);
    let compiler = Compiler::query(&variable("RUSTC")?)?;
    let toolchain = Toolchain::find(&compiler, &cache_root()?)
        .map_err(|missing| format!("the eBPF programs cannot be built without {missing}: {REMEDY}"))?;

    let architecture = text_variable("CARGO_CFG_TARGET_ARCH")?;
    let out_folder = PathBuf::from(variable("OUT_DIR")?);
    let output = target_folder(&out_folder);
    let target = EbpfTarget {
        package: &workspace.join("probe-ebpf"),
        output: &output,
        architecture: &architecture,
        big_endian: text_variable("CARGO_CFG_TARGET_ENDIAN")? == "big",
    };
    // Cargo shows what the child says when this script fails, and only then.
    let status = toolchain
        .cargo(&variable("CARGO")?, "build", &target)
        .status()
        .map_err(|error| format!("cannot start cargo for the eBPF programs: {error}"))?;
    if !status.success() {
        let message = format!("the eBPF programs did not compile ({status}); rustc's errors are below");
        return Err(Failure::Compilation(message));
    }
    // A copy of one's own: the shared target folder may hold another architecture's next time.
    let built = output.join(target.triple()).join("release/probe-ebpf");
    let object = out_folder.join("probe-ebpf");
    std::fs::copy(&built, &object)
        .map_err(|error| format!("no eBPF object at {}: {error}", built.display()))?;
    Ok(object)
}

/// Says when this script has to run again.
fn watch(workspace: &Path) {
    for path in ["probe-ebpf", "probe-common", "Cargo.toml", "Cargo.lock", "xtask/src/toolchain_layout.rs"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={CACHE_VARIABLE}");
}

/// A target folder beside the outer build's own folders, shared by all its profiles: core and the
/// eBPF crate are compiled once, not once for debug, release and the static build each. It is not
/// the outer target folder, whose lock the outer cargo holds while it waits for this script.
fn target_folder(out_folder: &Path) -> PathBuf {
    // Cargo marks the top of a target folder with this file.
    out_folder
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").is_file())
        .unwrap_or(out_folder)
        .join("ebpf")
}

fn variable(name: &str) -> Result<OsString, String> {
    env::var_os(name).ok_or_else(|| format!("cargo did not set {name}"))
}

fn text_variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
