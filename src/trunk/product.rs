//! Preparing convolutions, linear layers and batch norms: weight codes, registers, join formats.
//!
//! Weights are never folded. With `g = gamma/√(var + eps)` and `b' = beta - mean·g`, a channel's
//! multiplier is `g·s_x·s_w/s_y` (signed) and its bias `rne(b/(s_x s_w) + b'/(s_x s_w g))`: the codes
//! of folding, in registers that can be loaded.

use super::TrunkError;
use super::tap_in::{JoinKind, TapInFormat};
use crate::graph::{Graph, Node, NodeId, Param, ParamValue};
use crate::op::{Op, Registers};
use crate::quant::weights::{self, WeightCodes};
use crate::quant::{CodeType, Multiplier, OpKind, Profile, QuantParams, RequantStyle};

/// A batch norm's `g` and `b'` per channel.
pub(super) type Norm = Vec<(f64, f64)>;

/// What becomes of a bias that 32 bits cannot hold, and of channels that are constants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Events {
    pub saturated_biases: usize,
    pub constant_channels: usize,
}

/// Everything that determines a layer's registers.
pub(super) struct Layer<'a> {
    pub style: RequantStyle,
    pub x: QuantParams,
    pub y: QuantParams,
    /// Real value of one accumulator unit is `s_x · weight_scale(c)`.
    pub weight_scales: &'a [f32],
    /// The runtime multiplies the two scales in f32, as TensorFlow Lite does per tensor.
    pub f32_product: bool,
    /// In accumulator units, or empty.
    pub bias_units: Vec<f64>,
    pub norm: Option<Norm>,
    pub channels: usize,
    /// No sum of products can exceed this.
    pub largest_sum: f64,
}

impl Layer<'_> {
    fn weight_scale(&self, c: usize) -> f32 {
        if self.weight_scales.len() == 1 { self.weight_scales[0] } else { self.weight_scales[c] }
    }

    /// The real value of one accumulator unit.
    pub fn unit(&self, c: usize) -> f64 {
        let (s_x, s_w) = (self.x.scale, self.weight_scale(c));
        if self.f32_product { f64::from(s_x * s_w) } else { f64::from(s_x) * f64::from(s_w) }
    }

    fn multiplier(&self, c: usize, gain: f64) -> Multiplier {
        if self.f32_product && self.style != RequantStyle::F32Rne {
            self.style.multiplier(self.unit(c) * gain / f64::from(self.y.scale))
        } else {
            self.style.product_multiplier(self.x.scale, self.weight_scale(c), gain, self.y.scale)
        }
    }

    /// The registers, and what did not fit them.
    pub fn registers(&self) -> (Registers, Events) {
        let mut events = Events::default();
        let gain = |c: usize| self.norm.as_ref().map_or(1.0, |norm| norm[c].0);
        let multipliers: Vec<Multiplier> = if self.style.shares_shift() {
            let real = |c| self.unit(c) * gain(c) / f64::from(self.y.scale);
            self.style.shared(&(0..self.channels).map(real).collect::<Vec<_>>())
        } else {
            (0..self.channels).map(|c| self.multiplier(c, gain(c))).collect()
        };
        let channels = multipliers.into_iter().enumerate().map(|(c, m)| self.channel(c, m, &mut events));
        let (multipliers, bias) = channels.unzip();
        (Registers { multipliers, bias }, events)
    }

    fn channel(&self, c: usize, multiplier: Multiplier, events: &mut Events) -> (Multiplier, i32) {
        let unit = self.unit(c);
        let own = self.bias_units.get(c).copied().unwrap_or(0.0);
        let (gain, shift) = self.norm.as_ref().map_or((1.0, 0.0), |norm| norm[c]);
        let units = if shift == 0.0 { own } else { own + shift / (unit * gain) };
        let (bias, saturated) = weights::quantise_bias(units);
        // A bias this far out of range is off by more than all products together can amount to, so
        // the constant is the better output: what is left of a channel with a vanishing gamma.
        let lost = units.abs() - 2f64.powi(31);
        if multiplier.mantissa == 0 || (saturated && lost > self.largest_sum) {
            events.constant_channels += 1;
            let constant = own * unit * gain + shift;
            return (Multiplier::default(), (constant / f64::from(self.y.scale)).round_ties_even() as i32);
        }
        events.saturated_biases += usize::from(saturated);
        (multiplier, bias)
    }

    /// How an adapter's values must be coded to be added to this layer's accumulators: at `2^k` units,
    /// with the smallest k for which the calibrated range fits the bits. (The range is the output
    /// map's, taken back through the registers, and never more than the products can reach.)
    pub fn join_format(&self, registers: &Registers, bits: u8) -> TapInFormat {
        let z = f64::from(self.y.zero_point);
        let reach = |c: usize| {
            let factor = registers.multipliers[c].to_f64();
            let at = |code: f64| ((code - z) / factor - f64::from(registers.bias[c])).abs();
            at(-128.0).max(at(127.0)).min(self.largest_sum)
        };
        let live = (0..self.channels).filter(|&c| registers.multipliers[c].mantissa != 0);
        let largest = live.map(reach).fold(0.0, f64::max);
        let most = f64::from((1i32 << (bits - 1)) - 1);
        let shift = (0..32).find(|&k| largest / 2f64.powi(k) <= most).unwrap_or(31) as u32;
        // The floor only matters to channels without weights, which ignore what is added to them.
        let scale = |c| ((self.unit(c) * 2f64.powi(shift as i32)) as f32).max(f32::MIN_POSITIVE);
        let scales = (0..self.weight_scales.len()).map(scale);
        TapInFormat { scales: scales.collect(), zero_point: 0, bits, join: JoinKind::AddAcc, shift }
    }
}

