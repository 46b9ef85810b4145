//! `cargo xtask package`: what is given away: packages for Debian and for rpm, a folder for every other Linux, what is
//! inside (SBOM), and checksums, all of the same static binary.
//!
//! [`items`] says what lies where, [`made`] makes what is in no file of the repository, one file per format.

mod check;
mod components;
mod deb;
mod items;
mod licences;
mod made;
mod rpm;
mod sbom;
mod tarball;
mod test;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};

use self::items::Layout;
use self::made::Made;
use crate::{build, processes, workspace};

/// Makes packages in target/packages
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Subcommand>,
    /// The revision of the packages: 2 for another build of the same version
    #[arg(long, default_value_t = 1)]
    revision: u32,
}

#[derive(clap::Subcommand)]
enum Subcommand {
    Test(test::Arguments),
    /// Asks lintian, rpm and rpmlint about the packages that were made last
    Check,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Some(Subcommand::Test(test)) => test::run(test),
        Some(Subcommand::Check) => check::run(&Files::of(&Release::current(arguments.revision)?)),
        None => {
            let release = Release::current(arguments.revision)?;
            let files = make(&release)?;
            check::run(&files)
        }
    }
}

/// What is given away, and when.
pub(crate) struct Release {
    /// As in Cargo.toml.
    version: String,
    /// Of the packages.
    revision: u32,
    /// Seconds since 1970: when the source was changed last. Every file has this time, so that the same source gives
    /// the same packages.
    epoch: u64,
}

impl Release {
    /// What the package for Debian is called.
    fn deb_name(&self) -> String {
        format!("tcp-backlog-probe_{}-{}_amd64.deb", self.version, self.revision)
    }

    fn current(revision: u32) -> Result<Self> {
        let manifest = fs::read_to_string(workspace::root().join("Cargo.toml"))?;
        let version = manifest
            .lines()
            .find_map(|line| line.strip_prefix("version = \""))
            .and_then(|rest| rest.strip_suffix('"'))
            .context("package: no version in Cargo.toml")?;
        Ok(Self { version: version.to_owned(), revision, epoch: epoch()? })
    }
}

fn epoch() -> Result<u64> {
    let text = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text,
        Err(_) => {
            let mut git = Command::new("git");
            git.args(["log", "-1", "--format=%ct"]).current_dir(workspace::root());
            processes::output_of(&mut git)
                .context("package: no time of the last change; remedy: SOURCE_DATE_EPOCH")?
        }
    };
    text.trim().parse().map_err(|_| anyhow!("package: {text:?} is no number of seconds"))
}

/// The files that were made.
pub(crate) struct Files {
    pub(crate) deb: PathBuf,
    pub(crate) rpm: PathBuf,
    pub(crate) tarball: PathBuf,
    pub(crate) sbom: PathBuf,
}

impl Files {
    /// Where they are, whether they were made or not.
    fn of(release: &Release) -> Self {
        let (folder, Release { version, revision, .. }) = (folder(), release);
        Self {
            deb: folder.join(release.deb_name()),
            rpm: folder.join(format!("tcp-backlog-probe-{version}-{revision}.x86_64.rpm")),
            tarball: folder.join(format!("tcp-backlog-probe-{version}-x86_64-linux.tar.gz")),
            sbom: folder.join(format!("tcp-backlog-probe-{version}.cdx.json")),
        }
    }
}

pub(crate) fn folder() -> PathBuf {
    workspace::target().join("packages")
}

/// Makes everything, and removes what an earlier run made.
pub(crate) fn make(release: &Release) -> Result<Files> {
    let binary = build::daemon(true, true)?;
    let folder = folder();
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    let work = folder.join("work");
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let components = components::all()?;
    let made = Made::make(&binary, &components, release, &work)?;
    let sbom = folder.join(format!("tcp-backlog-probe-{}.cdx.json", release.version));
    fs::write(&sbom, &made.sbom)?;
    let items = |layout| items::all(layout, &binary, &made);
    let files = Files {
        deb: deb::write(&items(Layout::Debian)?, release, &work, &folder)?,
        rpm: rpm::write(&items(Layout::Rpm)?, release, &folder)?,
        tarball: tarball::write(&items(Layout::Folder)?, release, &work, &folder)?,
        sbom,
    };
    fs::remove_dir_all(&work)?;
    write_checksums(&files, &folder)?;
    for file in [&files.deb, &files.rpm, &files.tarball, &files.sbom, &folder.join(CHECKSUMS)] {
        println!("{}", file.display());
    }
    Ok(files)
}

/// The package for Debian alone, beside what is there.
fn deb_of(release: &Release) -> Result<PathBuf> {
    let binary = build::daemon(true, true)?;
    let work = folder().join("work");
    fs::create_dir_all(&work)?;
    let made = Made::make(&binary, &components::all()?, release, &work)?;
    let deb = deb::write(&items::all(Layout::Debian, &binary, &made)?, release, &work, &folder())?;
    fs::remove_dir_all(&work)?;
    Ok(deb)
}

const CHECKSUMS: &str = "SHA256SUMS";

fn write_checksums(files: &Files, folder: &Path) -> Result<()> {
    let mut sha256sum = Command::new("sha256sum");
    for file in [&files.deb, &files.rpm, &files.tarball, &files.sbom] {
        sha256sum.arg(file.file_name().context("a file without a name")?);
    }
    let sums = processes::output_of(sha256sum.current_dir(folder))?;
    fs::write(folder.join(CHECKSUMS), sums)?;
    Ok(())
}
