//! The adapter device's part of a training step: forward, loss, backward, and where everything that
//! trains is held.

use super::norm::Measured;
use super::update::norm_parts;
use super::{Lowering, Program, ProgramStep, TapBuffer, TapInCodes};
use crate::device::BufferSpec;
use crate::graph::gradient::Gradients;
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamId};
use crate::kernel::{BufferId, cross_entropy};
use crate::op::Op;
use crate::plan::kept::Kept;
use crate::plan::tap::Tap;
use crate::quant::error_code::GradFormat;
use crate::units::{Direction, HardwareDomain, Phase};
use std::collections::HashMap;

/// What the batch norms on the adapter device that train are normalised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistics {
    /// Those of the micro-batch, which the running ones follow.
    Batch,
    /// The running ones, which stay as they are.
    Running,
}

/// What a step is trained with.
pub struct Training<'a> {
    pub gradients: &'a Gradients,
    /// What is kept of forward, as [`crate::plan::kept`] says.
    pub kept: &'a [Kept],
    pub statistics: Statistics,
    /// The trunk's batch norms whose running statistics follow what it measures.
    pub measured: &'a [NodeId],
    /// Images of the whole step, over which the loss is a mean.
    pub images: usize,
    pub smoothing: f32,
    pub format: GradFormat,
    /// Buffers that the optimiser keeps for each parameter.
    pub moments: usize,
}

/// A parameter that trains, as the device holds it.
#[derive(Clone, Debug)]
pub struct Trained {
    pub param: ParamId,
    pub value: BufferId,
    pub gradient: BufferId,
    pub moments: Vec<BufferId>,
    pub elements: usize,
    /// Outputs of a weight: the device holds it transposed, `[depth][outputs]`.
    pub outputs: Option<usize>,
}

impl Trained {
    /// The values in the graph's order.
    pub fn unpack(&self, held: &[f32]) -> Vec<f32> {
        let Some(outputs) = self.outputs else { return held.to_vec() };
        let depth = held.len() / outputs.max(1);
        (0..held.len()).map(|i| held[i % depth * outputs + i / depth]).collect()
    }

    /// The inverse of [`Trained::unpack`].
    pub fn pack(&self, values: &[f32]) -> Vec<f32> {
        let Some(outputs) = self.outputs else { return values.to_vec() };
        let depth = values.len() / outputs.max(1);
        (0..values.len()).map(|i| values[i % outputs * depth + i / outputs]).collect()
    }
}

/// What a training step has that an inference has not.
#[derive(Clone, Debug)]
pub struct Learning {
    /// The class of each image of the micro-batch.
    pub labels: BufferId,
    /// The index in the data set of each, where something depends on it.
    pub images: Option<BufferId>,
    /// Of each image its loss, and 1 if its largest logit is the label's.
    pub losses: BufferId,
    /// In the graph's order.
    pub trained: Vec<Trained>,
    /// Running mean and variance of the batch norms that follow their batches.
    pub running: Vec<(NodeId, BufferId)>,
    /// Of those, the trunk's: where the statistics that it measured are written.
    pub measured: Vec<Measured>,
    /// Parts of the norm of all gradients, and the factor that clips it with the norm itself.
    pub norm_parts: BufferId,
    pub norm: BufferId,
}

