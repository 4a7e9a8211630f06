//! From a graph to a trunk program.

use super::chain::{Chain, Chains};
use super::fast::Kernels;
use super::product::{self, Events, Layer};
use super::registers::Loadable;
use super::tap_in::{TapInFormat, use_of};
use super::work::Work;
use super::{TrunkError, TrunkProgram, TrunkStep};
use crate::graph::{EdgeId, Graph, Node, NodeId};
use crate::op::pool::Average;
use crate::op::product::Product;
use crate::op::{
    Activation, Op, Output, Registers, add, batch_norm, concat, conv2d, linear, mean, mul, requantise, softmax,
};
use crate::quant::weights::{self, WeightCodes};
use crate::quant::{
    Accumulator, Clamp, CodeType, Formula, Multiplier, OpKind, Profile, QuantParams, onnxruntime, power_of_two,
};
use crate::tensor::Shape;
use crate::units::{HardwareDomain, Macs};
use std::collections::BTreeMap;

/// Prepares the nodes of hardware domain `Trunk`. Edges that other nodes produce are tap-ins;
/// those added to an accumulator are coded on `tap_in_bits` bits, the others on 8.
pub fn prepare(graph: &Graph, profile: &Profile, tap_in_bits: u8) -> Result<TrunkProgram, TrunkError> {
    if tap_in_bits != 8 && tap_in_bits != 16 {
        return Err(TrunkError::TapInBits(tap_in_bits));
    }
    let chains = Chains::new(graph);
    let context = Context { graph, profile, chains: &chains, tap_in_bits };
    let mut tap_ins = BTreeMap::new();
    let ordered = ordered(graph, &chains)?;
    let mut steps = Vec::new();
    for chain in &ordered {
        let mut step = context.step(chain, &mut tap_ins)?;
        step.choose(Kernels::Auto);
        steps.push(step);
    }
    Ok(TrunkProgram {
        name: graph.name.clone(),
        profile: profile.clone(),
        steps,
        tap_in_names: tap_ins.keys().map(|&e| graph.edge(e).name.clone()).collect(),
        tap_ins,
        input: graph.input,
        input_shape: graph.shape(graph.input),
    })
}

/// The chains in an order in which they can run: that of their last nodes, because what a chain
/// waits for (through an adapter or not) comes before its last node, and what waits for it after.
fn ordered(graph: &Graph, chains: &Chains<'_>) -> Result<Vec<Chain>, TrunkError> {
    let order = graph.order()?;
    let mut rank = vec![0; graph.nodes.len()];
    order.iter().enumerate().for_each(|(i, n)| rank[n.index()] = i);
    let mut taken = vec![false; graph.nodes.len()];
    let mut found = Vec::new();
    for id in order {
        if graph.node(id).domain == HardwareDomain::Trunk && !taken[id.index()] {
            let chain = chains.from(id);
            chain.nodes.iter().for_each(|n| taken[n.index()] = true);
            found.push(chain);
        }
    }
    found.sort_by_key(|chain| rank[chain.last().index()]);
    Ok(found)
}

struct Context<'a> {
    graph: &'a Graph,
    profile: &'a Profile,
    chains: &'a Chains<'a>,
    tap_in_bits: u8,
}

/// A step's work and what else its preparation made.
struct Made {
    work: Work,
    weights: Option<WeightCodes>,
    join: Option<TapInFormat>,
    events: Events,
    /// What registers are computed from, if a batch norm can be loaded into them.
    layer: Option<Layer>,
}

impl From<Work> for Made {
    fn from(work: Work) -> Self {
        Self { work, weights: None, join: None, events: Events::default(), layer: None }
    }
}

