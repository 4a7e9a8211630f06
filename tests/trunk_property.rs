//! Trunk programs: fusion, batch norm in registers, joins, order, determinism, and what is refused.

use proptest::prelude::*;
use trunkline::graph::{EdgeId, Graph, NodeId, ParamKind, ParamValue};
use trunkline::op::{Activation, BatchNorm, Conv2d, Linear, Op, Pool, Softmax};
use trunkline::quant::boundary::{Quantiser, dequantise_map};
use trunkline::quant::weights::quantise;
use trunkline::quant::{CodeType, Profile, QuantParams, RequantStyle};
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk::{JoinKind, TrunkError, TrunkProgram, prepare};
use trunkline::units::HardwareDomain;

const DOUBLE: RequantStyle = RequantStyle::GemmlowpDouble;

fn params(scale: f32, zero_point: i32) -> QuantParams {
    QuantParams { scale, zero_point, codes: CodeType::I8 }
}

/// SplitMix64, as a number in [-1, 1).
fn random(seed: u64, i: u64) -> f32 {
    let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
}
fn reals(seed: u64, n: usize, scale: f32) -> Vec<f32> {
    (0..n as u64).map(|i| scale * random(seed, i)).collect()
}
fn images(seed: u64, batch: usize, shape: Shape) -> Tensor<i8> {
    let codes = reals(seed, batch * shape.elements(), 128.0).into_iter().map(|v| v.floor() as i8);
    Tensor::from_vec(batch, shape, codes.collect())
}

/// A graph being built.
struct Net {
    graph: Graph,
    seed: u64,
}

impl Net {
    fn new(input: Shape, quant: QuantParams) -> Self {
        let mut graph = Graph::new("net", input);
        graph.edge_mut(EdgeId(0)).quant = Some(quant);
        Self { graph, seed: 7 }
    }

    fn node(&mut self, name: &str, op: Op, inputs: &[EdgeId], arrays: &[(ParamKind, Vec<f32>)]) -> EdgeId {
        let values = arrays.iter().enumerate().map(|(i, (kind, v))| {
            self.graph.add_param(&format!("{name}.{i}"), &[v.len()], *kind, ParamValue::F32(v.clone()))
        });
        let ids: Vec<_> = values.collect();
        self.graph.add_node(name, op, inputs, &ids).unwrap()
    }

    fn conv(&mut self, name: &str, conv: Conv2d, input: EdgeId) -> EdgeId {
        self.seed += 1;
        let weights = reals(self.seed, conv.weights(), 0.5);
        self.node(name, Op::Conv2d(conv), &[input], &[(ParamKind::Weight, weights)])
    }

    fn norm(&mut self, name: &str, input: EdgeId, gamma: Vec<f32>, beta: Vec<f32>) -> EdgeId {
        let n = gamma.len();
        let mean = reals(self.seed ^ 11, n, 0.3);
        let variance: Vec<f32> = reals(self.seed ^ 12, n, 0.5).iter().map(|v| 1.0 + v).collect();
        let (affine, stats) = (ParamKind::NormAffine, ParamKind::NormStats);
        let op = Op::BatchNorm(BatchNorm { channels: n, epsilon: 1e-5 });
        self.node(name, op, &[input], &[(affine, gamma), (affine, beta), (stats, mean), (stats, variance)])
    }

    fn quant(&mut self, edge: EdgeId, scale: f32, zero_point: i32) {
        self.graph.edge_mut(edge).quant = Some(params(scale, zero_point));
    }

    /// Moves the node that makes `edge` to the adapter device.
    fn on_adapter_device(&mut self, edge: EdgeId) {
        let id = self.graph.edge(edge).producer.unwrap();
        self.graph.nodes[id.index()].domain = HardwareDomain::Adapter;
    }

    fn prepare(&self) -> Result<TrunkProgram, TrunkError> {
        prepare(&self.graph, &Profile::tflite_ref(), 16)
    }
}

fn f32s(graph: &Graph, node: NodeId, i: usize) -> Vec<f32> {
    graph.param(graph.node(node).params[i]).value.to_f32()
}

