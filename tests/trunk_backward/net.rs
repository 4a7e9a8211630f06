//! Small trunks behind an adapter, so that their maps have gradients, and one pass over them both ways.

use std::collections::BTreeMap;
use trunkline::graph::gradient::Gradients;
use trunkline::graph::{EdgeId, Graph, NodeId, ParamKind, ParamValue};
use trunkline::op::{BatchNorm, Conv2d, Counts, Op};
use trunkline::quant::error_code::GradFormat;
use trunkline::quant::{CodeType, Profile, QuantParams};
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk::backward::{
    BackwardProgram, ErrorFormat, Errors, Events, Exponents, NormGrads, Origin, Ran, StepContext, Tape,
};
use trunkline::trunk::fast::Kernels;
use trunkline::trunk::{Map, TrunkProgram, prepare};
use trunkline::units::HardwareDomain;

/// SplitMix64, as a number in [-1, 1).
pub fn random(seed: u64, i: u64) -> f32 {
    let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
}

pub fn reals(seed: u64, n: usize, scale: f32) -> Vec<f32> {
    (0..n as u64).map(|i| scale * random(seed, i)).collect()
}

pub fn codes(seed: u64, batch: usize, shape: Shape) -> Tensor<i8> {
    let codes = reals(seed, batch * shape.elements(), 128.0).into_iter().map(|v| v.floor() as i8);
    Tensor::from_vec(batch, shape, codes.collect())
}

pub fn params(scale: f32, zero_point: i32) -> QuantParams {
    QuantParams { scale, zero_point, codes: CodeType::I8 }
}

/// A graph being built.
pub struct Net {
    pub graph: Graph,
    seed: u64,
}

impl Net {
    pub fn new(input: Shape) -> Self {
        let mut graph = Graph::new("net", input);
        graph.edge_mut(EdgeId(0)).quant = Some(params(0.02, -7));
        Self { graph, seed: 7 }
    }

    pub fn node(&mut self, op: Op, inputs: &[EdgeId], arrays: &[(ParamKind, Vec<f32>)]) -> EdgeId {
        let name = format!("n{}", self.graph.nodes.len());
        let values = arrays.iter().enumerate().map(|(i, (kind, v))| {
            self.graph.add_param(&format!("{name}.{i}"), &[v.len()], *kind, ParamValue::F32(v.clone()))
        });
        let ids: Vec<_> = values.collect();
        self.graph.add_node(&name, op, inputs, &ids).unwrap()
    }

    /// The same with codes like those of its first input.
    pub fn alike(&mut self, op: Op, inputs: &[EdgeId]) -> EdgeId {
        let edge = self.node(op, inputs, &[]);
        self.graph.edge_mut(edge).quant = self.graph.edge(inputs[0]).quant;
        edge
    }

    /// A map of these codes.
    pub fn coded(&mut self, op: Op, inputs: &[EdgeId], scale: f32, zero_point: i32) -> EdgeId {
        let edge = self.node(op, inputs, &[]);
        self.quant(edge, scale, zero_point)
    }

    pub fn quant(&mut self, edge: EdgeId, scale: f32, zero_point: i32) -> EdgeId {
        self.graph.edge_mut(edge).quant = Some(params(scale, zero_point));
        edge
    }

    pub fn conv(&mut self, conv: Conv2d, input: EdgeId) -> EdgeId {
        self.seed += 1;
        let weights = reals(self.seed, conv.weights(), 0.3);
        self.node(Op::Conv2d(conv), &[input], &[(ParamKind::Weight, weights)])
    }

    /// What an adapter that trains makes of the input map, in `shape`.
    pub fn tapped(&mut self, channels: usize, scale: f32, zero_point: i32) -> EdgeId {
        let input = self.graph.input;
        let edge = self.conv(Conv2d::square(self.graph.shape(input).c, channels, 1, 1, 0), input);
        let node = self.graph.edge(edge).producer.unwrap();
        self.graph.nodes[node.index()].domain = HardwareDomain::Adapter;
        let weight = self.graph.node(node).params[0];
        self.graph.params[weight.index()].trainable = true;
        self.quant(edge, scale, zero_point)
    }