impl Context<'_> {
    fn step(&self, chain: &Chain, tap_ins: &mut BTreeMap<EdgeId, TapInFormat>) -> Result<TrunkStep, TrunkError> {
        let graph = self.graph;
        chain.nodes.iter().try_for_each(|&n| self.check_shapes(n))?;
        let node = graph.node(chain.head());
        let output = chain.output(graph);
        let y = self.quant(output)?;
        let made = self.make(chain, node, &y)?;
        for &edge in &node.inputs {
            if self.is_tap_in(edge) {
                let quant = self.quant(edge)?;
                let join = use_of(graph, self.chains, edge);
                let scales = vec![quant.scale];
                tap_ins.insert(edge, TapInFormat { scales, zero_point: quant.zero_point, bits: 8, join, shift: 0 });
            }
        }
        let norm = chain.norm.filter(|_| !self.profile.folds_norms());
        let loadable = match (norm, made.layer) {
            (Some(id), Some(layer)) => Some(Box::new(Loadable::new(graph, id, layer)?)),
            _ => None,
        };
        let join_shift = made.join.as_ref().map_or(0, |format| format.shift);
        if let (Some(edge), Some(format)) = (chain.join, made.join) {
            tap_ins.insert(edge, format);
        }
        Ok(TrunkStep {
            name: node.name.clone(),
            op: node.op.name(),
            nodes: chain.nodes.clone(),
            inputs: node.inputs.clone(),
            join: chain.join,
            norm,
            loadable,
            output,
            output_quant: y,
            saturated_biases: made.events.saturated_biases,
            constant_channels: made.events.constant_channels,
            input_shapes: graph.input_shapes(chain.head()),
            output_shape: graph.shape(output),
            macs: Macs(graph.macs(chain.head())),
            weights: made.weights,
            join_shift,
            work: made.work,
            fast: None,
            kernels: Kernels::Reference,
        })
    }

    fn make(&self, chain: &Chain, node: &Node, y: &QuantParams) -> Result<Made, TrunkError> {
        let range = self.profile.maps().range();
        let clamp = chain.clamp.and_then(|a| a.code_clamp(y)).unwrap_or(Clamp::INT8).within(range);
        let formula = |kind| self.profile.formula(kind);
        let x = match node.inputs.first() {
            Some(&edge) => self.quant(edge)?,
            None => return Err(TrunkError::node(node, "has no input")),
        };
        let refuse = |why: String| TrunkError::node(node, why);
        let work = match &node.op {
            Op::Conv2d(_) | Op::Linear(_) => return self.product(chain, node, x, *y, clamp),
            Op::BatchNorm(_) => return self.batch_norm(chain, node, x, *y, clamp),
            Op::Add => Work::Add(add::Int8::new(formula(OpKind::Add), &x, &self.second(node)?, y, clamp)),
            Op::Mul => Work::Mul(mul::Int8::new(formula(OpKind::Mul), &x, &self.second(node)?, y, clamp)),
            Op::AvgPool(op) => Work::AvgPool(*op, self.average(chain, node, &x, y)?, clamp),
            Op::MaxPool(op) => {
                self.same(chain, node, &x, y)?;
                Work::MaxPool(*op, clamp)
            }
            Op::Mean => {
                let positions = self.graph.shape(node.inputs[0]).pixels();
                Work::Mean(mean::Int8::new(formula(OpKind::Mean), &x, positions, y, clamp))
            }
            Op::Pad(op) => Work::Pad(*op, self.same(chain, node, &x, y)?.zero_point),
            Op::Transpose(op) => {
                self.same(chain, node, &x, y)?;
                Work::Transpose(*op)
            }
            Op::Upsample(op) => Work::Upsample(*op, self.same(chain, node, &x, y)?.zero_point),
            Op::Concat => Work::Concat(self.concat(node, y)?),
            Op::Reshape(to) => {
                self.same(chain, node, &x, y)?;
                Work::Reshape(*to)
            }
            Op::Softmax(op) => {
                let channels = self.graph.shape(node.inputs[0]).c;
                Work::Softmax(softmax::Int8::new(*op, formula(OpKind::Softmax), &x, channels, y).map_err(refuse)?)
            }
            Op::Requantise => {
                Work::Table(requantise::table(formula(OpKind::Requantise), &x, y, clamp), Multiplier::BYTES)
            }
            Op::Activation(a) => {
                let kind = activation_kind(*a);
                let table = a.table(formula(kind), &x, y).map_err(refuse)?.within(Clamp::range(range));
                Work::Table(table, activation_bytes(*a))
            }
            Op::ChannelPool | Op::Dropout(_) => {
                return Err(refuse("is not a trunk operation; place the node on the adapter device".into()));
            }
        };
        Ok(work.into())
    }

    /// A convolution or linear layer with what was fused into it.
    fn product(
        &self,
        chain: &Chain,
        node: &Node,
        x: QuantParams,
        y: QuantParams,
        clamp: Clamp,
    ) -> Result<Made, TrunkError> {
        let (kind, channels, depth) = match &node.op {
            Op::Conv2d(op) if op.is_depthwise() && x.codes == CodeType::U8 => {
                (OpKind::UnsignedDepthwise, op.out_c, op.depth())
            }
            Op::Conv2d(op) => (OpKind::Conv2d, op.out_c, op.depth()),
            Op::Linear(op) => (OpKind::Linear, op.outputs, op.inputs),
            _ => return Err(TrunkError::node(node, "has no weights")),
        };
        let norm = chain.norm.map(|id| product::norm_of(self.graph, id)).transpose()?;
        let (norm, folded) = if self.profile.folds_norms() { (None, norm) } else { (norm, None) };
        if folded.is_some() && chain.join.is_some() {
            return Err(self.no_registers(node, "for a batch norm after what an adapter adds"));
        }
        let len = channels.saturating_mul(depth);
        let weights = product::weights_of(self.graph, node, channels, len, self.profile, folded.as_ref())?;
        let widest = weights.widest(channels);
        let mut layer = Layer {
            style: self.profile.style(kind),
            x,
            y,
            weight_scales: weights.scales.clone(),
            f32_product: product::multiplies_scales_in_f32(kind, &x, &weights),
            bias_units: Vec::new(),
            norm,
            channels,
            largest_sum: depth as f64 * 255.0 * f64::from(widest),
        };
        if let Some(c) = (0..channels).find(|&c| !layer.unit(c).is_finite()) {
            let why = format!("has an accumulator of output {c} in units beyond f32: input scale times weight scale");
            return Err(TrunkError::node(node, why));
        }
        let mut bias_units = product::bias_of(self.graph, node, |c| layer.unit(c), channels, folded.as_ref())?;
        let gain = |c: usize| folded.as_ref().map_or(1.0, |norm| norm[c].0);
        product::correct_bias(&mut bias_units, self.graph, node, &weights, |c| (layer.unit(c), gain(c)), channels);
        layer.bias_units = self.biases(bias_units);
        let (registers, events) = layer.registers();
        let join = chain.join.map(|_| layer.join_format(&registers, self.tap_in_bits));
        let output = Output { style: layer.style, zero_point: y.zero_point, clamp };
        let accumulator = accumulator(self.profile, &layer, &registers, join.as_ref());
        let pack = |weights| Product { input_zero_point: x.zero_point, weights, registers, output, accumulator };
        let work = match &node.op {
            Op::Conv2d(op) => Work::Conv2d(op.clone(), pack(conv2d::pack(op, &weights.codes, &weights.zero_points))),
            Op::Linear(op) => Work::Linear(op.clone(), pack(linear::pack(op, &weights.codes, &weights.zero_points))),
            _ => return Err(TrunkError::node(node, "has no weights")),
        };
        let layer = layer.norm.is_some().then_some(layer);
        Ok(Made { work, weights: Some(weights), join, events, layer })
    }

    /// A batch norm without a layer in front: codes, shifted left, are its accumulators.
    fn batch_norm(
        &self,
        chain: &Chain,
        node: &Node,
        x: QuantParams,
        y: QuantParams,
        clamp: Clamp,
    ) -> Result<Made, TrunkError> {
        let norm = product::norm_of(self.graph, chain.head())?;
        let channels = self.graph.shape(node.inputs[0]).c;
        let one = 1i32 << batch_norm::HEADROOM_BITS;
        let unit = WeightCodes { codes: Vec::new(), scales: vec![(1.0 / f64::from(one)) as f32], zero_points: vec![0] };
        // Without registers for the gains, they are weights: a depthwise convolution of one position.
        let folds = self.profile.folds_norms();
        let gains: Vec<f32> = norm.iter().map(|(gain, _)| *gain as f32).collect();
        let weights = if folds { weights::quantise(&gains, channels, self.profile.weights()) } else { unit };
        let factors = if folds { weights.codes.iter().map(|&q| q.into()).collect() } else { vec![one; channels] };
        let widest = factors.iter().fold(0, |m: i32, f| m.max(f.abs()));
        let mut layer = Layer {
            style: self.profile.style(OpKind::BatchNorm),
            x,
            y,
            weight_scales: weights.scales.clone(),
            f32_product: false,
            bias_units: Vec::new(),
            norm: None,
            channels,
            largest_sum: 255.0 * f64::from(widest),
        };
        if folds {
            layer.bias_units = norm.iter().enumerate().map(|(c, (_, shift))| shift / layer.unit(c)).collect();
            layer.bias_units = self.biases(layer.bias_units);
        } else {
            layer.norm = Some(norm);
        }
        let (registers, events) = layer.registers();
        let output = Output { style: layer.style, zero_point: y.zero_point, clamp };
        let work = batch_norm::Int8 { input_zero_point: x.zero_point, factors, registers, output };
        let layer = layer.norm.is_some().then_some(layer);
        Ok(Made { events, layer, ..Work::BatchNorm(work).into() })
    }

    /// Biases in units of the accumulator, as the chip can hold them.
    fn biases(&self, units: Vec<f64>) -> Vec<f64> {
        if self.profile.weights().power_of_two { power_of_two::biases(&units) } else { units }
    }

    fn concat(&self, node: &Node, y: &QuantParams) -> Result<Vec<Option<crate::op::Table>>, TrunkError> {
        let formula = self.profile.formula(OpKind::Requantise);
        let range = Clamp::range(self.profile.maps().range());
        let rescale = |edge| Ok(concat::rescale(formula, &self.quant(edge)?, y).map(|table| table.within(range)));
        node.inputs.iter().copied().map(rescale).collect()
    }

    fn no_registers(&self, node: &Node, what: &str) -> TrunkError {
        TrunkError::node(node, format!("arithmetic profile {} has no registers {what}", self.profile))
    }

    /// An average: TensorFlow Lite's keeps codes, ONNX Runtime's requantises.
    fn average(&self, chain: &Chain, node: &Node, x: &QuantParams, y: &QuantParams) -> Result<Average, TrunkError> {
        match self.profile.formula(OpKind::Requantise) {
            Formula::Onnxruntime => Ok(Average::Onnxruntime(onnxruntime::Average::new(x, y))),
            Formula::PowerOfTwo => self.same(chain, node, x, y).map(|_| Average::PowerOfTwo),
            _ => Ok(Average::Tflite(self.same(chain, node, x, y)?.codes)),
        }
    }

    /// The parameters of the second operand.
    fn second(&self, node: &Node) -> Result<QuantParams, TrunkError> {
        match node.inputs[..] {
            [_, b] => self.quant(b),
            _ => Err(TrunkError::node(node, format!("takes two inputs, has {}", node.inputs.len()))),
        }
    }

    /// The parameters of an operation that keeps codes, whose output must have its input's.
    fn same(&self, chain: &Chain, node: &Node, x: &QuantParams, y: &QuantParams) -> Result<QuantParams, TrunkError> {
        if x.same_coding(y) {
            return Ok(*x);
        }
        let text = |q: &QuantParams| format!("scale {} and zero point {} ({:?})", q.scale, q.zero_point, q.codes);
        let (input, output) = (&self.graph.edge(node.inputs[0]).name, chain.output(self.graph));
        let why = format!(
            "{} keeps codes, so it must have the parameters of '{input}', {}; it has {}. Requantise after it",
            node.op.name(),
            text(x),
            text(y)
        );
        Err(TrunkError::Edge { edge: self.graph.edge(output).name.clone(), why })
    }

    fn quant(&self, id: EdgeId) -> Result<QuantParams, TrunkError> {
        let edge = self.graph.edge(id);
        let fail = |why: String| Err(TrunkError::Edge { edge: edge.name.clone(), why });
        match edge.quant {
            None => fail("the trunk holds this map, but it has no quantisation parameters; calibrate the graph".into()),
            Some(q) if !q.scale.is_normal() || q.scale < 0.0 => fail(format!("has a scale of {}", q.scale)),
            Some(q) if !(-128..=127).contains(&q.zero_point) => {
                fail(format!("has zero point {}, outside -128 to 127", q.zero_point))
            }
            Some(q) => match self.profile.maps().refuses(&q).filter(|_| !self.is_softmax(id)) {
                Some(why) => fail(format!("{why}, for arithmetic profile {}", self.profile)),
                None => Ok(q),
            },
        }
    }

    /// Probabilities have one coding in every arithmetic.
    fn is_softmax(&self, edge: EdgeId) -> bool {
        let producer = self.graph.edge(edge).producer;
        producer.is_some_and(|n| matches!(self.graph.node(n).op, Op::Softmax(_)))
    }

    /// Whether another hardware domain makes this map.
    fn is_tap_in(&self, edge: EdgeId) -> bool {
        let producer = self.graph.edge(edge).producer;
        producer.is_some_and(|n| self.graph.node(n).domain != HardwareDomain::Trunk)
    }

    /// The loops rely on it, and a rewritten graph may have broken it.
    fn check_shapes(&self, id: NodeId) -> Result<(), TrunkError> {
        let node = self.graph.node(id);
        let inputs: Vec<Shape> = self.graph.input_shapes(id);
        let shape = node.op.output_shape(&inputs).map_err(|why| TrunkError::node(node, why))?;
        let edge = self.graph.edge(node.output);
        if shape == edge.shape {
            Ok(())
        } else {
            Err(TrunkError::node(node, format!("makes a map of {shape}, but edge '{}' is {}", edge.name, edge.shape)))
        }
    }
}