/// Lowers a training step for micro-batches of exactly `batch` images. `taps` are the forward and the
/// backward taps. Steps of any size have the same buffers in the same order, maps apart.
pub fn lower_training(
    graph: &Graph,
    batch: usize,
    taps: &[Tap],
    tap_ins: &HashMap<EdgeId, TapInCodes>,
    training: &Training,
) -> Result<Program, GraphError> {
    let mut lowering = Lowering::new(graph, batch, Some(training));
    let forward: Vec<Tap> = taps.iter().filter(|t| t.phase == Phase::Forward).cloned().collect();
    assert!(taps.iter().zip(&forward).all(|(a, b)| a == b), "forward taps come first");
    lowering.forward(&forward, tap_ins)?;
    let labels = lowering.scratch("labels".into(), 1);
    let losses = lowering.scratch("losses".into(), cross_entropy::OUTPUTS);
    let backward = &taps[forward.len()..];
    for tap in backward.iter().filter(|t| t.direction == Direction::TapOut) {
        let edge = tap.crossing.as_ref().expect("an error belongs to a crossing").edge;
        let buffer = lowering.scratch(tap.name.clone(), tap.shape.elements());
        lowering.back.received.insert(edge, buffer);
    }
    let calls = lowering.loss(labels, losses)?;
    lowering.program.steps.push(ProgramStep { phase: Phase::Backward, node: None, calls });
    for &id in training.gradients.nodes() {
        if graph.node(id).domain == HardwareDomain::Adapter {
            let calls = lowering.node_backward(id)?;
            lowering.program.steps.push(ProgramStep { phase: Phase::Backward, node: Some(id), calls });
        }
    }
    for tap in backward {
        let buffer = lowering.error_tap(tap, training.format)?;
        lowering.program.taps.push(buffer);
    }
    let measured = training.measured.iter().map(|&id| lowering.measured(id)).collect();
    let trained = lowering.trained(training);
    let images = lowering.back.images;
    let running = std::mem::take(&mut lowering.back.running);
    let parts = norm_parts(trained.iter().map(|t| t.elements));
    let norm_parts = lowering.buffer(BufferSpec::state("gradient-norm.parts", vec![0; parts]));
    let norm = lowering.buffer(BufferSpec::state("gradient-norm", vec![0; 2]));
    lowering.program.learning = Some(Learning { labels, images, losses, trained, running, measured, norm_parts, norm });
    Ok(lowering.finish(taps))
}

impl Lowering<'_> {
    fn error_tap(&mut self, tap: &Tap, format: GradFormat) -> Result<TapBuffer, GraphError> {
        let edge = tap.crossing.as_ref().expect("an error belongs to a crossing").edge;
        let held = match tap.direction {
            Direction::TapOut => self.back.received.get(&edge),
            Direction::TapIn => self.back.errors.get(&edge),
        };
        let words = *held.ok_or_else(|| GraphError::Edge {
            edge: self.graph.edge(edge).name.clone(),
            why: "is to send an error to the trunk, but nothing here has one".into(),
        })?;
        let elements = tap.shape.elements();
        Ok(TapBuffer {
            words,
            bits: tap.bits,
            values: false,
            elements,
            convert: None,
            rounds: None,
            error: Some(format),
        })
    }

    /// Every parameter that trains, those of the trunk's registers too, with its optimiser's buffers.
    fn trained(&mut self, training: &Training) -> Vec<Trained> {
        let graph = self.graph;
        let mut found: Vec<(ParamId, Option<usize>)> = vec![];
        for &id in training.gradients.nodes() {
            let node = graph.node(id);
            for (i, &param) in node.params.iter().enumerate() {
                let held_there = node.domain == HardwareDomain::Trunk && !matches!(node.op, Op::BatchNorm(_));
                if !graph.param(param).trainable || held_there || found.iter().any(|(p, _)| *p == param) {
                    continue;
                }
                let outputs = match &node.op {
                    Op::Conv2d(conv) if i == 0 => Some(conv.out_c),
                    Op::Linear(linear) if i == 0 => Some(linear.outputs),
                    _ => None,
                };
                found.push((param, outputs));
            }
        }
        found.sort_by_key(|(param, _)| *param);
        found.into_iter().map(|(param, outputs)| self.trained_one(param, outputs, training.moments)).collect()
    }

    fn trained_one(&mut self, param: ParamId, outputs: Option<usize>, moments: usize) -> Trained {
        let (name, elements) = (self.graph.param(param).name.clone(), self.graph.param(param).value.len());
        let value = self.param(param, <[f32]>::to_vec);
        let gradient = self.gradient(param);
        let moment = |i: usize| self.buffer(BufferSpec::state(format!("{name}.moment{i}"), vec![0; elements]));
        let moments = (0..moments).map(moment).collect();
        Trained { param, value, gradient, moments, elements, outputs }
    }
}

impl Learning {
    /// Words of an image's loss.
    pub const LOSS_WORDS: usize = cross_entropy::OUTPUTS;

    /// Loss and hits of images, in f64, in their order.
    pub fn sum(words: &[u32]) -> (f64, u64) {
        let images = words.chunks_exact(cross_entropy::OUTPUTS);
        images.fold((0.0, 0), |(loss, hits), w| {
            (loss + f64::from(f32::from_bits(w[0])), hits + u64::from(f32::from_bits(w[1]) == 1.0))
        })
    }
}
