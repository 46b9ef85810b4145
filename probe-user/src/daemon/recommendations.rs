//! Recommended backlogs over the daemon's life: from the demands of each sample into the model, and kept in the state file.
use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::warn;

use super::state_file::StateFile;
use crate::{
    model::{
        Model,
        recommendation::{Place, Recommender},
    },
    netns,
};

/// The loss, beside those of the hooks, for ports whose demands had to be forgotten.
const LOSS_DEMAND_FORGOTTEN: &str = "demand_forgotten";

/// Saves what is not saved yet when it goes out of scope.
#[derive(Debug)]
pub(super) struct Recommendations {
    recommender: Recommender,
    place: Place,
    file: Option<StateFile>,
    unsaved: bool,
    /// Since the daemon's start, at the last look.
    now: Duration,
}

impl Recommendations {
    /// Goes on from what the file says, if there is one.
    pub(super) fn new(path: Option<&Path>) -> Self {
        let place = if path.is_some() { place() } else { Place::default() };
        let (file, recommender) = match path {
            Some(path) => StateFile::load(path, unix_seconds(), &place),
            None => (None, Recommender::default()),
        };
        Self { recommender, place, file, unsaved: false, now: Duration::ZERO }
    }

    /// Takes in the demands of a model, says in it what is recommended, and saves it when that is due.
    /// `now`: since the daemon's start.
    pub(super) fn update(&mut self, model: &mut Model, now: Duration) {
        self.now = now;
        let demands = model.ports.iter().filter_map(|port| Some((port.id, port.queues.demand?.into())));
        self.recommender.observe(unix_seconds(), demands);
        for port in &mut model.ports {
            port.backlog_recommended = self.recommender.recommended(&port.id);
        }
        if self.recommender.forgotten() > 0 {
            model.losses.insert(LOSS_DEMAND_FORGOTTEN.to_owned(), self.recommender.forgotten());
        }
        self.unsaved |= self.recommender.take_changed();
        if self.file.as_ref().is_some_and(|file| file.is_due(now)) {
            self.save();
        }
    }

    /// The demands, to be kept for the next daemon.
    pub(super) const fn recommender(&self) -> &Recommender {
        &self.recommender
    }

    /// Goes on from the demands that the daemon before this one knew: they are newer than any file.
    pub(super) fn go_on_from(&mut self, recommender: Recommender) {
        self.recommender = recommender;
        self.unsaved = true;
    }

    fn save(&mut self) {
        if let Some(file) = &mut self.file
            && self.unsaved
        {
            self.unsaved = !file.save(&self.recommender.state(unix_seconds(), &self.place), self.now);
        }
    }
}

impl Drop for Recommendations {
    fn drop(&mut self) {
        self.save();
    }
}

/// Where the daemon runs. What cannot be told makes the state of other network namespaces useless, no more.
fn place() -> Place {
    let live = netns::discover().map(|found| found.namespaces).unwrap_or_default();
    Place {
        own_netns: netns::own_inum().unwrap_or_else(|error| {
            warn!(%error, "the saved state of the own network namespace is of no use");
            0
        }),
        netns: live.iter().map(netns::NetworkNamespace::inum).collect(),
        boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned(),
    }
}

/// The clock of the day; 0 where it is before 1970.
fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::{
        model::Findings,
        plan::outcome::{Coverage, PlanOutcome},
        sample::{HookSample, PortId, QueueSample, QueueState, Sample},
    };

    fn look(recommendations: &mut Recommendations, demands: &[(PortId, u32)], seconds: u64) -> Model {
        let queues = |demand| QueueSample {
            state: QueueState { demand, ..QueueState::default() },
            ..QueueSample::default()
        };
        let hooks = HookSample {
            ports: demands.iter().map(|(port, _)| (*port, Default::default())).collect(),
            queues: demands.iter().map(|(port, demand)| (*port, queues(*demand).into())).collect(),
            ..HookSample::default()
        };
        let sample = Sample { hooks: Some(hooks), ..Sample::default() };
        let plan = PlanOutcome { hooks: vec![], coverage: Coverage::EVERYTHING };
        let mut model = Model::new(&sample, &plan, &Findings::default());
        recommendations.update(&mut model, Duration::from_secs(seconds));
        model
    }

    fn recommended(model: &Model) -> Vec<Option<u64>> {
        model.ports.iter().map(|port| port.backlog_recommended).collect()
    }

    #[test]
    fn what_is_recommended_is_in_the_model_and_outlives_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let own =
            PortId { netns: netns::own_inum().unwrap(), address: IpAddr::V4(Ipv4Addr::LOCALHOST), port: 80 };
        let mut first = Recommendations::new(Some(&path));
        assert_eq!(recommended(&look(&mut first, &[(own, 100)], 1)), [Some(128)]);
        assert!(path.exists());
        assert_eq!(recommended(&look(&mut first, &[(own, 3_000)], 2)), [Some(4_096)]);
        let in_file = || Recommendations::new(Some(&path)).recommender.recommended(&own);
        assert_eq!(in_file(), Some(128), "not saved twice within a minute");
        drop(first);
        assert_eq!(in_file(), Some(4_096), "saved at the end");
        let mut second = Recommendations::new(Some(&path));
        assert_eq!(recommended(&look(&mut second, &[(own, 0)], 1)), [Some(4_096)]);
    }
}
