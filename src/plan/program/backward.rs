//! The kernel calls of a node's backward pass: what it keeps of forward, the gradients of its
//! parameters, the errors of its inputs.

use super::Lowering;
use super::errors::{Sum, spread, undone};
use crate::device::BufferSpec;
use crate::graph::{EdgeId, GraphError, NodeId, ParamId};
use crate::kernel::{self, BufferId, KernelCall, activation_grad, cross_entropy, cross_entropy_grad, pass_mask};
use crate::op::upsample::Between;
use crate::op::{Conv2d, Linear, Op, Pool};
use crate::plan::kept::Form;
use crate::tensor::Shape;
use crate::units::HardwareDomain;
use std::collections::HashMap;

/// What backward needs while it is lowered.
#[derive(Default)]
pub(super) struct Back {
    /// Bits and indices that a node keeps, by its output.
    marks: HashMap<EdgeId, BufferId>,
    /// Statistics that a batch norm that trains goes by, and its running ones.
    pub moments: HashMap<NodeId, BufferId>,
    pub running: Vec<(NodeId, BufferId)>,
    /// The images' indices in the data set, where something depends on them.
    pub images: Option<BufferId>,
    /// Values made again from the codes that are kept.
    again: HashMap<EdgeId, BufferId>,
    /// Errors that are known in part or whole, by map.
    pub errors: HashMap<EdgeId, BufferId>,
    /// Errors that the trunk sends for maps made here.
    pub received: HashMap<EdgeId, BufferId>,
    /// Sums over the batch, by parameter.
    pub gradients: HashMap<ParamId, BufferId>,
}

