//! The arithmetics that a sweep compares: every combination of the values asked for.

use crate::quant::{Custom, Granularity, Overflow, Profile, ProfileError, Round};
use serde::Serialize;

/// The values of every choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    pub weight_bits: Vec<u8>,
    pub activation_bits: Vec<u8>,
    pub accumulator_bits: Vec<u8>,
    pub overflow: Vec<Overflow>,
    pub rounding: Vec<Round>,
    pub granularity: Vec<Granularity>,
}

/// One arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Point {
    pub weight_bits: u8,
    pub activation_bits: u8,
    pub accumulator_bits: u8,
    pub overflow: Overflow,
    pub rounding: Round,
    pub granularity: Granularity,
}

impl Grid {
    /// Every combination, the first choice changing slowest.
    pub fn points(&self) -> Vec<Point> {
        let mut points = vec![];
        for &weight_bits in &self.weight_bits {
            for &activation_bits in &self.activation_bits {
                for &accumulator_bits in &self.accumulator_bits {
                    for &overflow in &self.overflow {
                        for &rounding in &self.rounding {
                            points.extend(self.granularity.iter().map(|&granularity| Point {
                                weight_bits,
                                activation_bits,
                                accumulator_bits,
                                overflow,
                                rounding,
                                granularity,
                            }));
                        }
                    }
                }
            }
        }
        points
    }
}

/// A choice's word, as it is serialised.
pub fn word(choice: impl Serialize) -> String {
    serde_json::to_value(choice).ok().and_then(|v| v.as_str().map(str::to_string)).unwrap_or_default()
}

impl Point {
    /// The profile that computes so.
    pub fn profile(&self) -> Result<Profile, ProfileError> {
        Profile::custom(Custom {
            rounding: self.rounding,
            accumulator: self.accumulator_bits,
            overflow: self.overflow,
            weights: self.weight_bits,
            activations: self.activation_bits,
            granularity: self.granularity,
            ..Custom::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_there_once() {
        let grid = Grid {
            weight_bits: vec![4, 8],
            activation_bits: vec![8],
            accumulator_bits: vec![16, 24, 32],
            overflow: vec![Overflow::Wrap, Overflow::Saturate],
            rounding: vec![Round::HalfEven],
            granularity: vec![Granularity::PerChannel, Granularity::PerTensor],
        };
        let points = grid.points();
        assert_eq!(points.len(), 24);
        for (i, point) in points.iter().enumerate() {
            assert!(!points[..i].contains(point), "{point:?} is there twice");
            assert_eq!(point.weight_bits, if i < 12 { 4 } else { 8 });
        }
    }
}
