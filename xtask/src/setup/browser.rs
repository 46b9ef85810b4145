//! Node.js with npm, and Chromium: what runs Grafana's own libraries, and draws with them.
//!
//! Those on PATH are used. Else Debian's are unpacked with all they depend on, into a root file system of their own: what
//! is started in it sees the kernel's file systems and the folders that it is given, at their own paths.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::servers::{self, SUITE, Server};
use crate::cache::Cache;
use crate::toolchain_layout::find_on_path;
use crate::{processes, workspace};

/// The first release that the libraries are made for.
const OLDEST_NODE: u32 = 20;

/// All of it, of the release that all unpacked servers are of.
const PACKAGES: Server = Server {
    name: "browser",
    suite: SUITE,
    packages: &["chromium", "nodejs", "npm", "fonts-dejavu-core"],
    needs: is_needed,
    proof: "usr/lib/chromium/chromium",
};

/// What of the packages' dependencies only installs, builds or shows something on a screen.
fn is_needed(package: &str) -> bool {
    const BEGINNINGS: [&str; 16] = [
        "adwaita",
        "binutils",
        "build-essential",
        "cpp",
        "dbus",
        "dconf",
        "dpkg",
        "g++",
        "gcc",
        "libgl1-mesa",
        "libllvm",
        "libpam",
        "perl",
        "python3",
        "systemd",
        "x11-utils",
    ];
    const NAMES: [&str; 9] = [
        "base-files",
        "debconf",
        "init-system-helpers",
        "libz3-4",
        "make",
        "mawk",
        "mount",
        "procps",
        "sysvinit-utils",
    ];
    !NAMES.contains(&package) && !BEGINNINGS.iter().any(|beginning| package.starts_with(beginning))
}

/// Programs that work together.
pub(crate) struct Browser {
    /// Where the paths of the programs lead to; `None`: they are this machine's own.
    root: Option<PathBuf>,
    busybox: PathBuf,
    node: PathBuf,
    /// What node runs.
    npm: PathBuf,
    pub(crate) chromium: PathBuf,
}

/// All of them from PATH, or all of them from the cache.
pub(super) fn provide(cache: &Cache, busybox: PathBuf) -> Result<Browser> {
    if let Some((node, npm, chromium)) = installed() {
        return Ok(Browser { root: None, busybox, node, npm, chromium });
    }
    ensure!(
        workspace::is_root(),
        "setup: Node.js {OLDEST_NODE} or later, npm and chromium are not all on PATH, and the unpacked ones need root"
    );
    let root = servers::provide(&PACKAGES, cache)?;
    Ok(Browser {
        root: Some(root),
        busybox,
        node: PathBuf::from("/usr/bin/node"),
        npm: PathBuf::from("/usr/share/nodejs/npm/bin/npm-cli.js"),
        // Not /usr/bin/chromium: that is a script for a shell.
        chromium: PathBuf::from("/usr/lib/chromium/chromium"),
    })
}

fn installed() -> Option<(PathBuf, PathBuf, PathBuf)> {
    let chromium = find_on_path("chromium").or_else(|| find_on_path("google-chrome"))?;
    // npm is a script of node's behind a link.
    let npm = find_on_path("npm")?.canonicalize().ok()?;
    let node = find_on_path("node").filter(|node| {
        let version = processes::output_of(Command::new(node).arg("--version")).unwrap_or_default();
        major(&version).is_some_and(|major| major >= OLDEST_NODE)
    })?;
    Some((node, npm, chromium))
}

/// The first number in `v20.19.2`.
fn major(version: &str) -> Option<u32> {
    version.trim().strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Mounts what a program needs, for it alone, and starts it in its folder.
const ENTER: &str = r#"set -e
busybox="$0" root="$1" folder="$2"
shift 2
"$busybox" mount -t proc proc "$root/proc"
"$busybox" mount -o rbind /dev "$root/dev"
"$busybox" mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do
    "$busybox" mkdir -p "$root$1"
    "$busybox" mount --bind "$1" "$root$1"
    shift
done
shift
for file in /etc/resolv.conf /etc/hosts; do
    [ -e "$file" ] || continue
    : >> "$root$file"
    "$busybox" mount --bind "$file" "$root$file"
done
exec "$busybox" chroot "$root" "$busybox" sh -c 'cd "$0" && exec "$@"' "$folder" "$@""#;

impl Browser {
    /// node with the packages of a folder, which it starts in. Of this machine's files it may only see the folder and
    /// those that it is given.
    pub(crate) fn node(&self, folder: &Path, shared: &[&Path]) -> Command {
        let Some(root) = &self.root else {
            let mut command = Command::new(&self.node);
            command.current_dir(folder);
            return command;
        };
        let mut command = Command::new(&self.busybox);
        command.args(["unshare", "-m"]).arg(&self.busybox).args(["sh", "-c", ENTER]).arg(&self.busybox);
        command.arg(root).arg(folder).arg(folder).args(shared);
        // Whom an address belongs to is asked of these certificates; they may be missing.
        command.args([Path::new("/etc/ssl"), self.folder_of_busybox()].iter().filter(|path| path.is_dir()));
        command.arg("--").arg(&self.node);
        command.env("HOME", "/tmp").env("PATH", "/usr/bin").env("LANG", "C.UTF-8").env_remove("TMPDIR");
        command
    }

    fn folder_of_busybox(&self) -> &Path {
        self.busybox.parent().unwrap_or(Path::new("/"))
    }

    /// npm in a folder.
    pub(crate) fn npm(&self, folder: &Path) -> Command {
        let mut command = self.node(folder, &[]);
        command.arg(&self.npm);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_a_version_counts() {
        assert_eq!(major("v20.19.2\n"), Some(20));
        assert_eq!(major("v9.1\n"), Some(9));
        assert_eq!(major("20.1"), None);
    }

    #[test]
    fn what_only_builds_is_left_out() {
        let taken = ["chromium", "libc6", "node-semver", "libnode115", "npm", "libgcc-s1"];
        assert!(taken.iter().all(|package| is_needed(package)));
        let left = ["gcc-14", "python3.13", "perl-base", "dbus-daemon", "systemd-sysv", "mawk"];
        assert!(!left.iter().any(|package| is_needed(package)));
    }
}
