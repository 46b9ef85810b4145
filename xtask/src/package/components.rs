//! What is inside the binary: every Rust library that is linked into the daemon or its kernel side, and the C library.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;

use crate::{build, processes, workspace};

/// Packages of the workspace whose code is in the binary.
const OUR_OWN: [&str; 2] = ["tcp-backlog-probe", "probe-ebpf"];

/// One library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Component {
    pub(crate) name: String,
    pub(crate) version: String,
    /// As an SPDX expression.
    pub(crate) licence: String,
    pub(crate) repository: Option<String>,
    /// SHA-256 of what crates.io has.
    pub(crate) checksum: Option<String>,
    /// A package URL, which names it for machines.
    pub(crate) purl: String,
    /// Its source, where its licence is.
    pub(crate) folder: Option<PathBuf>,
    /// The package URLs of what it uses.
    pub(crate) uses: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    manifest_path: PathBuf,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// Absent where the code is linked; `dev` and `build` are not in the binary.
    kind: Option<String>,
}

/// All of them, in the order of their names.
pub(crate) fn all() -> Result<Vec<Component>> {
    let mut cargo = workspace::cargo("metadata");
    cargo.args(["--format-version", "1", "--locked", "--filter-platform", build::STATIC_TARGET]);
    let metadata: Metadata =
        serde_json::from_str(&processes::output_of(&mut cargo)?).context("what cargo metadata says")?;
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock"))?;
    let mut components = linked(&metadata, &checksums(&lock))?;
    components.push(c_library());
    components.sort();
    Ok(components)
}

fn linked(metadata: &Metadata, checksums: &BTreeMap<(String, String), String>) -> Result<Vec<Component>> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let nodes: BTreeMap<&str, &Node> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
    let is_our_own =
        |package: &&Package| package.source.is_none() && OUR_OWN.contains(&package.name.as_str());
    let mut waiting: Vec<&str> =
        metadata.packages.iter().filter(is_our_own).map(|package| package.id.as_str()).collect();
    let mut seen = BTreeSet::new();
    let mut components = Vec::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let unknown = || anyhow!("package: cargo metadata does not explain {id}");
        let package = packages.get(id).ok_or_else(unknown)?;
        let uses: Vec<&str> = nodes.get(id).ok_or_else(unknown)?.linked().collect();
        waiting.extend(&uses);
        let purls = uses.iter().filter_map(|id| packages.get(id)).map(|package| package.purl()).collect();
        components.push(package.component(purls, checksums));
    }
    Ok(components)
}

impl Node {
    fn linked(&self) -> impl Iterator<Item = &str> {
        let is_linked =
            |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
        self.deps.iter().filter(is_linked).map(|dependency| dependency.pkg.as_str())
    }
}

impl Package {
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version)
    }

    fn component(&self, uses: Vec<String>, checksums: &BTreeMap<(String, String), String>) -> Component {
        Component {
            name: self.name.clone(),
            version: self.version.clone(),
            // Old manifests separate alternatives by a slash.
            licence: self.license.as_deref().unwrap_or("NOASSERTION").replace('/', " OR ").replace("  ", " "),
            repository: self.repository.clone(),
            checksum: checksums.get(&(self.name.clone(), self.version.clone())).cloned(),
            purl: self.purl(),
            folder: self.manifest_path.parent().map(PathBuf::from),
            uses,
        }
    }
}

/// Of the packages in Cargo.lock, by name and version.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    lock.split("[[package]]")
        .filter_map(|package| {
            let field = |name: &str| {
                let line = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = \""))?;
                line.strip_suffix('"').map(str::to_owned)
            };
            Some(((field("name")?, field("version")?), field("checksum")?))
        })
        .collect()
}

/// Linked by the compiler and not by cargo. Its version is this machine's.
fn c_library() -> Component {
    let version = processes::output_of(Command::new("getconf").arg("GNU_LIBC_VERSION"))
        .ok()
        .and_then(|text| text.trim().strip_prefix("glibc ").map(str::to_owned))
        .unwrap_or_else(|| "unknown".to_owned());
    Component {
        name: "glibc".to_owned(),
        purl: format!("pkg:generic/glibc@{version}"),
        version,
        licence: "LGPL-2.1-or-later".to_owned(),
        repository: Some("https://sourceware.org/git/glibc.git".to_owned()),
        checksum: None,
        folder: None,
        uses: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_lock_file() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"ff\"\n\n\
                    [[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";
        let expected = [(("a".to_owned(), "1.0.0".to_owned()), "ff".to_owned())];
        assert_eq!(checksums(lock), expected.into());
    }

    #[test]
    fn what_only_builds_or_tests_is_not_inside() {
        let text = r#"{
            "packages": [
                {"id": "own", "name": "tcp-backlog-probe", "version": "0.1.0", "license": "MIT", "repository": null,
                 "manifest_path": "/own/Cargo.toml", "source": null},
                {"id": "linked", "name": "linked", "version": "1.0.0", "license": "MIT/Apache-2.0", "repository": null,
                 "manifest_path": "/linked/Cargo.toml", "source": "registry"},
                {"id": "builder", "name": "builder", "version": "1.0.0", "license": "MIT", "repository": null,
                 "manifest_path": "/builder/Cargo.toml", "source": "registry"}],
            "resolve": {"nodes": [
                {"id": "own", "deps": [{"pkg": "linked", "dep_kinds": [{"kind": null}]},
                                       {"pkg": "builder", "dep_kinds": [{"kind": "build"}, {"kind": "dev"}]}]},
                {"id": "linked", "deps": []}, {"id": "builder", "deps": []}]}}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let components = linked(&metadata, &BTreeMap::new()).unwrap();
        let names: Vec<&str> = components.iter().map(|component| component.name.as_str()).collect();
        assert_eq!(names, ["tcp-backlog-probe", "linked"]);
        assert_eq!(components[0].uses, ["pkg:cargo/linked@1.0.0"]);
        assert_eq!(components[1].licence, "MIT OR Apache-2.0");
    }
}
