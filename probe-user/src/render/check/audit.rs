//! The part of `check` that says what no port accounts for: whose numbers these are, and over which time.
use std::io::{self, Write};

use super::super::words;
use crate::{
    model::audit::report::{AuditReport, NamespaceRest},
    plan::outcome::Accounting,
};

const INDENT: &str = "            ";

/// Writes whose audit it is, and below what it found.
pub(super) fn write(audit: &AuditReport, writer: &mut impl Write) -> io::Result<()> {
    writeln!(writer, "audit       {}", source(audit))?;
    for line in findings(audit) {
        writeln!(writer, "{INDENT}{line}")?;
    }
    Ok(())
}

fn source(audit: &AuditReport) -> String {
    let span = audit.since.map(|since| words::duration(audit.until - since));
    match &audit.daemon {
        Some(daemon) => {
            let span =
                span.map(|span| format!(", of the {span} since it began to count")).unwrap_or_default();
            let (address, version) = (words::one_line(&daemon.address), words::one_line(&daemon.version));
            format!("by the daemon on {address}, version {version}{span}")
        }
        None => {
            let span = span.map(|span| format!(", of its own {span}")).unwrap_or_default();
            let reason = audit.no_daemon.as_deref().unwrap_or("no daemon was asked");
            format!("by this command alone{span}, moments only: {}", words::one_line(reason))
        }
    }
}

fn findings(audit: &AuditReport) -> Vec<String> {
    match audit.accounting {
        Accounting::KernelCounters => residuals(&audit.namespaces),
        Accounting::Conditions => vec![
            "nothing is audited: by conditions a cause is what was true an instant after the packet, so a difference from \
             the kernel's counters proves nothing"
                .to_owned(),
        ],
        Accounting::SocketDrops => unattributed(&audit.namespaces),
        Accounting::None => vec!["nothing is audited: nothing is counted per port".to_owned()],
    }
}

/// What the kernel counted and no port did.
fn residuals(namespaces: &[NamespaceRest]) -> Vec<String> {
    let amiss = |namespace: &NamespaceRest| {
        let all = namespace.residuals.iter().filter(|(_, residual)| **residual != 0);
        let all: Vec<String> =
            all.map(|(counter, residual)| format!("{} {residual:+}", counter.name())).collect();
        (!all.is_empty()).then(|| format!("{}: {}", namespace.netns, all.join(", ")))
    };
    let audited = namespaces.iter().filter(|namespace| !namespace.residuals.is_empty());
    let amiss: Vec<String> = audited.clone().filter_map(amiss).collect();
    let agree = audited.count().saturating_sub(amiss.len());
    let summary = format!("{agree} namespaces agree with the kernel, {} do not", amiss.len());
    [summary].into_iter().chain(amiss).collect()
}

/// What the namespace counted and no port could be charged with.
fn unattributed(namespaces: &[NamespaceRest]) -> Vec<String> {
    let counts = |namespace: &NamespaceRest| {
        Some((namespace.netns, namespace.unattributed_overflows?, namespace.unattributed_drops?))
    };
    let known: Vec<_> = namespaces.iter().filter_map(counts).collect();
    let amiss: Vec<String> = known
        .iter()
        .filter(|(_, overflows, drops)| overflows.saturating_add(*drops) > 0)
        .map(|(netns, overflows, drops)| format!("{netns}: {overflows} overflows, {drops} drops"))
        .collect();
    let summary = format!(
        "socket-drops are made of the kernel's counters and not held against them; of {} namespaces {} have counts that no \
         port could be charged with (unattributed)",
        known.len(),
        amiss.len()
    );
    [summary].into_iter().chain(amiss).collect()
}
