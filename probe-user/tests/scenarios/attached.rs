//! What the daemon says of its hooks.
use tcp_backlog_probe::plan::{catalogue::CATALOGUE, hook::Way};

use super::{
    Setup,
    support::{metrics::Metrics, trials::tell},
};

const HOOK_INFO: &str = "tcp_backlog_hook_info";

/// A hook, as a scrape has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttachedHook {
    pub(crate) name: &'static str,
    /// `skipped` where there is none.
    pub(crate) variant: String,
    pub(crate) reason: String,
}

/// What `cargo xtask vm` makes its table of hooks from.
pub(crate) fn every_hook_says_how_it_is_attached(setup: &Setup) {
    for hook in hooks_of(&setup.shared_daemon().scrape()) {
        tell(format!("MATRIX: hook {} {} {}", setup.plan, hook.name, hook.variant));
    }
}

/// Every hook of the catalogue, which has to be there once, with one line that says why it is not
/// attached, or not in the first of its ways.
pub(crate) fn hooks_of(metrics: &Metrics) -> Vec<AttachedHook> {
    let hook_of = |name| {
        let of_hook = [("hook", name)];
        assert_eq!(metrics.sum(HOOK_INFO, &of_hook), Some(1), "{name}");
        let label = |label| metrics.label(HOOK_INFO, &of_hook, label).unwrap_or_default().to_owned();
        AttachedHook { name, variant: label("variant"), reason: label("reason") }
    };
    let explained = |hook: &AttachedHook, ways: &[Way]| {
        let is_variant = |way: &&Way| way.variant.label() == hook.variant;
        // Of two ways of one variant it may be in either.
        let may_be_first = ways.first().is_some_and(|way| is_variant(&way));
        let may_be_later = ways.iter().skip(1).any(|way| is_variant(&way)) || hook.variant == "skipped";
        let is_right = if hook.reason.is_empty() { may_be_first } else { may_be_later };
        assert!(is_right, "{hook:?}");
        assert!(!hook.reason.contains('\n'), "not one line: {hook:?}");
    };
    CATALOGUE
        .iter()
        .map(|hook| {
            let attached = hook_of(hook.name);
            explained(&attached, hook.ways);
            attached
        })
        .collect()
}