/// The layer at `node`, with its weight codes. `folded` is the batch norm that goes into the weights.
pub(super) fn weights_of(
    graph: &Graph,
    node: &Node,
    channels: usize,
    len: usize,
    profile: &Profile,
    folded: Option<&Norm>,
) -> Result<WeightCodes, TrunkError> {
    let param = param(graph, node, 0, "a weight", len)?;
    match &param.value {
        ParamValue::F32(values) => {
            finite(node, param, values)?;
            let Some(norm) = folded else { return Ok(weights::quantise(values, channels, profile.weights())) };
            let per_channel = (len / channels.max(1)).max(1);
            let scaled = values.iter().enumerate().map(|(i, &w)| (f64::from(w) * norm[i / per_channel].0) as f32);
            let scaled: Vec<f32> = scaled.collect();
            finite(node, param, &scaled)?;
            Ok(weights::quantise(&scaled, channels, profile.weights()))
        }
        ParamValue::I8 { .. } if folded.is_some() => {
            let why = format!(
                "arithmetic profile {} folds batch norms into weights, but '{}' holds codes; use the float model",
                profile, param.name
            );
            Err(TrunkError::node(node, why))
        }
        ParamValue::I8 { codes, scales, zero_points } => {
            if scales.len() != 1 && scales.len() != channels {
                let why = format!("weight '{}' has {} scales for {channels} outputs", param.name, scales.len());
                return Err(TrunkError::node(node, why));
            }
            if let Some(s) = scales.iter().find(|s| !(s.is_finite() && **s >= 0.0)) {
                return Err(TrunkError::node(node, format!("weight '{}' has a scale of {s}", param.name)));
            }
            if zero_points.len() != 1 && zero_points.len() != channels {
                let why =
                    format!("weight '{}' has {} zero points for {channels} outputs", param.name, zero_points.len());
                return Err(TrunkError::node(node, why));
            }
            if let Some(z) = zero_points.iter().find(|z| !(-128..=127).contains(*z)) {
                return Err(TrunkError::node(node, format!("weight '{}' has zero point {z}", param.name)));
            }
            let weights =
                WeightCodes { codes: codes.clone(), scales: scales.clone(), zero_points: zero_points.clone() };
            match profile.weights().refuses(&weights) {
                Some(why) => Err(TrunkError::node(node, format!("weight '{}' {why} (profile {profile})", param.name))),
                None => Ok(weights),
            }
        }
        ParamValue::I32 { .. } => {
            Err(TrunkError::node(node, format!("weight '{}' must be f32 values or int8 codes, is int32", param.name)))
        }
        ParamValue::ShapeOnly(_) => Err(shape_only(node, param)),
    }
}

/// Nothing can be executed with values that nobody knows.
fn shape_only(node: &Node, param: &Param) -> TrunkError {
    TrunkError::node(node, format!("'{}' has a shape and no values: the network can only be accounted", param.name))
}

/// The bias at `node` in units of its accumulators, or nothing.
pub(super) fn bias_of(
    graph: &Graph,
    node: &Node,
    units: impl Fn(usize) -> f64,
    channels: usize,
    folded: Option<&Norm>,
) -> Result<Vec<f64>, TrunkError> {
    if let Some(norm) = folded {
        return folded_bias(graph, node, units, channels, norm);
    }
    if node.params.len() < 2 {
        return Ok(Vec::new());
    }
    let param = param(graph, node, 1, "a bias", channels)?;
    match &param.value {
        ParamValue::I32 { codes, .. } => Ok(codes.iter().map(|&q| f64::from(q)).collect()),
        ParamValue::F32(values) => {
            finite(node, param, values)?;
            let in_units = |(c, &b): (usize, &f32)| match units(c) {
                _ if b == 0.0 => Ok(0.0),
                0.0 => Err(TrunkError::node(node, format!("output {c} has bias {b} but a weight scale of 0"))),
                unit => Ok(f64::from(b) / unit),
            };
            values.iter().enumerate().map(in_units).collect()
        }
        ParamValue::I8 { .. } => {
            Err(TrunkError::node(node, format!("bias '{}' must be f32 values or int32 codes, is int8", param.name)))
        }
        ParamValue::ShapeOnly(_) => Err(shape_only(node, param)),
    }
}

