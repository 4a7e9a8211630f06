//! The adapter device's part of a plan: buffers, kernel calls and what crosses, as plain data.
//!
//! Each adapter node becomes the calls of its operation's kernels; each tap a packed buffer with a
//! call that dequantises or requantises it. A map that arrives thinned out to the grid its readers
//! need is stored like that, and their strides shrink accordingly.

use super::tap::{Tap, VALUE_BITS};
use crate::device::BufferSpec;
use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamId};
use crate::kernel::{self, BufferId, KernelCall, codes};
use crate::op::{BatchNorm, Conv2d, Linear, Op};
use crate::quant::boundary::Quantiser;
use crate::tensor::Shape;
use crate::units::{Direction, HardwareDomain};
use std::collections::HashMap;

/// How the adapter device codes a map that enters the trunk.
#[derive(Clone, Debug, PartialEq)]
pub struct TapInCodes {
    /// One for the map, or one per channel.
    pub scales: Vec<f32>,
    pub zero_point: i32,
    pub bits: u32,
}

/// Where a tap lies on the adapter device.
#[derive(Clone, Debug)]
pub struct TapBuffer {
    /// What is written or read: packed codes, or the map itself where values cross unrounded.
    pub words: BufferId,
    pub bits: u32,
    pub elements: usize,
    /// Dequantises a tap-out after it is written, or requantises a tap-in before it is read.
    pub convert: Option<KernelCall>,
    /// Of a tap-in that the device rounds: the values it rounds, and the rule.
    pub rounds: Option<Rounding>,
}

/// The rule by which a device rounds what enters the trunk, to count what has no code.
#[derive(Clone, Debug)]
pub struct Rounding {
    pub map: BufferId,
    /// One for the map, or one per channel.
    pub rules: Vec<Quantiser>,
}

/// One adapter node.
#[derive(Clone, Debug)]
pub struct ProgramStep {
    pub node: NodeId,
    /// For the largest micro-batch; see [`KernelCall::with_batch`].
    pub calls: Vec<KernelCall>,
}

/// Everything that the adapter device will do.
#[derive(Clone, Debug)]
pub struct Program {
    pub buffers: Vec<BufferSpec>,
    pub steps: Vec<ProgramStep>,
    /// By index of the forward tap.
    pub taps: Vec<TapBuffer>,
    /// Every map the device holds, by edge.
    pub maps: HashMap<EdgeId, BufferId>,
}

struct Lowering<'a> {
    graph: &'a Graph,
    batch: u32,
    program: Program,
    /// The grid on which a tapped map is stored.
    grids: HashMap<EdgeId, (usize, usize)>,
}

impl Program {
    /// Kernel calls of one micro-batch, conversions included.
    pub fn calls(&self) -> u64 {
        let steps: usize = self.steps.iter().map(|s| s.calls.len()).sum();
        (steps + self.taps.iter().filter(|t| t.convert.is_some()).count()) as u64
    }
}

/// Lowers the adapter nodes of `graph` for micro-batches of at most `batch` images.
///
/// `taps` are the forward taps, `tap_ins` the coding of those that enter the trunk. If the graph's
/// input is needed on the device but is no tap (a float graph under calibration), it gets a buffer
/// of its own to write to.
pub fn lower(
    graph: &Graph,
    batch: usize,
    taps: &[Tap],
    tap_ins: &HashMap<EdgeId, TapInCodes>,
) -> Result<Program, GraphError> {
    let program = Program { buffers: vec![], steps: vec![], taps: vec![], maps: HashMap::new() };
    let batch = u32::try_from(batch).expect("a micro-batch fits 32 bits");
    let mut lowering = Lowering { graph, batch, program, grids: HashMap::new() };
    for tap in taps.iter().filter(|t| t.direction == Direction::TapOut) {
        let crossing = tap.crossing.as_ref().expect("a forward tap crosses");
        lowering.map(crossing.edge, crossing.shape);
        lowering.grids.insert(crossing.edge, crossing.grid);
    }
    let reads_input =
        |n: NodeId| graph.node(n).domain == HardwareDomain::Adapter && graph.node(n).inputs.contains(&graph.input);
    if graph.node_ids().any(reads_input) && taps.iter().all(|t| !is_of(t, graph.input)) {
        lowering.map(graph.input, graph.shape(graph.input));
    }
    for id in graph.order()? {
        if graph.node(id).domain == HardwareDomain::Adapter {
            let calls = lowering.node(id)?;
            lowering.program.steps.push(ProgramStep { node: id, calls });
        }
    }
    for tap in taps {
        let buffer = lowering.tap(tap, tap_ins)?;
        lowering.program.taps.push(buffer);
    }
    Ok(lowering.program)
}

fn is_of(tap: &Tap, edge: EdgeId) -> bool {
    tap.crossing.as_ref().is_some_and(|c| c.edge == edge)
}

