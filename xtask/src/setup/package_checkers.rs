//! lintian, rpm and rpmlint: what distributions hold against a package. Debian's, unpacked into the cache and never
//! installed; they run in a root of their own.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::debian::{Archive, PackageVersion};
use crate::cache::Cache;
use crate::{processes, workspace};

/// Of the release that the package for Debian is for.
const SUITE: &str = "bookworm";
const PACKAGES: [&str; 15] = [
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "dpkg",
    "file",
    "findutils",
    "grep",
    "gzip",
    "lintian",
    "rpm",
    "rpmlint",
    "sed",
    "tar",
    "xz-utils",
];
const LEFT_OUT: [&str; 2] = ["usr/share/man", "usr/share/locale"];
const ACCOUNTS: [(&str, &str); 2] = [
    ("etc/passwd", "root:x:0:0::/:/bin/sh\nchecker:x:1000:1000::/tmp:/bin/sh\n"),
    ("etc/group", "root:x:0:\nchecker:x:1000:\n"),
];

/// Where the folder with the packages is seen inside.
pub(crate) const INSIDE: &str = "/packages";

/// Provides them and says where their root is.
pub(crate) fn provide() -> Result<PathBuf> {
    ensure!(workspace::is_root(), "setup: tools for packages run in a root of their own, which takes root");
    let cache = Cache::open()?;
    let name = Path::new("package-checkers").join(SUITE);
    cache.entry(&name, |folder| unpack(&cache, folder)).context("setup: no tools that check packages")
}

fn unpack(cache: &Cache, root: &Path) -> Result<()> {
    let suite = Archive::of_this_machine(cache.temporary())?.suite(SUITE)?;
    let packages: Vec<String> = suite.closure(&PACKAGES)?.iter().map(PackageVersion::to_string).collect();
    println!("setup: tools that check packages: unpacking {} packages of {SUITE}", packages.len());
    suite.unpack(&packages, root)?;
    for path in LEFT_OUT.map(|path| root.join(path)).iter().filter(|path| path.is_dir()) {
        fs::remove_dir_all(path)?;
    }
    for point in ["proc", "dev", "tmp", "packages"] {
        fs::create_dir_all(root.join(point))?;
    }
    for (name, content) in ACCOUNTS {
        fs::write(root.join(name), content)?;
    }
    // What installing them would have made.
    for (link, target) in
        [("usr/bin/awk", "mawk"), ("etc/dpkg/origins/default", "debian"), ("usr/bin/sh", "dash")]
    {
        if fs::symlink_metadata(root.join(link)).is_err() {
            symlink(target, root.join(link))?;
        }
    }
    Ok(())
}

/// Runs one of them on the packages in a folder. What it found is its output, whatever its exit status is.
pub(crate) fn run(root: &Path, packages: &Path, arguments: &[&str]) -> Result<String> {
    // Mounts of its own, which are gone with it.
    let script = "mount --bind \"$1\" packages && mount -t proc proc proc && mount -t tmpfs tmpfs tmp && \
                  mount -t tmpfs tmpfs dev && mknod -m 666 dev/null c 1 3 && shift && exec chroot . \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh"]).arg(packages);
    command.args(arguments).current_dir(root).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C").env("HOME", "/tmp");
    let output =
        command.output().with_context(|| format!("cannot run `{}`", processes::line_of(&command)))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}
