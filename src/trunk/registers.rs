//! Batch norms that are loaded into the registers of a prepared trunk: what a task brings, and what an
//! update step writes. Weight codes never change, nor does what an adapter adds: the scales of joins stay
//! those that calibration chose.

use super::backward::operands::{Scratch, centred, gather};
use super::prepare::accumulator;
use super::product::{self, Events, Layer};
use super::work::Work;
use super::{Map, TapInFormat, TrunkError, TrunkProgram, TrunkStep};
use crate::graph::{Graph, NodeId};
use crate::op::product::{Join, dot};
use crate::op::{BatchNorm, Conv2d, Op};
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;

/// The values of a batch norm, one per channel.
#[derive(Clone, Copy, Debug)]
pub struct NormValues<'a> {
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub mean: &'a [f32],
    pub variance: &'a [f32],
}

/// What a step's registers are computed from.
#[derive(Clone, Debug)]
pub(super) struct Loadable {
    op: BatchNorm,
    layer: Layer,
    pub gamma: Vec<f32>,
    pub beta: Vec<f32>,
}

impl Loadable {
    /// The batch norm `id` on the registers of `layer`.
    pub fn new(graph: &Graph, id: NodeId, layer: Layer) -> Result<Self, TrunkError> {
        let node = graph.node(id);
        let (Op::BatchNorm(op), [gamma, beta, ..]) = (&node.op, &node.params[..]) else {
            return Err(TrunkError::node(node, "is not a batch norm"));
        };
        let values = |id| graph.param(id).value.to_f32();
        Ok(Self { op: op.clone(), layer, gamma: values(*gamma), beta: values(*beta) })
    }

    /// The real value of an accumulator unit of channel `c`, and what is added to the sums of products
    /// before the batch norm sees them.
    fn unit(&self, c: usize) -> (f64, f64) {
        let unit = self.layer.unit(c);
        (unit, unit * self.layer.bias_units.get(c).copied().unwrap_or(0.0))
    }
}

/// Per channel, over the positions of one image: the sums of the accumulators and of their squares,
/// products and what is joined to them, before any bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moments {
    pub sums: Vec<i64>,
    /// Saturated, should 64 bits be too few.
    pub squares: Vec<i64>,
}

impl Moments {
    /// Adds those of more images: the same in any order.
    pub fn add(&mut self, other: &Moments) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(a, b)| *a += b);
        self.squares.iter_mut().zip(&other.squares).for_each(|(a, b)| *a = a.saturating_add(*b));
    }

    /// Mean and variance of `values` accumulators per channel, whose units are `units`.
    pub fn statistics(&self, values: usize, units: &[(f64, f64)]) -> [Vec<f32>; 2] {
        let n = values.max(1) as f64;
        let channels = || self.sums.iter().zip(&self.squares).zip(units);
        let mean = channels().map(|((&sum, _), &(unit, bias))| (unit * (sum as f64 / n) + bias) as f32);
        let variance = channels().map(|((&sum, &square), &(unit, _))| {
            // In integers: the difference of two large numbers is what is wanted.
            let (n, sum, square) = (values.max(1) as i128, i128::from(sum), i128::from(square));
            let spread = (n * square - sum * sum).max(0) as f64 / (n as f64 * n as f64);
            (unit * unit * spread) as f32
        });
        [mean.collect(), variance.collect()]
    }
}

impl TrunkProgram {
    /// Per channel the units of the accumulators of a batch norm in registers, and the number of an image's
    /// accumulators.
    pub fn measure(&self, node: NodeId) -> Option<(Vec<(f64, f64)>, usize)> {
        let step = self.steps.iter().find(|step| step.norm == Some(node))?;
        Some((step.accumulator_units()?, step.output_shape.pixels()))
    }

    /// Writes the registers of the step that holds the batch norm `node`, as preparing the trunk with
    /// these values would.
    pub fn load_norm(&mut self, node: NodeId, values: NormValues<'_>) -> Result<(), TrunkError> {
        let profile = self.profile.clone();
        let Some(step) = self.steps.iter_mut().find(|step| step.norm == Some(node)) else {
            let why = format!("holds no batch norm number {} in registers", node.index());
            return Err(TrunkError::Node { node: self.name.clone(), op: "trunk", why });
        };
        let join = step.join.and_then(|edge| self.tap_ins.get(&edge));
        step.load(&profile, join, values)
    }
}

