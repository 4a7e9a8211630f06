//! A point of a sweep: everything that its results depend on, in a form of its own, by which it is named.

use super::file::GradRounding;
use crate::model::sha256_hex;
use crate::plan::tap_format::TapFormat;
use crate::quant::error_code::GradFormat;
use crate::scheme::BatchNormMode;
use crate::trunk::backward::ExponentMode;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is computed and how it is written down; another number gives every point another name.
pub const FORMAT: u32 = 1;

/// One point. Its results are a function of this and of the images that `data` names: two points with
/// the same fields are the same experiment. Names that stand for files (`trunk`, `system`) come with
/// the SHA-256 of what was behind them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// [`FORMAT`].
    pub format: u32,
    pub trunk: String,
    /// Of nodes, shapes, values and arithmetic.
    pub trunk_sha256: String,
    pub scheme: String,
    /// `None` for a scheme that has no sites.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sites: Option<String>,
    pub batch_norm: BatchNormMode,
    /// Bits of a sum that enters a trunk accumulator.
    pub tap_bits: TapFormat,
    pub grad: GradFormat,
    /// The visual domain: what is learned or, in an analytic point, whose classes the head has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Only of a trained point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    pub system: String,
    pub system_sha256: String,
}

/// What a trained point has besides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// What it is measured on.
    pub val: String,
    /// Part of the training images that is learned from.
    pub subset: f64,
    /// Part of those whose labels are wrong.
    pub noise: f64,
    /// Of adapters, head, the order of images and procedural images; a trunk of the zoo has seed 0.
    pub seed: u64,
    pub epochs: u64,
    pub batch: usize,
    pub optimizer: String,
    pub lr: f64,
    pub schedule: String,
    pub weight_decay: String,
    pub label_smoothing: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    pub grad_rounding: GradRounding,
    pub grad_exponent: ExponentMode,
    pub device: String,
}

impl Point {
    /// SHA-256 of the canonical form: compact JSON, fields in the order of the struct.
    pub fn id(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// What training it depends on: everything but the system, of which it matters only where sums are
    /// rounded on their way into the trunk.
    pub fn learning_id(&self, trunk_rounds: bool) -> String {
        let system_sha256 = if trunk_rounds { "trunk rounds" } else { "adapter rounds" };
        Self { system: String::new(), system_sha256: system_sha256.into(), ..self.clone() }.id()
    }

    /// The same point without its seed: what a mean over seeds is a mean of.
    pub fn without_seed(&self) -> Self {
        let training = self.training.clone().map(|t| Training { seed: 0, ..t });
        Self { training, ..self.clone() }
    }
}

/// What a person tells it from others by.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sites = self.sites.as_ref().map_or(String::new(), |s| format!(" on {s}"));
        let data = self.data.as_ref().map_or(String::new(), |d| format!(", {d}"));
        write!(f, "{} of {}{sites}{data}, {}", self.scheme, self.trunk, self.system)
    }
}
