//! A profile: one named set of arithmetic choices, a part of a trunk's identity.
//!
//! It refuses, where they would be set, the widths and overflow rules that no engine implements.

use super::RequantStyle;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// The operations whose requantisation a profile chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    Conv2d,
    Linear,
    BatchNorm,
    Add,
    Mul,
    Mean,
    LeakyRelu,
    Requantise,
    Softmax,
}

/// Whose formulas the operations without weights follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// TensorFlow Lite's kernels, around a requantisation style.
    Tflite(RequantStyle),
    /// ONNX Runtime's, in f32.
    Onnxruntime,
}

impl Formula {
    /// The style in which an accumulator is requantised.
    pub fn style(self) -> RequantStyle {
        match self {
            Formula::Tflite(style) => style,
            Formula::Onnxruntime => RequantStyle::F32Rne,
        }
    }
}

impl From<RequantStyle> for Formula {
    fn from(style: RequantStyle) -> Self {
        Formula::Tflite(style)
    }
}

/// Whose formulas a profile takes; the styles of TensorFlow Lite's kernels come with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    Tflite,
    Onnxruntime,
}

/// What an accumulator does beyond its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    Wrap,
    Saturate,
}

/// The widths of a multiply-accumulate unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Arith {
    pub accumulator_bits: u8,
    pub overflow: Overflow,
    pub weight_bits: u8,
    pub activation_bits: u8,
}

impl Arith {
    /// int8 products in a wrapping 32-bit accumulator.
    pub const INT8: Arith =
        Arith { accumulator_bits: 32, overflow: Overflow::Wrap, weight_bits: 8, activation_bits: 8 };
}

/// A named set of requantisation styles and widths. Written and parsed as its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    name: &'static str,
    runtime: Runtime,
    base: RequantStyle,
    exceptions: &'static [(OpKind, RequantStyle)],
    arith: Arith,
}

#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProfileError {
    #[error("unknown arithmetic profile '{name}'; there are {}", names().join(", "))]
    Unknown { name: String },
    #[error("{what} = {got} is not implemented; use {want}")]
    Arith { what: &'static str, got: String, want: &'static str },
}

/// TensorFlow Lite's reference kernels: two roundings, but one in fully-connected layers.
const TFLITE_REF: Profile = Profile {
    name: "tflite-ref",
    runtime: Runtime::Tflite,
    base: RequantStyle::GemmlowpDouble,
    exceptions: &[(OpKind::Linear, RequantStyle::Single)],
    arith: Arith::INT8,
};

/// TensorFlow Lite for Microcontrollers, and CMSIS-NN as it is built by default.
const TFLM: Profile = Profile {
    name: "tflm",
    runtime: Runtime::Tflite,
    base: RequantStyle::GemmlowpDouble,
    exceptions: &[],
    arith: Arith::INT8,
};

/// ONNX Runtime on a CPU: f32 factors, ties to even.
const ONNXRUNTIME: Profile = Profile {
    name: "onnxruntime",
    runtime: Runtime::Onnxruntime,
    base: RequantStyle::F32Rne,
    exceptions: &[],
    arith: Arith::INT8,
};

const PROFILES: [Profile; 3] = [TFLITE_REF, TFLM, ONNXRUNTIME];

fn names() -> Vec<&'static str> {
    PROFILES.iter().map(|p| p.name).collect()
}

impl Profile {
    pub fn tflite_ref() -> Self {
        TFLITE_REF
    }
    pub fn tflm() -> Self {
        TFLM
    }
    pub fn onnxruntime() -> Self {
        ONNXRUNTIME
    }
    /// Every profile, in the order in which they are listed to the user.
    pub fn all() -> impl Iterator<Item = Self> {
        PROFILES.into_iter()
    }

    pub fn name(&self) -> &'static str {
        self.name
    }
    pub fn arith(&self) -> Arith {
        self.arith
    }

    /// How this kind of operation requantises.
    pub fn style(&self, kind: OpKind) -> RequantStyle {
        self.exceptions.iter().find(|(k, _)| *k == kind).map_or(self.base, |(_, style)| *style)
    }

    /// Whose formula this kind of operation follows.
    pub fn formula(&self, kind: OpKind) -> Formula {
        match self.runtime {
            Runtime::Tflite => Formula::Tflite(self.style(kind)),
            Runtime::Onnxruntime => Formula::Onnxruntime,
        }
    }

    /// The same profile on other widths, if an engine has them.
    pub fn with_arith(self, arith: Arith) -> Result<Self, ProfileError> {
        let bits = |what, got: u8, want, text| {
            if got == want { Ok(()) } else { Err(ProfileError::Arith { what, got: got.to_string(), want: text }) }
        };
        bits("accumulator_bits", arith.accumulator_bits, 32, "32")?;
        bits("weight_bits", arith.weight_bits, 8, "8")?;
        bits("activation_bits", arith.activation_bits, 8, "8")?;
        if arith.overflow != Overflow::Wrap {
            return Err(ProfileError::Arith { what: "overflow", got: "saturate".into(), want: "wrap" });
        }
        Ok(Self { arith, ..self })
    }
}

impl Default for Profile {
    fn default() -> Self {
        TFLITE_REF
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

impl FromStr for Profile {
    type Err = ProfileError;
    fn from_str(text: &str) -> Result<Self, ProfileError> {
        PROFILES.into_iter().find(|p| p.name == text).ok_or_else(|| ProfileError::Unknown { name: text.into() })
    }
}

impl Serialize for Profile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Profile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        for profile in Profile::all() {
            assert_eq!(profile.to_string().parse::<Profile>().unwrap(), profile);
            assert_eq!(serde_json::from_str::<Profile>(&serde_json::to_string(&profile).unwrap()).unwrap(), profile);
        }
        let error = "cmsis".parse::<Profile>().unwrap_err().to_string();
        assert!(error.contains("tflite-ref, tflm, onnxruntime"), "{error}");
    }

    #[test]
    fn the_profiles_differ_in_fully_connected_layers_only() {
        let (reference, micro) = (Profile::tflite_ref(), Profile::tflm());
        assert_eq!(reference.style(OpKind::Linear), RequantStyle::Single);
        assert_eq!(micro.style(OpKind::Linear), RequantStyle::GemmlowpDouble);
        assert_eq!(reference.style(OpKind::Conv2d), micro.style(OpKind::Conv2d));
    }

    #[test]
    fn widths_without_an_engine_are_refused() {
        let error = Profile::tflm().with_arith(Arith { accumulator_bits: 24, ..Arith::INT8 }).unwrap_err();
        assert_eq!(error.to_string(), "accumulator_bits = 24 is not implemented; use 32");
        let error = Profile::tflm().with_arith(Arith { overflow: Overflow::Saturate, ..Arith::INT8 }).unwrap_err();
        assert_eq!(error.to_string(), "overflow = saturate is not implemented; use wrap");
        assert!(Profile::tflm().with_arith(Arith::INT8).is_ok());
    }
}
