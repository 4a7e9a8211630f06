//! In what form values enter the trunk: as codes that the adapter device rounds to, or as values that
//! the trunk rounds.
//!
//! What leaves the trunk leaves as the codes that it is: no form has more to say.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The form of what enters the trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TapFormat {
    #[default]
    Int8,
    /// Codes of 16 bits for sums that enter an accumulator; other maps have 8 in the trunk, and here.
    Int16,
    /// Half-precision values.
    F16,
    /// Single-precision values.
    F32,
}

impl TapFormat {
    /// Every form, as it is written and under its other name.
    pub const ALL: [(&'static str, &'static str, Self); 4] =
        [("8", "int8", Self::Int8), ("16", "int16", Self::Int16), ("f16", "f16", Self::F16), ("f32", "f32", Self::F32)];

    /// Bits of a code that enters an accumulator, whoever rounds to it.
    pub fn code_bits(self) -> u8 {
        if self == Self::Int8 { 8 } else { 16 }
    }

    /// Bits of a value, if values cross.
    pub fn value_bits(self) -> Option<u32> {
        match self {
            Self::Int8 | Self::Int16 => None,
            Self::F16 => Some(16),
            Self::F32 => Some(32),
        }
    }
}

impl fmt::Display for TapFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(Self::ALL.iter().find(|(_, _, format)| format == self).map_or("", |(name, ..)| name))
    }
}

impl FromStr for TapFormat {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(short, long, _)| *short == text || *long == text);
        let why = || format!("{text}: a tap-in has 8 or 16 bits (int8, int16), or is f16 or f32");
        found.map(|(.., format)| *format).ok_or_else(why)
    }
}

/// Code widths are numbers, as they were before there were values.
impl Serialize for TapFormat {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.value_bits() {
            None => to.serialize_u8(self.code_bits()),
            Some(_) => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for TapFormat {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bits(u64),
            Name(String),
        }
        let text = match Written::deserialize(from)? {
            Written::Bits(bits) => bits.to_string(),
            Written::Name(name) => name,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_as_they_are_written() {
        for (short, long, format) in TapFormat::ALL {
            assert_eq!((short.parse(), long.parse()), (Ok(format), Ok(format)));
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(serde_json::from_str::<TapFormat>(&json).unwrap(), format, "{json}");
        }
        assert_eq!(serde_json::to_string(&TapFormat::Int16).unwrap(), "16");
        assert!("12".parse::<TapFormat>().unwrap_err().contains("8 or 16"));
        assert!(serde_json::from_str::<TapFormat>("12").is_err());
    }
}