/// A residual block on a stem: fused and unfused steps, both pools, mean, linear, softmax.
fn block() -> Net {
    let mut net = Net::new(Shape::new(9, 8, 3), params(0.02, -7));
    let input = net.graph.input;
    let stem = net.conv("stem", Conv2d::square(3, 8, 3, 1, 1), input);
    let stem = net.norm("stem.bn", stem, reals(1, 8, 1.0), reals(2, 8, 1.0));
    let stem = net.node("stem.relu", Op::Activation(Activation::Relu), &[stem], &[]);
    net.quant(stem, 0.02, -128);
    let depthwise = Conv2d { groups: 8, ..Conv2d::square(8, 8, 3, 1, 1) };
    let a = net.conv("a", depthwise, stem);
    let a = net.node("a.relu6", Op::Activation(Activation::Relu6), &[a], &[]);
    net.quant(a, 6.0 / 255.0, -128);
    let b = net.conv("b", Conv2d::square(8, 8, 1, 1, 0), a);
    net.quant(b, 0.03, 5);
    let sum = net.node("sum", Op::Add, &[b, stem], &[]);
    let sum = net.node("sum.relu", Op::Activation(Activation::Relu), &[sum], &[]);
    net.quant(sum, 0.03, -128);
    let window = Pool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] };
    let max = net.node("max", Op::MaxPool(window), &[sum], &[]);
    net.quant(max, 0.03, -128);
    let average = net.node("average", Op::AvgPool(window), &[max], &[]);
    net.quant(average, 0.03, -128);
    let mean = net.node("mean", Op::Mean, &[average], &[]);
    net.quant(mean, 0.02, -100);
    let weights = (ParamKind::Weight, reals(5, 40, 0.4));
    let bias = (ParamKind::Bias, reals(6, 5, 0.4));
    let logits = net.node("head", Op::Linear(Linear { inputs: 8, outputs: 5 }), &[mean], &[weights, bias]);
    net.quant(logits, 0.05, 3);
    let shares = net.node("softmax", Op::Softmax(Softmax { beta: 1.0 }), &[logits], &[]);
    net.quant(shares, 1.0 / 256.0, -128);
    net
}

#[test]
fn chains_become_steps() {
    let net = block();
    let program = net.prepare().unwrap();
    let steps: Vec<(&str, usize)> = program.steps.iter().map(|s| (s.name.as_str(), s.nodes.len())).collect();
    let want = [
        ("stem", 3),
        ("a", 2),
        ("b", 1),
        ("sum", 2),
        ("max", 1),
        ("average", 1),
        ("mean", 1),
        ("head", 1),
        ("softmax", 1),
    ];
    assert_eq!(steps, want);
    let stem = &program.steps[0];
    assert_eq!(stem.norm, Some(NodeId(1)));
    assert_eq!(stem.macs().0, 9 * 8 * 8 * 27);
    assert_eq!(stem.weight_bytes().0, 8 * 27);
    assert_eq!(stem.register_bytes().0, 8 * 9);
    assert_eq!((stem.input_elements().0, stem.output_elements().0), (9 * 8 * 3, 9 * 8 * 8));
    let input = images(3, 2, net.graph.shape(net.graph.input));
    let maps = program.run_all(&input).unwrap();
    // Every step counts the products that the graph predicts.
    for step in &program.steps {
        let inputs: Vec<&Tensor<i8>> = step.inputs.iter().map(|e| &maps[e]).collect();
        let (output, counts) = step.run(&inputs, None);
        assert_eq!(output, maps[&step.output]);
        assert_eq!(counts.macs, step.macs() * 2, "{}", step.name);
        assert_eq!(counts.overflows, 0);
    }
}