    /// A batch norm with some negative gains.
    pub fn norm(&mut self, input: EdgeId, trains: bool) -> EdgeId {
        self.seed += 1;
        let n = self.graph.shape(input).c;
        let gamma = (0..n).map(|c| if c % 3 == 1 { -0.8 } else { 0.7 + 0.05 * c as f32 }).collect();
        let (beta, mean) = (reals(self.seed ^ 21, n, 0.5), reals(self.seed ^ 22, n, 0.3));
        let variance = reals(self.seed ^ 23, n, 0.5).iter().map(|v| 1.5 + v).collect();
        let (affine, stats) = (ParamKind::NormAffine, ParamKind::NormStats);
        let arrays = [(affine, gamma), (affine, beta), (stats, mean), (stats, variance)];
        let edge = self.node(Op::BatchNorm(BatchNorm { channels: n, epsilon: 1e-5 }), &[input], &arrays);
        let node = self.graph.edge(edge).producer.unwrap();
        for id in [0, 1].map(|i| self.graph.node(node).params[i]) {
            self.graph.params[id.index()].trainable = trains;
        }
        edge
    }

    pub fn ready(mut self, output: EdgeId) -> Ready {
        self.graph.output = output;
        Ready::new(self.graph)
    }
}

/// A trunk prepared both ways.
pub struct Ready {
    pub graph: Graph,
    pub program: TrunkProgram,
    pub gradients: Gradients,
    /// For real errors on the plain loops; what a tape holds does not depend on either.
    pub backward: BackwardProgram,
}

/// A forward pass.
pub struct Forward {
    pub maps: BTreeMap<EdgeId, Tensor<i8>>,
    pub joins: BTreeMap<EdgeId, Tensor<i16>>,
    pub tape: Tape,
    pub counts: Counts,
}

/// What a backward pass leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Back {
    pub errors: BTreeMap<EdgeId, Errors>,
    pub norms: BTreeMap<NodeId, NormGrads>,
    pub macs: u64,
    pub events: Events,
}

impl Ready {
    pub fn new(graph: Graph) -> Self {
        let program = prepare(&graph, &Profile::tflite_ref(), 16).unwrap();
        let gradients = Gradients::of(&graph).unwrap();
        let backward = BackwardProgram::new(&graph, &program, &gradients, GradFormat::F32, Kernels::Reference).unwrap();
        Self { graph, program, gradients, backward }
    }

    pub fn backward(&self, format: GradFormat, kernels: Kernels) -> BackwardProgram {
        BackwardProgram::new(&self.graph, &self.program, &self.gradients, format, kernels).unwrap()
    }

    /// Runs the trunk on random input, tap-ins and joins.
    pub fn forward(&self, seed: u64, batch: usize) -> Forward {
        let mut maps = BTreeMap::from([(self.graph.input, codes(seed, batch, self.graph.shape(self.graph.input)))]);
        let mut joins = BTreeMap::new();
        for (&edge, format) in &self.program.tap_ins {
            let shape = self.graph.shape(edge);
            if self.program.steps.iter().any(|s| s.join == Some(edge)) {
                let most = if format.shift > 8 { 30.0 } else { 2000.0 };
                let values = reals(seed ^ u64::from(edge.0), batch * shape.elements(), most);
                joins.insert(edge, Tensor::from_vec(batch, shape, values.iter().map(|&v| v as i16).collect()));
            } else {
                maps.insert(edge, codes(seed ^ u64::from(edge.0), batch, shape));
            }
        }
        self.run(maps, joins, batch)
    }

