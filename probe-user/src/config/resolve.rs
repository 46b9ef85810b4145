//! From what the file and the flags say to a [`Config`].
use wildmatch::WildMatch;

use super::{
    Config, Overrides,
    file::{File, Rule},
};
use crate::model::series::{DEFAULT_LIMIT, PortRule, SeriesWishes};

/// The key that is to blame, and what is wrong with it.
pub(super) type Problem = (String, String);

/// The configuration of somebody who has no file.
pub(super) fn without_file(overrides: Overrides) -> Config {
    let limit = overrides.ports_limit.unwrap_or(DEFAULT_LIMIT);
    Config { series: SeriesWishes { limit, ..SeriesWishes::default() }, state_file: None }
}

/// Flags come before the file, the file before what holds without it.
pub(super) fn resolve(file: &File, overrides: Overrides) -> Result<Config, Problem> {
    let base = without_file(overrides);
    let limit = file.ports.limit.and_then(|limit| usize::try_from(limit).ok());
    let limit = overrides.ports_limit.or(limit).unwrap_or(base.series.limit);
    let include = rules("ports.include", &file.ports.include)?;
    let exclude = rules("ports.exclude", &file.ports.exclude)?;
    if let Some(path) = file.state.file.as_ref().filter(|path| !path.is_absolute()) {
        let problem = format!("{} is no absolute path: begin with /", path.display());
        return Err(("state.file".to_owned(), problem));
    }
    Ok(Config { series: SeriesWishes { limit, include, exclude }, state_file: file.state.file.clone() })
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
