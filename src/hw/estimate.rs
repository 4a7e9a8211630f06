//! A number computed from figures: value, interval, confidence, and what it lacked.
//!
//! All quantities here are non-negative (times, energies, powers, counts), so an interval's ends
//! combine end by end. An unknown figure contributes 0 and its name: as long as a name is there, the
//! value *and both ends* are lower bounds of the truth, never the truth.

use super::confidence::Confidence;
use serde::Serialize;
use std::collections::BTreeSet;

/// A non-negative number with its interval and pedigree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub v: f64,
    pub lo: f64,
    pub hi: f64,
    /// The worst that went into it.
    pub conf: Confidence,
    /// The figures that were needed and are unknown, as `kind/name: key`.
    pub unknown: BTreeSet<String>,
}

impl Estimate {
    /// A count: known without doubt, so it worsens nothing that it is combined with.
    pub fn exact(v: f64) -> Self {
        Self { v, lo: v, hi: v, conf: Confidence::Measured, unknown: BTreeSet::new() }
    }

    pub fn zero() -> Self {
        Self::exact(0.0)
    }

    /// A figure that is needed and that nobody knows.
    pub fn unknown(path: impl Into<String>) -> Self {
        Self { unknown: BTreeSet::from([path.into()]), ..Self::zero() }
    }

    pub fn is_lower_bound(&self) -> bool {
        !self.unknown.is_empty()
    }

    /// At best of this confidence: for a result of reasoning, whatever its inputs.
    pub fn at_best(mut self, conf: Confidence) -> Self {
        self.conf = self.conf.max(conf);
        self
    }

    pub fn plus(self, other: Self) -> Self {
        self.combine(other, |a, b| a + b, |a, b| a + b)
    }

    pub fn times(self, other: Self) -> Self {
        self.combine(other, |a, b| a * b, |a, b| a * b)
    }

    /// This much of it. Nothing of an unknown figure is nothing, and lacks nothing.
    pub fn of(self, count: f64) -> Self {
        if count == 0.0 { Self::zero() } else { self.times(Self::exact(count)) }
    }

    pub fn max(self, other: Self) -> Self {
        self.combine(other, f64::max, f64::max)
    }

    /// What this has over `other`, at least nothing. The ends cross: least against most.
    pub fn beyond(self, other: Self) -> Self {
        let (lo, hi) = (self.lo - other.hi, self.hi - other.lo);
        let mut out = self.combine(other, |a, b| (a - b).max(0.0), |_, _| 0.0);
        (out.lo, out.hi) = (lo.max(0.0), hi.max(0.0));
        out
    }

    /// `ends` is applied at both ends, `value` to the value.
    fn combine(self, other: Self, value: fn(f64, f64) -> f64, ends: fn(f64, f64) -> f64) -> Self {
        let mut unknown = self.unknown;
        unknown.extend(other.unknown);
        Self {
            v: value(self.v, other.v),
            lo: ends(self.lo, other.lo),
            hi: ends(self.hi, other.hi),
            conf: self.conf.max(other.conf),
            unknown,
        }
    }
}

impl std::iter::Sum for Estimate {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::zero(), Self::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(v: f64, lo: f64, hi: f64, conf: Confidence) -> Estimate {
        Estimate { v, lo, hi, conf, unknown: BTreeSet::new() }
    }

    #[test]
    fn the_ends_and_the_worst_confidence_are_carried() {
        let a = estimate(4.0, 2.0, 8.0, Confidence::Primary);
        let b = estimate(3.0, 1.0, 5.0, Confidence::Borrowed);
        assert_eq!(a.clone().plus(b.clone()), estimate(7.0, 3.0, 13.0, Confidence::Borrowed));
        assert_eq!(a.clone().times(b.clone()), estimate(12.0, 2.0, 40.0, Confidence::Borrowed));
        assert_eq!(a.clone().max(b.clone()), estimate(4.0, 2.0, 8.0, Confidence::Borrowed));
        assert_eq!(a.beyond(b), estimate(1.0, 0.0, 7.0, Confidence::Borrowed));
    }

    #[test]
    fn an_unknown_figure_is_named_unless_nothing_of_it_is_needed() {
        let wire = || Estimate::unknown("link/x: energy.wire_pj_per_bit");
        let total = Estimate::exact(5.0).plus(wire().of(80.0));
        assert!(total.is_lower_bound());
        assert_eq!((total.v, total.unknown.len()), (5.0, 1));
        assert_eq!(wire().of(0.0), Estimate::zero());
    }

    #[test]
    fn confidence_is_ordered_from_best_to_worst() {
        use Confidence::*;
        let order = [Measured, Primary, SecondHand, Derived, Borrowed, RecalledUnverified, Assumed];
        assert!(order.is_sorted());
    }
}
