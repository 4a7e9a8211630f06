//! Real errors through single operations and whole networks, and what a forward pass keeps for them.

use super::net::{Net, Ready, params, real_context};
use super::oracle;
use trunkline::graph::{EdgeId, ParamKind};
use trunkline::model::zoo::ZooSpec;
use trunkline::op::upsample::Between;
use trunkline::op::{Activation, Conv2d, Linear, Op, Pad, Pool, Transpose, Upsample};
use trunkline::plan::kept::{Form, MapsAs, kept};
use trunkline::scheme::{BatchNormMode, Request, SchemeSpec, place};
use trunkline::tensor::Shape;
use trunkline::trunk::backward::{KeptForm, KeptMap};
use trunkline::trunk::fast::Kernels;
use trunkline::units::HardwareDomain;

const SHAPE: Shape = Shape::new(6, 5, 4);
const IMAGES: [u32; 2] = [9, 4];

/// The errors of all tapped maps are the script's, and something of each is not zero.
fn check(ready: &Ready, what: &str) {
    let forward = ready.forward(5, 2);
    assert_eq!(forward.counts.saturations, 0, "{what}: the script knows no saturation");
    let error = ready.error(6, 2);
    let want = oracle::gradients(ready, &forward, &error);
    let tapped = ready.tapped();
    assert!(!tapped.is_empty(), "{what}");
    for (kernels, edge) in
        [Kernels::Reference, Kernels::Auto].into_iter().flat_map(|k| tapped.iter().map(move |&e| (k, e)))
    {
        let back = ready.back_on(kernels, &forward, &error, &real_context(&IMAGES));
        let got = back.errors[&edge].to_values();
        assert_eq!((got.batch, got.shape), (2, ready.graph.shape(edge)), "{what}");
        let largest = want[&edge].iter().fold(0.0, |m: f64, w| m.max(w.abs()));
        assert!(largest > 0.0, "{what}: no error arrives");
        for (i, (g, w)) in got.data.iter().zip(&want[&edge]).enumerate() {
            assert!((f64::from(*g) - w).abs() < 1e-5 * largest.max(0.1), "{what}: element {i} is {g}, not {w}");
        }
    }
}

/// A net whose output is `last` of a tapped map of `SHAPE`.
fn single(last: impl FnOnce(&mut Net, EdgeId) -> EdgeId) -> Ready {
    let mut net = Net::new(SHAPE);
    let x = net.tapped(4, 0.02, 11);
    let y = last(&mut net, x);
    net.ready(y)
}

fn act(a: Activation) -> Op {
    Op::Activation(a)
}

#[test]
fn layers() {
    for (groups, stride, dilation, kernel, pad, out_c) in [
        (1, 1, 1, 3, [1; 4], 6),
        (2, 2, 1, 3, [1, 0, 2, 1], 6),
        (4, 1, 1, 3, [1; 4], 4),
        (4, 2, 2, 2, [1; 4], 8),
        (1, 2, 1, 1, [0; 4], 5),
    ] {
        let base = Conv2d::square(4, out_c, kernel, stride, 0);
        let conv = Conv2d { groups, pad, dilation: [dilation; 2], ..base };
        let plain = single(|net, x| {
            let y = net.conv(conv.clone(), x);
            net.quant(y, 0.2, 5)
        });
        check(&plain, "convolution");
        let fused = single(|net, x| {
            let y = net.conv(conv.clone(), x);
            let y = net.norm(y, false);
            let y = net.node(act(Activation::Relu), &[y], &[]);
            net.quant(y, 0.2, -128)
        });
        assert_eq!(fused.program.steps.len(), 1, "convolution, norm and activation are one step");
        check(&fused, "convolution, norm, activation");
    }
    let linear = single(|net, x| {
        let op = Linear { inputs: SHAPE.elements(), outputs: 7 };
        let weights = super::net::reals(3, 7 * SHAPE.elements(), 0.1);
        let y = net.node(Op::Linear(op), &[x], &[(ParamKind::Weight, weights)]);
        net.quant(y, 0.2, 0)
    });
    check(&linear, "linear");
    let norm = single(|net, x| {
        let y = net.norm(x, false);
        let y = net.node(act(Activation::Relu6), &[y], &[]);
        net.quant(y, 6.0 / 255.0, -128)
    });
    check(&norm, "batch norm");
}

#[test]
fn a_join_is_scaled_by_the_norm_behind_it() {
    let mut net = Net::new(SHAPE);
    let x = net.tapped(4, 0.02, 11);
    let added = net.tapped(6, 0.02, 0);
    let y = net.conv(Conv2d::square(4, 6, 3, 1, 1), x);
    let y = net.node(Op::Add, &[y, added], &[]);
    let y = net.norm(y, false);
    let y = net.node(act(Activation::Relu), &[y], &[]);
    net.quant(y, 0.3, -128);
    let ready = net.ready(y);
    assert_eq!(ready.program.steps[0].join, Some(added));
    check(&ready, "join");
}

