//! Masks against the plain loops of `op`: what one element by itself counts says whether it was cut.

use super::mask;
use crate::graph::{EdgeId, Graph, NodeId, ParamKind, ParamValue};
use crate::op::product::Product;
use crate::op::{Activation, BatchNorm, Conv2d, Counts, Linear, Op, Pool, Registers, add, batch_norm, mean, mul, pool};
use crate::quant::{Clamp, CodeType, Profile, QuantParams};
use crate::tensor::{Shape, Tensor};
use crate::trunk::fast::InstructionSet;
use crate::trunk::work::Work;
use crate::trunk::{Map, TrunkStep, prepare};
use crate::units::HardwareDomain;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> usize {
        (self.next() % n) as usize
    }
    fn real(&mut self) -> f32 {
        (self.next() >> 40) as f32 / 8_388_608.0 - 1.0
    }
    fn reals(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| scale * self.real()).collect()
    }
    fn codes(&mut self, n: usize) -> Vec<i8> {
        (0..n).map(|_| self.next() as i8).collect()
    }
}

/// A step's graph being built, on scales and zero points that a profile can have.
struct Builder {
    graph: Graph,
    random: Random,
    affine: bool,
}

const SHAPE: Shape = Shape::new(5, 4, 4);

impl Builder {
    fn new(seed: u64, affine: bool) -> Self {
        let mut built = Self { graph: Graph::new("one", SHAPE), random: Random(seed), affine };
        built.quantise(EdgeId(0), 5);
        built
    }

    /// A scale of 2^-`exponent`, or near it.
    fn quantise(&mut self, edge: EdgeId, exponent: i32) {
        let nudge = if self.affine { 1.0 + 0.3 * self.random.real() } else { 1.0 };
        let zero_point = if self.affine { [0, -128, 3, 60][self.random.below(4)] } else { 0 };
        let scale = 2f32.powi(-exponent) * nudge;
        self.graph.edge_mut(edge).quant = Some(QuantParams { scale, zero_point, codes: CodeType::I8 });
    }

    fn node(&mut self, op: Op, inputs: &[EdgeId], arrays: &[(ParamKind, Vec<f32>)]) -> EdgeId {
        let name = format!("node{}", self.graph.nodes.len());
        let ids: Vec<_> = arrays
            .iter()
            .map(|(kind, v)| self.graph.add_param(&name, &[v.len()], *kind, ParamValue::F32(v.clone())))
            .collect();
        self.graph.add_node(&name, op, inputs, &ids).unwrap()
    }

    /// What an adapter makes of the input.
    fn tapped(&mut self, channels: usize) -> EdgeId {
        let conv = Conv2d::square(SHAPE.c, channels, 1, 1, 0);
        let weights = self.random.reals(conv.weights(), 0.5);
        let edge = self.node(Op::Conv2d(conv), &[EdgeId(0)], &[(ParamKind::Weight, weights)]);
        self.graph.nodes.last_mut().unwrap().domain = HardwareDomain::Adapter;
        edge
    }

    fn conv(&mut self, conv: Conv2d, x: EdgeId) -> EdgeId {
        let (weights, bias) = (self.random.reals(conv.weights(), 0.5), self.random.reals(conv.out_c, 0.3));
        self.node(Op::Conv2d(conv), &[x], &[(ParamKind::Weight, weights), (ParamKind::Bias, bias)])
    }

    fn norm(&mut self, x: EdgeId) -> EdgeId {
        let n = self.graph.shape(x).c;
        let gamma = (0..n).map(|c| if c == 1 { 0.0 } else { 1.5 * self.random.real() }).collect();
        let (beta, mean) = (self.random.reals(n, 0.5), self.random.reals(n, 0.2));
        let variance = (0..n).map(|_| 0.6 + 0.4 * self.random.real()).collect();
        let (affine, stats) = (ParamKind::NormAffine, ParamKind::NormStats);
        let arrays = [(affine, gamma), (affine, beta), (stats, mean), (stats, variance)];
        self.node(Op::BatchNorm(BatchNorm { channels: n, epsilon: 1e-5 }), &[x], &arrays)
    }

