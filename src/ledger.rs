//! Integer counts by (phase, place, event): what was predicted, or what was observed.
//!
//! A ledger holds no prices and no times. Events that depend on the data (saturations) are kept
//! apart, because no prediction can equal them.

use crate::graph::{EdgeId, NodeId};
use crate::units::{Direction, Phase};
use serde::Serialize;
use std::collections::BTreeMap;

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    Node(NodeId),
    Tap(EdgeId, Direction),
    /// The trunk's loadable batch norm registers.
    Registers,
    /// What trains, as the adapter device holds it.
    Parameters,
}

/// What happened there, in numbers that a plan fixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    Macs,
    Transfers,
    Elements,
    PayloadBytes,
}

/// What happened there because of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataEvent {
    /// Codes clamped by the range of the code, not by an activation.
    Saturations,
    /// Accumulators that left their width.
    Overflows,
    /// Values that were no number when they were to be coded.
    NotANumber,
}

/// Counts of a run, or of one image as predicted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    counts: BTreeMap<(Phase, Place, Event), u64>,
    data: BTreeMap<(Phase, Place, DataEvent), u64>,
}

/// A count on which prediction and observation differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    pub phase: Phase,
    pub place: Place,
    pub event: Event,
    pub predicted: u64,
    pub observed: u64,
}

impl Ledger {
    /// Adds `count`; adding 0 leaves no entry.
    pub fn add(&mut self, phase: Phase, place: Place, event: Event, count: u64) {
        if count > 0 {
            *self.counts.entry((phase, place, event)).or_default() += count;
        }
    }

    /// Adds a count that depends on the data.
    pub fn add_data(&mut self, phase: Phase, place: Place, event: DataEvent, count: u64) {
        if count > 0 {
            *self.data.entry((phase, place, event)).or_default() += count;
        }
    }

    pub fn get(&self, phase: Phase, place: Place, event: Event) -> u64 {
        self.counts.get(&(phase, place, event)).copied().unwrap_or(0)
    }

    pub fn data(&self, phase: Phase, place: Place, event: DataEvent) -> u64 {
        self.data.get(&(phase, place, event)).copied().unwrap_or(0)
    }

    /// Sum of an event over a phase and the places that `keep` accepts.
    pub fn sum(&self, phase: Phase, event: Event, keep: impl Fn(Place) -> bool) -> u64 {
        self.counts.iter().filter(|((p, at, e), _)| *p == phase && *e == event && keep(*at)).map(|(_, n)| n).sum()
    }

    /// Sum of a data-dependent event over everything.
    pub fn data_sum(&self, event: DataEvent) -> u64 {
        self.data.iter().filter(|((_, _, e), _)| *e == event).map(|(_, n)| n).sum()
    }

    /// Every count of a data-dependent event, in order.
    pub fn data_counts(&self, event: DataEvent) -> impl Iterator<Item = (Phase, Place, u64)> + '_ {
        self.data.iter().filter(move |((_, _, e), _)| *e == event).map(|(&(phase, place, _), &n)| (phase, place, n))
    }

    /// Adds all counts of `other`.
    pub fn merge(&mut self, other: &Ledger) {
        for (&key, &n) in &other.counts {
            *self.counts.entry(key).or_default() += n;
        }
        for (&key, &n) in &other.data {
            *self.data.entry(key).or_default() += n;
        }
    }

    /// Adds `times` × the planned counts of `phase` in `other`.
    pub fn merge_times(&mut self, other: &Ledger, phase: Phase, times: u64) {
        for (&(p, place, event), &n) in &other.counts {
            if p == phase {
                self.add(p, place, event, n * times);
            }
        }
    }

    /// Where the planned counts of two ledgers differ.
    pub fn differences(predicted: &Ledger, observed: &Ledger) -> Vec<Difference> {
        let keys: std::collections::BTreeSet<_> = predicted.counts.keys().chain(observed.counts.keys()).collect();
        keys.into_iter()
            .map(|&(phase, place, event)| Difference {
                phase,
                place,
                event,
                predicted: predicted.get(phase, place, event),
                observed: observed.get(phase, place, event),
            })
            .filter(|d| d.predicted != d.observed)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_the_place_both_ways() {
        let (mut a, mut b) = (Ledger::default(), Ledger::default());
        a.add(Phase::Forward, Place::Node(NodeId(1)), Event::Macs, 10);
        b.add(Phase::Forward, Place::Node(NodeId(2)), Event::Macs, 3);
        b.add_data(Phase::Forward, Place::Node(NodeId(1)), DataEvent::Saturations, 9);
        let found = Ledger::differences(&a, &b);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].predicted, found[0].observed), (10, 0));
        assert_eq!((found[1].predicted, found[1].observed), (0, 3));
        let mut c = Ledger::default();
        c.merge_times(&a, Phase::Forward, 2);
        assert_eq!(c.sum(Phase::Forward, Event::Macs, |_| true), 20);
        assert!(Ledger::differences(&a, &a.clone()).is_empty());
    }
}
