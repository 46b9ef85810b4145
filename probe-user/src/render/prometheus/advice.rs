//! What is wrong, as series: one for each verdict.
use std::collections::BTreeSet;

use super::Exposition;
use crate::{
    metrics::catalogue,
    model::{
        Advice, Model,
        advice::{Place, Verdict},
    },
    sample::PortId,
};

impl Exposition {
    pub(super) fn add_advice(&mut self, model: &Model) {
        for labels in model.advice.iter().flat_map(|advice| labels(model, advice)) {
            self.add(&catalogue::ADVICE, &labels.each_ref().map(String::as_str), 1.0);
        }
    }
}

/// The label values of each series, in the order of the catalogue. Ports without series of their own are `other`, and
/// what is wrong at several of these is said once.
fn labels(model: &Model, advice: &Advice) -> BTreeSet<[String; 6]> {
    let with_series = |place: &Place| {
        let is_it = |id: &PortId| {
            (Some(id.netns), Some(id.address), Some(id.port)) == (place.netns, place.address, place.port)
        };
        place.port.is_none() || model.ports.iter().any(|port| is_it(&port.id) && port.series.own)
    };
    let labels = |verdict: &Verdict| {
        let place = &verdict.place;
        let known = |value: Option<String>| value.unwrap_or_default();
        let identity = if with_series(place) {
            [
                known(place.netns.map(|netns| netns.to_string())),
                known(place.address.map(|address| address.to_string())),
                known(place.port.map(|port| port.to_string())),
                known(place.process.as_deref().map(str::to_owned)),
            ]
        } else {
            super::OTHER.map(str::to_owned)
        };
        let [netns, address, port, process] = identity;
        let (rule, severity) = (verdict.rule.label(), verdict.severity.label());
        [netns, address, port, process, rule.to_owned(), severity.to_owned()]
    };
    advice.verdicts.iter().map(labels).collect()
}
