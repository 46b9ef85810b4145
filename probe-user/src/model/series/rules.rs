//! The wishes about series: how many ports may have some of their own, and which.
use std::ops::RangeInclusive;

use ipnet::IpNet;
use wildmatch::WildMatch;

use crate::sample::PortId;

/// How many ports have series of their own unless it is said otherwise.
pub const DEFAULT_LIMIT: usize = 512;

/// Which ports may have series of their own, and how many of them have.
#[derive(Clone, Debug, PartialEq)]
pub struct SeriesWishes {
    /// The most ports with series of their own.
    pub limit: usize,
    /// If there are any, a port must match one.
    pub include: Vec<PortRule>,
    /// A port must match none.
    pub exclude: Vec<PortRule>,
}

impl Default for SeriesWishes {
    fn default() -> Self {
        Self { limit: DEFAULT_LIMIT, include: Vec::new(), exclude: Vec::new() }
    }
}

impl SeriesWishes {
    /// Whether the port may have series of its own. `process`: the name of who listens, if it is known.
    #[must_use]
    pub fn admit(&self, port: &PortId, process: Option<&str>) -> bool {
        let matches = |rule: &PortRule| rule.matches(port, process);
        (self.include.is_empty() || self.include.iter().any(matches)) && !self.exclude.iter().any(matches)
    }
}

/// Says of a port whether it is meant: all that is given must fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PortRule {
    /// Port numbers.
    pub port: Option<RangeInclusive<u16>>,
    /// Local addresses. `::` and `0.0.0.0`, on which a listener takes connections to any address, are addresses
    /// like others here.
    pub address: Option<IpNet>,
    /// The inode number of a network namespace.
    pub netns: Option<u32>,
    /// The name of the process, with `*` for any characters and `?` for one.
    pub process: Option<WildMatch>,
}

impl PortRule {
    fn matches(&self, port: &PortId, process: Option<&str>) -> bool {
        // An unknown name is no name: such a rule does not match.
        let named = |pattern: &WildMatch| process.is_some_and(|name| pattern.matches(name));
        self.port.as_ref().is_none_or(|range| range.contains(&port.port))
            && self.address.is_none_or(|network| network.contains(&port.address.to_canonical()))
            && self.netns.is_none_or(|netns| netns == port.netns)
            && self.process.as_ref().is_none_or(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAVA: PortRule = PortRule { port: Some(8_000..=8_999), address: None, netns: None, process: None };

    fn rule(port: RangeInclusive<u16>) -> PortRule {
        PortRule { port: Some(port), ..PortRule::default() }
    }

    fn port(netns: u32, address: &str, port: u16) -> PortId {
        PortId { netns, address: address.parse().unwrap(), port }
    }

    #[test]
    fn a_rule_matches_where_all_of_it_does() {
        let check = |rule: &PortRule, id: PortId, process: Option<&str>, expected: bool| {
            assert_eq!(rule.matches(&id, process), expected, "{rule:?} {id:?} {process:?}");
        };
        check(&JAVA, port(1, "::", 8_000), None, true);
        check(&JAVA, port(1, "::", 9_000), None, false);
        let ten = PortRule { address: Some("10.0.0.0/8".parse().unwrap()), ..JAVA };
        check(&ten, port(1, "10.1.2.3", 8_080), None, true);
        check(&ten, port(1, "::ffff:10.1.2.3", 8_080), None, true);
        check(&ten, port(1, "11.1.2.3", 8_080), None, false);
        check(&ten, port(1, "10.1.2.3", 80), None, false);
        check(&ten, port(1, "::", 8_080), None, false);
        let container = PortRule { netns: Some(2), ..PortRule::default() };
        check(&container, port(2, "::", 1), None, true);
        check(&container, port(1, "::", 1), None, false);
        let process = PortRule { process: Some(WildMatch::new("ja?a*")), ..PortRule::default() };
        check(&process, port(1, "::", 1), Some("java"), true);
        check(&process, port(1, "::", 1), Some("java-17"), true);
        check(&process, port(1, "::", 1), Some("nginx"), false);
        check(&process, port(1, "::", 1), None, false);
    }

    #[test]
    fn a_port_must_be_included_if_any_is_and_not_be_excluded() {
        let check = |include: &[PortRule], exclude: &[PortRule], number: u16, expected: bool| {
            let wishes = SeriesWishes { limit: 1, include: include.to_vec(), exclude: exclude.to_vec() };
            assert_eq!(wishes.admit(&port(1, "::", number), None), expected, "{wishes:?} {number}");
        };
        check(&[], &[], 22, true);
        check(&[], &[rule(22..=22)], 22, false);
        check(&[], &[rule(22..=22), rule(80..=80)], 80, false);
        check(&[], &[rule(22..=22)], 80, true);
        check(&[JAVA], &[], 80, false);
        check(&[JAVA, rule(80..=80)], &[], 80, true);
        check(&[JAVA], &[rule(8_443..=8_443)], 8_443, false);
        check(&[JAVA], &[rule(8_443..=8_443)], 8_080, true);
    }
}