#[test]
fn bits_and_counts_do_not_depend_on_threads_batches_or_the_order_of_nodes() {
    let net = block();
    let program = net.prepare().unwrap();
    let input = images(4, 3, net.graph.shape(net.graph.input));
    let maps = program.run_all(&input).unwrap();
    for threads in [1, 2] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| program.run_all(&input).unwrap()), maps, "{threads} threads");
        for step in &program.steps {
            let inputs: Vec<&Tensor<i8>> = step.inputs.iter().map(|e| &maps[e]).collect();
            assert_eq!(pool.install(|| step.run(&inputs, None)), step.run(&inputs, None), "{}", step.name);
        }
    }
    let one = program.run_all(&input.slice(1, 2)).unwrap();
    assert_eq!(one[&net.graph.output].data, maps[&net.graph.output].image(1));
    // The same network with its nodes stored backwards.
    let mut graph = net.graph.clone();
    graph.nodes.reverse();
    for edge in &mut graph.edges {
        edge.producer = edge.producer.map(|n| NodeId(graph.nodes.len() as u32 - 1 - n.0));
    }
    let reversed = prepare(&graph, &Profile::tflite_ref(), 16).unwrap();
    assert_eq!(reversed.run_all(&input).unwrap(), maps);
    assert_eq!(reversed.checksum(), program.checksum());
}

#[test]
fn the_checksum_is_of_codes_registers_and_profile() {
    let net = block();
    let sum = net.prepare().unwrap().checksum();
    assert_eq!(net.prepare().unwrap().checksum(), sum);
    assert_ne!(prepare(&net.graph, &Profile::tflm(), 16).unwrap().checksum(), sum);
    for (param, what) in [(0, "weight"), (2, "beta"), (4, "variance")] {
        let mut other = net.graph.clone();
        let ParamValue::F32(values) = &mut other.params[param].value else { panic!("{what} is f32") };
        values[0] += 0.25;
        assert_ne!(prepare(&other, &Profile::tflite_ref(), 16).unwrap().checksum(), sum, "{what}");
    }
    let mut other = net.graph.clone();
    other.edge_mut(other.input).quant = Some(params(0.02, -8));
    assert_ne!(prepare(&other, &Profile::tflite_ref(), 16).unwrap().checksum(), sum);
}

/// What a folded convolution gives: weights times g before quantisation, the usual positive
/// multiplier, everything by the definition.
fn folded(net: &Net, x: &Tensor<i8>, bias: &[f32], style: RequantStyle) -> Vec<i8> {
    let graph = &net.graph;
    let Op::Conv2d(conv) = &graph.nodes[0].op else { panic!("the first node is the convolution") };
    let Op::BatchNorm(norm) = &graph.nodes[1].op else { panic!("the second node is the batch norm") };
    let stats: Vec<Vec<f32>> = (0..4).map(|i| f32s(graph, NodeId(1), i)).collect();
    let (x_q, y_q) = (graph.edge(graph.input).quant.unwrap(), graph.edge(graph.output).quant.unwrap());
    let weights = f32s(graph, NodeId(0), 0);
    let own = quantise(&weights, conv.out_c);
    let mut y = vec![0i8; x.batch * x.shape.pixels() * conv.out_c];
    for c in 0..conv.out_c {
        let (g, shift) = norm.affine_of(stats[0][c], stats[1][c], stats[2][c], stats[3][c]);
        let s_w = f64::from(own.scale(c)) * g.abs();
        let codes: Vec<i64> = weights[c * conv.in_c..(c + 1) * conv.in_c]
            .iter()
            .map(|&w| ((f64::from(w) * g) / s_w).round_ties_even() as i64)
            .collect();
        let unit = f64::from(x_q.scale) * s_w;
        let bias = ((f64::from(bias[c]) * g + shift) / unit).round_ties_even() as i64;
        let m = style.multiplier(unit / f64::from(y_q.scale));
        for pixel in 0..x.batch * x.shape.pixels() {
            let inputs = &x.data[pixel * conv.in_c..(pixel + 1) * conv.in_c];
            let products = inputs.iter().zip(&codes).map(|(&q, w)| (i64::from(q) - i64::from(x_q.zero_point)) * w);
            let v = style.apply((products.sum::<i64>() + bias) as i32, m) + y_q.zero_point;
            y[pixel * conv.out_c + c] = v.clamp(-128, 127) as i8;
        }
    }
    y
}

