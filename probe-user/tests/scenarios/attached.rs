//! What the daemon says of its hooks.
use tcp_backlog_probe::plan::catalogue::CATALOGUE;

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
    let explained = |hook: &AttachedHook, first: Option<&str>| {
        let is_first = first == Some(hook.variant.as_str());
        assert_eq!(hook.reason.is_empty(), is_first, "{hook:?}, its first way is {first:?}");
        assert!(!hook.reason.contains('\n'), "not one line: {hook:?}");
    };
    CATALOGUE
        .iter()
        .map(|hook| {
            let attached = hook_of(hook.name);
            explained(&attached, hook.ways.first().map(|way| way.variant.label()));
            attached
        })
        .collect()
}
