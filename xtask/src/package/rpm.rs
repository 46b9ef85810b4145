//! The package for Fedora, RHEL, SUSE and their like.

use std::fs;
use std::path::{Path, PathBuf};

use ::rpm::{BuildConfig, CompressionType, Dependency, FileOptions, PackageBuilder};
use anyhow::{Context as _, Result};

use super::Release;
use super::items::{Item, Kind};
use crate::workspace;

/// Folders that belong to this package and to no other.
const FOLDERS: [&str; 3] =
    ["/etc/tcp-backlog-probe", "/usr/share/tcp-backlog-probe", "/usr/share/doc/tcp-backlog-probe"];

const DESCRIPTION: &str = "Servers lose connections silently when a listening socket's queues overflow.
This daemon watches both queues of every listening TCP socket from inside the
Linux kernel, and says per port how many connections were refused, at which
step and for which cause, and which limit is in the way.";

/// Writes it and says where.
pub(crate) fn write(items: &[Item], release: &Release, folder: &Path) -> Result<PathBuf> {
    let licence = "(MIT OR Apache-2.0) AND (MIT OR GPL-2.0-only) AND LGPL-2.1-or-later";
    let summary = "Counts what listening TCP sockets lose because their queues overflow";
    let mut builder = PackageBuilder::new("tcp-backlog-probe", &release.version, licence, "x86_64", summary);
    let time = u32::try_from(release.epoch).context("a time of the last change that fits")?;
    builder
        .using_config(BuildConfig::v4().compression(CompressionType::Gzip).source_date(time))
        .release(release.revision.to_string())
        .description(DESCRIPTION)
        // The same on every machine.
        .build_host("localhost")
        .requires(Dependency::any("systemd"))
        .post_install_script(script("post.sh")?)
        .pre_uninstall_script(script("preun.sh")?)
        .post_uninstall_script(script("postun.sh")?);
    for folder in FOLDERS {
        builder.with_dir_entry(FileOptions::dir(folder).permissions(0o755))?;
    }
    for item in items {
        builder.with_file_contents(item.content.clone(), options(item)?)?;
    }
    let package = builder.build().context("package: no package for rpm")?;
    let name = format!("tcp-backlog-probe-{}-{}.x86_64.rpm", release.version, release.revision);
    let path = folder.join(name);
    package.write_file(&path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn options(item: &Item) -> Result<FileOptions> {
    let mode = u16::try_from(item.mode()).context("a mode")?;
    let options = FileOptions::new(format!("/{}", item.path)).permissions(mode);
    Ok(match item.kind {
        Kind::Program | Kind::Plain => options,
        Kind::Configuration => options.config().noreplace(),
        Kind::Documentation => options.doc(),
        Kind::Licence => options.license(),
    }
    .into())
}

fn script(name: &str) -> Result<String> {
    let path = workspace::root().join("packaging/rpm").join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}