#[test]
fn elementwise_operations() {
    let pair = |op: Op, channels: usize, scale: f32, relu: bool| {
        let mut net = Net::new(SHAPE);
        let (a, b) = (net.tapped(4, 0.02, 11), net.tapped(channels, 0.03, -4));
        let y = net.node(op, &[a, b], &[]);
        let y = if relu { net.node(act(Activation::Relu), &[y], &[]) } else { y };
        net.quant(y, scale, -128 * i32::from(relu));
        net.ready(y)
    };
    check(&pair(Op::Add, 4, 0.06, false), "add");
    check(&pair(Op::Add, 4, 0.06, true), "add, activation");
    check(&pair(Op::Mul, 4, 0.2, false), "mul");
    check(&pair(Op::Mul, 1, 0.2, true), "mul by a mask");
    let square = single(|net, x| net.coded(Op::Mul, &[x, x], 0.2, 0));
    check(&square, "a square");
    let twice = single(|net, x| net.coded(Op::Add, &[x, x], 0.06, 0));
    check(&twice, "twice");
    for (a, scale, zero_point) in [
        (Activation::LeakyRelu { slope: 0.1 }, 0.04, 0),
        (Activation::Sigmoid { gain: 1.0 }, 1.0 / 200.0, -120),
        (Activation::Tanh, 1.0 / 100.0, 0),
        (Activation::HardSwish, 0.04, -60),
        (Activation::HARD_SIGMOID, 1.0 / 200.0, -120),
    ] {
        check(&single(|net, x| net.coded(act(a), &[x], scale, zero_point)), a.name());
    }
    check(&single(|net, x| net.coded(Op::Requantise, &[x], 0.05, 3)), "requantise");
    // The clamp of a requantising ReLU is a step of its own only behind a map that others read.
    let own = single(|net, x| {
        let y = net.coded(act(Activation::Relu), &[x], 0.03, -128);
        net.coded(Op::Add, &[y, x], 0.08, 0)
    });
    check(&own, "activation of its own");
}

#[test]
fn windows_and_moves() {
    for pool in [
        Pool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] },
        Pool { kernel: [3, 3], stride: [2, 1], pad: [1; 4] },
        Pool { kernel: [3, 2], stride: [1, 1], pad: [2, 1, 0, 1] },
    ] {
        check(&single(|net, x| net.alike(Op::AvgPool(pool), &[x])), "average");
        check(&single(|net, x| net.alike(Op::MaxPool(pool), &[x])), "maximum");
        let bounded = single(|net, x| {
            let y = net.node(Op::MaxPool(pool), &[x], &[]);
            let y = net.node(act(Activation::ReluN1To1), &[y], &[]);
            net.quant(y, 0.02, 11)
        });
        check(&bounded, "maximum, activation");
    }
    check(&single(|net, x| net.coded(Op::Mean, &[x], 0.01, 0)), "mean");
    check(&single(|net, x| net.alike(Op::Pad(Pad { space: [1, 2, 0, 1], channels: [1, 2] }), &[x])), "pad");
    check(&single(|net, x| net.alike(Op::Transpose(Transpose { order: [2, 0, 1] }), &[x])), "transpose");
    check(&single(|net, x| net.alike(Op::Reshape(Shape::new(3, 2, 20)), &[x])), "reshape");
    for between in [Between::Repeated, Between::Zeros] {
        check(&single(|net, x| net.alike(Op::Upsample(Upsample { factor: [2, 3], between }), &[x])), "upsample");
    }
    let mut net = Net::new(SHAPE);
    let (a, b) = (net.tapped(4, 0.02, 11), net.tapped(3, 0.03, -4));
    let y = net.coded(Op::Concat, &[a, b, a], 0.04, 2);
    check(&net.ready(y), "concat");
}