/// 1×1 convolution with a bias, then batch norm.
fn normed(seed: u64, channels: usize, gamma: Vec<f32>, bias: &[f32]) -> Net {
    let mut net = Net::new(Shape::new(3, 4, 6), params(0.04, 11));
    net.seed = seed;
    let n = gamma.len();
    assert_eq!(n, channels);
    let conv = Conv2d::square(6, n, 1, 1, 0);
    let arrays = [(ParamKind::Weight, reals(seed, 6 * n, 0.5)), (ParamKind::Bias, bias.to_vec())];
    let input = net.graph.input;
    let edge = net.node("conv", Op::Conv2d(conv), &[input], &arrays);
    let edge = net.norm("bn", edge, gamma, reals(seed ^ 2, n, 1.0));
    net.quant(edge, 0.06, -9);
    net
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn batch_norm_in_registers_equals_folding(seed: u64, n in 1usize..7, scale in 0.05f32..3.0) {
        let (gamma, bias) = (reals(seed ^ 1, n, scale), reals(seed ^ 3, n, 0.7));
        prop_assume!(gamma.iter().all(|g| g.abs() > 1e-3));
        let net = normed(seed, n, gamma, &bias);
        let x = images(seed ^ 4, 2, net.graph.shape(net.graph.input));
        let program = net.prepare().unwrap();
        prop_assert_eq!(program.steps.len(), 1);
        let got = program.run_all(&x).unwrap().remove(&net.graph.output).unwrap();
        prop_assert_eq!(got.data, folded(&net, &x, &bias, DOUBLE));
    }

    /// Within half an output code of the real function (plus what two roundings add).
    #[test]
    fn a_batch_norm_of_its_own_is_the_affine_function(seed: u64, s_y in 0.02f32..0.2, z_y in -128i32..128) {
        let mut net = Net::new(Shape::new(2, 3, 4), params(0.05, 3));
        let input = net.graph.input;
        let y = net.norm("bn", input, vec![0.9, -1.3, 0.0, 1e-12], reals(seed, 4, 1.0));
        let y = net.node("relu", Op::Activation(Activation::Relu), &[y], &[]);
        net.quant(y, s_y, z_y);
        let program = net.prepare().unwrap();
        prop_assert_eq!(program.steps.len(), 1);
        let x = images(seed, 2, net.graph.shape(input));
        let got = program.run_all(&x).unwrap().remove(&y).unwrap();
        let Op::BatchNorm(norm) = &net.graph.nodes[0].op else { unreachable!() };
        let stats: Vec<Vec<f32>> = (0..4).map(|i| f32s(&net.graph, NodeId(0), i)).collect();
        for (i, (&q, &code)) in x.data.iter().zip(&got.data).enumerate() {
            let (g, b) = norm.affine_of(stats[0][i % 4], stats[1][i % 4], stats[2][i % 4], stats[3][i % 4]);
            let real = g * f64::from(0.05f32) * f64::from(i32::from(q) - 3) + b;
            let want = (real / f64::from(s_y) + f64::from(z_y)).clamp(f64::from(z_y), 127.0);
            prop_assert!((f64::from(code) - want).abs() < 0.51, "{} is not {}", code, want);
        }
    }
}

#[test]
fn gamma_zero_is_a_constant_and_a_vanishing_gamma_too() {
    let bias = [0.3, -0.2, 0.1, 0.4];
    let net = normed(5, 4, vec![0.0, -0.7, 1e-9, 1e-30], &bias);
    let program = net.prepare().unwrap();
    let step = &program.steps[0];
    assert_eq!((step.constant_channels, step.saturated_biases), (3, 0));
    let x = images(6, 2, net.graph.shape(net.graph.input));
    let y = program.run_all(&x).unwrap().remove(&net.graph.output).unwrap();
    let beta = f32s(&net.graph, NodeId(1), 1);
    let live = folded(&normed(5, 4, vec![1.0, -0.7, 1.0, 1.0], &bias), &x, &bias, DOUBLE);
    for (i, pixel) in y.data.chunks(4).enumerate() {
        for c in [0, 2, 3] {
            // b' = beta - mean·g, and g vanishes.
            let want = (f64::from(beta[c]) / f64::from(0.06f32)).round_ties_even() as i32 - 9;
            assert_eq!(i32::from(pixel[c]), want.clamp(-128, 127), "channel {c}");
        }
        assert_eq!(pixel[1], live[i * 4 + 1]);
    }
}