    fn activated(&mut self, x: EdgeId) -> EdgeId {
        match self.random.below(4) {
            0 => x,
            1 => self.node(Op::Activation(Activation::Relu), &[x], &[]),
            2 => self.node(Op::Activation(Activation::Relu6), &[x], &[]),
            _ => self.node(Op::Activation(Activation::ReluN1To1), &[x], &[]),
        }
    }
}

const KINDS: [&str; 9] = ["conv", "depthwise", "linear", "join", "norm", "add", "mul", "mean", "average"];

/// A step of that kind, last in its graph, with an output scale so small that it saturates.
fn build(kind: &str, seed: u64, affine: bool) -> Graph {
    let mut b = Builder::new(seed, affine);
    let x = b.graph.input;
    let stride = 1 + b.random.below(2);
    let (y, exponent) = match kind {
        "conv" => {
            let conv = Conv2d { groups: 2, pad: [1, 0, 2, 1], ..Conv2d::square(4, 6, 3, stride, 0) };
            let y = b.conv(conv, x);
            (if b.random.below(2) == 0 { b.norm(y) } else { y }, 6)
        }
        "depthwise" => (b.conv(Conv2d { groups: 4, ..Conv2d::square(4, 4, 3, stride, 1) }, x), 7),
        "linear" => {
            let op = Linear { inputs: SHAPE.elements(), outputs: 7 };
            let weights = b.random.reals(7 * SHAPE.elements(), 0.3);
            (b.node(Op::Linear(op), &[x], &[(ParamKind::Weight, weights)]), 5)
        }
        "join" => {
            let (tapped, y) = (b.tapped(5), b.conv(Conv2d::square(4, 5, 1, 1, 0), x));
            let sum = b.node(Op::Add, &[y, tapped], &[]);
            (b.norm(sum), 6)
        }
        "norm" => (b.norm(x), 5),
        "add" => {
            let other = b.tapped(4);
            b.quantise(other, 4);
            (b.node(Op::Add, &[x, other], &[]), 5)
        }
        "mul" => {
            let other = b.tapped(1);
            b.quantise(other, 6);
            (b.node(Op::Mul, &[x, other], &[]), 6)
        }
        "mean" => (b.node(Op::Mean, &[x], &[]), 9),
        _ => {
            let window = Pool { kernel: [3, 2], stride: [2, 2], pad: [1, 0, 1, 1] };
            (b.node(Op::AvgPool(window), &[x], &[]), 7)
        }
    };
    let y = b.activated(y);
    b.quantise(y, exponent);
    b.graph.output = y;
    b.graph
}

/// Inputs and join of a step.
struct Fed {
    inputs: Vec<Tensor<i8>>,
    join: Option<Tensor<i16>>,
}

fn fed(step: &TrunkStep, random: &mut Random) -> Fed {
    let map = |&s: &Shape| Tensor::from_vec(2, s, random.codes(2 * s.elements()));
    let inputs = step.input_shapes.iter().map(map).collect();
    let elements = 2 * step.output_shape.elements();
    let joined = (0..elements).map(|_| (random.next() as i16) >> 4).collect();
    Fed { inputs, join: step.join.map(|_| Tensor::from_vec(2, step.output_shape, joined)) }
}

/// Channel `c` of registers.
fn channel(r: &Registers, c: usize) -> Registers {
    Registers { multipliers: vec![r.multipliers[c]], bias: vec![r.bias[c]] }
}

