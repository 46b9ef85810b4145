//! The probe as a whole: attached hooks and everything that turns them into a [`Model`].
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{footprint::Footprint, recommendations::Recommendations};
use crate::{
    advice,
    config::Config,
    host::{self, capabilities::Capabilities},
    kernel::{self, KernelBtf, ProbeMaps},
    model::{History, Model, advice::Question},
    plan::{
        decide::{KernelFacts, PlanWish, Wishes},
        outcome::PlanOutcome,
    },
    readers::{
        self,
        handshake::HandshakeSource,
        owner::{ListenerHint, OwnerReader},
        syn_queue::SynQueueReader,
    },
    sample::{LOSS_PROGRAM_SKIPPED, Sample, SocketTotals},
};

/// What is attached, and the history that belongs to it.
pub struct Probe {
    maps: Option<ProbeMaps>,
    map_bytes: Option<u64>,
    wishes: Wishes,
    plan: PlanOutcome,
    history: History,
    syn_queues: SynQueueReader,
    owners: OwnerReader,
    recommendations: Recommendations,
    started: Instant,
    tended: Option<Duration>,
    footprint: Footprint,
    /// Errors that were logged already.
    logged: BTreeSet<String>,
}

/// How often the rows of closed listeners are looked after, at most.
const TEND_INTERVAL: Duration = Duration::from_secs(1);

/// Past so many different errors no more are logged; `tcp_backlog_read_errors` goes on.
const MOST_LOGGED_ERRORS: usize = 256;

impl Probe {
    /// Attaches what the kernel allows. Never fails: what does not work is in the plan with its reason.
    #[must_use]
    pub fn attach(config: &Config, kernel_log: bool) -> Self {
        let (maps, plan) = attach(config.wishes, kernel_log);
        let map_bytes = maps.as_ref().and_then(|_| kernel::map_bytes());
        let syn_queues = SynQueueReader::new(plan.coverage.syn_queued);
        let mut probe = Self {
            maps,
            map_bytes,
            wishes: config.wishes,
            plan,
            syn_queues,
            owners: OwnerReader::default(),
            history: History::new(config.series.clone()),
            recommendations: Recommendations::new(config.state_file.as_deref()),
            started: Instant::now(),
            tended: None,
            footprint: Footprint::default(),
            logged: BTreeSet::new(),
        };
        // The baseline: what sockets had dropped before anybody watched is not ours.
        let _baseline = probe.read();
        // The kernel's types took tens of megabytes.
        kernel::give_free_memory_back();
        probe
    }

    /// What was asked for.
    #[must_use]
    pub const fn wishes(&self) -> Wishes {
        self.wishes
    }

    /// Takes over what of a configuration takes effect while it runs.
    pub fn reconfigure(&mut self, config: &Config) {
        self.history.set_series_wishes(config.series.clone());
    }

    /// What became of each hook.
    #[must_use]
    pub const fn plan(&self) -> &PlanOutcome {
        &self.plan
    }

    /// Whether a map answers as things are; there may be none to ask.
    #[must_use]
    pub fn can_look_up(&self) -> bool {
        self.maps.as_ref().is_none_or(ProbeMaps::can_look_up)
    }

    /// Passes the kernel side's messages on to the log, in a task of the current runtime.
    pub fn forward_kernel_log(&mut self) {
        if let Some(maps) = &mut self.maps
            && let Err(reason) = kernel::forward_logs(maps)
        {
            warn!(reason, "the kernel side's messages cannot be read");
        }
    }

    /// Logs what could not be read, each line once: a missing privilege repeats itself in every reading. Lines
    /// that concern no single namespace count as the same if only their numbers differ: processes come and go.
    fn log_new_errors(&mut self, sample: &Sample) {
        let general = sample.read_errors.iter().map(|error| (error, without_numbers(error)));
        let of_namespaces = sample.namespaces.iter().filter_map(|namespace| namespace.error.as_ref());
        for (error, known_as) in general.chain(of_namespaces.map(|error| (error, error.clone()))) {
            if self.logged.len() < MOST_LOGGED_ERRORS && self.logged.insert(known_as) {
                warn!(error, "not read");
            }
        }
    }

