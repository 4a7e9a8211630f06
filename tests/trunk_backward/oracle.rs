//! The straight-through rule in f64, node by node, as its formulas stand: it knows nothing of steps, masks
//! or registers. It takes masks from codes, so nothing may saturate.

use super::net::{Forward, Ready};
use std::collections::BTreeMap;
use trunkline::graph::{EdgeId, NodeId};
use trunkline::op::{Activation, Conv2d, Op};
use trunkline::tensor::{Shape, Tensor};
use trunkline::units::HardwareDomain;

pub type Gradient = BTreeMap<EdgeId, Vec<f64>>;

struct Oracle<'a> {
    ready: &'a Ready,
    forward: &'a Forward,
    batch: usize,
    found: Gradient,
}

/// The errors of all trunk maps for the error of the output.
pub fn gradients(ready: &Ready, forward: &Forward, error: &Tensor<f32>) -> Gradient {
    let entry = error.data.iter().map(|&e| f64::from(e)).collect();
    let found = Gradient::from([(ready.graph.output, entry)]);
    let mut oracle = Oracle { ready, forward, batch: error.batch, found };
    for id in ready.graph.order().unwrap().into_iter().rev() {
        let node = ready.graph.node(id);
        if node.domain == HardwareDomain::Trunk && oracle.found.contains_key(&node.output) {
            oracle.node(id);
        }
    }
    oracle.found
}