    fn run(
        &self,
        mut maps: BTreeMap<EdgeId, Tensor<i8>>,
        joins: BTreeMap<EdgeId, Tensor<i16>>,
        batch: usize,
    ) -> Forward {
        let (mut tape, mut counts) = (self.backward.tape(batch), Counts::default());
        for (i, step) in self.program.steps.iter().enumerate() {
            let inputs: Vec<&Tensor<i8>> = step.inputs.iter().map(|e| &maps[e]).collect();
            let join = step.join.map(|e| &joins[&e]);
            let (output, counted) = step.run(&inputs, join);
            let views: Vec<Map<'_>> = inputs.iter().map(|&x| x.into()).collect();
            let ran = Ran { inputs: &views, join, output: (&output).into(), counts: counted };
            self.backward.record(&self.program, i, ran, &mut tape);
            counts += counted;
            maps.insert(step.output, output);
        }
        Forward { maps, joins, tape, counts }
    }

    /// The same pass of one image alone.
    pub fn forward_of(&self, whole: &Forward, n: usize) -> Forward {
        let maps = whole.maps.iter().map(|(&e, map)| (e, map.slice(n, n + 1)));
        let joins = whole.joins.iter().map(|(&e, map)| (e, map.slice(n, n + 1))).collect();
        self.run(maps.filter(|(e, _)| self.program.steps.iter().all(|s| s.output != *e)).collect(), joins, 1)
    }

    /// Runs it backward from the error of its output.
    pub fn back(&self, forward: &Forward, error: &Tensor<f32>, context: &StepContext<'_>) -> Back {
        self.back_on(Kernels::Auto, forward, error, context)
    }

    /// The same on chosen loops.
    pub fn back_on(&self, kernels: Kernels, forward: &Forward, error: &Tensor<f32>, context: &StepContext<'_>) -> Back {
        let backward = self.backward(context.format.format, kernels);
        let output = self.graph.output;
        let (entry, events) = Errors::encode(error.clone(), context, Origin::Entry { edge: output });
        let mut back = Back { errors: BTreeMap::from([(output, entry)]), norms: BTreeMap::new(), macs: 0, events };
        let mut ordinals: BTreeMap<EdgeId, usize> = BTreeMap::new();
        for i in backward.steps() {
            let error = &back.errors[&self.program.steps[i].output];
            let out = backward.run(&self.program, i, &forward.tape, error, context);
            back.macs += out.macs.0;
            back.events.merge(&out.events);
            for (edge, error) in out.inputs.into_iter().chain(out.join) {
                let ordinal = ordinals.entry(edge).or_default();
                let sum = match back.errors.get(&edge) {
                    None => error,
                    Some(held) => {
                        *ordinal += 1;
                        let (sum, events) = backward.add(edge, *ordinal, [held, &error], context);
                        back.events.merge(&events);
                        sum
                    }
                };
                back.errors.insert(edge, sum);
            }
            back.norms.extend(out.norm.map(|norm| (norm.node, norm)));
        }
        back
    }

    /// A random error of the output.
    pub fn error(&self, seed: u64, batch: usize) -> Tensor<f32> {
        let shape = self.graph.shape(self.graph.output);
        Tensor::from_vec(batch, shape, reals(seed, batch * shape.elements(), 1.0))
    }

    /// The maps that adapters make and that have an error.
    pub fn tapped(&self) -> Vec<EdgeId> {
        self.program.tap_ins.keys().copied().filter(|&e| self.gradients.has(e)).collect()
    }
}

/// Step 3 of a batch of the data set's first images.
pub fn context<'a>(format: ErrorFormat, images: &'a [u32], delayed: &'a Exponents) -> StepContext<'a> {
    StepContext { format, step: 3, images, delayed }
}

pub fn real_context(images: &[u32]) -> StepContext<'_> {
    static NONE: std::sync::LazyLock<Exponents> = std::sync::LazyLock::new(Exponents::default);
    context(ErrorFormat::of(GradFormat::F32), images, &NONE)
}

/// The cosine between two errors.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
