//! Whether a story went as it has to: every claim, and what was seen of it.

use super::counted::Counted;
use super::doctor::Answer;
use super::stage::KernelCounters;
use super::story::{Clamp, Story};
use crate::spike::tally::Tally;

/// One spike, by the three who counted it.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    pub(super) client: Tally,
    pub(super) kernel: KernelCounters,
    pub(super) daemon: Counted,
    pub(super) doctor: Answer,
}

/// The whole story.
#[derive(Clone, Debug, Default)]
pub(super) struct Played {
    pub(super) before: Account,
    /// After the remedy and before the restart; only where the remedy is a limit of the kernel.
    pub(super) between: Option<Answer>,
    pub(super) after: Account,
}

/// A claim that was checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) holds: bool,
    pub(super) text: String,
}

/// All claims of a story. Without the remedy more than so many connections have to be refused, or there was none.
pub(super) fn judge(story: &Story, played: &Played, refused_more_than: u64) -> Vec<Claim> {
    let mut claims = before(story, &played.before, refused_more_than);
    if story.clamp == Clamp::Somaxconn {
        let rule = played.between.as_ref().map_or("", Answer::rule);
        let text = format!("raised, not restarted: doctor says {}", named(rule));
        claims.push(Claim { holds: rule == "raised_not_applied", text });
    }
    claims.extend(after(&played.after));
    claims
}

fn before(story: &Story, account: &Account, refused_more_than: u64) -> Vec<Claim> {
    let refused = account.daemon.connections_refused;
    let first = account.doctor.first();
    let (rule, title) = first.map_or(("", ""), |verdict| (&verdict.rule, &verdict.title));
    let expected = match story.clamp {
        Clamp::Somaxconn => {
            format!("asked for {}, got {}: net.core.somaxconn", story.asks_for, story.somaxconn)
        }
        Clamp::Application => format!("asked for {} only", story.asks_for),
    };
    vec![
        Claim {
            holds: refused.is_some_and(|refused| refused > refused_more_than),
            text: format!("before: {} connections refused, more than {refused_more_than}", shown(refused)),
        },
        agreement("before", account),
        Claim {
            holds: rule == story.clamp.rule() && title.contains(&expected),
            text: format!("before: doctor says {} ({title})", named(rule)),
        },
    ]
}

fn after(account: &Account) -> Vec<Claim> {
    let refused = account.daemon.connections_refused;
    let health = &account.doctor.health;
    vec![
        Claim { holds: refused == Some(0), text: format!("after: {} connections refused", shown(refused)) },
        agreement("after", account),
        Claim {
            holds: account.client.failed() == 0 && account.client.answered > 0,
            text: format!("after: {} of the client's connections failed", account.client.failed()),
        },
        Claim { holds: health == "healthy", text: format!("after: doctor says {health}") },
    ]
}

/// The daemon's numbers are the kernel's own, to the unit.
fn agreement(when: &str, account: &Account) -> Claim {
    let (kernel, daemon) = (account.kernel, &account.daemon);
    let holds =
        daemon.overflows == Some(kernel.listen_overflows) && daemon.drops == Some(kernel.listen_drops);
    let text = format!(
        "{when}: overflows {} by the kernel and {} by the daemon, drops {} and {}",
        kernel.listen_overflows,
        shown(daemon.overflows),
        kernel.listen_drops,
        shown(daemon.drops)
    );
    Claim { holds, text }
}

fn shown(number: Option<u64>) -> String {
    number.map_or_else(|| "an unknown number of".to_owned(), |number| number.to_string())
}

fn named(rule: &str) -> &str {
    if rule.is_empty() { "nothing" } else { rule }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::doctor::tests::answer;
    use super::super::stories::find;
    use super::*;

    pub(in super::super) fn good() -> Played {
        let kernel = KernelCounters { listen_overflows: 1961, listen_drops: 1961, softnet_drops: 0 };
        let title = "asked for 10000, got 128: net.core.somaxconn";
        let refused = |number, packets| Counted {
            connections_refused: Some(number),
            overflows: Some(packets),
            drops: Some(packets),
            ..Counted::default()
        };
        let before = Account {
            client: Tally { connections: 3000, answered: 1240, connect_timeouts: 1760, ..Tally::default() },
            kernel,
            daemon: refused(1760, 1961),
            doctor: answer("losing", "clamped_by_somaxconn", title),
        };
        let after = Account {
            client: Tally { connections: 3000, answered: 3000, ..Tally::default() },
            kernel: KernelCounters::default(),
            daemon: refused(0, 0),
            doctor: answer("healthy", "", ""),
        };
        Played { before, between: Some(answer("losing", "raised_not_applied", "")), after }
    }

    fn broken(change: impl FnOnce(&mut Played)) -> Vec<String> {
        let mut played = good();
        change(&mut played);
        let claims = judge(find("tomcat-spike").unwrap(), &played, 1000);
        claims.into_iter().filter(|claim| !claim.holds).map(|claim| claim.text).collect()
    }

    #[test]
    fn the_story_as_it_should_be_holds() {
        assert_eq!(broken(|_| ()), [""; 0]);
    }

    #[test]
    fn a_difference_of_one_packet_is_a_failure() {
        let claims = broken(|played| played.before.kernel.listen_drops += 1);
        assert_eq!(
            claims,
            ["before: overflows 1961 by the kernel and 1961 by the daemon, drops 1962 and 1961"]
        );
        assert_eq!(broken(|played| played.after.kernel.listen_overflows = 1).len(), 1);
    }

    #[test]
    fn an_unknown_number_proves_nothing() {
        let claims = broken(|played| played.after.daemon = Counted::default());
        assert_eq!(claims.len(), 2, "{claims:?}");
    }

    #[test]
    fn a_doctor_who_finds_something_else_is_wrong() {
        let other = || answer("losing", "burst_too_big", "");
        assert_eq!(broken(|played| played.before.doctor = other()).len(), 1);
        assert_eq!(broken(|played| played.between = Some(other())).len(), 1);
        assert_eq!(broken(|played| played.between = None).len(), 1);
        assert_eq!(broken(|played| played.after.doctor = other()).len(), 1);
    }

    #[test]
    fn the_first_title_names_both_numbers_and_the_limit() {
        let vague = answer("losing", "clamped_by_somaxconn", "the backlog was cut");
        assert_eq!(broken(|played| played.before.doctor = vague).len(), 1);
    }

    #[test]
    fn few_refused_connections_are_no_story() {
        assert_eq!(broken(|played| played.before.daemon.connections_refused = Some(1000)).len(), 1);
    }

    #[test]
    fn a_client_that_opened_nothing_had_no_success() {
        assert_eq!(broken(|played| played.after.client = Tally::default()).len(), 1);
    }
}
