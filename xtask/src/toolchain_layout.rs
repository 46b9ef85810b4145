//! Where the parts of the eBPF toolchain are, and the environment the eBPF crate is compiled in.
//!
//! Both sides need to agree on this: `cargo xtask setup` puts the parts in place and
//! `probe-user/build.rs` picks them up, also when nobody ever ran xtask. The build script includes
//! this file by its path, so it uses the standard library only.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Names the cache folder; without it the user's own cache folder is used.
pub(crate) const CACHE_VARIABLE: &str = "TCP_BACKLOG_PROBE_CACHE";

/// The version `cargo xtask setup` installs. Versions after it need a newer rustc.
pub(crate) const BPF_LINKER_VERSION: &str = "0.13.0";

/// The compiler in use: core has to be built from exactly its source, and the linker has to read
/// exactly its bitcode.
pub(crate) struct Compiler {
    /// For example `1.95.0`.
    pub(crate) release: String,
    pub(crate) sysroot: PathBuf,
    commit: String,
}

impl Compiler {
    /// Asks the compiler itself.
    pub(crate) fn query(rustc: &OsStr) -> Result<Self, String> {
        let version = output_of(Command::new(rustc).arg("-vV"))?;
        let sysroot = output_of(Command::new(rustc).args(["--print", "sysroot"]))?;
        Ok(Self {
            release: field(&version, "release: ")?,
            commit: field(&version, "commit-hash: ")?.chars().take(9).collect(),
            sysroot: PathBuf::from(sysroot.trim()),
        })
    }

    /// Names this very compiler in the cache.
    pub(crate) fn key(&self) -> String {
        format!("{}-{}", self.release, self.commit)
    }
}

fn output_of(command: &mut Command) -> Result<String, String> {
    let output =
        command.stdin(Stdio::null()).output().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn field(text: &str, name: &str) -> Result<String, String> {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.trim().to_owned())
        .ok_or_else(|| format!("`rustc -vV` does not print `{name}`"))
}

/// The one folder everything that was downloaded or built lies in.
pub(crate) fn cache_root() -> Result<PathBuf, String> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable(CACHE_VARIABLE) {
        return std::path::absolute(folder)
            .map_err(|error| format!("{CACHE_VARIABLE} is not a usable folder: {error}"));
    }
    variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|folder| folder.join("tcp-backlog-probe"))
        .ok_or_else(|| format!("no cache folder: set {CACHE_VARIABLE} or HOME"))
}

/// What compiling the eBPF crate needs.
pub(crate) struct Toolchain {
    /// The standard library's source; `None` when it is where cargo looks by itself.
    pub(crate) library: Option<PathBuf>,
    pub(crate) bpf_linker: PathBuf,
}

impl Toolchain {
    /// Finds both parts or says which one is missing.
    pub(crate) fn find(compiler: &Compiler, cache: &Path) -> Result<Self, String> {
        let library = if rust_source_in_sysroot(compiler) {
            None
        } else {
            let library = cached_rust_source(compiler, cache).join("library");
            if !library.is_dir() {
                return Err(format!("the source of rustc {} (rust-src)", compiler.release));
            }
            Some(library)
        };
        let bpf_linker = find_bpf_linker(compiler, cache).ok_or("bpf-linker")?;
        Ok(Self { library, bpf_linker })
    }

    /// `cargo <subcommand>` for the eBPF crate, in a clean environment of its own.
    pub(crate) fn cargo(&self, cargo: &OsStr, subcommand: &str, target: &EbpfTarget<'_>) -> Command {
        let mut command = Command::new(cargo);
        for name in env::vars_os().map(|(name, _)| name).filter(|name| belongs_to_the_outer_build(name)) {
            command.env_remove(name);
        }
        // Builds core with the stable compiler. For this child only: the variable would change
        // what every other crate's build scripts detect.
        command.env("RUSTC_BOOTSTRAP", "1");
        if let Some(library) = &self.library {
            command.env("__CARGO_TESTS_ONLY_SRC_ROOT", library);
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(target.architecture));
        command
            .arg(subcommand)
            .arg("--manifest-path")
            .arg(target.package.join("Cargo.toml"))
            .args(["--release", "-Z", "build-std=core", "--target", target.triple()])
            .arg("--target-dir")
            .arg(target.output);
        command
    }

    fn rustflags(&self, architecture: &str) -> OsString {
        // aya-ebpf lays out struct pt_regs by this cfg. The linker makes BTF out of the debug
        // information.
        let mut flags = OsString::from(format!("--cfg=bpf_target_arch=\"{architecture}\""));
        flags.push("\u{1f}-Cdebuginfo=2\u{1f}-Clink-arg=--btf\u{1f}-Clinker=");
        flags.push(&self.bpf_linker);
        flags
    }
}

/// What is compiled and where to.
pub(crate) struct EbpfTarget<'a> {
    /// The eBPF crate's folder.
    pub(crate) package: &'a Path,
    /// A target folder that no running cargo holds the lock of.
    pub(crate) output: &'a Path,
    /// The machine the program will run on, in rustc's spelling.
    pub(crate) architecture: &'a str,
    pub(crate) big_endian: bool,
}

impl EbpfTarget<'_> {
    /// rustc's name of the BPF target with this machine's byte order.
    pub(crate) fn triple(&self) -> &'static str {
        if self.big_endian { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
    }
}

/// Cargo and clippy describe the build they are in to everything they start. The eBPF crate is
/// another build, for another machine, and must not see any of it.
fn belongs_to_the_outer_build(name: &OsStr) -> bool {
    const NAMES: [&str; 9] = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTC_LINKER",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_BUILD_RUSTFLAGS",
        "CLIPPY_ARGS",
    ];
    const PREFIXES: [&str; 3] = ["CARGO_CFG_", "CARGO_TARGET_", "CARGO_FEATURE_"];
    let name = name.to_string_lossy();
    NAMES.contains(&name.as_ref()) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether `rustup component add rust-src` was done.
pub(crate) fn rust_source_in_sysroot(compiler: &Compiler) -> bool {
    compiler.sysroot.join("lib/rustlib/src/rust/library/core/Cargo.toml").is_file()
}

/// The cache entry with the standard library's source in its `library` folder.
pub(crate) fn cached_rust_source(compiler: &Compiler, cache: &Path) -> PathBuf {
    cache.join("rust-src").join(&compiler.release)
}

/// The cache entry with `bin/bpf-linker`, built against this compiler's LLVM.
pub(crate) fn cached_bpf_linker(compiler: &Compiler, cache: &Path) -> PathBuf {
    cache.join("bpf-linker").join(format!("{BPF_LINKER_VERSION}-rustc-{}", compiler.key()))
}

/// The cached linker was built for exactly this compiler, so it comes first; setup only builds it
/// where the one on PATH is missing or does not work.
pub(crate) fn find_bpf_linker(compiler: &Compiler, cache: &Path) -> Option<PathBuf> {
    let cached = cached_bpf_linker(compiler, cache).join("bin/bpf-linker");
    if cached.is_file() {
        return Some(cached);
    }
    find_on_path("bpf-linker")
}

/// The first file of that name in the folders of PATH.
pub(crate) fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