/// The bias that remains of a bias and a batch norm whose gain is in the weights.
fn folded_bias(
    graph: &Graph,
    node: &Node,
    units: impl Fn(usize) -> f64,
    channels: usize,
    norm: &Norm,
) -> Result<Vec<f64>, TrunkError> {
    let own = match node.params.get(1) {
        Some(_) => param(graph, node, 1, "a bias", channels)?.value.to_f32(),
        None => vec![0.0; channels],
    };
    let in_units = own.iter().zip(norm).enumerate().map(|(c, (&b, (g, shift)))| (f64::from(b) * g + shift) / units(c));
    Ok(in_units.collect())
}

/// Takes out of the bias what rounding the weights shifts each output by on average: the error of an
/// output channel's weights times the means of what they multiply, seen in calibration. `units(c)` is
/// an accumulator unit, and the gain that the weights have taken in. Borders, where a convolution reads zeros, are taken for the inside.
///
/// Without it the shift is the largest error of a batch-normalised network: a channel of small
/// variance about a large mean divides it by that small deviation (Nagel et al. 2019, 4.2).
pub(super) fn correct_bias(
    bias_units: &mut Vec<f64>,
    graph: &Graph,
    node: &Node,
    codes: &WeightCodes,
    units: impl Fn(usize) -> (f64, f64),
    channels: usize,
) {
    let param = graph.param(node.params[0]);
    let (ParamValue::F32(values), false) = (&param.value, param.input_means.is_empty()) else { return };
    // An output channel of a grouped convolution sees its own group's inputs only.
    let seen = match &node.op {
        Op::Conv2d(conv) => conv.in_c / conv.groups,
        _ => param.input_means.len(),
    };
    let groups = param.input_means.len() / seen;
    let depth = values.len() / channels;
    bias_units.resize(channels, 0.0);
    for (c, bias) in bias_units.iter_mut().enumerate() {
        let (unit, gain) = units(c);
        if unit == 0.0 {
            continue;
        }
        let means = &param.input_means[c / (channels / groups) * seen..][..seen];
        let (scale, own) = (f64::from(codes.scale(c)), c * depth..(c + 1) * depth);
        let rounded = codes.codes[own.clone()].iter().map(|&q| scale * f64::from(i32::from(q) - codes.zero_point(c)));
        let errors = rounded.zip(&values[own]).map(|(q, &w)| q - gain * f64::from(w));
        let shift: f64 = errors.zip(means.iter().cycle()).map(|(error, &mean)| error * f64::from(mean)).sum();
        *bias -= shift / unit;
    }
}

/// The affine form of the batch norm `id`.
pub(super) fn norm_of(graph: &Graph, id: NodeId) -> Result<Norm, TrunkError> {
    let node = graph.node(id);
    let Op::BatchNorm(norm) = &node.op else {
        return Err(TrunkError::node(node, "is not a batch norm"));
    };
    let read = |i: usize, what: &str| -> Result<Vec<f32>, TrunkError> {
        let param = param(graph, node, i, what, norm.channels)?;
        let values = param.value.to_f32();
        finite(node, param, &values)?;
        Ok(values)
    };
    let (gamma, beta) = (read(0, "a gamma")?, read(1, "a beta")?);
    let (mean, variance) = (read(2, "a running mean")?, read(3, "a running variance")?);
    (0..norm.channels)
        .map(|c| {
            let (g, b) = norm.affine_of(gamma[c], beta[c], mean[c], variance[c]);
            if g.is_finite() && b.is_finite() {
                Ok((g, b))
            } else {
                let why = format!(
                    "channel {c} has variance {}, which with epsilon {} has no root",
                    variance[c], norm.epsilon
                );
                Err(TrunkError::node(node, why))
            }
        })
        .collect()
}

/// Whether TensorFlow Lite multiplies this layer's scales in f32: per-tensor fully-connected layers,
/// and legacy unsigned convolutions. Per-channel layers are multiplied in f64.
pub(super) fn multiplies_scales_in_f32(kind: OpKind, x: &QuantParams, w: &WeightCodes) -> bool {
    w.is_per_tensor() && (kind == OpKind::Linear || x.codes == CodeType::U8)
}

fn param<'a>(graph: &'a Graph, node: &Node, i: usize, what: &str, len: usize) -> Result<&'a Param, TrunkError> {
    let Some(&id) = node.params.get(i) else {
        return Err(TrunkError::node(node, format!("has no {}", what.trim_start_matches("a "))));
    };
    let param = graph.param(id);
    if param.value.len() != len {
        let why = format!("'{}' must be {what} of {len} values, has {}", param.name, param.value.len());
        return Err(TrunkError::node(node, why));
    }
    Ok(param)
}

fn finite(node: &Node, param: &Param, values: &[f32]) -> Result<(), TrunkError> {
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(i) => Err(TrunkError::node(node, format!("'{}' holds {} at {i}", param.name, values[i]))),
    }
}
