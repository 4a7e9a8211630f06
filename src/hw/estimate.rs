//! A number with its interval, the worst confidence it rests on, and the figures it lacks.
//!
//! A figure that is needed and unknown contributes nothing and is named: the result is then a lower
//! bound. It is never a silent zero.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How far a figure can be trusted, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Measured here, by the command that wrote the file.
    Measured,
    /// The named source was read.
    Primary,
    /// A report about the named source was read.
    SecondHand,
    /// Arithmetic on other figures.
    Derived,
    /// A figure of another, similar device.
    Borrowed,
    /// Quoted by everyone, not re-read.
    RecalledUnverified,
    /// A choice of ours.
    Assumed,
}

impl Confidence {
    pub const ALL: [(&str, Confidence); 7] = [
        ("measured", Confidence::Measured),
        ("primary", Confidence::Primary),
        ("second-hand", Confidence::SecondHand),
        ("derived", Confidence::Derived),
        ("borrowed", Confidence::Borrowed),
        ("recalled-unverified", Confidence::RecalledUnverified),
        ("assumed", Confidence::Assumed),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, c)| *c == self).map_or("", |(n, _)| n)
    }
}

/// A value, its interval, and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    pub v: f64,
    pub lo: f64,
    pub hi: f64,
    /// `None` for numbers that rest on no figure, such as counts.
    pub confidence: Option<Confidence>,
    pub unknown: BTreeSet<String>,
}

impl Estimate {
    /// A number that is exact.
    pub fn exact(v: f64) -> Self {
        Self { v, lo: v, hi: v, confidence: None, unknown: BTreeSet::new() }
    }

    /// Nothing, for want of the named figure.
    pub fn unknown(figure: &str) -> Self {
        Self { unknown: BTreeSet::from([figure.to_string()]), ..Self::exact(0.0) }
    }

    pub fn is_lower_bound(&self) -> bool {
        !self.unknown.is_empty()
    }

    fn combine(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let mut unknown = self.unknown;
        unknown.extend(other.unknown);
        Self {
            v: f(self.v, other.v),
            lo: f(self.lo, other.lo),
            hi: f(self.hi, other.hi),
            // `None` is less than any confidence.
            confidence: self.confidence.max(other.confidence),
            unknown,
        }
    }

    /// The same estimate times an exact factor that is not negative.
    pub fn times(self, factor: f64) -> Self {
        self * Self::exact(factor)
    }
}

impl std::ops::Add for Estimate {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.combine(other, |a, b| a + b)
    }
}

/// Of values that are not negative, as all figures are.
impl std::ops::Mul for Estimate {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.combine(other, |a, b| a * b)
    }
}

impl std::iter::Sum for Estimate {
    fn sum<I: Iterator<Item = Self>>(values: I) -> Self {
        values.fold(Self::exact(0.0), |a, b| a + b)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_carry_intervals_the_worst_confidence_and_what_is_missing() {
        let figure = |v, lo, hi, c| Estimate { v, lo, hi, confidence: Some(c), unknown: BTreeSet::new() };
        let sum = figure(2.0, 1.0, 4.0, Confidence::Primary)
            + figure(3.0, 3.0, 3.0, Confidence::Borrowed).times(2.0)
            + Estimate::unknown("link: energy");
        assert_eq!((sum.v, sum.lo, sum.hi), (8.0, 7.0, 10.0));
        assert_eq!(sum.confidence, Some(Confidence::Borrowed));
        assert!(sum.is_lower_bound());
        assert_eq!(Estimate::exact(1.0).confidence, None);
    }
}