/// What element `i` of image `n` counts when it is computed alone, by a loop of `op`.
fn alone(step: &TrunkStep, fed: &Fed, n: usize, i: usize) -> Counts {
    let x = &fed.inputs[0];
    let (c, pixel) = (i % step.output_shape.c, i / step.output_shape.c);
    let one = |code: i8| Tensor::from_vec(1, Shape::vector(1), vec![code]);
    match &step.work {
        Work::Conv2d(conv, p) => layer(step, conv, x.shape, p, fed, n, i),
        Work::Linear(op, p) => layer(step, &op.as_conv2d(), Shape::vector(op.inputs), p, fed, n, i),
        Work::BatchNorm(p) => {
            let registers = channel(&p.registers, c);
            let p = batch_norm::Int8 { factors: vec![p.factors[c]], registers, ..p.clone() };
            batch_norm::int8(&one(x.image(n)[i]), &p).1
        }
        Work::Add(p) => add::int8(&one(x.image(n)[i]), &one(fed.inputs[1].image(n)[i]), p).1,
        Work::Mul(p) => mul::int8(&one(x.image(n)[i]), &one(fed.inputs[1].image(n)[pixel]), p).1,
        Work::Mean(p) => {
            let codes: Vec<i8> = x.image(n).iter().skip(c).step_by(x.shape.c).copied().collect();
            mean::int8(&Tensor::from_vec(1, Shape::new(x.shape.h, x.shape.w, 1), codes), p).1
        }
        Work::AvgPool(op, form, clamp) => {
            let rows = op.valid(0, pixel / step.output_shape.w, x.shape.h);
            let columns = op.valid(1, pixel % step.output_shape.w, x.shape.w);
            let shape = Shape::new(rows.len(), columns.len(), 1);
            let at = rows.flat_map(|y| columns.clone().map(move |x| (y, x)));
            let codes = at.map(|(y, ix)| x.image(n)[(y * x.shape.w + ix) * x.shape.c + c]).collect();
            let whole = Pool { kernel: [shape.h, shape.w], stride: [1, 1], pad: [0; 4] };
            pool::average_int8(&whole, &Tensor::from_vec(1, shape, codes), *form, *clamp).1
        }
        other => panic!("{other:?} is not tested"),
    }
}

/// The sum of products as its formula stands.
fn layer(step: &TrunkStep, conv: &Conv2d, input: Shape, p: &Product, fed: &Fed, n: usize, i: usize) -> Counts {
    let output = conv.output_shape(input).unwrap();
    let (c, ox, oy) = (i % output.c, i / output.c % output.w, i / output.c / output.w);
    let (weights, per_group) = (step.weights.as_ref().unwrap(), conv.in_c / conv.groups);
    let mut products = vec![];
    for k in 0..conv.depth() {
        let (ky, kx, ic) = (k / per_group / conv.kernel[1], k / per_group % conv.kernel[1], k % per_group);
        let (y, x) = (oy * conv.stride[0] + ky, ox * conv.stride[1] + kx);
        let inside = y >= conv.pad[0] && y < conv.pad[0] + input.h && x >= conv.pad[1] && x < conv.pad[1] + input.w;
        let group = c / (conv.out_c / conv.groups);
        let code =
            |(y, x): (usize, usize)| fed.inputs[0].image(n)[(y * input.w + x) * input.c + group * per_group + ic];
        let centred = if inside { i32::from(code((y - conv.pad[0], x - conv.pad[1]))) - p.input_zero_point } else { 0 };
        let weight = i32::from(weights.codes[c * conv.depth() + k]) - weights.zero_point(c);
        products.push(i64::from(centred) * i64::from(weight));
    }
    let joined = fed.join.as_ref().map_or(0, |j| i64::from(j.image(n)[i]) << step.join_shift);
    let mut counts = Counts::default();
    let (m, bias) = (p.registers.multipliers[c], i64::from(p.registers.bias[c]));
    match p.accumulator {
        Some(accumulator) if m.mantissa != 0 => {
            let mut running = accumulator.sum(products.into_iter());
            accumulator.add(&mut running, joined);
            accumulator.add(&mut running, bias);
            p.output.code(accumulator.finish(running).value, m, &mut counts);
        }
        _ => {
            p.registers.code(c, products.into_iter().sum::<i64>() + joined, &p.output, &mut counts);
        }
    }
    counts
}

/// The activation's bounds as codes.
fn bounds(graph: &Graph, y: &QuantParams) -> (i32, i32) {
    let Op::Activation(a) = graph.nodes.last().unwrap().op else { return (i32::MIN, i32::MAX) };
    let (lo, hi) = a.clamp().unwrap();
    let code = |real: f32| y.zero_point + (real / y.scale).round() as i32;
    (if lo.is_finite() { code(lo) } else { i32::MIN }, if hi.is_finite() { code(hi) } else { i32::MAX })
}

