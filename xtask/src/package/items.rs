//! What lies where in a package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::made::Made;
use crate::workspace;

const NAME: &str = "tcp-backlog-probe";

/// Whose custom is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Debian,
    Rpm,
    /// A folder that is unpacked anywhere, its parts side by side.
    Folder,
}

/// How a file is treated beside being there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Program,
    Plain,
    /// The administrator's changes are kept.
    Configuration,
    Documentation,
    Licence,
}

/// One file of a package.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Without a slash at its begin.
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) kind: Kind,
}

impl Item {
    pub(crate) const fn mode(&self) -> u32 {
        match self.kind {
            Kind::Program => 0o755,
            _ => 0o644,
        }
    }
}

/// Where each kind of thing is put.
struct Places {
    program: &'static str,
    units: &'static str,
    users: &'static str,
    configuration: &'static str,
    manual: &'static str,
    shared: &'static str,
    documents: &'static str,
    bash: &'static str,
    zsh: &'static str,
    fish: &'static str,
}

impl Layout {
    const fn places(self) -> Places {
        let system = Places {
            program: "usr/bin",
            units: "usr/lib/systemd/system",
            users: "usr/lib/sysusers.d",
            configuration: "etc/tcp-backlog-probe",
            manual: "usr/share/man/man1",
            shared: "usr/share/tcp-backlog-probe",
            documents: "usr/share/doc/tcp-backlog-probe",
            bash: "usr/share/bash-completion/completions",
            zsh: "usr/share/zsh/site-functions",
            fish: "usr/share/fish/vendor_completions.d",
        };
        match self {
            Self::Rpm => system,
            // Until Debian 12 units are looked for under the name that the folder had before /usr was merged.
            Self::Debian => {
                Places { units: "lib/systemd/system", zsh: "usr/share/zsh/vendor-completions", ..system }
            }
            Self::Folder => Places {
                program: "bin",
                units: "systemd",
                users: "sysusers.d",
                configuration: "etc",
                manual: "man/man1",
                shared: "share",
                documents: "doc",
                bash: "completions",
                zsh: "completions",
                fish: "completions",
            },
        }
    }

    /// Whether manual pages and long documents are compressed.
    const fn compresses(self) -> bool {
        !matches!(self, Self::Folder)
    }
}

/// Documents that a user of the package reads, in the folders where their links expect them. Others are for who builds it.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "docs/INSTALL.md",
    "docs/PRIVILEGES.md",
    "docs/METRICS.md",
    "docs/COMPATIBILITY.md",
    "docs/SCENARIO.md",
    "docs/snapshot.schema.json",
];

/// Folders that are taken whole, and under which name.
const FOLDERS: [(&str, &str); 4] = [
    ("dashboards/grafana", "grafana"),
    ("dashboards/prometheus", "prometheus"),
    ("packaging/container", "container"),
    ("packaging/kubernetes", "kubernetes"),
];

/// Everything, in the order of the paths.
pub(crate) fn all(layout: Layout, binary: &Path, made: &Made) -> Result<Vec<Item>> {
    let places = layout.places();
    let mut items = Items { layout, items: Vec::new() };
    items.file(format!("{}/{NAME}", places.program), Kind::Program, binary)?;
    items.bytes(
        format!("{}/config.toml", places.configuration),
        Kind::Configuration,
        made.configuration.clone(),
    );
    for unit in ["tcp-backlog-probe.service", "tcp-backlog-probe.socket"] {
        let source = repository("packaging/systemd").join(unit);
        items.file(format!("{}/{unit}", places.units), Kind::Plain, &source)?;
    }
    for drop_in in ["owners.conf", "namespaces.conf", "kernel-addresses.conf"] {
        let source = repository("packaging/systemd").join(drop_in);
        items.file(format!("{}/systemd/{drop_in}", places.shared), Kind::Plain, &source)?;
    }
    let users = format!("{NAME}.conf");
    items.file(
        format!("{}/{users}", places.users),
        Kind::Plain,
        &repository("packaging/sysusers.d").join(&users),
    )?;
    items.command_line(&places, made);
    for (source, name) in FOLDERS {
        items.tree(&format!("{}/{name}", places.shared), &repository(source))?;
    }
    items.documents(&places, made)?;
    let mut items = items.items;
    items.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(items)
}