/// conv → + adapter → batch norm → ReLU, the adapter reading the conv's input.
fn joined() -> (Net, EdgeId) {
    let mut net = Net::new(Shape::new(5, 4, 6), params(0.03, -20));
    let input = net.graph.input;
    let adapter = net.conv("adapter", Conv2d::square(6, 8, 1, 1, 0), input);
    net.on_adapter_device(adapter);
    let y = net.conv("conv", Conv2d::square(6, 8, 3, 1, 1), input);
    let y = net.node("join", Op::Add, &[adapter, y], &[]);
    let gamma = vec![0.8, -0.6, 1.1, 0.0, 0.9, 0.5, -1.0, 0.7];
    let y = net.norm("bn", y, gamma, reals(3, 8, 0.5));
    let y = net.node("relu", Op::Activation(Activation::Relu), &[y], &[]);
    net.quant(y, 0.02, -128);
    (net, adapter)
}

#[test]
fn a_parallel_adapter_joins_the_accumulator() {
    let (net, adapter) = joined();
    for bits in [8u8, 16] {
        let program = prepare(&net.graph, &Profile::tflite_ref(), bits).unwrap();
        let [step] = &program.steps[..] else { panic!("one step, not {}", program.steps.len()) };
        assert_eq!((step.name.as_str(), step.nodes.len(), step.join), ("conv", 4, Some(adapter)));
        assert_eq!(step.inputs, [net.graph.input]);
        let format = &program.tap_ins[&adapter];
        assert_eq!((format.zero_point, format.bits, format.join), (0, bits, JoinKind::AddAcc));
        assert_eq!(format.scales.len(), 8);
        // 2^k units of the accumulator, with the smallest k whose codes reach the calibrated range.
        let weights = step.weights().unwrap();
        let two_k = f64::from(1u32 << format.shift);
        let z = -128.0;
        let mut largest = 0f64;
        for c in 0..8 {
            let unit = f64::from(0.03f32) * f64::from(weights.scale(c));
            assert_eq!(format.scale(c), (unit * two_k) as f32);
            let registers = step.registers().unwrap();
            let m = registers.multipliers[c].to_f64();
            if m != 0.0 {
                let bias = f64::from(registers.bias[c]);
                largest = largest.max((-bias).abs().max(((127.0 - z) / m - bias).abs()));
            }
        }
        let most = f64::from((1 << (bits - 1)) - 1);
        assert!(largest / two_k <= most && (format.shift == 0 || largest / two_k * 2.0 > most), "k = {}", format.shift);

        let x = images(9, 2, net.graph.shape(net.graph.input));
        let (none, _) = step.run(&[&x], Some(&Tensor::zeros(2, step.output_shape())));
        // Adding r to the map before the batch norm is adding the same to every accumulator: compare
        // with the real function.
        let real = reals(21, 2 * step.output_shape().elements(), 0.5);
        let codes: Vec<i16> = real
            .iter()
            .enumerate()
            .map(|(i, &r)| Quantiser::new(format.scale(i % 8), 0, bits).code(r, &mut Default::default()) as i16)
            .collect();
        let (some, counts) = step.run(&[&x], Some(&Tensor::from_vec(2, step.output_shape(), codes.clone())));
        assert_eq!(counts.macs, step.macs() * 2);
        let norm = BatchNorm { channels: 8, epsilon: 1e-5 };
        let bn = net.graph.node(step.norm.unwrap());
        let stats: Vec<Vec<f32>> = bn.params.iter().map(|&p| net.graph.param(p).value.to_f32()).collect();
        for (i, &code) in codes.iter().enumerate() {
            let c = i % 8;
            let (g, _) = norm.affine_of(stats[0][c], stats[1][c], stats[2][c], stats[3][c]);
            let sent = f64::from(code) * f64::from(format.scale(c));
            let moved = g * sent / f64::from(0.02f32);
            let (before, after) = (f64::from(none.data[i]), f64::from(some.data[i]));
            let cut = before <= -128.0 || after <= -128.0 || after >= 127.0 || before >= 127.0;
            assert!(cut || (after - before - moved).abs() <= 1.01, "{before} + {moved} is not {after}");
        }
    }
}

