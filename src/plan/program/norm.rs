//! Batch norms on the adapter device: frozen ones as a scale and a shift, and those that train, by
//! the statistics of their micro-batch or by running ones.

use super::{Lowering, Statistics};
use crate::device::BufferSpec;
use crate::graph::{GraphError, NodeId};
use crate::kernel::{self, BufferId, KernelCall};
use crate::op::BatchNorm;
use crate::tensor::Shape;

/// Share of a batch's statistics that enters the running ones.
pub const MOMENTUM: f32 = 0.1;

/// What the parameters of a batch norm are, by index.
const GAMMA: usize = 0;
const BETA: usize = 1;
const MEAN: usize = 2;
const VARIANCE: usize = 3;

/// A batch norm in the trunk's registers whose statistics the trunk measures.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub node: NodeId,
    pub channels: usize,
    /// Mean and variance of a step's images.
    moments: BufferId,
    running: BufferId,
}

impl Measured {
    /// Where mean and variance of a step are written.
    pub fn moments(&self) -> BufferId {
        self.moments
    }

    /// Moves the running statistics towards those of `values` values per channel.
    pub fn follow(&self, values: usize) -> KernelCall {
        kernel::running_stats::call(
            kernel::running_stats::Params::new(self.channels, MOMENTUM, values),
            self.moments,
            self.running,
        )
    }
}

impl Lowering<'_> {
    /// The buffers of a batch norm that the trunk measures.
    pub(super) fn measured(&mut self, node: NodeId) -> Measured {
        let running = self.running(node);
        let channels = self.graph.param(self.graph.node(node).params[MEAN]).value.len();
        let spec = BufferSpec::state(format!("{}.measured", self.graph.node(node).name), vec![0; 2 * channels]);
        Measured { node, channels, moments: self.buffer(spec), running }
    }

    fn norm_trains(&self, id: NodeId) -> bool {
        self.training.is_some() && (self.trains(id, GAMMA).is_some() || self.trains(id, BETA).is_some())
    }

    pub(super) fn batch_norm(
        &mut self,
        id: NodeId,
        norm: &BatchNorm,
        from: BufferId,
        shape: Shape,
        to: BufferId,
    ) -> Vec<KernelCall> {
        let node = self.graph.node(id);
        if !self.norm_trains(id) {
            let [scale, shift] = self.frozen(id, norm);
            let params = kernel::affine::Params::new(self.batch, shape.pixels(), shape.c);
            return vec![kernel::affine::call(params, from, scale, shift, to)];
        }
        let affine = [GAMMA, BETA].map(|i| self.param(node.params[i], <[f32]>::to_vec));
        let running = self.running(id);
        let (mut calls, mut moments) = (vec![], running);
        if self.training.is_some_and(|t| t.statistics == Statistics::Batch) {
            let (batch, c) = (self.batch, shape.c);
            let parts = self.scratch(format!("{}.moments.parts", node.name), 2 * c);
            moments = self.buffer(BufferSpec::map(format!("{}.moments", node.name), 2 * c));
            let of_images = kernel::channel_moments::Params::new(batch, shape.pixels(), c);
            calls.push(kernel::channel_moments::call(of_images, from, parts));
            calls.push(kernel::combine_moments::call(
                kernel::combine_moments::Params::new(batch, c, 0),
                parts,
                moments,
            ));
            let values = batch as usize * shape.pixels();
            calls.push(kernel::running_stats::call(
                kernel::running_stats::Params::new(c, MOMENTUM, values),
                moments,
                running,
            ));
        }
        self.back.moments.insert(id, moments);
        let params = kernel::batch_norm::Params::new(self.batch, shape.pixels(), shape.c, norm.epsilon);
        calls.push(kernel::batch_norm::call(params, from, moments, affine, to));
        calls
    }

    /// Scale and shift of a batch norm that does not train.
    fn frozen(&mut self, id: NodeId, norm: &BatchNorm) -> [BufferId; 2] {
        let node = self.graph.node(id);
        let p: Vec<Vec<f32>> = node.params.iter().map(|&p| self.values(p)).collect();
        let (scale, shift) = norm.affine(&p[GAMMA], &p[BETA], &p[MEAN], &p[VARIANCE]);
        let scale = self.constant(format!("{}.scale", node.name), &scale);
        [scale, self.constant(format!("{}.shift", node.name), &shift)]
    }

    /// The running mean and variance of a batch norm, in one buffer.
    fn running(&mut self, id: NodeId) -> BufferId {
        let node = self.graph.node(id);
        let values = [self.values(node.params[MEAN]), self.values(node.params[VARIANCE])].concat();
        let spec = BufferSpec::state(format!("{}.running", node.name), bytemuck::cast_vec(values));
        let buffer = self.buffer(spec);
        self.back.running.push((id, buffer));
        buffer
    }

    pub(super) fn batch_norm_backward(
        &mut self,
        id: NodeId,
        norm: &BatchNorm,
        g: BufferId,
        calls: &mut Vec<KernelCall>,
    ) -> Result<(), GraphError> {
        let node = self.graph.node(id);
        let (name, input, shape) = (node.name.clone(), node.inputs[0], self.graph.shape(node.output));
        let (batch, c, pixels) = (self.batch, shape.c, shape.pixels());
        if !self.norm_trains(id) {
            let [scale, _] = self.frozen(id, norm);
            let params = kernel::mul::Params::shared(batch, shape, Shape::vector(c));
            self.add_error(input, calls, |to| vec![kernel::mul::call(params, g, scale, to)]);
            return Ok(());
        }
        let (gamma, moments, map) =
            (self.params[&node.params[GAMMA]], self.back.moments[&id], self.kept(input, calls)?);
        let by_image = ["gamma", "beta"].map(|part| self.scratch(format!("{name}.{part}.parts"), c));
        let params = kernel::batch_norm::Params::new(batch, pixels, c, norm.epsilon);
        calls.push(kernel::batch_norm_scale_grad::call(params, g, map, moments, by_image[0]));
        calls.push(kernel::channel_sum::call(kernel::channel_sum::Params::new(batch, pixels, c), g, by_image[1]));
        let sum = |accumulate| kernel::sum_rows::Params::new(batch, 1, c, accumulate);
        for (index, parts) in [GAMMA, BETA].into_iter().zip(by_image) {
            if let Some(param) = self.trains(id, index) {
                let total = self.gradient(param);
                calls.push(kernel::sum_rows::call(sum(true), parts, total));
            }
        }
        let [gamma_gradient, beta_gradient] = match self.training.map(|t| t.statistics) {
            // They depend on the map, which gets a share of the micro-batch's own sums.
            Some(Statistics::Batch) => {
                ["gamma", "beta"].map(|part| self.buffer(BufferSpec::map(format!("{name}.{part}.sum"), c)))
            }
            _ => [self.constant(format!("{name}.nothing"), &vec![0.0; c]); 2],
        };
        if self.training.is_some_and(|t| t.statistics == Statistics::Batch) {
            for (parts, own) in by_image.into_iter().zip([gamma_gradient, beta_gradient]) {
                calls.push(kernel::sum_rows::call(sum(false), parts, own));
            }
        }
        let params = kernel::batch_norm_input_grad::Params::new(batch, pixels, c, norm.epsilon, batch as usize);
        let inputs =
            kernel::batch_norm_input_grad::Inputs { gradient: g, map, moments, gamma, gamma_gradient, beta_gradient };
        self.add_error(input, calls, |to| vec![kernel::batch_norm_input_grad::call(params, inputs, to)]);
        Ok(())
    }
}
