//! Debian's archive as a source of files: packages are downloaded and unpacked into the cache,
//! never installed, and the machine's own package state is neither read nor changed.
//!
//! The mirror is the one the machine's own apt uses; each suite gets a private apt of its own.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::processes::output_of;

/// Debian's releases in their order, each known to have been a stable suite with backports.
const RELEASES: [&str; 5] = ["bullseye", "bookworm", "trixie", "forky", "duke"];

const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"];

/// A package in one of its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageVersion {
    pub(crate) name: String,
    pub(crate) version: String,
}

/// What apt-get takes to mean exactly this one.
impl fmt::Display for PackageVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.name, self.version)
    }
}

/// The mirror, and where private apt folders may be made.
pub(crate) struct Archive {
    codename: String,
    main: String,
    security: String,
    folder: PathBuf,
}

impl Archive {
    /// Reads the machine's own apt sources.
    pub(crate) fn of_this_machine(folder: PathBuf) -> Result<Self> {
        let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let codename = os_release_field(&system, "VERSION_CODENAME").unwrap_or_default();
        ensure!(
            os_release_field(&system, "ID").as_deref() == Some("debian"),
            "this is not Debian, so its packages cannot be had"
        );
        let mut apt_get = Command::new("apt-get");
        apt_get.args(["indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]);
        let (main, security) = mirrors(&output_of(&mut apt_get)?, &codename)
            .context("no Debian mirror in this machine's apt sources")?;
        Ok(Self { codename, main, security, folder })
    }

    /// The suite this machine itself is: what cannot be had of it cannot be had of any other.
    pub(crate) fn own_suite(&self) -> Result<Suite> {
        self.suite(&self.codename)
    }

    /// This machine's suite, its backports, and the same of every later release.
    pub(crate) fn suites_from_this_machines_on(&self) -> Vec<String> {
        let later = RELEASES.iter().skip_while(|release| **release != self.codename).skip(1);
        std::iter::once(self.codename.as_str())
            .chain(later.copied())
            .flat_map(|release| [release.to_owned(), format!("{release}-backports")])
            .chain(std::iter::once("sid".to_owned()))
            .collect()
    }

    /// Opens a suite; its package list is downloaded once per run.
    pub(crate) fn suite(&self, name: &str) -> Result<Suite> {
        let suite = Suite { folder: self.folder.join(format!("apt-{name}")), name: name.to_owned() };
        if suite.configuration().is_file() {
            return Ok(suite);
        }
        let mirror = if name.ends_with("-security") { &self.security } else { &self.main };
        // A failed download must not look like an empty suite the next time.
        suite.write(mirror).and_then(|()| suite.update()).inspect_err(|_| {
            let _ = fs::remove_dir_all(&suite.folder);
        })?;
        Ok(suite)
    }
}

/// One suite of the archive with its package list.
pub(crate) struct Suite {
    name: String,
    folder: PathBuf,
}

impl Suite {
    fn configuration(&self) -> PathBuf {
        self.folder.join("apt.conf")
    }

    fn write(&self, mirror: &str) -> Result<()> {
        for folder in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(self.folder.join(folder))?;
        }
        // No package counts as installed: dependencies come out complete, whatever this machine has.
        fs::write(self.folder.join("status"), "")?;
        let keyring = KEYRINGS.iter().find(|keyring| Path::new(keyring).exists());
        let signed_by = keyring.map_or_else(String::new, |keyring| format!(" signed-by={keyring}"));
        let source = format!("deb [arch=amd64{signed_by}] {mirror} {} main\n", self.name);
        fs::write(self.folder.join("sources.list"), source)?;
        let folder = self.folder.display();
        fs::write(self.configuration(), APT_CONFIGURATION.replace("@FOLDER@", &folder.to_string()))?;
        Ok(())
    }

    fn update(&self) -> Result<()> {
        output_of(self.apt("apt-get").args(["--quiet", "update", "--error-on=any"]))
            .map_err(|error| anyhow!("no package list of Debian {}: {}", self.name, error.root_cause()))
            .map(drop)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // In the folder that apt-get downloads to.
        command.arg("--config-file").arg(self.configuration()).current_dir(&self.folder).env("LC_ALL", "C");
        command
    }

    /// The names that begin so, in no order.
    pub(crate) fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let names = output_of(self.apt("apt-cache").args(["pkgnames", prefix]))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// The versions of a package, the newest first.
    pub(crate) fn versions(&self, package: &str) -> Result<Vec<PackageVersion>> {
        let table = output_of(self.apt("apt-cache").args(["madison", package]))?;
        Ok(versions_in(&table))
    }

    /// The packages' dependencies and themselves, as one would have to install them on an empty
    /// machine.
    pub(crate) fn closure(&self, packages: &[&str]) -> Result<Vec<PackageVersion>> {
        let mut apt_get = self.apt("apt-get");
        apt_get.args(["install", "--simulate", "--no-install-recommends"]).args(packages);
        Ok(installs_in(&output_of(&mut apt_get)?))
    }

    /// Downloads packages as they are.
    pub(crate) fn download(&self, packages: &[String], into: &Path) -> Result<()> {
        fs::create_dir_all(into)?;
        output_of(self.apt("apt-get").arg("download").args(packages).current_dir(into)).map(drop)
    }

    /// Downloads packages and unpacks them into a folder. Their scripts do not run.
    pub(crate) fn unpack(&self, packages: &[String], into: &Path) -> Result<()> {
        let downloads = self.folder.join("downloads");
        self.download(packages, &downloads)?;
        fs::create_dir_all(into)?;
        for entry in fs::read_dir(&downloads)? {
            let package = entry?.path();
            output_of(Command::new("dpkg").arg("-x").arg(&package).arg(into))
                .context("cannot unpack (is the disk full?)")?;
            fs::remove_file(package)?;
        }
        Ok(())
    }
}

/// The machine's own apt configuration stays in force (a proxy, for one), except for what would
/// touch the machine or needs root.
const APT_CONFIGURATION: &str = r#"#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear APT::Default-Release;
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
Dir::Etc::sourcelist "@FOLDER@/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "@FOLDER@";
Dir::State::status "@FOLDER@/status";
Dir::State::lists "@FOLDER@/lists";
Dir::Cache "@FOLDER@/cache";
APT::Sandbox::User "root";
Debug::NoLocking "true";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::CNF::DefaultEnabled "false";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"#;

fn os_release_field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.trim_matches('"').to_owned())
}