impl Lowering<'_> {
    /// What a node keeps beside maps: the bits of a clamp, the choices of a maximum.
    pub(super) fn keep(&mut self, id: NodeId, from: BufferId, shape: Shape, to: BufferId) -> Option<KernelCall> {
        let training = self.training?;
        let node = self.graph.node(id);
        let keeps = |form| {
            let is = |k: &&crate::plan::kept::Kept| k.edge == node.output && k.side == HardwareDomain::Adapter;
            training.kept.iter().filter(is).any(|k| k.form == form)
        };
        let call = match &node.op {
            Op::Activation(a) if keeps(Form::Mask) => {
                let params = pass_mask::Params::new(self.batch, shape.elements(), *a)?;
                let words = (self.batch as usize * shape.elements()).div_ceil(32);
                let bits = self.buffer(BufferSpec::map(format!("{}.mask", node.name), words));
                pass_mask::call(params, to, bits)
            }
            Op::MaxPool(pool) if keeps(Form::Indices) => {
                let params =
                    kernel::max_pool_index::Params::new(self.batch, shape, self.graph.shape(node.output), pool);
                let words = kernel::max_pool_index::output_words(&params);
                let chosen = self.buffer(BufferSpec::map(format!("{}.chosen", node.name), words));
                kernel::max_pool_index::call(params, from, chosen)
            }
            Op::ChannelPool if keeps(Form::Indices) => {
                let params = kernel::channel_max_index::Params::new(self.batch, shape.pixels(), shape.c);
                let words = kernel::channel_max_index::output_words(&params);
                let chosen = self.buffer(BufferSpec::map(format!("{}.chosen", node.name), words));
                kernel::channel_max_index::call(params, from, chosen)
            }
            _ => return None,
        };
        self.back.marks.insert(node.output, call.output);
        Some(call)
    }

    /// The loss of the images' logits, and its gradient.
    pub(super) fn loss(&mut self, labels: BufferId, losses: BufferId) -> Result<Vec<KernelCall>, GraphError> {
        let training = self.training.expect("a loss is a training step's");
        let output = self.graph.output;
        let (logits, classes) = (self.held(output)?, self.graph.shape(output).elements());
        let forward = cross_entropy::Params::new(self.batch, classes, training.smoothing);
        let scale = 1.0 / training.images as f32;
        let backward = cross_entropy_grad::Params::new(self.batch, classes, training.smoothing, scale);
        let mut calls = vec![cross_entropy::call(forward, logits, labels, losses)];
        self.add_error(output, &mut calls, |to| vec![cross_entropy_grad::call(backward, logits, labels, to)]);
        Ok(calls)
    }

    /// The values of a kept map, made again if codes are kept.
    pub(super) fn kept(&mut self, edge: EdgeId, calls: &mut Vec<KernelCall>) -> Result<BufferId, GraphError> {
        if let Some(&again) = self.back.again.get(&edge) {
            return Ok(again);
        }
        let dropped = self.graph.edge(edge).producer.map(|id| (id, self.graph.node(id)));
        if let Some((id, Op::Dropout(dropout))) = dropped.map(|(id, node)| (id, &node.op)) {
            let whole = self.kept(self.graph.node(id).inputs[0], calls)?;
            let again = self.scratch(format!("{}.again", self.graph.edge(edge).name), self.stored(edge).elements());
            calls.push(self.dropping(id, dropout, whole, again));
            self.back.again.insert(edge, again);
            return Ok(again);
        }
        let held = self.held(edge)?;
        let of_codes = self.program.taps.iter().filter_map(|t| t.convert.clone()).find(|c| c.output == held);
        let Some(mut convert) = of_codes.filter(|c| c.kernel == kernel::Kernel::Dequantise) else { return Ok(held) };
        let elements = self.stored(edge).elements();
        convert.output = self.scratch(format!("{}.again", self.graph.edge(edge).name), elements);
        self.back.again.insert(edge, convert.output);
        calls.push(convert.clone());
        Ok(convert.output)
    }

    /// The calls of a node's backward pass, from the error of its output.
    pub(super) fn node_backward(&mut self, id: NodeId) -> Result<Vec<KernelCall>, GraphError> {
        let node = self.graph.node(id).clone();
        let mut calls = vec![];
        if let Some(&error) = self.back.received.get(&node.output) {
            self.receive_error(node.output, error, &mut calls);
        }
        let g = *self.back.errors.get(&node.output).ok_or_else(|| GraphError::Node {
            node: node.name.clone(),
            why: "takes part in the backward pass, but nothing that reads it sends an error".into(),
        })?;
        let (batch, input) = (self.batch, node.inputs[0]);
        let (shape, out) = (self.stored(input), self.graph.shape(node.output));
        match &node.op {
            Op::Conv2d(conv) => self.conv_backward(id, conv, g, &mut calls)?,
            Op::Linear(linear) => self.linear_backward(id, linear, g, &mut calls)?,
            Op::BatchNorm(norm) => self.batch_norm_backward(id, norm, g, &mut calls)?,
            Op::Activation(a) => self.activation_backward(id, *a, g, &mut calls)?,
            Op::Add => node.inputs.iter().for_each(|&e| self.pass_error(e, g, &mut calls)),
            Op::Reshape(_) | Op::Requantise => self.pass_error(input, g, &mut calls),
            Op::Mul => self.mul_backward(&node.inputs, g, &mut calls)?,
            Op::AvgPool(p) => {
                let params = kernel::avg_pool_grad::Params::new(batch, shape, out, p);
                self.add_error(input, &mut calls, |to| vec![kernel::avg_pool_grad::call(params, g, to)]);
            }
            Op::MaxPool(p) => {
                let params = kernel::max_pool_grad::Params::new(batch, shape, out, p);
                let chosen = self.mark(node.output)?;
                self.add_error(input, &mut calls, |to| vec![kernel::max_pool_grad::call(params, g, chosen, to)]);
            }
            Op::ChannelPool => {
                let params = kernel::channel_pool_grad::Params::new(batch, shape.pixels(), shape.c);
                let chosen = self.mark(node.output)?;
                self.add_error(input, &mut calls, |to| vec![kernel::channel_pool_grad::call(params, chosen, g, to)]);
            }
            Op::Dropout(dropout) if self.wants(input) => {
                let error = self.error_buffer(input, "kept.error");
                calls.push(self.dropping(id, dropout, g, error));
                self.pass_error(input, error, &mut calls);
            }
            Op::Dropout(_) => {}
            Op::Mean => {
                let params = kernel::global_mean_grad::Params::new(batch, shape);
                self.add_error(input, &mut calls, |to| vec![kernel::global_mean_grad::call(params, g, to)]);
            }
            Op::Pad(p) => {
                let params = kernel::crop::Params::unpad(batch, out, shape, p);
                self.add_error(input, &mut calls, |to| vec![kernel::crop::call(params, g, to)]);
            }
            Op::Concat => {
                let mut first = 0;
                for &edge in &node.inputs {
                    let channels = self.stored(edge).c;
                    let params = kernel::crop::Params::part(batch, out, first, channels);
                    self.add_error(edge, &mut calls, |to| vec![kernel::crop::call(params, g, to)]);
                    first += channels;
                }
            }
            Op::Softmax(s) => {
                let params = kernel::softmax::Params::new(batch, shape.pixels(), shape.c, s);
                let y = self.held(node.output)?;
                self.add_error(input, &mut calls, |to| vec![kernel::softmax_grad::call(params, y, g, to)]);
            }
            Op::Transpose(t) => {
                let params = kernel::transpose::Params::new(batch, out, shape, &undone(t));
                self.add_error(input, &mut calls, |to| vec![kernel::transpose::call(params, g, to)]);
            }
            Op::Upsample(u) if u.between == Between::Repeated => {
                // Its error is the sum over a window: the mean, times the window.
                let window = Pool { kernel: u.factor, stride: u.factor, pad: [0; 4] };
                let mean = kernel::avg_pool::Params::new(batch, out, shape, &window);
                let values = (u.factor[0] * u.factor[1]) as f32;
                let times = self.constant(format!("{}.window", node.name), &[values]);
                let scale = kernel::mul::Params::shared(batch, shape, Shape::vector(1));
                let means = self.scratch(format!("{}.means", node.name), shape.elements());
                self.add_error(input, &mut calls, |to| {
                    vec![kernel::avg_pool::call(mean, g, means), kernel::mul::call(scale, means, times, to)]
                });
            }
            Op::Upsample(_) => {
                let why = "an enlargement with zeros between has no backward pass on the adapter device".into();
                return Err(GraphError::Node { node: node.name, why });
            }
        }
        Ok(calls)
    }

    fn mark(&self, edge: EdgeId) -> Result<BufferId, GraphError> {
        self.back.marks.get(&edge).copied().ok_or_else(|| GraphError::Edge {
            edge: self.graph.edge(edge).name.clone(),
            why: "is a maximum whose choices the plan does not keep".into(),
        })
    }

    fn activation_backward(
        &mut self,
        id: NodeId,
        activation: crate::op::Activation,
        g: BufferId,
        calls: &mut Vec<KernelCall>,
    ) -> Result<(), GraphError> {
        let (input, output) = (self.graph.node(id).inputs[0], self.graph.node(id).output);
        let (batch, elements) = (self.batch, self.graph.shape(output).elements());
        if let Some(&bits) = self.back.marks.get(&output) {
            let params = kernel::mask_grad::Params::new(batch, elements, activation);
            self.add_error(input, calls, |to| vec![kernel::mask_grad::call(params, g, bits, to)]);
            return Ok(());
        }
        // Where bits would do, the output tells the same as the input.
        let of_output = pass_mask::Params::new(batch, elements, activation).is_some()
            || activation_grad::kept(activation) == activation_grad::Kept::Output;
        let values = if of_output { self.held(output)? } else { self.kept(input, calls)? };
        let params = kernel::activation::Params::new(batch, elements, activation);
        self.add_error(input, calls, |to| vec![activation_grad::call(params, values, g, to)]);
        Ok(())
    }

    fn mul_backward(&mut self, inputs: &[EdgeId], g: BufferId, calls: &mut Vec<KernelCall>) -> Result<(), GraphError> {
        let [a, b] = [inputs[0], inputs[1]];
        let (batch, whole, part) = (self.batch, self.stored(a), self.stored(b));
        if self.wants(a) {
            let factor = self.kept(b, calls)?;
            let params = kernel::mul::Params::new(batch, whole, part);
            self.add_error(a, calls, |to| vec![kernel::mul::call(params, g, factor, to)]);
        }
        if self.wants(b) {
            let factor = self.kept(a, calls)?;
            let sums = self.scratch(format!("{}.sums", self.graph.edge(b).name), whole.c);
            let term = |to| match spread(batch, whole, part) {
                None => vec![kernel::mul::call(kernel::mul::Params::new(batch, whole, whole), g, factor, to)],
                Some(Sum::Channels(p)) => vec![kernel::dot_channels::call(p, g, factor, to)],
                Some(Sum::Positions(p)) => vec![kernel::dot_positions::call(p, g, factor, to)],
                Some(Sum::All(dot, sum)) => {
                    vec![kernel::dot_positions::call(dot, g, factor, sums), kernel::channel_sum::call(sum, sums, to)]
                }
            };
            self.add_error(b, calls, term);
        }
        Ok(())
    }

    /// Whether parameter `index` of a node trains.
    pub(super) fn trains(&self, id: NodeId, index: usize) -> Option<ParamId> {
        let param = *self.graph.node(id).params.get(index)?;
        self.graph.param(param).trainable.then_some(param)
    }

    /// Adds the sum over the positions of every image, for a bias.
    pub(super) fn bias_gradient(&mut self, param: ParamId, g: BufferId, map: Shape, calls: &mut Vec<KernelCall>) {
        let (batch, total) = (self.batch, self.gradient(param));
        let mut parts = g;
        if map.pixels() > 1 {
            parts = self.scratch(format!("{}.parts", self.graph.param(param).name), map.c);
            let params = kernel::channel_sum::Params::new(batch, map.pixels(), map.c);
            calls.push(kernel::channel_sum::call(params, g, parts));
        }
        calls.push(kernel::sum_rows::call(kernel::sum_rows::Params::new(batch, 1, map.c, true), parts, total));
    }

    /// The buffer of a parameter's gradient, in the kernel's order.
    pub(super) fn gradient(&mut self, param: ParamId) -> BufferId {
        if let Some(&held) = self.back.gradients.get(&param) {
            return held;
        }
        let param_name = &self.graph.param(param).name;
        let words = vec![0; self.graph.param(param).value.len()];
        let buffer = self.buffer(BufferSpec::state(format!("{param_name}.gradient"), words));
        self.back.gradients.insert(param, buffer);
        buffer
    }

    fn linear_backward(
        &mut self,
        id: NodeId,
        linear: &Linear,
        g: BufferId,
        calls: &mut Vec<KernelCall>,
    ) -> Result<(), GraphError> {
        let node = self.graph.node(id);
        let (input, weight) = (node.inputs[0], self.params[&node.params[0]]);
        let (batch, inputs, outputs) = (self.batch, linear.inputs, linear.outputs);
        if let Some(param) = self.trains(id, 0) {
            let (map, total) = (self.kept(input, calls)?, self.gradient(param));
            let params = kernel::linear_weight_grad::Params::new(batch, inputs, outputs, true);
            calls.push(kernel::linear_weight_grad::call(params, map, g, total));
        }
        if let Some(param) = self.trains(id, 1) {
            self.bias_gradient(param, g, Shape::vector(outputs), calls);
        }
        let params = kernel::conv1x1_input_grad::linear(batch, inputs, outputs);
        self.add_error(input, calls, |to| vec![kernel::conv1x1_input_grad::call(params, g, weight, to)]);
        Ok(())
    }

    fn conv_backward(
        &mut self,
        id: NodeId,
        conv: &Conv2d,
        g: BufferId,
        calls: &mut Vec<KernelCall>,
    ) -> Result<(), GraphError> {
        let node = self.graph.node(id);
        let (input, weight, out) = (node.inputs[0], self.params[&node.params[0]], self.graph.shape(node.output));
        let (batch, shape, conv) = (self.batch, self.stored(input), self.on_grid(conv, input));
        let is_1x1 = kernel::conv1x1::covers(&conv);
        let (small, any) = (
            is_1x1.then(|| kernel::conv1x1::Params::new(batch, shape, out, &conv)),
            kernel::conv2d::Params::new(batch, shape, out, &conv),
        );
        if let Some(param) = self.trains(id, 0) {
            let (map, total) = (self.kept(input, calls)?, self.gradient(param));
            let rows = match &small {
                Some(p) => kernel::conv1x1_weight_grad::parts(p),
                None => kernel::conv2d_weight_grad::parts(&any),
            };
            let parts = self.scratch(format!("{}.parts", self.graph.param(param).name), rows * conv.weights());
            calls.push(match small {
                Some(p) => kernel::conv1x1_weight_grad::call(p, map, g, parts),
                None => kernel::conv2d_weight_grad::call(any, map, g, parts),
            });
            let sum = kernel::sum_rows::Params::new(batch, rows, conv.weights(), true);
            calls.push(kernel::sum_rows::call(sum, parts, total));
        }
        if let Some(param) = self.trains(id, 1) {
            self.bias_gradient(param, g, out, calls);
        }
        self.add_error(input, calls, |to| {
            vec![match small {
                Some(p) => kernel::conv1x1_input_grad::call(p, g, weight, to),
                None => kernel::conv2d_input_grad::call(any, g, weight, to),
            }]
        });
        Ok(())
    }
}
