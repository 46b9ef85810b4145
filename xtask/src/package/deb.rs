//! The package for Debian and its like, by dpkg-deb.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Release;
use super::items::{Item, Kind};
use crate::{processes, workspace};

const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const OVERRIDES: &str = "usr/share/lintian/overrides/tcp-backlog-probe";

/// Writes it and says where.
pub(crate) fn write(items: &[Item], release: &Release, work: &Path, folder: &Path) -> Result<PathBuf> {
    let root = work.join("deb");
    let mut items = items.to_vec();
    let overrides = workspace::root().join("packaging/debian/lintian-overrides");
    items.push(Item { path: OVERRIDES.to_owned(), content: fs::read(overrides)?, kind: Kind::Plain });
    unpack(&items, &root)?;
    write_control(&items, release, &root)?;
    let package = folder.join(release.deb_name());
    let mut dpkg_deb = Command::new("dpkg-deb");
    dpkg_deb.args(["--root-owner-group", "-Zxz", "--build"]).arg(&root).arg(&package);
    // Files that are newer get this time.
    dpkg_deb.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    processes::output_of(&mut dpkg_deb).context("package: no package for Debian")?;
    Ok(package)
}

/// Writes the files of a package under a folder, with their modes.
pub(super) fn unpack(items: &[Item], root: &Path) -> Result<()> {
    for item in items {
        let path = root.join(&item.path);
        let unwritable = || format!("cannot write {}", path.display());
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(root)) {
            fs::create_dir_all(folder).with_context(unwritable)?;
            // Whatever this user's umask is.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).with_context(unwritable)?;
        }
        fs::write(&path, &item.content).with_context(unwritable)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(item.mode())).with_context(unwritable)?;
    }
    Ok(())
}

fn write_control(items: &[Item], release: &Release, root: &Path) -> Result<()> {
    let folder = root.join("DEBIAN");
    let sources = workspace::root().join("packaging/debian");
    fs::create_dir_all(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    let write = |name: &str, content: &[u8], mode: u32| -> Result<()> {
        let path = folder.join(name);
        fs::write(&path, content)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
    };
    let kibibytes: usize = items.iter().map(|item| item.content.len().div_ceil(1024)).sum();
    let control = fs::read_to_string(sources.join("control.in"))?
        .replace("@VERSION@", &format!("{}-{}", release.version, release.revision))
        .replace("@KIBIBYTES@", &kibibytes.to_string());
    write("control", control.as_bytes(), 0o644)?;
    let is_configuration = |item: &&Item| item.kind == Kind::Configuration;
    let kept = items.iter().filter(is_configuration).fold(String::new(), |mut text, item| {
        // Writing to memory does not fail.
        let _ = writeln!(text, "/{}", item.path);
        text
    });
    write("conffiles", kept.as_bytes(), 0o644)?;
    let mut md5sum = Command::new("md5sum");
    let files = items.iter().filter(|item| item.kind != Kind::Configuration);
    md5sum.args(files.map(|item| &item.path)).current_dir(root);
    write("md5sums", processes::output_of(&mut md5sum)?.as_bytes(), 0o644)?;
    for script in SCRIPTS {
        write(script, &fs::read(sources.join(script))?, 0o755)?;
    }
    Ok(())
}