/// A zero join leaves the trunk as it is without the adapter, bit for bit.
#[test]
fn a_join_of_zeros_changes_nothing() {
    let (net, adapter) = joined();
    let program = net.prepare().unwrap();
    let mut bare = Net::new(Shape::new(5, 4, 6), params(0.03, -20));
    let input = bare.graph.input;
    bare.seed = 8;
    let y = bare.conv("conv", Conv2d::square(6, 8, 3, 1, 1), input);
    let stats = (0..4).map(|i| f32s(&net.graph, NodeId(3), i));
    let arrays: Vec<_> = stats.map(|v| (ParamKind::NormAffine, v)).collect();
    let y = bare.node("bn", Op::BatchNorm(BatchNorm { channels: 8, epsilon: 1e-5 }), &[y], &arrays);
    let y = bare.node("relu", Op::Activation(Activation::Relu), &[y], &[]);
    bare.quant(y, 0.02, -128);
    let x = images(9, 1, bare.graph.shape(input));
    let want = bare.prepare().unwrap().run_all(&x).unwrap().remove(&y).unwrap();
    let step = &program.steps[0];
    assert_eq!(step.run(&[&x], Some(&Tensor::zeros(1, step.output_shape()))).0, want);
    let error = program.run_all(&x).unwrap_err().to_string();
    assert!(error.contains("takes tap-ins (adapter)"), "{error}");
    assert_eq!(program.tap_ins.keys().collect::<Vec<_>>(), [&adapter]);
}

#[test]
fn other_tap_ins_are_ordinary_codes() {
    // A mask multiplies, and an adapter's map is added to what is not a fusable convolution.
    let mut net = Net::new(Shape::new(4, 4, 6), params(0.03, 0));
    let input = net.graph.input;
    let mask = net.conv("mask", Conv2d::square(6, 1, 1, 1, 0), input);
    let gated = net.node("gate", Op::Mul, &[input, mask], &[]);
    let extra = net.conv("extra", Conv2d::square(6, 6, 1, 1, 0), input);
    let sum = net.node("sum", Op::Add, &[gated, extra], &[]);
    let replaced = net.conv("replaced", Conv2d::square(6, 6, 1, 1, 0), sum);
    let last = net.conv("last", Conv2d::square(6, 6, 1, 1, 0), replaced);
    for edge in [mask, extra, replaced] {
        net.on_adapter_device(edge);
    }
    for (edge, scale, zero_point) in [
        (mask, 1.0 / 256.0, -128),
        (gated, 0.03, 0),
        (extra, 0.01, 4),
        (sum, 0.03, 0),
        (replaced, 0.05, 1),
        (last, 0.1, 0),
    ] {
        net.quant(edge, scale, zero_point);
    }
    let program = net.prepare().unwrap();
    let kinds: Vec<_> = program.tap_ins.iter().map(|(&e, f)| (e, f.join, f.zero_point, f.bits)).collect();
    let want =
        [(mask, JoinKind::MulMap, -128, 8), (extra, JoinKind::AddOut, 4, 8), (replaced, JoinKind::Replace, 1, 8)];
    assert_eq!(kinds, want);
    let inputs: Vec<_> = program.steps.iter().map(|s| (s.name.as_str(), s.inputs.clone(), s.join)).collect();
    let want = [("gate", vec![input, mask], None), ("sum", vec![gated, extra], None), ("last", vec![replaced], None)];
    assert_eq!(inputs, want);
}

#[test]
fn a_map_that_an_adapter_reads_ends_a_chain() {
    let mut net = block();
    let b = net.graph.nodes.iter().find(|n| n.name == "stem").unwrap().output;
    let graph_output = net.graph.output;
    let probe = net.conv("probe", Conv2d::square(8, 1, 1, 1, 0), b);
    net.on_adapter_device(probe);
    net.graph.output = graph_output;
    let error = net.prepare().unwrap_err().to_string();
    assert!(error.starts_with("edge 'stem': the trunk holds this map"), "{error}");
    net.quant(b, 0.05, 0);
    let program = net.prepare().unwrap();
    let steps: Vec<(&str, usize)> = program.steps.iter().map(|s| (s.name.as_str(), s.nodes.len())).collect();
    assert_eq!(steps[..2], [("stem", 1), ("stem.bn", 2)]);
    assert!(program.tap_ins.is_empty());
}