/// A residual network with one of almost everything, whose maps have several readers.
pub fn network(trains_norms: bool) -> Ready {
    let mut net = Net::new(SHAPE);
    let x = net.tapped(8, 0.02, 11);
    let y = net.conv(Conv2d::square(8, 8, 3, 1, 1), x);
    let y = net.norm(y, trains_norms);
    let y = net.node(act(Activation::Relu), &[y], &[]);
    let first = net.quant(y, 0.1, -128);
    let y = net.conv(Conv2d { groups: 8, ..Conv2d::square(8, 8, 3, 1, 1) }, first);
    let second = net.quant(y, 0.2, 0);
    let y = net.node(Op::Add, &[second, first], &[]);
    let y = net.node(act(Activation::Relu), &[y], &[]);
    let sum = net.quant(y, 0.3, -128);
    let gate = net.tapped(1, 1.0 / 256.0, -128);
    let y = net.coded(Op::Mul, &[sum, gate], 0.3, -128);
    let y = net.alike(Op::MaxPool(Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] }), &[y]);
    let added = net.tapped(6, 0.02, 0);
    let added = pooled_by_adapter(&mut net, added);
    let y = net.conv(Conv2d::square(8, 6, 1, 1, 0), y);
    let y = net.node(Op::Add, &[y, added], &[]);
    let y = net.norm(y, trains_norms);
    // No code is a corner of the function after it.
    let y = net.quant(y, 0.29, 3);
    let leaky = net.coded(act(Activation::LeakyRelu { slope: 0.2 }), &[y], 0.3, -20);
    let swish = net.coded(act(Activation::HardSwish), &[y], 0.3, -110);
    let y = net.coded(Op::Concat, &[leaky, swish], 0.31, -50);
    let y = net.coded(Op::Mean, &[y], 0.1, 0);
    let op = Linear { inputs: 12, outputs: 9 };
    let y = net.node(Op::Linear(op), &[y], &[(ParamKind::Weight, super::net::reals(8, 108, 0.5))]);
    net.quant(y, 0.3, 0);
    net.ready(y)
}

/// An adapter's map on every second row and column.
fn pooled_by_adapter(net: &mut Net, x: EdgeId) -> EdgeId {
    let y = net.node(Op::MaxPool(Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] }), &[x], &[]);
    let node = net.graph.edge(y).producer.unwrap();
    net.graph.nodes[node.index()].domain = HardwareDomain::Adapter;
    net.quant(y, 0.02, 0)
}

#[test]
fn a_whole_network() {
    let ready = network(false);
    assert_eq!(ready.tapped().len(), 3, "a map, a gate and a join");
    check(&ready, "network");
}

#[test]
fn macs_are_those_that_the_plan_predicts() {
    let ready = network(true);
    let back = ready.back(&ready.forward(1, 2), &ready.error(2, 2), &real_context(&IMAGES));
    let nodes = ready.gradients.nodes().iter().filter(|&&n| ready.graph.node(n).domain == HardwareDomain::Trunk);
    let predicted: u64 = nodes.map(|&n| ready.gradients.macs(&ready.graph, n)).sum();
    assert!(predicted > 0);
    assert_eq!(back.macs, 2 * predicted);
}

#[test]
fn a_tape_holds_what_is_predicted() {
    for trains in [false, true] {
        let ready = network(trains);
        for batch in [1, 3] {
            let held = ready.forward(1, batch).tape.bytes();
            let predicted: u64 = ready.backward.kept(&ready.program).iter().map(|k| k.bytes()).sum();
            assert_eq!(held, batch as u64 * predicted, "norms train: {trains}");
        }
    }
}

/// Activations, maxima and operands as the plan has them; besides them one bit per element of every
/// requantised map without an activation, because that too may have been cut.
#[test]
fn what_is_kept_is_what_the_plan_counts_and_the_masks_of_saturation() {
    let trunk = ZooSpec::parse("resnet26", Some(32), Some(10), 1).unwrap().build().unwrap();
    let scheme = SchemeSpec("adaptive-attention:m=2,return=map".into());
    let request = Request { scheme, sites: None, batch_norm: Some(BatchNormMode::Frozen), seed: 1 };
    let mut graph = place(&trunk, &request).unwrap().graph;
    graph.edges.iter_mut().for_each(|edge| edge.quant = Some(params(0.05, 0)));
    let ready = Ready::new(graph);
    let planned = kept(&ready.graph, &ready.gradients, MapsAs::Codes).unwrap();
    let planned: Vec<_> = planned.iter().filter(|k| k.side == HardwareDomain::Trunk).collect();
    let ours = ready.backward.kept(&ready.program);
    let activated = |edge: EdgeId| {
        let producer = ready.graph.edge(edge).producer.unwrap();
        matches!(ready.graph.node(producer).op, Op::Activation(_))
    };
    let mut rest = ours.clone();
    for plan in &planned {
        let form = match plan.form {
            Form::Mask => KeptForm::Mask,
            Form::Indices => KeptForm::Numbers,
            Form::Codes => KeptForm::Codes,
            Form::Values => panic!("the trunk keeps no values: {}", plan.map),
        };
        let same = |k: &_| *k == KeptMap { edge: plan.edge, form, elements: plan.elements, bits: plan.bits };
        let at = rest.iter().position(same).unwrap_or_else(|| panic!("{} is planned as {:?}", plan.map, plan.form));
        rest.remove(at);
    }
    assert!(planned.len() > 20, "{}", planned.len());
    assert!(!rest.is_empty() && rest.iter().all(|k| k.form == KeptForm::Mask && !activated(k.edge)));
}