impl TrunkStep {
    fn load(
        &mut self,
        profile: &crate::quant::Profile,
        join: Option<&TapInFormat>,
        values: NormValues<'_>,
    ) -> Result<(), TrunkError> {
        let fail = |why: String| TrunkError::Node { node: self.name.clone(), op: "batch-norm", why };
        let Some(mut loadable) = self.loadable.clone() else {
            return Err(fail("has no loadable registers".into()));
        };
        let arrays = [values.gamma, values.beta, values.mean, values.variance];
        let channels = loadable.op.channels;
        if let Some(array) = arrays.iter().find(|a| a.len() != channels || a.iter().any(|v| !v.is_finite())) {
            return Err(fail(format!("takes {channels} finite values per array, gets {} or others", array.len())));
        }
        let norm = product::affine(&loadable.op, values.gamma, values.beta, values.mean, values.variance);
        loadable.layer.norm = Some(norm.map_err(fail)?);
        (loadable.gamma, loadable.beta) = (values.gamma.to_vec(), values.beta.to_vec());
        let (registers, Events { saturated_biases, constant_channels }) = loadable.layer.registers();
        match &mut self.work {
            Work::Conv2d(_, p) | Work::Linear(_, p) => {
                p.accumulator = accumulator(profile, &loadable.layer, &registers, join);
                p.registers = registers;
            }
            Work::BatchNorm(p) => p.registers = registers,
            _ => return Err(fail("has no registers".into())),
        }
        (self.saturated_biases, self.constant_channels) = (saturated_biases, constant_channels);
        self.loadable = Some(loadable);
        self.choose(self.kernels);
        Ok(())
    }

    /// The sums of every image's accumulators: what running statistics are updated from. Refused where
    /// no batch norm is in the registers.
    pub fn moments(&self, inputs: &[Map<'_>], join: Option<&Tensor<i16>>) -> Option<Vec<Moments>> {
        self.loadable.as_ref()?;
        let x = inputs[0];
        let join = join.map(|values| Join { values, shift: self.join_shift });
        let image = |n: usize| match &self.work {
            Work::Conv2d(conv, p) => self.product_moments(conv, x.shape, p.input_zero_point, x.image(n), n, join),
            Work::Linear(op, p) => {
                let input = Shape::vector(op.inputs);
                self.product_moments(&op.as_conv2d(), input, p.input_zero_point, x.image(n), n, join)
            }
            Work::BatchNorm(p) => {
                let acc = |i: usize| {
                    i64::from(i32::from(x.image(n)[i]) - p.input_zero_point) * i64::from(p.factors[i % x.shape.c])
                };
                moments(x.shape, acc)
            }
            _ => unreachable!("only layers and batch norms have registers"),
        };
        Some((0..x.batch).into_par_iter().map(image).collect())
    }

    fn product_moments(
        &self,
        conv: &Conv2d,
        input: Shape,
        zero: i32,
        image: &[i8],
        n: usize,
        join: Option<Join<'_>>,
    ) -> Moments {
        let (mut scratch, per_group) = (Scratch::default(), conv.out_c / conv.groups);
        let weights: Vec<Vec<i16>> = (0..conv.out_c).map(|c| centred(self, conv, c)).collect();
        moments(self.output_shape, |i| {
            // Neighbouring channels of a group read the same inputs.
            if i % per_group == 0 {
                gather(conv, input, zero, image, i, &mut scratch.x);
            }
            let joined = join.map_or(0, |join| join.at(n * self.output_shape.elements() + i));
            dot(&scratch.x, &weights[i % conv.out_c]) + joined
        })
    }

    /// For every channel of a step with a batch norm in its registers: the real value of one unit of its
    /// accumulators, and the bias that the layer has of its own.
    pub fn accumulator_units(&self) -> Option<Vec<(f64, f64)>> {
        let loadable = self.loadable.as_ref()?;
        Some((0..loadable.op.channels).map(|c| loadable.unit(c)).collect())
    }
}

/// The moments of one image's accumulators.
fn moments(shape: Shape, mut acc: impl FnMut(usize) -> i64) -> Moments {
    let (mut sums, mut squares) = (vec![0i64; shape.c], vec![0i128; shape.c]);
    for i in 0..shape.elements() {
        let acc = acc(i);
        sums[i % shape.c] += acc;
        squares[i % shape.c] += i128::from(acc) * i128::from(acc);
    }
    let squares = squares.into_iter().map(|s| s.min(i128::from(i64::MAX)) as i64).collect();
    Moments { sums, squares }
}
