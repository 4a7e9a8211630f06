//! A profile of the user's own: `custom:rounding=half-even,accumulator=24,overflow=saturate,…`.
//!
//! It refuses unknown keys and values, keys given twice, and widths outside those of the engine.

use super::named::CUSTOM;
use super::{Arith, Granularity, Overflow, Profile, ProfileError, Rules};
use crate::quant::{MapRule, RequantStyle, Round, WeightRule, When};
use std::fmt;
use std::str::FromStr;

/// Every choice, with the defaults of int8 on 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Custom {
    pub rounding: Round,
    /// 16 to 64 bits.
    pub accumulator: u8,
    pub overflow: Overflow,
    pub when: When,
    /// 2 to 8 bits.
    pub weights: u8,
    /// 2 to 8 bits. The trunk's input keeps 8: sensors deliver bytes.
    pub activations: u8,
    pub granularity: Granularity,
}

impl Default for Custom {
    fn default() -> Self {
        Self {
            rounding: Round::HalfAway,
            accumulator: 32,
            overflow: Overflow::Wrap,
            when: When::End,
            weights: 8,
            activations: 8,
            granularity: Granularity::PerChannel,
        }
    }
}

impl Custom {
    pub const SYNTAX: &str = "custom:rounding=half-up|half-down|half-away|half-zero|half-even|half-odd|floor|ceil|trunc,\
accumulator=16..64,overflow=wrap|saturate,when=each-add|each-tile:N|end,weights=2..8,activations=2..8,\
granularity=per-tensor|per-channel";

    pub(super) fn profile(self) -> Result<Profile, ProfileError> {
        let bits = |key: &str, value: u8, (least, most): (u8, u8)| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(ProfileError::Custom { text: self.to_string(), why: format!("{key} should be {least} to {most} bits") })
        };
        bits("accumulator", self.accumulator, ACCUMULATOR)?;
        bits("weights", self.weights, CODES)?;
        bits("activations", self.activations, CODES)?;
        let rules = Rules {
            base: RequantStyle::MulShift { round: self.rounding, shared: false },
            arith: Arith {
                accumulator_bits: self.accumulator,
                overflow: self.overflow,
                when: self.when,
                weight_bits: self.weights,
                activation_bits: self.activations,
            },
            maps: MapRule { bits: self.activations, ..CUSTOM.maps },
            weights: WeightRule { bits: self.weights, granularity: self.granularity, power_of_two: false },
            ..CUSTOM
        };
        Ok(Profile { name: self.to_string().into(), rules })
    }

    /// Sets one key.
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = |(least, most): (u8, u8)| {
            let read = value.parse::<u8>().ok().filter(|n| (least..=most).contains(n));
            read.ok_or_else(|| format!("{key}={value} should be {least} to {most}"))
        };
        let known = |names: &str| format!("{key}={value} should be one of {names}");
        match key {
            "rounding" => {
                let names = Round::ALL.map(Round::name).join(", ");
                self.rounding = Round::ALL.into_iter().find(|r| r.name() == value).ok_or_else(|| known(&names))?;
            }
            "accumulator" => self.accumulator = number(ACCUMULATOR)?,
            "overflow" => {
                self.overflow = match value {
                    "wrap" => Overflow::Wrap,
                    "saturate" => Overflow::Saturate,
                    _ => return Err(known("wrap, saturate")),
                }
            }
            "when" => {
                let tile = value.strip_prefix("each-tile:").and_then(|n| n.parse().ok()).filter(|&n: &u32| n > 0);
                self.when = match (value, tile) {
                    ("each-add", _) => When::EachAdd,
                    ("end", _) => When::End,
                    (_, Some(n)) => When::EachTile(n),
                    _ => return Err(known("each-add, each-tile:N, end")),
                }
            }
            "weights" => self.weights = number(CODES)?,
            "activations" => self.activations = number(CODES)?,
            "granularity" => {
                self.granularity = match value {
                    "per-tensor" => Granularity::PerTensor,
                    "per-channel" => Granularity::PerChannel,
                    _ => return Err(known("per-tensor, per-channel")),
                }
            }
            _ => return Err(format!("no key '{key}'; the form is {}", Self::SYNTAX)),
        }
        Ok(())
    }
}

const ACCUMULATOR: (u8, u8) = (16, 64);
const CODES: (u8, u8) = (2, 8);

impl fmt::Display for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let overflow = match self.overflow {
            Overflow::Wrap => "wrap",
            Overflow::Saturate => "saturate",
        };
        let granularity = match self.granularity {
            Granularity::PerTensor => "per-tensor",
            Granularity::PerChannel => "per-channel",
        };
        write!(
            f,
            "custom:rounding={},accumulator={},overflow={overflow},when={},weights={},activations={},\
             granularity={granularity}",
            self.rounding, self.accumulator, self.when, self.weights, self.activations
        )
    }
}

impl FromStr for Custom {
    type Err = ProfileError;
    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let wrong = |why: String| ProfileError::Custom { text: text.into(), why };
        let keys = text.strip_prefix("custom").unwrap_or(text).trim_start_matches(':');
        let mut custom = Self::default();
        let mut seen = Vec::new();
        for pair in keys.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| wrong(format!("'{pair}' should be key=value, as in {}", Self::SYNTAX)))?;
            if seen.contains(&key) {
                return Err(wrong(format!("{key} is given twice")));
            }
            seen.push(key);
            custom.set(key, value).map_err(wrong)?;
        }
        Ok(custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read_and_printed() {
        let text = "custom:rounding=half-even,accumulator=24,overflow=saturate,when=each-tile:9,weights=4,activations=6,\
                    granularity=per-tensor";
        let profile: Profile = text.parse().unwrap();
        assert_eq!(profile.to_string(), text);
        let arith = profile.arith();
        assert_eq!((arith.accumulator_bits, arith.weight_bits, arith.activation_bits), (24, 4, 6));
        assert_eq!((arith.overflow, arith.when), (Overflow::Saturate, When::EachTile(9)));
        assert_eq!(profile.granularity(), Granularity::PerTensor);
        assert_eq!(
            profile.style(crate::quant::OpKind::Conv2d).to_owned(),
            RequantStyle::MulShift { round: Round::HalfEven, shared: false }
        );
        assert_eq!("custom".parse::<Profile>().unwrap().to_string(), Custom::default().to_string());
        assert_eq!("custom:weights=4,accumulator=24".parse::<Profile>(), "custom:accumulator=24,weights=4".parse());
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_right() {
        for (text, want) in [
            ("custom:rounding=up", "half-up"),
            ("custom:accumulator=8", "16 to 64"),
            ("custom:weights=1", "2 to 8"),
            ("custom:when=each-tile:0", "each-tile:N"),
            ("custom:overflow", "key=value"),
            ("custom:bits=3", "no key 'bits'"),
            ("custom:weights=4,weights=5", "twice"),
        ] {
            let error = text.parse::<Profile>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(want), "{error}");
        }
        assert!(Profile::custom(Custom { accumulator: 65, ..Custom::default() }).is_err());
    }
}
