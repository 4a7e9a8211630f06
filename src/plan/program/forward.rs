//! The kernel calls of a node's forward pass.

use super::Lowering;
use crate::device::BufferSpec;
use crate::graph::{EdgeId, GraphError, NodeId, ParamId};
use crate::kernel::{self, BufferId, KernelCall};
use crate::op::{Conv2d, Dropout, Linear, Op};
use crate::tensor::Shape;

impl Lowering<'_> {
    /// The calls of one node; its output gets a buffer.
    pub(super) fn node(&mut self, id: NodeId) -> Result<Vec<KernelCall>, GraphError> {
        let node = self.graph.node(id);
        let inputs: Vec<BufferId> = node.inputs.iter().map(|&e| self.held(e)).collect::<Result<_, _>>()?;
        let shapes: Vec<Shape> = node.inputs.iter().map(|&e| self.stored(e)).collect();
        let out = self.graph.shape(node.output);
        if matches!(node.op, Op::Reshape(_) | Op::Requantise) {
            // The same values in the same order: no work, the same buffer.
            self.program.maps.insert(node.output, inputs[0]);
            return Ok(vec![]);
        }
        if let Op::Dropout(dropout) = &node.op {
            return Ok(self.dropout(id, dropout, inputs[0]).into_iter().collect());
        }
        let to = self.map(node.output, out);
        let (batch, from, shape) = (self.batch, inputs[0], shapes[0]);
        let mut calls = match &node.op {
            Op::Conv2d(conv) => vec![self.conv(id, conv, from, shape, to, out)],
            Op::Linear(linear) => vec![self.linear(id, linear, from, to)],
            Op::BatchNorm(norm) => self.batch_norm(id, norm, from, shape, to),
            Op::Activation(a) => {
                vec![kernel::activation::call(kernel::activation::Params::new(batch, shape.elements(), *a), from, to)]
            }
            Op::Add => vec![kernel::add::call(kernel::add::Params::new(batch, shape.elements()), from, inputs[1], to)],
            Op::Mul => {
                vec![kernel::mul::call(kernel::mul::Params::new(batch, shape, shapes[1]), from, inputs[1], to)]
            }
            Op::AvgPool(p) => {
                vec![kernel::avg_pool::call(kernel::avg_pool::Params::new(batch, shape, out, p), from, to)]
            }
            Op::MaxPool(p) => {
                vec![kernel::max_pool::call(kernel::max_pool::Params::new(batch, shape, out, p), from, to)]
            }
            Op::Mean => vec![kernel::global_mean::call(kernel::global_mean::Params::new(batch, shape), from, to)],
            Op::Pad(p) => vec![kernel::pad::call(kernel::pad::Params::new(batch, shape, out, p), from, to)],
            Op::Transpose(t) => {
                vec![kernel::transpose::call(kernel::transpose::Params::new(batch, shape, out, t), from, to)]
            }
            Op::Upsample(u) => {
                vec![kernel::upsample::call(kernel::upsample::Params::new(batch, shape, out, u), from, to)]
            }
            Op::Concat => {
                let parts: Vec<_> = inputs.iter().zip(&shapes).map(|(&b, s)| (b, s.c)).collect();
                kernel::concat::calls(batch, out.pixels(), &parts, to)
            }
            Op::Softmax(s) => {
                let params = kernel::softmax::Params::new(batch, shape.pixels(), shape.c, s);
                vec![kernel::softmax::call(params, from, to)]
            }
            Op::ChannelPool => {
                let params = kernel::channel_pool::Params::new(batch, shape.pixels(), shape.c);
                vec![kernel::channel_pool::call(params, from, to)]
            }
            Op::Reshape(_) | Op::Requantise | Op::Dropout(_) => unreachable!("returned above"),
        };
        calls.extend(self.keep(id, from, shape, to));
        Ok(calls)
    }

    /// In training the map that is left, stored on its input's grid; otherwise the input's own buffer.
    fn dropout(&mut self, id: NodeId, dropout: &Dropout, from: BufferId) -> Option<KernelCall> {
        let (input, output) = (self.graph.node(id).inputs[0], self.graph.node(id).output);
        if let Some(&grid) = self.grids.get(&input) {
            self.grids.insert(output, grid);
        }
        if self.training.is_none() {
            self.program.maps.insert(output, from);
            return None;
        }
        let to = self.map(output, self.stored(input));
        Some(self.dropping(id, dropout, from, to))
    }

    /// The call that drops the same elements of a map as of its error.
    pub(super) fn dropping(&mut self, id: NodeId, dropout: &Dropout, from: BufferId, to: BufferId) -> KernelCall {
        let (batch, shape) = (self.batch, self.stored(self.graph.node(id).inputs[0]));
        // The step is set when the call is made.
        let key = kernel::dropout::Key { seed: dropout.seed, step: 0, tensor: id.index() as u32 };
        let params = match dropout.channels {
            true => kernel::dropout::Params::channels(batch, shape.pixels(), shape.c, dropout.probability, key),
            false => kernel::dropout::Params::elements(batch, shape.elements(), dropout.probability, key),
        };
        let images = self.images();
        kernel::dropout::call(params, from, images, to)
    }

    /// Each image's index in the data set.
    fn images(&mut self) -> BufferId {
        if let Some(images) = self.back.images {
            return images;
        }
        let images = self.scratch("images".into(), 1);
        self.back.images = Some(images);
        images
    }

    /// The buffer of a parameter in the kernel's order; one that trains is state.
    pub(super) fn param(&mut self, id: ParamId, pack: impl Fn(&[f32]) -> Vec<f32>) -> BufferId {
        if let Some(&held) = self.params.get(&id) {
            return held;
        }
        let param = self.graph.param(id);
        let words: Vec<u32> = bytemuck::cast_vec(pack(&self.values(id)));
        let trains = self.training.is_some() && param.trainable;
        let spec = if trains { BufferSpec::state } else { BufferSpec::constant };
        let buffer = self.buffer(spec(param.name.clone(), words));
        self.params.insert(id, buffer);
        buffer
    }

    /// Weight and bias of a weight layer, the weight in the kernel's order.
    fn weights(&mut self, id: NodeId, pack: impl Fn(&[f32]) -> Vec<f32>) -> (BufferId, Option<BufferId>) {
        let params = self.graph.node(id).params.clone();
        let weight = self.param(params[0], pack);
        (weight, params.get(1).map(|&p| self.param(p, <[f32]>::to_vec)))
    }

    /// A convolution as it reads its stored input.
    pub(super) fn on_grid(&self, conv: &Conv2d, input: EdgeId) -> Conv2d {
        let (h, w) = self.grids.get(&input).copied().unwrap_or((1, 1));
        Conv2d { stride: [conv.stride[0] / h, conv.stride[1] / w], ..conv.clone() }
    }

    fn conv(
        &mut self,
        id: NodeId,
        conv: &Conv2d,
        from: BufferId,
        shape: Shape,
        to: BufferId,
        out: Shape,
    ) -> KernelCall {
        let (weight, bias) = self.weights(id, |w| kernel::conv2d::pack(conv, w));
        let conv = self.on_grid(conv, self.graph.node(id).inputs[0]);
        if kernel::conv1x1::covers(&conv) {
            let params = kernel::conv1x1::Params::new(self.batch, shape, out, &conv);
            kernel::conv1x1::call(params, from, weight, bias, to)
        } else {
            let params = kernel::conv2d::Params::new(self.batch, shape, out, &conv);
            kernel::conv2d::call(params, from, weight, bias, to)
        }
    }

    fn linear(&mut self, id: NodeId, linear: &Linear, from: BufferId, to: BufferId) -> KernelCall {
        let (inputs, outputs) = (linear.inputs, linear.outputs);
        let (weight, bias) = self.weights(id, |w| kernel::linear::pack(inputs, outputs, w));
        kernel::linear::call(kernel::linear::Params::new(self.batch, inputs, outputs), from, weight, bias, to)
    }
}