impl Oracle<'_> {
    fn shape(&self, edge: EdgeId) -> Shape {
        self.ready.graph.shape(edge)
    }

    fn real(&self, edge: EdgeId) -> Vec<f64> {
        let quant = self.ready.graph.edge(edge).quant.unwrap();
        let real = |&q: &i8| f64::from(i32::from(q) - quant.zero_point) * f64::from(quant.scale);
        self.forward.maps[&edge].data.iter().map(real).collect()
    }

    fn give(&mut self, edge: EdgeId, gradient: Vec<f64>) {
        let held = self.found.entry(edge).or_insert_with(|| vec![0.0; gradient.len()]);
        held.iter_mut().zip(gradient).for_each(|(h, g)| *h += g);
    }

    fn node(&mut self, id: NodeId) {
        let node = self.ready.graph.node(id).clone();
        let g = self.found[&node.output].clone();
        let x = node.inputs[0];
        let (from, to) = (self.shape(x), self.shape(node.output));
        let each = |slope: Vec<f64>| g.iter().zip(slope).map(|(g, s)| g * s).collect::<Vec<f64>>();
        match &node.op {
            Op::Conv2d(conv) => self.give(x, self.product(id, conv, from, to, &g)),
            Op::Linear(op) => {
                let conv = op.as_conv2d();
                self.give(x, self.product(id, &conv, Shape::vector(op.inputs), to, &g));
            }
            Op::BatchNorm(norm) => {
                let value = |i: usize| self.ready.graph.param(node.params[i]).value.to_f32();
                let (gamma, variance) = (value(0), value(3));
                let gain = |c: usize| f64::from(gamma[c]) / (f64::from(variance[c]) + f64::from(norm.epsilon)).sqrt();
                self.give(x, g.iter().enumerate().map(|(i, g)| g * gain(i % to.c)).collect());
            }
            Op::Activation(a) if a.clamp().is_some() => {
                let (lo, hi) = a.clamp().unwrap();
                let y = self.real(node.output);
                // Half a code inside: codes are where the bounds are.
                let half = f64::from(self.ready.graph.edge(node.output).quant.unwrap().scale) / 2.0;
                let inside = |y: f64| y > f64::from(lo) + half && y < f64::from(hi) - half;
                self.give(x, each(y.into_iter().map(|y| f64::from(inside(y))).collect()));
            }
            Op::Activation(a) => {
                let slope = self.real(x).into_iter().map(|x| difference(*a, x)).collect();
                self.give(x, each(slope));
            }
            Op::Add => node.inputs.iter().for_each(|&e| self.give(e, g.clone())),
            Op::Mul => self.mul(&node.inputs, &g),
            Op::Mean => {
                let n = from.pixels() as f64;
                let all = 0..self.batch * from.elements();
                self.give(x, all.map(|i| g[i / from.elements() * from.c + i % from.c] / n).collect());
            }
            Op::AvgPool(_) | Op::MaxPool(_) => self.pool(&node.op, x, to, &g),
            Op::Concat => {
                let mut first = 0;
                for &edge in &node.inputs {
                    let c = self.shape(edge).c;
                    let of = |i: usize| g[i / c * to.c + first + i % c];
                    self.give(edge, (0..self.batch * self.shape(edge).elements()).map(of).collect());
                    first += c;
                }
            }
            Op::Requantise | Op::Reshape(_) => self.give(x, g),
            Op::Pad(_) | Op::Transpose(_) | Op::Upsample(_) => self.moved(&node.op, x, to, &g),
            other => panic!("{} is not in the script", other.name()),
        }
    }

    /// Scatters every output's error over the inputs that it read.
    fn product(&self, id: NodeId, conv: &Conv2d, from: Shape, to: Shape, g: &[f64]) -> Vec<f64> {
        let step = self.ready.program.steps.iter().find(|s| s.nodes.contains(&id)).unwrap();
        let weights = step.weights().unwrap();
        let (per_group, filters) = (conv.in_c / conv.groups, conv.out_c / conv.groups);
        let mut gradient = vec![0.0; self.batch * from.elements()];
        for (i, g) in g.iter().enumerate() {
            let (n, oy, ox, c) = place(i, to);
            for k in 0..conv.depth() {
                let (ky, kx, ic) = (k / per_group / conv.kernel[1], k / per_group % conv.kernel[1], k % per_group);
                let y = (oy * conv.stride[0] + ky * conv.dilation[0]).wrapping_sub(conv.pad[0]);
                let x = (ox * conv.stride[1] + kx * conv.dilation[1]).wrapping_sub(conv.pad[1]);
                if y < from.h && x < from.w {
                    let code = i32::from(weights.codes[c * conv.depth() + k]) - weights.zero_point(c);
                    let at = ((n * from.h + y) * from.w + x) * from.c + c / filters * per_group + ic;
                    gradient[at] += g * f64::from(code) * f64::from(weights.scale(c));
                }
            }
        }
        gradient
    }

    fn mul(&mut self, inputs: &[EdgeId], g: &[f64]) {
        let (a, b) = (self.shape(inputs[0]), self.shape(inputs[1]));
        let spread = |i: usize| {
            let (n, y, x, c) = place(i, a);
            ((n * b.h + y % b.h) * b.w + x % b.w) * b.c + c % b.c
        };
        // A gradient for a map that nothing trains behind does no harm here.
        let (of_a, of_b) = (self.real(inputs[0]), self.real(inputs[1]));
        let first = g.iter().enumerate().map(|(i, g)| g * of_b[spread(i)]).collect();
        let mut second = vec![0.0; of_b.len()];
        g.iter().enumerate().for_each(|(i, g)| second[spread(i)] += g * of_a[i]);
        self.give(inputs[0], first);
        self.give(inputs[1], second);
    }

    fn pool(&mut self, op: &Op, x: EdgeId, to: Shape, g: &[f64]) {
        let (Op::AvgPool(pool) | Op::MaxPool(pool)) = op else { panic!("a pooling") };
        let (from, values) = (self.shape(x), self.real(x));
        let mut gradient = vec![0.0; self.batch * from.elements()];
        for (i, g) in g.iter().enumerate() {
            let (n, oy, ox, c) = place(i, to);
            let taps = (0..pool.kernel[0]).flat_map(|ky| (0..pool.kernel[1]).map(move |kx| (ky, kx)));
            let window: Vec<usize> = taps
                .filter_map(|(ky, kx)| {
                    let y = (oy * pool.stride[0] + ky).wrapping_sub(pool.pad[0]);
                    let x = (ox * pool.stride[1] + kx).wrapping_sub(pool.pad[1]);
                    (y < from.h && x < from.w).then(|| ((n * from.h + y) * from.w + x) * from.c + c)
                })
                .collect();
            if matches!(op, Op::AvgPool(_)) {
                window.iter().for_each(|&at| gradient[at] += g / window.len() as f64);
            } else {
                let most = window.iter().map(|&at| values[at]).fold(f64::MIN, f64::max);
                gradient[*window.iter().find(|&&at| values[at] == most).unwrap()] += g;
            }
        }
        self.give(x, gradient);
    }

    /// Finds where elements went by sending their numbers through the forward loop.
    fn moved(&mut self, op: &Op, x: EdgeId, to: Shape, g: &[f64]) {
        let from = self.shape(x);
        let mut gradient = vec![0.0; self.batch * from.elements()];
        for at in 0..from.elements() {
            let mut one = Tensor::zeros(1, from);
            one.data[at] = 1i8;
            let went = match op {
                Op::Pad(op) => trunkline::op::pad::int8(op, &one, 0),
                Op::Transpose(op) => trunkline::op::transpose::int8(op, &one),
                Op::Upsample(op) => trunkline::op::upsample::int8(op, &one, 0),
                _ => panic!("no move"),
            };
            for n in 0..self.batch {
                let own = &g[n * to.elements()..][..to.elements()];
                gradient[n * from.elements() + at] = went.data.iter().zip(own).map(|(&w, g)| f64::from(w) * g).sum();
            }
        }
        self.give(x, gradient);
    }
}

fn place(i: usize, shape: Shape) -> (usize, usize, usize, usize) {
    let pixel = i / shape.c;
    (pixel / shape.pixels(), pixel / shape.w % shape.h, pixel % shape.w, i % shape.c)
}

/// The derivative of the function by a difference in f64, away from its corners.
fn difference(a: Activation, x: f64) -> f64 {
    let f = |x: f64| match a {
        Activation::LeakyRelu { slope } => {
            if x > 0.0 {
                x
            } else {
                f64::from(slope) * x
            }
        }
        Activation::Sigmoid { gain } => f64::from(gain) / (1.0 + (-x).exp()),
        Activation::Tanh => x.tanh(),
        Activation::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::HardSigmoid { slope, offset } => (f64::from(slope) * x + f64::from(offset)).clamp(0.0, 1.0),
        _ => panic!("a clamp"),
    };
    // From below at zero, as the leaky slope is.
    let step = 1e-6;
    let below = matches!(a, Activation::LeakyRelu { .. });
    if below { (f(x) - f(x - step)) / step } else { (f(x + step) - f(x - step)) / (2.0 * step) }
}
