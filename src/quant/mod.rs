//! What int8 means: quantisation parameters, requantisation styles, rounding, arithmetic profiles.
//!
//! Nothing here knows tensors or operations; those are built on top in `op`.

use serde::{Deserialize, Serialize};

mod accumulator;
pub mod boundary;
mod clamp;
pub mod convert;
pub mod error_code;
pub mod fixed_point;
mod multiplier;
pub mod onnxruntime;
pub mod power_of_two;
mod profile;
mod requant;
mod rounding;
mod rules;
pub mod sum;
pub mod weights;

pub use accumulator::{Accumulator, Overflow, Running, When};
pub use clamp::Clamp;
pub use multiplier::{Multiplier, quantize_multiplier};
pub use profile::{Arith, Custom, Formula, Granularity, OpKind, Profile, ProfileError};
pub use requant::RequantStyle;
pub use rounding::Round;
pub use rules::{MapCodes, MapRule, WeightRule};

/// How the codes of a map are presented outside the engine.
///
/// Inside, every code is an `i8`: an unsigned code `u` is held as `u - 128` and its zero point
/// likewise, which changes no difference `q - z`. Only operations on raw codes (average pooling,
/// whose rounding is not shift-invariant) and files look at this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodeType {
    I8,
    U8,
}

impl CodeType {
    /// What to add to an engine code to get the presented code.
    pub const fn offset(self) -> i32 {
        match self {
            CodeType::I8 => 0,
            CodeType::U8 => 128,
        }
    }
}

/// Per-tensor affine quantisation of an activation map: `real = (code - zero_point) * scale`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantParams {
    pub scale: f32,
    /// In the engine's signed view: -128 ..= 127.
    pub zero_point: i32,
    pub codes: CodeType,
}

impl QuantParams {
    /// Whether codes can be copied from one map to the other. TFLite lets scales differ by 1e-6.
    pub fn same_coding(&self, other: &QuantParams) -> bool {
        let scales_agree = (self.scale - other.scale).abs() <= 1e-6 * self.scale.max(other.scale);
        scales_agree && self.zero_point == other.zero_point && self.codes == other.codes
    }
}
