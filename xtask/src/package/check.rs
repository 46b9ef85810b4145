//! What distributions' own tools say of the packages.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::{Files, folder};
use crate::AlreadyReported;
use crate::setup::package_checkers::{self, INSIDE};

/// What is meant so, with the reason.
const MEANT: [(&str, &str); 15] = [
    ("statically-linked-binary", "it shall run on any Linux"),
    ("no-packager-tag", "whoever builds it is not known"),
    ("no-url-tag", "it has no address of its own"),
    ("no-group-tag", "rpm has given groups up"),
    ("no-signature", "a release is signed as a whole, by its checksums"),
    ("no-changelogname-tag", "CHANGELOG.md is in the package"),
    ("not-listed-as-documentation", "licences are listed as licences"),
    ("only-non-binary-in-usr-lib", "units and the user lie where systemd looks for them"),
    ("manpage-not-compressed bz2", "gzip is what others use than Debian's rpmlint expects"),
    ("no-manual-page-for-binary", "the same: there is one, compressed by gzip"),
    ("spellchecking disabled", "of rpmlint itself"),
    ("invalid-license", "the expression is SPDX's, newer than this rpmlint's list"),
    ("no-buildhost-tag", "the same on every machine"),
    ("initial-upload-closes-no-bugs", "it is not uploaded to Debian"),
    ("groff-message can't set the locale", "of these tools' own small root"),
];

/// Shows what they find; anything that is not expected is a failure.
pub(crate) fn run(files: &Files) -> Result<()> {
    let root = match package_checkers::provide() {
        Ok(root) => root,
        Err(error) => {
            println!("package: skipped: lintian and rpm: {error:#}");
            return Ok(());
        }
    };
    let inside = |file: &Path| -> Result<String> {
        let name = file.file_name().context("a file without a name")?.to_string_lossy();
        Ok(format!("{INSIDE}/{name}"))
    };
    let (deb, rpm) = (inside(&files.deb)?, inside(&files.rpm)?);
    let tool = |arguments: &[&str]| package_checkers::run(&root, &folder(), arguments);
    let lintian = tool(&["lintian", "--allow-root", "--fail-on", "none", "--tag-display-limit", "0", &deb])?;
    let listing = tool(&["rpm", "--query", "--list", "--package", &rpm])?;
    if !listing.lines().any(|line| line == "/usr/bin/tcp-backlog-probe") {
        bail!("package: rpm does not find the program in its package: {listing}");
    }
    let signature = tool(&["rpm", "--checksig", "--nosignature", &rpm])?;
    let rpmlint = tool(&["rpmlint", &rpm])?;
    if lintian.contains("perl5") {
        bail!("package: lintian failed: {}", lintian.lines().next().unwrap_or_default());
    }
    let findings: Vec<&str> = findings(&lintian).chain(findings(&rpmlint)).collect();
    println!("package: rpm has {} files; {}", listing.lines().count(), signature.trim());
    for finding in &findings {
        println!("package: {finding}");
    }
    if findings.is_empty() { Ok(()) } else { Err(AlreadyReported.into()) }
}

/// `E: package: tag details` and `package.x86_64: E: tag details`.
fn findings(output: &str) -> impl Iterator<Item = &str> {
    output.lines().filter(|line| {
        let is_finding =
            ["E:", "W:"].iter().any(|mark| line.starts_with(mark) || line.contains(&format!(": {mark} ")));
        is_finding && !MEANT.iter().any(|(tag, _)| line.contains(tag))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_warnings_are_findings_but_for_what_is_meant() {
        let output = "E: probe: bad-thing here\nI: probe: harmless\nprobe.x86_64: W: odd-thing\n\
                      probe.x86_64: E: statically-linked-binary /usr/bin/probe\n1 packages checked\n";
        let found: Vec<&str> = findings(output).collect();
        assert_eq!(found, ["E: probe: bad-thing here", "probe.x86_64: W: odd-thing"]);
    }
}