fn repository(path: &str) -> PathBuf {
    workspace::root().join(path)
}

struct Items {
    layout: Layout,
    items: Vec<Item>,
}

impl Items {
    fn bytes(&mut self, path: String, kind: Kind, content: Vec<u8>) {
        self.items.push(Item { path, content, kind });
    }

    /// A text that is compressed where that is the custom.
    fn text(&mut self, path: String, kind: Kind, content: Vec<u8>) {
        if self.layout.compresses() {
            self.bytes(format!("{path}.gz"), kind, super::made::gzip(&content));
        } else {
            self.bytes(path, kind, content);
        }
    }

    fn file(&mut self, path: String, kind: Kind, source: &Path) -> Result<()> {
        let content = fs::read(source).with_context(|| format!("cannot read {}", source.display()))?;
        self.bytes(path, kind, content);
        Ok(())
    }

    fn tree(&mut self, path: &str, folder: &Path) -> Result<()> {
        let unreadable = || format!("cannot read {}", folder.display());
        for entry in fs::read_dir(folder).with_context(unreadable)? {
            let entry = entry?;
            let path = format!("{path}/{}", entry.file_name().to_string_lossy());
            // Tests of rules are for who changes them.
            if entry.file_name() == "tests" {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self.tree(&path, &entry.path())?;
            } else {
                self.file(path, Kind::Plain, &entry.path())?;
            }
        }
        Ok(())
    }

    fn command_line(&mut self, places: &Places, made: &Made) {
        for (name, page) in &made.manual {
            self.text(format!("{}/{name}", places.manual), Kind::Documentation, page.clone());
        }
        // Side by side in one folder they need an ending.
        let bash = if self.layout == Layout::Folder { "tcp-backlog-probe.bash" } else { NAME };
        self.bytes(format!("{}/{bash}", places.bash), Kind::Plain, made.bash.clone());
        self.bytes(format!("{}/_{NAME}", places.zsh), Kind::Plain, made.zsh.clone());
        self.bytes(format!("{}/{NAME}.fish", places.fish), Kind::Plain, made.fish.clone());
    }

    fn documents(&mut self, places: &Places, made: &Made) -> Result<()> {
        let folder = places.documents;
        for source in DOCUMENTS {
            self.file(format!("{folder}/{source}"), Kind::Documentation, &repository(source))?;
        }
        // Alerts link to them there (`runbook_url`).
        self.tree(&format!("{folder}/runbooks"), &repository("dashboards/runbooks"))?;
        let changes = fs::read(repository("CHANGELOG.md"))?;
        if self.layout == Layout::Debian {
            self.text(format!("{folder}/changelog"), Kind::Documentation, changes);
            self.text(
                format!("{folder}/changelog.Debian"),
                Kind::Documentation,
                made.debian_changelog.clone(),
            );
            self.bytes(format!("{folder}/copyright"), Kind::Licence, made.copyright.clone());
        } else {
            self.bytes(format!("{folder}/CHANGELOG.md"), Kind::Documentation, changes);
            for licence in ["LICENSE-MIT", "LICENSE-APACHE", "LICENSE-GPL2"] {
                self.file(format!("{folder}/{licence}"), Kind::Licence, &repository(licence))?;
            }
        }
        self.text(format!("{folder}/third-party-licences.txt"), Kind::Licence, made.licences.clone());
        self.bytes(format!("{folder}/{NAME}.cdx.json"), Kind::Documentation, made.sbom.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runbooks_that_alerts_link_to_are_in_the_package() {
        const LINK: &str = "file:///";
        let alerts = fs::read_to_string(repository("dashboards/prometheus/tests/probe_down.yml")).unwrap();
        let linked: Vec<_> =
            alerts.lines().filter_map(|line| Some(line.split_once(LINK)?.1.trim_end())).collect();
        assert!(!linked.is_empty());
        for layout in [Layout::Debian, Layout::Rpm] {
            let items = all(layout, &repository("Cargo.toml"), &Made::default()).unwrap();
            for path in &linked {
                assert!(items.iter().any(|item| item.path == *path), "{path} is not in {layout:?}");
            }
        }
    }
}
