//! The probe as a whole: attached hooks and everything that turns them into a [`Model`].
use std::{collections::BTreeSet, os::fd::OwnedFd, sync::Arc, thread, time::Duration};

use probe_common::loss::Loss;
use tracing::{info, warn};

use super::{
    footprint::Footprint,
    handover::{self, Adopted, Keeper, Predecessor, State, fingerprint},
    quiet::Quiet,
    recommendations::Recommendations,
};
use crate::{
    advice,
    config::Config,
    host::{self, capabilities::Capabilities},
    kernel::{self, KernelBtf, ProbeMaps, SkippedRuns},
    model::{History, Model, advice::Question, carried::Carried},
    plan::{
        decide::KernelFacts,
        outcome::PlanOutcome,
        sizes::{Host, rows},
        wishes::{PlanWish, Wishes},
    },
    readers::{
        self,
        handshake::HandshakeSource,
        owner::{ListenerHint, OwnerReader},
        syn_queue::SynQueueReader,
    },
    sample::{HookSample, LOSS_PROGRAM_SKIPPED, Sample, SocketTotals},
    sorted::Sorted,
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
    /// Saves what the next daemon has to know; `None` where nobody would keep it.
    keeper: Option<Keeper>,
    tended: Option<Duration>,
    footprint: Footprint,
    /// All memory of the process in bytes, when it was read last.
    resident: Option<(u64, Duration)>,
    skipped: SkippedRuns,
    quiet: Quiet,
    /// It was logged that there are too few rows.
    rows_were_full: bool,
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
        let mut probe = Self::attach_anew(config, kernel_log, History::default());
        probe.begin();
        probe
    }

    /// The same for a service: goes on from what the daemon before this one has left with the service manager
    /// (`kept`), and leaves there what the next one needs.
    #[must_use]
    pub fn attach_as_service(config: &Config, kernel_log: bool, kept: Vec<(String, OwnedFd)>) -> Self {
        let mut probe = match Predecessor::find(kept) {
            Some(predecessor) => Self::succeed(config, kernel_log, predecessor),
            None => Self::attach_anew(config, kernel_log, History::default()),
        };
        // The kernel side's messages could not be read by the next one.
        if probe.keeper.is_none() && !kernel_log {
            let layout = probe.maps.as_ref().map(ProbeMaps::layout);
            probe.keeper = Keeper::entrust(fingerprint(config.wishes), layout);
        }
        probe.begin();
        probe
    }

    /// Goes on with the hooks of the daemon before this one, or if that cannot be, from its totals.
    fn succeed(config: &Config, kernel_log: bool, mut predecessor: Predecessor) -> Self {
        let adopted = if kernel_log {
            Err("the kernel side's messages are asked for".to_owned())
        } else {
            predecessor.adopt(&fingerprint(config.wishes), wanted_rows(config.wishes))
        };
        let Predecessor { carried, recommender, history, .. } = predecessor;
        let history = history.unwrap_or_default();
        let mut probe = match adopted {
            Ok(Adopted { maps, plan, keeper }) => {
                info!("went on with the hooks and the counts of the daemon before this one");
                let mut probe = Self::new(config, Some(maps), plan, history);
                probe.keeper = Some(keeper);
                probe
            }
            Err(reason) => {
                info!(reason, "went on from the totals of the daemon before this one, with hooks of its own");
                handover::forget();
                Self::attach_anew(config, kernel_log, history.carried_on(carried))
            }
        };
        probe.recommendations.go_on_from(recommender);
        probe
    }

    fn attach_anew(config: &Config, kernel_log: bool, history: History) -> Self {
        let (maps, plan) = attach(config.wishes, kernel_log);
        Self::new(config, maps, plan, history)
    }

    fn new(config: &Config, maps: Option<ProbeMaps>, plan: PlanOutcome, mut history: History) -> Self {
        history.set_series_wishes(config.series.clone());
        Self {
            map_bytes: maps.as_ref().and_then(|_| kernel::map_bytes()),
            maps,
            wishes: config.wishes,
            syn_queues: SynQueueReader::new(plan.coverage.syn_queued),
            plan,
            owners: OwnerReader::default(),
            history,
            recommendations: Recommendations::new(config.state_file.as_deref()),
            keeper: None,
            tended: None,
            footprint: Footprint::default(),
            resident: None,
            skipped: SkippedRuns::default(),
            quiet: Quiet::default(),
            rows_were_full: false,
            logged: BTreeSet::new(),
        }
    }

    /// The baseline: what sockets had dropped before anybody watched is not ours.
    fn begin(&mut self) {
        let _baseline = self.read();
        // The kernel's types took tens of megabytes.
        kernel::give_free_memory_back();
        kernel::give_code_back();
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

    /// Says once that listeners have come for which there was no row.
    fn warn_of_full_rows(&mut self, sample: &Sample) {
        let full = |hooks: &HookSample| {
            hooks.losses.get(Loss::ListenerMapFull.label()).is_some_and(|lost| *lost > 0)
        };
        if !self.rows_were_full && sample.hooks.as_ref().is_some_and(full) {
            self.rows_were_full = true;
            let rows = sample.own_cost.listener_rows.map(|(_, rows)| rows);
            warn!(
                rows,
                "there are more listeners than rows: those without one are counted in the row `other`; stopping \
                 and starting the daemon makes room for twice as many as there are then, hooks.listeners for more"
            );
        }
    }

    /// Reads everything now.
    pub fn read(&mut self) -> Model {
        if let Some(maps) = &self.maps {
            self.quiet.begin(maps.fingerprint(), readers::uptime());
        }
        let source = self.maps.as_ref().map(|maps| maps as &dyn HandshakeSource);
        let mut sample = readers::collect_sample(source, &mut self.syn_queues);
        sample.own_cost.map_bytes = self.map_bytes;
        sample.own_cost.listener_rows = self.maps.as_ref().map(ProbeMaps::rows_in_use);
        if let (Some(hooks), Some(skipped)) = (&mut sample.hooks, self.skipped.read()) {
            hooks.losses.insert(LOSS_PROGRAM_SKIPPED.to_owned(), skipped);
            self.syn_queues.note_skipped_runs(skipped);
        }
        // A clock that the next daemon reads as well.
        let now = Duration::from_nanos(sample.taken.monotonic);
        // Asked first: an owner that cannot be told hides no socket.
        let listening = sample.listening_inodes();
        self.read_owners(&mut sample, now);
        self.log_new_errors(&sample);
        self.warn_of_full_rows(&sample);
        let findings = self.history.observe(&sample, &self.plan.coverage);
        // With many listeners each of these is large: what is understood goes before more is made of the rest.
        sample.hooks.iter_mut().for_each(|hooks| hooks.ports_before = Sorted::default());
        let mut model = Model::new(&sample, &self.plan, &findings);
        drop(sample.hooks.take());
        self.history.add_carried(&mut model, &findings);
        drop(findings);
        self.history.share_out_series(&mut model, now);
        self.history.note_episodes(&mut model, &sample.taken);
        self.recommendations.update(&mut model, now);
        self.history.note_recent(&mut model, sample.taken.monotonic);
        model.advice = Some(Arc::new(advice::advise(&model, Question::default())));
        self.quiet.end(&sample);
        self.resident = sample.own_cost.resident_bytes.map(|bytes| (bytes, now));
        self.tend(listening.as_ref(), now);
        // What the rows had counted is saved before they are cleared.
        self.save(&model);
        self.free_rows();
        model
    }

    /// Whether a reading now would find what the last one did, and is not due for another reason.
    pub fn is_quiet(&mut self) -> bool {
        self.maps.as_ref().is_some_and(|maps| self.quiet.is_quiet(maps.fingerprint(), readers::uptime()))
    }

    /// For the daemon after this one.
    fn save(&mut self, model: &Model) {
        if let Some(keeper) = &mut self.keeper {
            keeper.save(&State {
                carried: &Carried::from_model(model),
                recommender: self.recommendations.recommender(),
                plan: &self.plan,
                retirement: self.maps.as_ref().map(ProbeMaps::retirement),
                history: &self.history,
            });
        }
    }

    /// Finds out whose the sockets of the sample are.
    fn read_owners(&mut self, sample: &mut Sample, now: Duration) {
        // A socket may have had several rows; the hooks say the most of the last one.
        let seen: Sorted<u64, &SocketTotals> = sample
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
        sample.owners = self.owners.read(&hints, now, &mut sample.read_errors);
    }

    /// Gives memory back that readings needed: with many listeners that is much, as long as their models are there.
    pub fn give_waste_back(&mut self) {
        if let Some((resident, now)) = self.resident.take()
            && self.footprint.is_wasteful(resident, kernel::heap_in_use(), now)
        {
            kernel::give_free_memory_back();
        }
    }

    /// Takes back what listeners that are no more have left behind. `listening` are the sockets that are not
    /// closed, if they are known.
    fn tend(&mut self, listening: Option<&BTreeSet<u64>>, now: Duration) {
        let Some(maps) = &mut self.maps else { return };
        if self.tended.is_some_and(|last| now.saturating_sub(last) < TEND_INTERVAL) {
            return;
        }
        self.tended = Some(now);
        if let Err(error) = maps.tend(now, listening) {
            warn!(%error, "rows of closed listeners are kept for now");
        }
    }

    fn free_rows(&mut self) {
        if let Some(maps) = &mut self.maps
            && let Err(error) = maps.free_collected()
        {
            warn!(%error, "a row of a closed listener is lost for new ones");
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // A daemon that cannot take the hooks over goes on from the totals of this reading.
        if self.keeper.is_some() {
            let _saved = self.read();
        }
    }
}

fn without_numbers(line: &str) -> String {
    line.chars().filter(|character| !character.is_ascii_digit()).collect()
}

/// How many rows are taken over at least: where listeners have come since the rows were made, others have to be made.
fn wanted_rows(wishes: Wishes) -> u32 {
    let listeners = readers::listener::count_everywhere();
    let needed = u32::try_from(listeners).unwrap_or(u32::MAX).saturating_add(1);
    // Where there is no room for more, others would be no better.
    needed.min(rows(Host { possible_cpus: host::possible_cpus(), listeners }, wishes.listeners))
}

fn attach(wishes: Wishes, kernel_log: bool) -> (Option<ProbeMaps>, PlanOutcome) {
    if wishes.plan == PlanWish::None {
        return (None, PlanOutcome::nothing("--plan none: no BPF program is loaded"));
    }
    if Capabilities::read().is_some_and(|own| !own.may_trace()) {
        let reason = "loading BPF programs takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN";
        return (None, PlanOutcome::nothing(reason));
    }
    let (facts, btf) = match facts(readers::listener::count_everywhere()) {
        Ok(found) => found,
        Err(reason) => return (None, PlanOutcome::nothing(&reason)),
    };
    let level = if kernel_log { kernel::LEVEL_DEBUG } else { kernel::LEVEL_OFF };
    let attached = kernel::attach(&facts, &btf, wishes, level);
    (attached.maps, attached.outcome)
}

/// Parses the kernel's types twice at once, for the plan and for aya: most of the time until ready.
fn facts(listeners: usize) -> Result<(KernelFacts, KernelBtf), String> {
    thread::scope(|scope| {
        let btf = scope.spawn(KernelBtf::read);
        let facts = host::kernel_facts(listeners)?;
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