impl Lowering<'_> {
    fn buffer(&mut self, name: String, words: usize, constant: Option<Vec<u32>>) -> BufferId {
        self.program.buffers.push(BufferSpec { name, words, constant });
        BufferId(self.program.buffers.len() as u32 - 1)
    }

    fn constant(&mut self, name: String, values: &[f32]) -> BufferId {
        self.buffer(name, values.len(), Some(bytemuck::cast_slice(values).to_vec()))
    }

    /// The f32 buffer of a map of this shape.
    fn map(&mut self, edge: EdgeId, shape: Shape) -> BufferId {
        let words = self.batch as usize * shape.elements();
        let id = self.buffer(self.graph.edge(edge).name.clone(), words, None);
        self.program.maps.insert(edge, id);
        id
    }

    fn held(&self, edge: EdgeId) -> Result<BufferId, GraphError> {
        self.program.maps.get(&edge).copied().ok_or_else(|| GraphError::Edge {
            edge: self.graph.edge(edge).name.clone(),
            why: "is read on the adapter device but neither made there nor tapped".into(),
        })
    }

    /// The shape under which a map is stored on the device.
    fn stored(&self, edge: EdgeId) -> Shape {
        let full = self.graph.shape(edge);
        let (h, w) = self.grids.get(&edge).copied().unwrap_or((1, 1));
        Shape::new(full.h.div_ceil(h), full.w.div_ceil(w), full.c)
    }

    fn param(&self, id: ParamId) -> Vec<f32> {
        self.graph.param(id).value.to_f32()
    }

    /// The calls of one node; its output gets a buffer.
    fn node(&mut self, id: NodeId) -> Result<Vec<KernelCall>, GraphError> {
        let node = self.graph.node(id);
        let inputs: Vec<BufferId> = node.inputs.iter().map(|&e| self.held(e)).collect::<Result<_, _>>()?;
        let shapes: Vec<Shape> = node.inputs.iter().map(|&e| self.stored(e)).collect();
        let out = self.graph.shape(node.output);
        if matches!(node.op, Op::Reshape(_) | Op::Requantise) {
            // The same values in the same order: no work, the same buffer.
            self.program.maps.insert(node.output, inputs[0]);
            return Ok(vec![]);
        }
        let to = self.map(node.output, out);
        let (batch, from, shape) = (self.batch, inputs[0], shapes[0]);
        Ok(match &node.op {
            Op::Conv2d(conv) => vec![self.conv(id, conv, from, shape, to, out)],
            Op::Linear(linear) => vec![self.linear(id, linear, from, to)],
            Op::BatchNorm(norm) => vec![self.batch_norm(id, norm, from, shape, to)],
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
            Op::Reshape(_) | Op::Requantise => unreachable!("returned above"),
        })
    }

    /// Weight and bias of a weight layer as constants, the weight in the kernel's order.
    fn weights(&mut self, id: NodeId, pack: impl Fn(&[f32]) -> Vec<f32>) -> (BufferId, Option<BufferId>) {
        let node = self.graph.node(id);
        let packed = pack(&self.param(node.params[0]));
        let weight = self.constant(format!("{}.weight", node.name), &packed);
        let bias = node.params.get(1).map(|&p| {
            let values = self.param(p);
            self.constant(format!("{}.bias", node.name), &values)
        });
        (weight, bias)
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
        let (h, w) = self.grids.get(&self.graph.node(id).inputs[0]).copied().unwrap_or((1, 1));
        let conv = Conv2d { stride: [conv.stride[0] / h, conv.stride[1] / w], ..conv.clone() };
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

    fn batch_norm(&mut self, id: NodeId, norm: &BatchNorm, from: BufferId, shape: Shape, to: BufferId) -> KernelCall {
        let node = self.graph.node(id);
        let p: Vec<Vec<f32>> = node.params.iter().map(|&p| self.param(p)).collect();
        let (scale, shift) = norm.affine(&p[0], &p[1], &p[2], &p[3]);
        let scale = self.constant(format!("{}.scale", node.name), &scale);
        let shift = self.constant(format!("{}.shift", node.name), &shift);
        kernel::affine::call(kernel::affine::Params::new(self.batch, shape.pixels(), shape.c), from, scale, shift, to)
    }

    /// The packed buffer of a tap and its conversion.
    fn tap(&mut self, tap: &Tap, tap_ins: &HashMap<EdgeId, TapInCodes>) -> Result<TapBuffer, GraphError> {
        let edge = tap.crossing.as_ref().expect("a forward tap crosses").edge;
        let elements = tap.shape.elements();
        if tap.bits == VALUE_BITS {
            return Ok(TapBuffer { words: self.held(edge)?, bits: tap.bits, elements, convert: None, rounds: None });
        }
        let words = codes::words(self.batch as usize * elements, tap.bits);
        let packed = self.buffer(format!("{}.codes", tap.name), words, None);
        let map = self.held(edge)?;
        let uncoded = |why: &str| GraphError::Edge { edge: tap.name.clone(), why: why.into() };
        let mut rounds = None;
        let convert = match tap.direction {
            Direction::TapOut => {
                let quant = self.graph.edge(edge).quant.ok_or_else(|| uncoded("leaves the trunk but has no codes"))?;
                let scale = self.constant(format!("{}.scale", tap.name), &[quant.scale]);
                let params = kernel::dequantise::Params::new(self.batch, elements, 1, tap.bits, quant.zero_point);
                kernel::dequantise::call(params, packed, scale, map)
            }
            Direction::TapIn => {
                let how =
                    tap_ins.get(&edge).ok_or_else(|| uncoded("enters the trunk but the trunk has no join for it"))?;
                assert_eq!(how.bits, tap.bits, "the trunk and the plan disagree on the bits of tap '{}'", tap.name);
                let rule = |&s: &f32| Quantiser::new(s, how.zero_point, how.bits as u8);
                rounds = Some(Rounding { map, rules: how.scales.iter().map(rule).collect() });
                let inverse: Vec<f32> = how.scales.iter().map(|&s| kernel::requantise::inverse(s)).collect();
                let inverse_buffer = self.constant(format!("{}.inverse", tap.name), &inverse);
                let params =
                    kernel::requantise::Params::new(self.batch, elements, inverse.len(), tap.bits, how.zero_point);
                kernel::requantise::call(params, map, inverse_buffer, packed)
            }
        };
        Ok(TapBuffer { words: packed, bits: tap.bits, elements, convert: Some(convert), rounds })
    }
}