    /// Reads everything now.
    pub fn read(&mut self) -> Model {
        let source = self.maps.as_ref().map(|maps| maps as &dyn HandshakeSource);
        let mut sample = readers::collect_sample(source, &mut self.syn_queues);
        sample.own_cost.map_bytes = self.map_bytes;
        sample.own_cost.listener_rows = self.maps.as_ref().map(ProbeMaps::rows_in_use);
        if let (Some(hooks), Some(skipped)) = (&mut sample.hooks, kernel::skipped_runs()) {
            hooks.losses.insert(LOSS_PROGRAM_SKIPPED.to_owned(), skipped);
            self.syn_queues.note_skipped_runs(skipped);
        }
        // Asked first: an owner that cannot be told hides no socket.
        let listening = sample.listening_inodes();
        self.read_owners(&mut sample);
        self.log_new_errors(&sample);
        let findings = self.history.observe(&sample, &self.plan.coverage);
        let mut model = Model::new(&sample, &self.plan, &findings);
        let now = self.started.elapsed();
        self.history.share_out_series(&mut model, now);
        self.history.note_episodes(&mut model, &sample.taken);
        self.recommendations.update(&mut model, now);
        self.history.note_recent(&mut model, sample.taken.monotonic);
        model.advice = Some(Arc::new(advice::advise(&model, Question::default())));
        self.give_waste_back(sample.own_cost.resident_bytes, now);
        self.tend(listening.as_ref());
        model
    }

    /// Finds out whose the sockets of the sample are.
    fn read_owners(&mut self, sample: &mut Sample) {
        // A socket may have had several rows; the hooks say the most of the last one.
        let seen: BTreeMap<u64, &SocketTotals> = sample
            .hooks
            .iter()
            .flat_map(|hooks| hooks.sockets.iter().map(|socket| (socket.inode, socket)))
            .collect();
        let hint = |inode| {
            let seen = seen.get(&inode);
            ListenerHint {
                inode,
                opened_by: seen.and_then(|socket| socket.opened_by),
                accepted_by: seen.and_then(|socket| socket.queues.state.accepted_by),
            }
        };
        let sockets = sample.namespaces.iter().flat_map(|namespace| namespace.listeners.iter().flatten());
        let hints: Vec<_> = sockets.map(|socket| hint(u64::from(socket.inode))).collect();
        let now = self.started.elapsed();
        sample.owners = self.owners.read(&hints, now, &mut sample.read_errors);
    }

    /// Gives memory back that a larger reading needed.
    fn give_waste_back(&mut self, resident: Option<u64>, now: Duration) {
        if let Some(resident) = resident
            && self.footprint.is_wasteful(resident, kernel::heap_in_use(), now)
        {
            kernel::give_free_memory_back();
        }
    }

    /// Takes back what listeners that are no more have left behind. `listening` are the sockets that are not
    /// closed, if they are known.
    fn tend(&mut self, listening: Option<&BTreeSet<u64>>) {
        let now = self.started.elapsed();
        let Some(maps) = &mut self.maps else { return };
        if self.tended.is_some_and(|last| now.saturating_sub(last) < TEND_INTERVAL) {
            return;
        }
        self.tended = Some(now);
        if let Err(error) = maps.tend(now, listening) {
            warn!(%error, "rows of closed listeners are kept for now");
        }
    }
}

fn without_numbers(line: &str) -> String {
    line.chars().filter(|character| !character.is_ascii_digit()).collect()
}

fn attach(wishes: Wishes, kernel_log: bool) -> (Option<ProbeMaps>, PlanOutcome) {
    if wishes.plan == PlanWish::None {
        return (None, PlanOutcome::nothing("--plan none: no BPF program is loaded"));
    }
    if Capabilities::read().is_some_and(|own| !own.may_trace()) {
        let reason = "loading BPF programs takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN";
        return (None, PlanOutcome::nothing(reason));
    }
    let (facts, btf) = match facts() {
        Ok(found) => found,
        Err(reason) => return (None, PlanOutcome::nothing(&reason)),
    };
    let level = if kernel_log { kernel::LEVEL_DEBUG } else { kernel::LEVEL_OFF };
    let attached = kernel::attach(&facts, &btf, wishes, level);
    (attached.maps, attached.outcome)
}

/// Parses the kernel's types twice at once, for the plan and for aya: most of the time until ready.
fn facts() -> Result<(KernelFacts, KernelBtf), String> {
    thread::scope(|scope| {
        let btf = scope.spawn(KernelBtf::read);
        let facts = host::kernel_facts()?;
        let btf = btf.join().map_err(|_| "parsing the kernel's BTF panicked".to_owned())?;
        Ok((facts, btf?))
    })
}

/// Says once what is attached and what is not; in one line where it is nothing at all.
pub fn log_plan(plan: &PlanOutcome) {
    if !plan.any_attached() {
        let reason = plan.hooks.first().map_or("", |hook| hook.reason.as_str());
        warn!(reason, "handshakes are not counted: only sock_diag and /proc numbers are served");
        return;
    }
    for hook in &plan.hooks {
        let variant = hook.variant.map_or("skipped", |variant| variant.label());
        info!(hook = hook.hook, variant, reason = hook.reason, "hook");
    }
}
