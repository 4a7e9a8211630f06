//! A profile: one named set of arithmetic choices, a part of a trunk's identity.
//!
//! It refuses, where they would be set, widths and rules that no engine implements.

use super::{Accumulator, MapRule, Overflow, RequantStyle, Round, WeightRule, When};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

mod custom;
mod named;

pub use custom::Custom;

/// The operations whose requantisation a profile chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OpKind {
    Conv2d,
    /// A depthwise convolution of a legacy model with unsigned codes.
    UnsignedDepthwise,
    Linear,
    BatchNorm,
    Add,
    Mul,
    Mean,
    LeakyRelu,
    /// A logistic or hyperbolic tangent.
    Gate,
    Requantise,
    Softmax,
}

/// Whose formulas the operations without weights follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Formula {
    /// TensorFlow Lite's kernels, around a requantisation style.
    Tflite(RequantStyle),
    /// Gates of TensorFlow Lite for Microcontrollers, in fixed point.
    Micro,
    /// ONNX Runtime's, in f32.
    Onnxruntime,
    /// XNNPACK's integer sums and conversions, and the optimised softmax.
    Xnnpack,
    /// Shifts and half-up rounding only, as in Xilinx DPUs.
    PowerOfTwo,
    Gemmini,
    Pulp,
}

impl Formula {
    /// The style in which an accumulator is requantised.
    pub fn style(self) -> RequantStyle {
        match self {
            Formula::Tflite(style) => style,
            Formula::Micro => RequantStyle::GemmlowpDouble,
            Formula::Onnxruntime | Formula::Xnnpack | Formula::Gemmini => RequantStyle::F32Rne,
            Formula::PowerOfTwo => RequantStyle::Shift { round: Round::HalfUp },
            Formula::Pulp => RequantStyle::MulShift { round: Round::Floor, shared: true },
        }
    }
}

impl From<RequantStyle> for Formula {
    fn from(style: RequantStyle) -> Self {
        Formula::Tflite(style)
    }
}

/// Whose formulas a profile takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    /// TensorFlow Lite's, in the profile's own styles.
    Tflite,
    /// The same, but gates in fixed point.
    Micro,
    /// As [`Maker::Tflite`], but the softmax of the optimised kernels.
    Optimised,
    Xnnpack,
    Onnxruntime,
    PowerOfTwo,
    Gemmini,
    Pulp,
}

/// The widths of a multiply-accumulate unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Arith {
    pub accumulator_bits: u8,
    pub overflow: Overflow,
    pub when: When,
    pub weight_bits: u8,
    pub activation_bits: u8,
}

impl Arith {
    /// int8 products in a wrapping 32-bit accumulator.
    pub const INT8: Arith =
        Arith { accumulator_bits: 32, overflow: Overflow::Wrap, when: When::End, weight_bits: 8, activation_bits: 8 };

    pub fn accumulator(self) -> Accumulator {
        Accumulator { bits: self.accumulator_bits, overflow: self.overflow, when: self.when }
    }
}

/// Whether a weight has one scale, or one per output channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Granularity {
    PerTensor,
    PerChannel,
}

/// A named set of requantisation styles and widths. Written and parsed as its name.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    name: Cow<'static, str>,
    rules: Rules,
}

/// What a profile consists of.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Rules {
    name: &'static str,
    about: &'static str,
    maker: Maker,
    base: RequantStyle,
    exceptions: &'static [(OpKind, RequantStyle)],
    arith: Arith,
    maps: MapRule,
    weights: WeightRule,
    /// The chip has no per-channel registers: a batch norm goes into the weights.
    folds_norms: bool,
}

#[derive(Clone, Debug, Error, PartialEq)]
pub enum ProfileError {
    #[error("unknown arithmetic profile '{name}'; there are {}, and {}", names().join(", "), Custom::SYNTAX)]
    Unknown { name: String },
    #[error("arithmetic profile '{text}': {why}")]
    Custom { text: String, why: String },
    #[error("{what} = {got}, but arithmetic profile {profile} has {want}; run with --profile custom:{key}={got}")]
    Arith { what: &'static str, key: &'static str, got: u8, want: u8, profile: String },
}

fn names() -> Vec<String> {
    Profile::all().map(|p| p.to_string()).collect()
}

impl Profile {
    /// Every named profile, in the order in which they are listed to the user.
    pub fn all() -> impl Iterator<Item = Self> {
        named::PROFILES.into_iter().map(Self::from)
    }

    /// What the user chose in every respect.
    pub fn custom(custom: Custom) -> Result<Self, ProfileError> {
        custom.profile()
    }

