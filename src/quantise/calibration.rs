//! How the range of a map is chosen from the values seen in it.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A choice, written and parsed as `min-max`, `percentile[:P]` or `mse`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Calibration {
    /// From the smallest to the largest value.
    #[default]
    MinMax,
    /// So that this share of the values lies inside, in percent; half of the rest on either side.
    Percentile(f64),
    /// The range within which codes have the smallest mean squared error.
    Mse,
}

impl Calibration {
    /// That of SPEC section 6.
    pub const PERCENTILE: Self = Self::Percentile(99.99);

    /// Spellings, each with what it is; for the user.
    pub const ALL: [(&'static str, &'static str); 3] = [
        ("min-max", "from the smallest to the largest value seen"),
        ("percentile[:P]", "so that P percent of the values lie inside (99.99 unless told otherwise)"),
        ("mse", "the range with the smallest mean squared error of its codes"),
    ];
}

impl fmt::Display for Calibration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Calibration::MinMax => f.pad("min-max"),
            Calibration::Percentile(p) => f.pad(&format!("percentile:{p}")),
            Calibration::Mse => f.pad("mse"),
        }
    }
}

impl FromStr for Calibration {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').map_or((text, None), |(name, p)| (name, Some(p))) {
            ("min-max", None) => Ok(Self::MinMax),
            ("percentile", None) => Ok(Self::PERCENTILE),
            ("percentile", Some(p)) => {
                let p = p.parse().ok().filter(|p| (50.0..=100.0).contains(p));
                p.map(Self::Percentile).ok_or_else(|| format!("'{text}': should be a percentage from 50 to 100"))
            }
            ("mse", None) => Ok(Self::Mse),
            _ => Err(format!("'{text}' is no calibration; there are {}", Self::ALL.map(|(name, _)| name).join(", "))),
        }
    }
}

impl Serialize for Calibration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for text in ["min-max", "percentile:99.9", "percentile:100", "mse"] {
            assert_eq!(text.parse::<Calibration>().unwrap().to_string(), text);
        }
        assert_eq!("percentile".parse(), Ok(Calibration::PERCENTILE));
        for (text, says) in [
            ("percentile:49", "from 50 to 100"),
            ("percentile:NaN", "from 50 to 100"),
            ("percentile:x", "from 50 to 100"),
            ("mse:3", "min-max, percentile[:P], mse"),
            ("", "there are"),
        ] {
            let error = text.parse::<Calibration>().unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
