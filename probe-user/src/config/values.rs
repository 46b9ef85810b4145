//! Values of the configuration file that are more than a number or a text, and what is said of bad ones.
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
};

use clap::ValueEnum;
use ipnet::IpNet;
use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// One port number or a range of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortRange(pub(super) RangeInclusive<u16>);

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network(pub(super) IpNet);

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PortRangeVisitor)
    }
}

struct PortRangeVisitor;

impl Visitor<'_> for PortRangeVisitor {
    type Value = PortRange;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a port number from 0 to 65535 or a range such as \"8000-8999\"")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<PortRange, E> {
        let port = u16::try_from(number).map_err(|_| E::custom(refusal(number, &self)))?;
        Ok(PortRange(port..=port))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PortRange, E> {
        let number = |text: &str| text.trim().parse::<u16>().ok();
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(PortRange(first..=last)),
            (Some(_), Some(_)) => Err(E::custom(format!("{text:?} ends before it begins: swap the two"))),
            _ => Err(E::custom(refusal(format!("{text:?}"), &self))),
        }
    }
}

fn refusal(value: impl fmt::Display, expected: &dyn serde::de::Expected) -> String {
    format!("{value} is not {expected}")
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| {
            D::Error::custom(format!("{text:?} is not an address or a network such as \"10.0.0.0/8\""))
        })
    }
}

/// A number that fits; its absence is handled by serde.
pub(super) fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    deserializer.deserialize_any(NumberVisitor).map(Some)
}

struct NumberVisitor;

impl Visitor<'_> for NumberVisitor {
    type Value = u32;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a whole number from 0 to 4294967295, without quotes")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u32, E> {
        u32::try_from(number).map_err(|_| E::custom(refusal(number, &self)))
    }
}

/// One of the names that the command line knows, too.
pub(super) fn name<'de, T: ValueEnum, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    T::from_str(&text, false).map(Some).map_err(|_| {
        let values: Vec<_> = T::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let known: Vec<_> = values.iter().map(clap::builder::PossibleValue::get_name).collect();
        let nearest = nearest(&text, &known).unwrap_or_default();
        D::Error::custom(format!(
            "{text:?} is unknown: is {nearest:?} meant? Known here: {}",
            known.join(", ")
        ))
    })
}

/// An address with a port.
pub(super) fn socket_address<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let example = "\"127.0.0.1:10511\" or \"[::1]:10511\"";
    let address = text
        .parse()
        .map_err(|_| D::Error::custom(format!("{text:?} is not an address with a port such as {example}")))?;
    Ok(Some(address))
}

/// Text that its type can read, and says what is wrong with.
pub(super) fn parsed<'de, T: FromStr<Err = String>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|problem| D::Error::custom(format!("{text:?}: {problem}")))
}

/// The name that looks most like the one that was given.
pub(super) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &str| strsim::normalized_damerau_levenshtein(given, name);
    known.iter().copied().max_by(|left, right| likeness(left).total_cmp(&likeness(right)))
}
