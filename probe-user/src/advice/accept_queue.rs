//! Queues that are full, or nearly, and the limits that make them so.
use super::{
    remedy::{ask_for, listen_again, raise_sysctl, set_sysctl, step, sufficient_backlog},
    view::{Evidences, PortView},
};
use crate::model::{
    Backlog, BacklogBound,
    advice::{Rule, Severity, Step, StepKind, Verdict},
};

/// The sysctl that listen(2) is cut to.
const SOMAXCONN: &str = "net.core.somaxconn";

/// Whoever asks for so much or more asks for whatever there is: 65,535 is in every guide, and systemd asks for
/// 2,147,483,647.
const AS_MUCH_AS_THERE_IS: i32 = 65_535;

/// Which limit rules a listener.
enum Cause {
    /// It would get more, up to so much, if it listened again.
    NotListenedAgain { attainable: u32 },
    /// It asked for so much, and got less.
    Somaxconn { requested: i32 },
    /// It has what the sysctl says; what it asked for was not seen.
    MaybeSomaxconn,
    /// It asked for no more, and there is more to be had.
    Application,
    /// It has less than the sysctl says; what it asked for was not seen.
    MaybeApplication,
    /// It asked for all there is, or nobody knows.
    Other,
}

impl Cause {
    fn of(port: &PortView<'_>) -> Self {
        let (Some(listener), somaxconn) = (port.tightest(), port.somaxconn()) else { return Self::Other };
        let Backlog { requested, bound, attainable, raised_not_applied } = listener.backlog;
        let limit = u64::from(listener.accept_queue_limit);
        match (bound, attainable, raised_not_applied) {
            (Some(_), Some(attainable), Some(true)) => Self::NotListenedAgain { attainable },
            (Some(BacklogBound::Somaxconn), ..) => {
                requested.map_or(Self::MaybeSomaxconn, |requested| Self::Somaxconn { requested })
            }
            (Some(BacklogBound::Application), ..) if somaxconn.is_some_and(|most| most > limit) => {
                Self::Application
            }
            (Some(_), ..) => Self::Other,
            (None, ..) if somaxconn == Some(limit) => Self::MaybeSomaxconn,
            (None, ..) if somaxconn.is_some_and(|most| most > limit) => Self::MaybeApplication,
            (None, ..) => Self::Other,
        }
    }

    const fn rule(&self) -> Rule {
        match self {
            Self::NotListenedAgain { .. } => Rule::RaisedNotApplied,
            Self::Somaxconn { .. } | Self::MaybeSomaxconn => Rule::ClampedBySomaxconn,
            Self::Application | Self::MaybeApplication => Rule::ClampedByApplication,
            Self::Other => Rule::BurstTooBig,
        }
    }

    fn title(&self, port: &PortView<'_>) -> String {
        let somaxconn = port.somaxconn().unwrap_or(0);
        let Some(limit) = port.limit() else {
            return "more connections came at once than its accept queue has room for".to_owned();
        };
        match self {
            Self::NotListenedAgain { .. } => format!(
                "{SOMAXCONN} is {somaxconn} by now, but the limit is still {limit}: it has not listened again"
            ),
            Self::Somaxconn { requested } => format!("asked for {requested}, got {limit}: {SOMAXCONN}"),
            Self::MaybeSomaxconn => {
                format!("got {limit}, which is {SOMAXCONN}; what it asked for was not seen")
            }
            Self::Application => {
                format!("asked for {limit} only, while {SOMAXCONN} would allow {somaxconn}")
            }
            Self::MaybeApplication => format!(
                "has a limit of {limit}, while {SOMAXCONN} allows {somaxconn}: its own, or it must listen again"
            ),
            Self::Other => match port.port.queues.demand.filter(|demand| *demand > limit) {
                Some(demand) => format!("{demand} connections at once met an accept queue for {limit}"),
                None => {
                    format!("more connections came at once than its accept queue for {limit} has room for")
                }
            },
        }
    }

