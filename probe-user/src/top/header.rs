//! The lines above the table: whose figures these are, what is lost altogether, and what keeps them from being new.
use super::{
    columns::display_width,
    rows::sum,
    state::{Mode, State},
    words::{UNKNOWN, rate, time_of_day},
};
use crate::{
    model::Model,
    plan::outcome::{HookOutcome, Variant},
    render::words,
};

/// Between two facts.
const GAP: &str = "  ";

/// As many of these as there is room for, the first ones first.
pub(super) fn fitting(facts: impl IntoIterator<Item = String>, room: usize) -> String {
    let mut line = String::new();
    for fact in facts {
        let gap = if line.is_empty() { "" } else { GAP };
        if display_width(&line) + gap.len() + display_width(&fact) <= room {
            line.push_str(gap);
            line.push_str(&fact);
        }
    }
    line
}

/// Host, time, plan, and who is asked.
pub(super) fn origin(state: &State, room: usize) -> String {
    let host = state.origin.host.clone().unwrap_or_else(|| state.origin.asked.clone());
    let mut facts = vec![host];
    if let Some(model) = state.readings.model() {
        facts.push(time_of_day(model.taken));
        facts.push(hooks(&model.plan.hooks));
        facts.push(format!("accounting: {}", model.plan.coverage.accounting.label()));
    }
    if state.origin.host.is_some() {
        facts.push(state.origin.asked.clone());
    }
    fitting(facts, room)
}

/// How many hooks are attached, and how.
fn hooks(hooks: &[HookOutcome]) -> String {
    let attached = hooks.iter().filter(|hook| hook.variant.is_some()).count();
    let variants = [Variant::Trampoline, Variant::Caller, Variant::Kprobe, Variant::Tracepoint];
    let counted = variants.into_iter().filter_map(|variant| {
        let count = hooks.iter().filter(|hook| hook.variant == Some(variant)).count();
        (count > 0).then(|| format!("{count} {}", variant.label()))
    });
    let counted: Vec<_> = counted.collect();
    let how = if counted.is_empty() { String::new() } else { format!(": {}", counted.join(", ")) };
    format!("{attached} of {} hooks{how}", hooks.len())
}

/// What is lost per second on the whole host, and whether that is all of it.
pub(super) fn totals(state: &State, room: usize) -> String {
    let Some(model) = state.readings.model() else { return fitting(["no figures yet".to_owned()], room) };
    let sum = sum(&state.readings, &state.groups);
    let ports = match model.ports.len() {
        1 => "1 port".to_owned(),
        count => format!("{count} ports"),
    };
    let mut facts = vec![
        ports,
        format!("refused {}/s", rate(sum.refused)),
        format!("overflows {}/s", rate(sum.overflows)),
        format!("drops {}/s", rate(sum.drops)),
        format!("audit {}", audit(model)),
    ];
    facts.extend(incomplete(model));
    fitting(facts, room)
}

/// Whether the kernel counted what the ports did, in all network namespaces: `check` says more of those that differ.
fn audit(model: &Model) -> String {
    let audited: Vec<_> = model.namespaces.iter().filter(|one| !one.residuals.is_empty()).collect();
    let residuals = audited.iter().flat_map(|one| &one.residuals).filter(|(_, residual)| **residual != 0);
    let residuals: Vec<_> =
        residuals.map(|(counter, residual)| format!("{} {residual:+}", counter.name())).collect();
    match residuals.as_slice() {
        _ if audited.is_empty() => UNKNOWN.to_owned(),
        [] => "exact".to_owned(),
        [residual] => residual.clone(),
        several => format!("{} counters differ", several.len()),
    }
}

/// What could not be read, and what was lost on the way.
fn incomplete(model: &Model) -> Vec<String> {
    let unreadable = words::unreadable(model).count() + model.read_errors.len();
    let lost = model.losses.values().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let unreadable = (unreadable > 0).then(|| format!("unreadable: {unreadable}, see check"));
    let lost = (lost > 0).then(|| format!("lost events: {lost}"));
    unreadable.into_iter().chain(lost).collect()
}

/// That the daemon does not answer, and how old the figures are.
pub(super) fn lost(state: &State) -> Option<String> {
    let reason = words::one_line(state.lost.as_deref()?);
    let age = match state.age() {
        Some(age) => format!("the figures are {} s old", age.as_secs()),
        None => "there are no figures".to_owned(),
    };
    Some(format!("{age}, asking again: {reason}"))
}

/// That the figures are kept as they are, or that some are not shown.
pub(super) fn restriction(state: &State) -> Option<String> {
    let age = state.age().map(|age| format!("paused, the figures are {} s old", age.as_secs()));
    let paused = age.filter(|_| state.paused);
    let is_filtered = !state.filter.is_empty() && state.mode != Mode::Filter;
    let filter = is_filtered.then(|| {
        let shown = state.lines.iter().filter(|line| line.member.is_none()).count();
        format!("only \"{}\": {shown} of {} ports", words::one_line(&state.filter), state.groups.len())
    });
    let facts: Vec<_> = paused.into_iter().chain(filter).collect();
    (!facts.is_empty()).then(|| facts.join(GAP))
}

/// Why the table is empty; `None` where it is not.
pub(super) fn nothing(state: &State) -> Option<String> {
    let model = state.readings.model();
    if !state.lines.is_empty() {
        return None;
    }
    Some(match model {
        None => "waiting for the first figures".to_owned(),
        Some(_) if !state.groups.is_empty() => format!("no port or process with \"{}\"", state.filter),
        Some(model) if model.namespaces.iter().all(|one| one.error.is_some()) => {
            "no network namespace can be read, see check".to_owned()
        }
        Some(_) => "no process listens on a TCP port".to_owned(),
    })
}