/// The int8 network follows the float one: no loop is right by agreement with itself alone.
#[test]
fn a_convolution_follows_its_float_form() {
    let mut net = Net::new(Shape::new(6, 6, 5), params(0.01, 4));
    let input = net.graph.input;
    let conv = Conv2d::square(5, 7, 3, 2, 1);
    let y = net.conv("conv", conv.clone(), input);
    net.quant(y, 0.03, 2);
    let x = images(17, 1, net.graph.shape(input));
    let got = net.prepare().unwrap().run_all(&x).unwrap().remove(&y).unwrap();
    let (weights, real) = (f32s(&net.graph, NodeId(0), 0), dequantise_map(&x.data, &params(0.01, 4)));
    for (i, &code) in got.data.iter().enumerate() {
        let (o, ox, oy) = (i % 7, i / 7 % 3, i / 21);
        let mut sum = 0f64;
        for (ky, kx) in (0..3).flat_map(|ky| (0..3).map(move |kx| (ky, kx))) {
            let (iy, ix) = ((2 * oy + ky) as i32 - 1, (2 * ox + kx) as i32 - 1);
            if (0..6).contains(&iy) && (0..6).contains(&ix) {
                for c in 0..5 {
                    let w = weights[((o * 3 + ky) * 3 + kx) * 5 + c];
                    sum += f64::from(w) * f64::from(real[((iy * 6 + ix) * 5) as usize + c]);
                }
            }
        }
        let want = (sum / f64::from(0.03f32) + 2.0).clamp(-128.0, 127.0);
        assert!((f64::from(code) - want).abs() < 2.0, "{code} is not {want}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let check = |net: &Net, want: &str| {
        let error = net.prepare().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(want), "'{error}' does not say '{want}'");
    };
    let shape = Shape::new(4, 4, 2);
    let mut net = Net::new(shape, params(0.1, 0));
    let input = net.graph.input;
    let y = net.conv("c", Conv2d::square(2, 2, 1, 1, 0), input);
    check(&net, "edge 'c': the trunk holds this map, but it has no quantisation parameters");
    net.quant(y, 0.0, 0);
    check(&net, "edge 'c': has a scale of 0");
    net.quant(y, 0.1, 200);
    check(&net, "edge 'c': has zero point 200");
    net.quant(y, 0.1, 0);
    assert!(matches!(prepare(&net.graph, &Profile::tflm(), 12), Err(TrunkError::TapInBits(12))));
    net.graph.params[0].value = ParamValue::F32(vec![1.0; 3]);
    check(&net, "node 'c' (conv2d): 'c.0' must be a weight of 4 values, has 3");
    net.graph.params[0].value = ParamValue::F32(vec![1.0, f32::NAN, 0.0, 0.0]);
    check(&net, "'c.0' holds NaN at 1");
    net.graph.params[0].value = ParamValue::I8 { codes: vec![1; 4], scales: vec![0.1; 3], zero_points: vec![0] };
    check(&net, "has 3 scales for 2 outputs");

    let one = |op: Op, scale: f32, zero_point: i32| {
        let mut net = Net::new(shape, params(0.1, 0));
        let y = net.node("n", op, &[net.graph.input], &[]);
        net.quant(y, scale, zero_point);
        net
    };
    check(&one(Op::ChannelPool, 0.1, 0), "node 'n' (channel-pool): is not a trunk operation");
    check(&one(Op::Activation(Activation::Sigmoid { gain: 2.0 }), 0.1, 0), "gain 1 only");
    check(&one(Op::Softmax(Softmax { beta: 1.0 }), 0.1, 0), "coded at 1/256 with zero point -128");
    let window = Pool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] };
    check(&one(Op::MaxPool(window), 0.2, 0), "must have the parameters of 'input'");

    let mut net = Net::new(shape, params(0.1, 0));
    let input = net.graph.input;
    let y = net.norm("bn", input, vec![1.0, 1.0], vec![0.0, 0.0]);
    net.quant(y, 0.1, 0);
    net.graph.params[3].value = ParamValue::F32(vec![1.0, -2.0]);
    check(&net, "channel 1 has variance -2");

    let mut net = block();
    net.graph.nodes[0].inputs[0] = net.graph.output;
    check(&net, "the graph has a cycle");
}