/// The main and the security mirror in the lines `<suite> <address>` that apt prints.
fn mirrors(targets: &str, codename: &str) -> Result<(String, String)> {
    let address_of = |suite: &str| {
        targets
            .lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(release, _)| *release == suite)
            .map(|(_, address)| address.to_owned())
    };
    // A machine may name its suite by its role.
    let roles = [codename, "stable", "testing", "oldstable", "sid", "unstable"];
    let Some(main) = roles.iter().find_map(|suite| address_of(suite)) else {
        bail!("no source for the suite {codename}");
    };
    let security = address_of(&format!("{codename}-security")).unwrap_or_else(|| {
        // The archive of security updates is the main one's neighbour on every mirror of both.
        format!("{}-security/", main.trim_end_matches('/'))
    });
    Ok((main, security))
}

/// Reads `apt-cache madison`: `name | version | where`.
fn versions_in(table: &str) -> Vec<PackageVersion> {
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim);
            let package =
                PackageVersion { name: cells.next()?.to_owned(), version: cells.next()?.to_owned() };
            cells.next()?.ends_with("Packages").then_some(package)
        })
        .collect()
}

/// Reads `apt-get install --simulate`: `Inst name (version suite [architecture])`.
fn installs_in(output: &str) -> Vec<PackageVersion> {
    output
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
            let version = rest.split_whitespace().next()?;
            Some(PackageVersion { name: name.to_owned(), version: version.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_machines_own_suite() {
        let targets = "tools http://tools.example/apt/\nbookworm http://mirror.example/debian/\n\
                       bookworm-security http://security.example/debian-security/\n";
        let (main, security) = mirrors(targets, "bookworm").unwrap();
        assert_eq!(main, "http://mirror.example/debian/");
        assert_eq!(security, "http://security.example/debian-security/");
    }

    #[test]
    fn the_security_mirror_is_the_main_ones_neighbour() {
        let (main, security) = mirrors("stable http://mirror.example/debian/\n", "trixie").unwrap();
        assert_eq!(main, "http://mirror.example/debian/");
        assert_eq!(security, "http://mirror.example/debian-security/");
        assert!(mirrors("tools http://tools.example/apt/\n", "trixie").is_err());
    }

    #[test]
    fn versions_are_read_from_the_table() {
        let table = "  rust-src | 1.96.1+dfsg1-2 | http://m/debian s/main amd64 Packages\n\
                       rust-src | 1.96.1+dfsg1-2 | http://m/debian s/main Sources\n";
        let version = PackageVersion { name: "rust-src".to_owned(), version: "1.96.1+dfsg1-2".to_owned() };
        assert_eq!(versions_in(table), [version]);
    }

    #[test]
    fn a_simulated_installation_names_the_closure() {
        let output = "Reading package lists...\nInst gcc-12-base (12.2.0-14 Debian:12/stable [amd64])\n\
                      Inst libc6 (2.36-9 Debian:12/stable [amd64]) []\nConf libc6 (2.36-9 Debian:12/stable [amd64])\n";
        let names: Vec<_> = installs_in(output).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["gcc-12-base=12.2.0-14", "libc6=2.36-9"]);
    }

    #[test]
    fn suites_go_from_the_machines_own_to_newer_ones() {
        let archive = Archive {
            codename: "trixie".to_owned(),
            main: String::new(),
            security: String::new(),
            folder: PathBuf::new(),
        };
        let suites = archive.suites_from_this_machines_on();
        assert_eq!(
            suites,
            ["trixie", "trixie-backports", "forky", "forky-backports", "duke", "duke-backports", "sid"]
        );
    }
}