#[test]
fn masks_are_those_of_the_plain_loops() {
    for kind in KINDS {
        let (mut cut, mut at_the_end, mut told) = (0, 0, 0);
        // Means and averages have few outputs, and few profiles cut averages.
        let seeds = if matches!(kind, "mean" | "average") { 420 } else { 60 };
        for seed in 0..seeds {
            let name = ["tflite-ref", "onnxruntime", "tflite-xnnpack", "tflite-single", "nvdla", "gemmini", "dpu"]
                [seed as usize % 7];
            let profile: Profile = name.parse().unwrap();
            let affine = seed % 7 < 4;
            let mut graph = build(kind, seed, affine);
            if kind == "average" && name != "onnxruntime" {
                let quant = graph.edge(graph.input).quant;
                graph.edge_mut(graph.output).quant = quant;
            }
            let bits = if name == "nvdla" { 16 } else { 8 };
            // A profile that folds batch norms has no registers for what a join adds to them.
            let Ok(program) = prepare(&graph, &profile, bits) else { continue };
            let step = program.steps.last().unwrap();
            let Some(clamp) = mask::clamp(&step.work) else { continue };
            let fed = fed(step, &mut Random(seed ^ 77));
            let inputs: Vec<&Tensor<i8>> = fed.inputs.iter().collect();
            let (output, counts) = step.run(&inputs, fed.join.as_ref());
            let maps: Vec<Map<'_>> = fed.inputs.iter().map(Map::from).collect();
            let join = fed.join.as_ref().map(|values| crate::op::product::Join { values, shift: step.join_shift });
            let got = mask::mask(step, clamp, &maps, join, (&output).into(), counts);
            let (mut codes, mut marks) = (vec![0; output.data.len()], vec![]);
            let counted = step.run_cutting(&maps, fed.join.as_ref(), &mut codes, &mut marks);
            assert_eq!((&codes, counted), (&output.data, counts), "{kind} on {name}, seed {seed}");
            if !marks.is_empty() {
                assert_eq!(mask::told(clamp, (&output).into(), &marks), got, "{kind} on {name}, seed {seed}");
                told += counts.saturations;
            }
            let (lo, hi) = bounds(&graph, &step.output_quant);
            let mut saturations = 0;
            for (n, i) in (0..2).flat_map(|n| (0..step.output_shape.elements()).map(move |i| (n, i))) {
                let (code, saturated) = (i32::from(output.image(n)[i]), alone(step, &fed, n, i).saturations > 0);
                let bounded = (lo >= -128 && code <= lo) || (hi <= 127 && code >= hi);
                let want = !saturated && !bounded;
                assert_eq!(got.image(n).get(i) == 1, want, "{kind} on {name}, seed {seed}: element {i} is {code}");
                saturations += u64::from(saturated);
                at_the_end += usize::from(want && (code == -128 || code == 127));
            }
            assert_eq!(saturations, counts.saturations, "{kind} on {name}, seed {seed}");
            cut += saturations;
        }
        assert!(cut > 20, "{kind}: only {cut} elements were cut");
        let fast = InstructionSet::available().any(|set| set != InstructionSet::Portable);
        let tells = fast && matches!(kind, "conv" | "linear" | "join");
        assert!(told > 20 || !tells, "{kind}: only {told} elements were told to be cut");
        assert!(at_the_end > 0, "{kind}: no element at the end of its range was not cut");
    }
}

#[test]
fn a_step_that_cuts_nothing_needs_no_mask() {
    let graph = build("average", 1, true);
    let mut graph = Graph { nodes: graph.nodes[..1].to_vec(), ..graph };
    graph.output = graph.node(NodeId(0)).output;
    let quant = graph.edge(graph.input).quant;
    graph.edge_mut(graph.output).quant = quant;
    let program = prepare(&graph, &Profile::tflite_ref(), 8).unwrap();
    assert_eq!(mask::clamp(&program.steps[0].work), None);
    assert_eq!(mask::clamp(&Work::MaxPool(Pool { kernel: [2; 2], stride: [2; 2], pad: [0; 4] }, Clamp::INT8)), None);
}
