//! The backlog of a listener: what was asked for, what it became, and which limit made it so.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which limit made a listener's backlog what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BacklogBound {
    /// The number that the program gave to listen().
    Application,
    /// `net.core.somaxconn` of the network namespace, when listen() was called.
    Somaxconn,
    /// As much as `net.core.somaxconn` allows was asked for, by a negative number: that is no accident.
    Maximum,
}

impl BacklogBound {
    /// The label value.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Somaxconn => "somaxconn",
            Self::Maximum => "maximum",
        }
    }
}

/// What is known of a listener's backlog beside its limit. All `None` where the call of listen() was not seen:
/// the kernel keeps only what it made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Backlog {
    /// What listen() was asked for. A negative number asks for the maximum.
    pub requested: Option<i32>,
    /// Which limit made of it what the listener has.
    pub bound: Option<BacklogBound>,
    /// What the same call would give now that `net.core.somaxconn` may be another one.
    pub attainable: Option<u32>,
    /// Whether that is more than the listener has: the limit was raised, and takes effect when the program listens
    /// again, mostly by a restart.
    pub raised_not_applied: Option<bool>,
}

impl Backlog {
    /// From what was asked for, what the listener has, and `net.core.somaxconn` as it is now.
    ///
    /// `__sys_listen()` compares without a sign: a negative number is more than any limit.
    #[must_use]
    pub fn new(requested: Option<i32>, effective: u32, somaxconn: Option<u64>) -> Self {
        let Some(asked) = requested else { return Self::default() };
        let bound = if asked < 0 {
            BacklogBound::Maximum
        } else if asked.cast_unsigned() <= effective {
            BacklogBound::Application
        } else {
            BacklogBound::Somaxconn
        };
        let attainable = somaxconn
            .map(|somaxconn| asked.cast_unsigned().min(u32::try_from(somaxconn).unwrap_or(u32::MAX)));
        Self {
            requested,
            bound: Some(bound),
            attainable,
            raised_not_applied: attainable.map(|attainable| attainable > effective),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        BacklogBound::{Application, Maximum, Somaxconn},
        *,
    };

    #[test]
    fn the_limit_that_cut_a_backlog_is_named() {
        let check = |requested, effective, somaxconn, bound, attainable, raised| {
            let expected = Backlog {
                requested: Some(requested),
                bound: Some(bound),
                attainable: Some(attainable),
                raised_not_applied: Some(raised),
            };
            assert_eq!(Backlog::new(Some(requested), effective, Some(somaxconn)), expected);
        };
        check(10_000, 128, 128, Somaxconn, 128, false);
        check(10_000, 4_096, 4_096, Somaxconn, 4_096, false);
        check(10_000, 10_000, 65_535, Application, 10_000, false);
        check(50, 50, 4_096, Application, 50, false);
        check(128, 128, 128, Application, 128, false);
        check(0, 0, 4_096, Application, 0, false);
        check(-1, 4_096, 4_096, Maximum, 4_096, false);
        check(10_000, 128, 65_535, Somaxconn, 10_000, true);
        check(-1, 128, 4_096, Maximum, 4_096, true);
        // Lowered since: the listener has more than it would get now.
        check(10_000, 4_096, 128, Somaxconn, 128, false);
    }

    #[test]
    fn what_was_not_seen_is_not_guessed() {
        assert_eq!(Backlog::new(None, 128, Some(4_096)), Backlog::default());
        let unknown_limit = Backlog::new(Some(10_000), 128, None);
        assert_eq!((unknown_limit.bound, unknown_limit.raised_not_applied), (Some(Somaxconn), None));
    }
}
