//! From what the file and the flags say to a [`Config`].
use wildmatch::WildMatch;

use super::{
    Config, Overrides,
    file::{File, Rule},
};
use crate::{
    logging,
    model::series::{PortRule, SeriesWishes},
    plan::{sizes::MOST_ROWS, wishes::Wishes},
};

/// The key that is to blame, and what is wrong with it.
pub(super) type Problem = (String, String);

/// The most connections whose waits can be measured: 96 MiB of kernel memory.
pub(crate) const MOST_QUEUED_CONNECTIONS: u32 = 4_194_304;

/// One row is for all others.
const MOST_LISTENERS: u32 = MOST_ROWS - 1;

/// Flags come before the file, the file before what holds without it.
pub(super) fn resolve(file: &File, overrides: &Overrides) -> Result<Config, Problem> {
    let base = Config::default();
    let limit = file.ports.limit.and_then(|limit| usize::try_from(limit).ok());
    let config = Config {
        listen: overrides.listen.or(file.http.listen).unwrap_or(base.listen),
        web_config_file: overrides.web_config_file.clone().or_else(|| file.http.web_config_file.clone()),
        socket: overrides.socket.clone().or_else(|| file.http.socket.clone()).unwrap_or(base.socket),
        wishes: wishes(file, overrides, base.wishes),
        series: SeriesWishes {
            limit: overrides.ports_limit.or(limit).unwrap_or(base.series.limit),
            include: rules("ports.include", &file.ports.include)?,
            exclude: rules("ports.exclude", &file.ports.exclude)?,
        },
        state_file: file.state.file.clone(),
        log_format: overrides.log_format.or(file.log.format).unwrap_or(base.log_format),
        log_level: overrides.log_level.clone().or_else(|| file.log.level.clone()).unwrap_or(base.log_level),
    };
    check(&config, file)?;
    Ok(config)
}

fn wishes(file: &File, overrides: &Overrides, base: Wishes) -> Wishes {
    let queued = overrides.accept_wait_connections.or(file.hooks.accept_wait_connections);
    Wishes {
        plan: overrides.plan.or(file.hooks.plan).unwrap_or(base.plan),
        accounting: overrides.accounting.or(file.hooks.accounting).unwrap_or(base.accounting),
        queues: overrides.queues.or(file.hooks.queues).unwrap_or(base.queues),
        queued_connections: queued.unwrap_or(base.queued_connections),
        listeners: overrides.listeners.or(file.hooks.listeners),
    }
}

/// What no type says.
fn check(config: &Config, file: &File) -> Result<(), Problem> {
    let refused = |key: &str, problem: String| Err((key.to_owned(), problem));
    if let Some(path) = config.state_file.as_ref().filter(|path| !path.is_absolute()) {
        return refused("state.file", format!("{} is no absolute path: begin with /", path.display()));
    }
    // A flag may name a file beside the one who gives it; a service has no such place.
    if let Some(path) = file.http.web_config_file.as_ref().filter(|path| !path.is_absolute()) {
        return refused(
            "http.web_config_file",
            format!("{} is no absolute path: begin with /", path.display()),
        );
    }
    if !(1..=MOST_QUEUED_CONNECTIONS).contains(&config.wishes.queued_connections) {
        let problem = format!(
            "{} is not a number from 1 to {MOST_QUEUED_CONNECTIONS}",
            config.wishes.queued_connections
        );
        return refused("hooks.accept_wait_connections", problem);
    }
    if let Some(listeners) =
        config.wishes.listeners.filter(|listeners| !(1..=MOST_LISTENERS).contains(listeners))
    {
        return refused("hooks.listeners", format!("{listeners} is not a number from 1 to {MOST_LISTENERS}"));
    }
    logging::check_level(&config.log_level).or_else(|problem| refused("log.level", problem))
}

fn rules(key: &str, rules: &[Rule]) -> Result<Vec<PortRule>, Problem> {
    rules.iter().enumerate().map(|(index, given)| rule(&format!("{key}[{index}]"), given)).collect()
}

fn rule(key: &str, given: &Rule) -> Result<PortRule, Problem> {
    if *given == Rule::default() {
        let problem = "a rule without a key would match every port: give it port, address, netns or process";
        return Err((key.to_owned(), problem.to_owned()));
    }
    Ok(PortRule {
        port: given.port.as_ref().map(|range| range.0.clone()),
        address: given.address.map(|network| network.0),
        netns: given.netns,
        process: given.process.as_deref().map(WildMatch::new),
    })
}