    pub fn name(&self) -> &str {
        &self.name
    }
    /// Whose arithmetic it is.
    pub fn about(&self) -> &'static str {
        self.rules.about
    }
    pub fn arith(&self) -> Arith {
        self.rules.arith
    }
    pub fn granularity(&self) -> Granularity {
        self.rules.weights.granularity
    }
    /// What calibration may choose for maps.
    pub fn maps(&self) -> MapRule {
        self.rules.maps
    }
    /// What quantising weights may choose.
    pub fn weights(&self) -> WeightRule {
        self.rules.weights
    }
    /// Whether a batch norm goes into the weights before they are quantised.
    pub fn folds_norms(&self) -> bool {
        self.rules.folds_norms
    }

    /// How this kind of operation requantises.
    pub fn style(&self, kind: OpKind) -> RequantStyle {
        self.rules.exceptions.iter().find(|(k, _)| *k == kind).map_or(self.rules.base, |(_, style)| *style)
    }

    /// Whose formula this kind of operation follows.
    pub fn formula(&self, kind: OpKind) -> Formula {
        let scaled = matches!(kind, OpKind::Add | OpKind::LeakyRelu | OpKind::Requantise);
        match self.rules.maker {
            Maker::Onnxruntime => Formula::Onnxruntime,
            Maker::Xnnpack | Maker::Optimised if kind == OpKind::Softmax => Formula::Xnnpack,
            // No chip has exponentials: its processor runs TensorFlow Lite's softmax.
            _ if kind == OpKind::Softmax => Formula::Tflite(RequantStyle::GemmlowpDouble),
            Maker::Micro if kind == OpKind::Gate => Formula::Micro,
            Maker::Tflite | Maker::Micro | Maker::Optimised => Formula::Tflite(self.style(kind)),
            Maker::Xnnpack if scaled => Formula::Xnnpack,
            Maker::Xnnpack => Formula::Tflite(self.style(kind)),
            Maker::PowerOfTwo => Formula::PowerOfTwo,
            Maker::Gemmini => Formula::Gemmini,
            Maker::Pulp => Formula::Pulp,
        }
    }

    /// Refuses widths that are not this profile's.
    pub fn check_widths(&self, accumulator: u8, weights: u8, activations: u8) -> Result<(), ProfileError> {
        let has = self.rules.arith;
        for (what, key, got, want) in [
            ("accumulator_bits", "accumulator", accumulator, has.accumulator_bits),
            ("weight_bits", "weights", weights, has.weight_bits),
            ("activation_bits", "activations", activations, has.activation_bits),
        ] {
            if got != want {
                return Err(ProfileError::Arith { what, key, got, want, profile: self.name.clone().into_owned() });
            }
        }
        Ok(())
    }
}

impl From<Rules> for Profile {
    fn from(rules: Rules) -> Self {
        Self { name: Cow::Borrowed(rules.name), rules }
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::tflite_ref()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

impl FromStr for Profile {
    type Err = ProfileError;
    fn from_str(text: &str) -> Result<Self, ProfileError> {
        if text == "custom" || text.starts_with("custom:") {
            return Self::custom(text.parse()?);
        }
        Self::all().find(|p| p.name == text).ok_or_else(|| ProfileError::Unknown { name: text.into() })
    }
}

impl Serialize for Profile {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
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
        for profile in Profile::all() {
            assert!(error.contains(profile.name()), "{error}");
        }
        assert!(error.contains("custom:"), "{error}");
    }

    #[test]
    fn exceptions_are_by_operation() {
        let (reference, micro) = (Profile::tflite_ref(), Profile::tflm());
        assert_eq!(reference.style(OpKind::Linear), RequantStyle::Single);
        assert_eq!(micro.style(OpKind::Linear), RequantStyle::GemmlowpDouble);
        assert_eq!(reference.style(OpKind::Conv2d), micro.style(OpKind::Conv2d));
        for profile in Profile::all() {
            assert_eq!(profile.formula(OpKind::Gate) == Formula::Micro, profile == micro, "{profile}");
        }
        let xnnpack = Profile::tflite_xnnpack();
        assert_eq!(xnnpack.formula(OpKind::Add), Formula::Xnnpack);
        assert_eq!(xnnpack.formula(OpKind::Mul), Formula::Tflite(RequantStyle::F32Rne));
        let x86: Profile = "tflite-x86".parse().unwrap();
        assert_eq!(x86.style(OpKind::Conv2d), RequantStyle::Ruy);
        assert_eq!(x86.style(OpKind::UnsignedDepthwise), RequantStyle::GemmlowpDouble);
    }

    #[test]
    fn other_widths_are_refused_with_the_profile_that_has_them() {
        let error = Profile::tflm().check_widths(24, 8, 8).unwrap_err().to_string();
        assert!(
            error.contains("accumulator_bits = 24") && error.contains("--profile custom:accumulator=24"),
            "{error}"
        );
        assert!(Profile::tflm().check_widths(32, 8, 8).is_ok());
        let custom: Profile = "custom:accumulator=24".parse().unwrap();
        assert!(custom.check_widths(24, 8, 8).is_ok());
    }
}