    const fn meaning(&self) -> Option<&'static str> {
        match self {
            Self::MaybeSomaxconn => {
                Some("Most likely the application asked for more, and listen(2) cut it in silence.")
            }
            Self::MaybeApplication => Some(
                "What the application asked for was not seen, because it listened before, or this host does not show it.",
            ),
            _ => None,
        }
    }

    /// What `net.core.somaxconn` has to be: enough for the bursts, and for what somebody meant to have.
    fn wanted_somaxconn(&self, port: &PortView<'_>) -> u64 {
        let enough = sufficient_backlog(port);
        match self {
            Self::Somaxconn { requested } if *requested < AS_MUCH_AS_THERE_IS => {
                enough.max(u64::try_from(*requested).unwrap_or(0))
            }
            _ => enough,
        }
    }

    /// What gives the listener more.
    fn remedy(&self, port: &PortView<'_>) -> Vec<Step> {
        let enough = sufficient_backlog(port);
        let somaxconn = port.somaxconn().unwrap_or(0);
        let mut steps = Vec::new();
        let wanted = self.wanted_somaxconn(port);
        if wanted > somaxconn {
            steps.extend(raise_sysctl(port, SOMAXCONN, wanted));
        }
        let asks_for_less = match self {
            Self::Application | Self::MaybeApplication => true,
            Self::Somaxconn { requested } => {
                i64::from(*requested) < i64::try_from(enough).unwrap_or(i64::MAX)
            }
            Self::NotListenedAgain { attainable } => u64::from(*attainable) < enough,
            Self::MaybeSomaxconn | Self::Other => {
                port.tightest().is_some_and(|one| one.backlog.bound != Some(BacklogBound::Maximum))
            }
        };
        if asks_for_less {
            steps.extend(ask_for(port, enough));
        }
        // Where the sysctl was changed as well, a reload is not enough.
        if !asks_for_less || (wanted > somaxconn && steps.last() != Some(&listen_again(port))) {
            steps.push(listen_again(port));
        }
        steps
    }
}

/// Connections are refused because an accept queue is full.
pub(super) fn full(port: &PortView<'_>) -> Option<Verdict> {
    port.overflowed().then(|| {
        let cause = Cause::of(port);
        Verdict {
            meaning: cause.meaning().map(str::to_owned),
            evidence: port.queue_evidence(),
            remedy: cause.remedy(port),
            ..port.verdict(cause.rule(), Severity::Losing, cause.title(port))
        }
    })
}

/// An accept queue was nearly full.
pub(super) fn nearly_full(port: &PortView<'_>) -> Option<Verdict> {
    (!port.overflowed() && port.is_nearly_full()).then(|| {
        let (highest, limit) = (port.highest(), port.limit().unwrap_or(0));
        let title =
            format!("{highest} connections waited in an accept queue for {limit}: the next burst is refused");
        Verdict {
            evidence: port.queue_evidence(),
            remedy: Cause::of(port).remedy(port),
            ..port.verdict(Rule::NearOverflow, Severity::Warning, title)
        }
    })
}

/// Somebody meant to have more than he got, and nothing has come of it yet.
pub(super) fn clamped_in_peace(port: &PortView<'_>) -> Option<Verdict> {
    let requested = port.tightest()?.backlog.requested?;
    let meant = (0..AS_MUCH_AS_THERE_IS).contains(&requested);
    let cause = Cause::of(port);
    let clamped = matches!(cause, Cause::Somaxconn { .. } | Cause::NotListenedAgain { .. });
    (meant && clamped && !port.overflowed()).then(|| {
        let mut evidence = Evidences::default();
        evidence.count("longest accept queue", Some(port.highest().into()));
        Verdict {
            meaning: Some(
                "Nothing is lost now; a burst would be, earlier than the configuration says.".to_owned(),
            ),
            evidence: evidence.0,
            remedy: cause.remedy(port),
            ..port.verdict(cause.rule(), Severity::Notice, cause.title(port))
        }
    })
}

/// A network namespace of its own keeps the kernel's default, whatever the host's sysctl says.
pub(super) fn limit_of_another_namespace(port: &PortView<'_>) -> Option<Verdict> {
    let view = port.view;
    let netns = port.port.id.netns;
    if view.is_own(netns) || !port.overflowed() {
        return None;
    }
    let cause = Cause::of(port);
    let cut = matches!(cause, Cause::Somaxconn { .. } | Cause::MaybeSomaxconn | Cause::Other);
    let here = port.somaxconn()?;
    let hosts = view.namespace(view.model.host.own_netns?)?.limits.somaxconn?;
    (cut && here < hosts).then(|| {
        let title =
            format!("{SOMAXCONN} is {here} in its network namespace: the host's {hosts} does not reach it");
        let pid = port.port.owner().map(|owner| owner.pid);
        // The same number as in the verdict on the queue: the one must not undo the other.
        let command = set_sysctl(view, netns, pid, SOMAXCONN, cause.wanted_somaxconn(port));
        let mut evidence = Evidences::default();
        evidence.count("net.core.somaxconn there", Some(here));
        evidence.count("net.core.somaxconn of the host", Some(hosts));
        Verdict {
            evidence: evidence.0,
            remedy: vec![
                step(StepKind::Now, "raise it in that network namespace", command),
                listen_again(port),
            ],
            ..port.verdict(Rule::LimitOfAnotherNamespace, Severity::Notice, title)
        }
    })
}
