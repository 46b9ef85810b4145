//! What is in a package and in no file of the repository.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flate2::{Compression, GzBuilder};

use super::components::Component;
use super::{Release, licences, sbom};
use crate::{processes, workspace};

/// Made once, for all formats.
#[derive(Default)]
pub(crate) struct Made {
    /// Manual pages by their file names.
    pub(crate) manual: BTreeMap<String, Vec<u8>>,
    pub(crate) bash: Vec<u8>,
    pub(crate) zsh: Vec<u8>,
    pub(crate) fish: Vec<u8>,
    pub(crate) configuration: Vec<u8>,
    pub(crate) licences: Vec<u8>,
    pub(crate) sbom: Vec<u8>,
    pub(crate) copyright: Vec<u8>,
    pub(crate) debian_changelog: Vec<u8>,
}

impl Made {
    pub(crate) fn make(
        binary: &Path,
        components: &[Component],
        release: &Release,
        work: &Path,
    ) -> Result<Self> {
        let folder = work.join("command-line");
        processes::run(
            workspace::cargo("run")
                .args(["--quiet", "--package", "tcp-backlog-probe", "--example", "command_line_files", "--"])
                .arg(&folder),
        )?;
        let completion = |name: &str| {
            let path = folder.join("completions").join(name);
            fs::read(&path).with_context(|| format!("no {}", path.display()))
        };
        let (date, _) = dates(release)?;
        Ok(Self {
            manual: manual(&folder.join("man"))?,
            bash: completion("tcp-backlog-probe.bash")?,
            zsh: completion("_tcp-backlog-probe")?,
            fish: completion("tcp-backlog-probe.fish")?,
            configuration: configuration(&processes::output_of(
                Command::new(binary).args(["config", "sample"]),
            )?)?,
            licences: licences::texts(components).into_bytes(),
            sbom: sbom::document(components, release)?.into_bytes(),
            copyright: copyright()?.into_bytes(),
            debian_changelog: debian_changelog(release, &date).into_bytes(),
        })
    }
}

fn manual(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut pages = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("no manual pages in {}", folder.display()))? {
        let entry = entry?;
        pages.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
    }
    Ok(pages)
}

/// The sample, with the one thing that a service has and a program that is tried out has not: a folder for its state.
fn configuration(sample: &str) -> Result<Vec<u8>> {
    const EXAMPLE: &str = "#file = \"/var/lib/tcp-backlog-probe/state.json\"";
    ensure!(sample.matches(EXAMPLE).count() == 1, "package: `config sample` has no line {EXAMPLE:?}");
    let state = EXAMPLE.trim_start_matches('#');
    Ok(sample.replace(EXAMPLE, state).into_bytes())
}

/// The licence's text is put in from its file: as paragraphs of Debian's format.
fn copyright() -> Result<String> {
    let folder = workspace::root();
    let template = fs::read_to_string(folder.join("packaging/debian/copyright"))?;
    let mit = fs::read_to_string(folder.join("LICENSE-MIT"))?;
    let paragraphs: String = mit
        .lines()
        .map(|line| if line.is_empty() { " .\n".to_owned() } else { format!(" {line}\n") })
        .collect();
    Ok(template.replace("@MIT@\n", &paragraphs))
}

fn debian_changelog(release: &Release, date: &str) -> String {
    let Release { version, revision, .. } = release;
    format!(
        "tcp-backlog-probe ({version}-{revision}) stable; urgency=medium\n\n  * Version {version}: \
         changelog.gz says what is new.\n\n -- The tcp-backlog-probe authors \
         <tcp-backlog-probe@localhost.localdomain>  {date}\n"
    )
}

/// The time of a release as in mails, and as in ISO 8601.
pub(super) fn dates(release: &Release) -> Result<(String, String)> {
    let date = |format: &str| {
        let mut date = Command::new("date");
        date.args(["--utc", "--date"]).arg(format!("@{}", release.epoch)).arg(format).env("LC_ALL", "C");
        processes::output_of(&mut date).map(|text| text.trim().to_owned())
    };
    Ok((date("+%a, %d %b %Y %H:%M:%S +0000")?, date("+%Y-%m-%dT%H:%M:%SZ")?))
}

/// Compressed as well as can be, without a name and a time in it: the same every time.
pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_keeps_its_state() {
        let sample = "[state]\n# Keeps.\n#file = \"/var/lib/tcp-backlog-probe/state.json\"\n";
        let text = String::from_utf8(configuration(sample).unwrap()).unwrap();
        assert_eq!(text, "[state]\n# Keeps.\nfile = \"/var/lib/tcp-backlog-probe/state.json\"\n");
        assert!(configuration("[state]\n").is_err());
    }

    #[test]
    fn a_licence_is_a_paragraph_of_debians_format() {
        let text = copyright().unwrap();
        assert!(text.contains("License: MIT\n MIT License\n .\n Copyright (c)"), "{text}");
        assert!(!text.contains('@'), "{text}");
    }
}