/// What sums a layer's products, unless 32 wrapping bits give the same codes and events.
pub(super) fn accumulator(
    profile: &Profile,
    layer: &Layer,
    registers: &Registers,
    join: Option<&TapInFormat>,
) -> Option<Accumulator> {
    let accumulator = profile.arith().accumulator();
    let bias = registers.bias.iter().map(|b| f64::from(*b).abs()).fold(0.0, f64::max);
    let joined = join.map_or(0.0, |format| 2f64.powi(i32::from(format.bits) - 1 + format.shift as i32));
    let reach = layer.largest_sum + bias + joined;
    let holds = reach <= accumulator.largest().min(i64::from(i32::MAX)) as f64;
    let wraps = accumulator == Accumulator::INT32 && !layer.style.is_wide();
    (!holds && !wraps).then_some(accumulator)
}

fn activation_kind(a: Activation) -> OpKind {
    match a {
        Activation::LeakyRelu { .. } => OpKind::LeakyRelu,
        Activation::Sigmoid { .. } | Activation::Tanh => OpKind::Gate,
        _ => OpKind::Requantise,
    }
}

/// What the chip holds for an activation of its own: multipliers, or a table.
fn activation_bytes(a: Activation) -> u64 {
    match a {
        Activation::Relu | Activation::Relu6 | Activation::ReluN1To1 => Multiplier::BYTES,
        Activation::LeakyRelu { .. } | Activation::HardSwish => 2 * Multiplier::BYTES,
        Activation::Sigmoid { .. } | Activation::Tanh | Activation::HardSigmoid { .. } => 256,
    }
}
