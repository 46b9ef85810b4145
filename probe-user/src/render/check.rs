//! The report of `check`: what can be measured on this host, by which hook, and why no better.
mod audit;
mod methods;

use std::io::{self, Write};

use super::{BuildInfo, words};
use crate::{
    model::{Model, audit::report::AuditReport},
    plan::outcome::{HookOutcome, PlanOutcome},
};

/// Writes the report. `requested` is what `--plan` asked for. The last line is the verdict.
///
/// # Errors
/// Those of the writer.
pub fn write(
    model: &Model,
    audit: &AuditReport,
    build: &BuildInfo,
    requested: &str,
    writer: &mut impl Write,
) -> io::Result<()> {
    let accounting = model.plan.coverage.accounting;
    writeln!(writer, "kernel      {}", build.kernel)?;
    writeln!(writer, "probe       {}", build.version)?;
    writeln!(writer, "plan asked  {requested}")?;
    writeln!(writer)?;
    write_hooks(&model.plan, writer)?;
    writeln!(writer)?;
    writeln!(writer, "accounting  {}: {}", accounting.label(), words::meaning(accounting))?;
    write_namespaces(model, audit, writer)?;
    writeln!(writer)?;
    methods::write(&model.plan, writer)?;
    writeln!(writer)?;
    writeln!(writer, "{}", verdict(model))
}

/// One line per hook: name, variant, what it is attached to, and the reason where there is one.
fn write_hooks(plan: &PlanOutcome, writer: &mut impl Write) -> io::Result<()> {
    padded(&plan.hooks.iter().map(cells).collect::<Vec<_>>(), writer)
}

/// Lines whose cells stand below each other.
fn padded(lines: &[[String; 3]], writer: &mut impl Write) -> io::Result<()> {
    let width = |column: fn(&[String; 3]) -> &String| {
        lines.iter().map(|line| column(line).len()).max().unwrap_or_default()
    };
    let (first, second) = (width(|[cell, ..]| cell), width(|[_, cell, _]| cell));
    for [name, detail, rest] in lines {
        let line = format!("{name:<first$}  {detail:<second$}  {rest}");
        writeln!(writer, "{}", line.trim_end())?;
    }
    Ok(())
}

fn cells(hook: &HookOutcome) -> [String; 3] {
    let variant = hook.variant.map_or("skipped", |variant| variant.label());
    let attached = hook.attached_to.join(", ");
    let reason = words::one_line(&hook.reason);
    let rest = match (attached.is_empty(), reason.is_empty()) {
        (true, true) => hook.told_by().map(|other| format!("told by {other}")).unwrap_or_default(),
        (false, false) => format!("{attached} ({reason})"),
        (true, _) => reason,
        (false, true) => attached,
    };
    [hook.hook.clone(), variant.to_owned(), rest]
}

fn write_namespaces(model: &Model, audit: &AuditReport, writer: &mut impl Write) -> io::Result<()> {
    let unreadable: Vec<_> = words::unreadable(model).collect();
    let readable = model.namespaces.len().saturating_sub(unreadable.len());
    writeln!(writer, "namespaces  {readable} readable, {} unreadable", unreadable.len())?;
    for (namespace, reason) in unreadable {
        writeln!(writer, "            {}: {}", namespace.netns, words::one_line(reason))?;
    }
    audit::write(audit, writer)?;
    for error in &model.read_errors {
        writeln!(writer, "unreadable  {}", words::one_line(error))?;
    }
    Ok(())
}

/// The last line: that all is well, or what is not.
fn verdict(model: &Model) -> String {
    let mut missing: Vec<_> =
        words::not_measured(&model.plan.coverage).into_iter().map(str::to_owned).collect();
    match words::unreadable(model).count() {
        0 => {}
        1 => missing.push("1 network namespace".to_owned()),
        count => missing.push(format!("{count} network namespaces")),
    }
    if model.namespaces.is_empty() {
        missing.push("any network namespace".to_owned());
    }
    if missing.is_empty() {
        "everything can be measured".to_owned()
    } else {
        format!("cannot be measured here: {}", missing.join(", "))
    }
}
