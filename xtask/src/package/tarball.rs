//! A folder for every other Linux: unpacked anywhere, run at once.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::items::Item;
use super::{Release, deb};
use crate::processes;

/// Writes it and says where.
pub(crate) fn write(items: &[Item], release: &Release, work: &Path, folder: &Path) -> Result<PathBuf> {
    let name = format!("tcp-backlog-probe-{}-x86_64-linux", release.version);
    deb::unpack(items, &work.join(&name))?;
    let tarball = folder.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    // The same bytes every time.
    tar.args(["--create", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu"])
        .arg(format!("--mtime=@{}", release.epoch))
        .args(["--use-compress-program=gzip -9n", "--file"])
        .arg(&tarball)
        .arg("--directory")
        .arg(work)
        .arg(&name);
    processes::output_of(&mut tar)?;
    Ok(tarball)
}
