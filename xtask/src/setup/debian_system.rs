//! A whole Debian system in a folder, installed by its own dpkg: what a package is tried out on.
//!
//! It is what a minimal installation has, and systemd. Its scripts run in it, so making it takes root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::debian::{Archive, PackageVersion};
use crate::cache::Cache;
use crate::{processes, workspace};

/// Debian 12: the oldest system that the package is for.
const SUITE: &str = "bookworm";

/// What Debian calls essential, and what makes it a system that starts.
const PACKAGES: [&str; 27] = [
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "login",
    "mawk",
    "ncurses-base",
    "ncurses-bin",
    "passwd",
    "perl-base",
    "sed",
    "sysvinit-utils",
    "tar",
    "util-linux",
    "systemd-sysv",
    "dbus",
];

/// Nobody reads it there.
const LEFT_OUT: [&str; 6] = [
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/i18n",
    "usr/share/zoneinfo",
    "var/cache/apt/archives",
];

/// The folder with the system; it is copied before anything is done to it.
pub(crate) fn provide() -> Result<PathBuf> {
    let cache = Cache::open()?;
    let name = Path::new("debian-system").join(SUITE);
    cache.entry(&name, |folder| install(&cache, folder)).context(
        "setup: no Debian system to try packages on (remedy: root, and a network that reaches Debian's archive)",
    )
}

fn install(cache: &Cache, root: &Path) -> Result<()> {
    ensure!(workspace::is_root(), "setup: installing Debian's packages takes root");
    let suite = Archive::of_this_machine(cache.temporary())?.suite(SUITE)?;
    let packages: Vec<String> = suite.closure(&PACKAGES)?.iter().map(PackageVersion::to_string).collect();
    println!("setup: a Debian system: installing {} packages of {SUITE}", packages.len());
    let archives = root.join("var/cache/apt/archives");
    suite.download(&packages, &archives)?;
    merge_usr(root)?;
    let mut files: Vec<PathBuf> =
        fs::read_dir(&archives)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    // Once without scripts, so that the tools are there that the scripts of all of them need.
    for file in &files {
        extract(file, root)?;
    }
    for name in ["passwd", "group"] {
        fs::copy(root.join(format!("usr/share/base-passwd/{name}.master")), root.join("etc").join(name))?;
    }
    for name in ["info", "updates", "parts"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(name))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    configure(root, &files)?;
    for path in LEFT_OUT.map(|path| root.join(path)).iter().filter(|path| path.is_dir()) {
        fs::remove_dir_all(path)?;
    }
    Ok(())
}

/// As an installer makes it, before anything is unpacked.
fn merge_usr(root: &Path) -> Result<()> {
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(Path::new("usr").join(name), root.join(name))?;
    }
    Ok(())
}

fn extract(package: &Path, root: &Path) -> Result<()> {
    let mut reader = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run dpkg-deb")?;
    let archive = reader.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--directory"]).arg(root).stdin(archive);
    let unpacked = tar.status().context("cannot run tar")?.success();
    ensure!(reader.wait()?.success() && unpacked, "{} cannot be unpacked", package.display());
    Ok(())
}

/// Once more, by the system's own dpkg, which then knows of it.
fn configure(root: &Path, packages: &[PathBuf]) -> Result<()> {
    let names = packages
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| Path::new("/var/cache/apt/archives").join(name));
    let inside = |arguments: &[&str]| {
        // Mounts of its own, which are gone with it.
        let script = "mount -t proc proc proc && mount -t tmpfs tmpfs dev && mknod -m 666 dev/null c 1 3 && \
                      mknod -m 666 dev/urandom c 1 9 && exec chroot . \"$@\"";
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"])
            .args(arguments);
        command.current_dir(root).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
        command
    };
    for folder in ["proc", "dev"] {
        fs::create_dir_all(root.join(folder))?;
    }
    let dpkg = ["dpkg", "--force-depends", "--force-confold", "--force-unsafe-io"];
    let mut unpack = inside(&dpkg);
    processes::output_of(unpack.arg("--unpack").args(names))?;
    processes::output_of(inside(&dpkg).args(["--configure", "--pending"]))?;
    Ok(())
}
