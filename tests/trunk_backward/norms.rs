//! Batch norms in registers: their gradients, loading new values, and the moments behind running statistics.

use super::chain::network;
use super::net::{Ready, real_context};
use super::oracle;
use trunkline::graph::{NodeId, ParamValue};
use trunkline::op::Op;
use trunkline::quant::Profile;
use trunkline::tensor::Tensor;
use trunkline::trunk::fast::Kernels;
use trunkline::trunk::{Map, NormValues, TrunkProgram, prepare};

fn norms(ready: &Ready) -> Vec<NodeId> {
    let found: Vec<_> = ready.program.steps.iter().filter_map(|s| s.norm).collect();
    assert_eq!(found.len(), 2);
    found
}

fn value(ready: &Ready, node: NodeId, i: usize) -> Vec<f32> {
    ready.graph.param(ready.graph.node(node).params[i]).value.to_f32()
}

/// `∂β = Σ g` and `∂γ = Σ g·(y - β)/γ` with the script's errors behind the activation.
#[test]
fn gradients_are_the_sums_over_positions() {
    let ready = network(true);
    let forward = ready.forward(5, 2);
    let error = ready.error(6, 2);
    let back = ready.back(&forward, &error, &real_context(&[0, 1]));
    let want = oracle::gradients(&ready, &forward, &error);
    for node in norms(&ready) {
        let edge = ready.graph.node(node).output;
        let step = ready.program.steps.iter().find(|s| s.norm == Some(node)).unwrap();
        let shape = ready.graph.shape(edge);
        let (gamma, beta, y) = (value(&ready, node, 0), value(&ready, node, 1), &forward.maps[&step.output]);
        let quant = step.output_quant;
        let (mut d_gamma, mut d_beta) = (vec![0.0; 2 * shape.c], vec![0.0; 2 * shape.c]);
        for (i, g) in want[&edge].iter().enumerate() {
            let (at, c) = (i / shape.elements() * shape.c + i % shape.c, i % shape.c);
            let real = f64::from(i32::from(y.data[i]) - quant.zero_point) * f64::from(quant.scale);
            d_beta[at] += g;
            d_gamma[at] += g * (real - f64::from(beta[c])) / f64::from(gamma[c]);
        }
        let got = &back.norms[&node];
        for (got, want) in [(&got.gamma, &d_gamma), (&got.beta, &d_beta)] {
            assert!(want.iter().any(|w| w.abs() > 1e-3));
            for (g, w) in got.data.iter().zip(want) {
                assert!((f64::from(*g) - w).abs() < 1e-5 * w.abs().max(1.0), "{g} is not {w}");
            }
        }
    }
}

/// New values of a batch norm, with a constant channel and one of the other sign.
fn loaded(ready: &Ready, node: NodeId) -> [Vec<f32>; 4] {
    let mut values = [0, 1, 2, 3].map(|i| value(ready, node, i));
    values[0].iter_mut().for_each(|g| *g *= -1.3);
    values[0][0] = 0.0;
    values[1].iter_mut().for_each(|b| *b += 0.2);
    values[2].iter_mut().for_each(|m| *m -= 0.1);
    values[3].iter_mut().for_each(|v| *v *= 1.7);
    values
}

fn load(program: &mut TrunkProgram, node: NodeId, values: &[Vec<f32>; 4]) {
    let [gamma, beta, mean, variance] = values;
    program.load_norm(node, NormValues { gamma, beta, mean, variance }).unwrap();
}

fn outputs(ready: &Ready, program: &TrunkProgram) -> Vec<Tensor<i8>> {
    let forward = ready.forward(8, 2);
    let mut maps = forward.maps.clone();
    for step in &program.steps {
        let inputs: Vec<&Tensor<i8>> = step.inputs.iter().map(|e| &maps[e]).collect();
        let (output, _) = step.run(&inputs, step.join.map(|e| &forward.joins[&e]));
        maps.insert(step.output, output);
    }
    maps.into_values().collect()
}

#[test]
fn a_loaded_norm_is_a_prepared_one() {
    let ready = network(true);
    let mut graph = ready.graph.clone();
    let mut program = ready.program.clone();
    for node in norms(&ready) {
        let values = loaded(&ready, node);
        load(&mut program, node, &values);
        for (i, values) in values.into_iter().enumerate() {
            let id = graph.node(node).params[i];
            graph.params[id.index()].value = ParamValue::F32(values);
        }
    }
    let prepared = prepare(&graph, &Profile::tflite_ref(), 16).unwrap();
    // Joins keep the scales of calibration, so only the steps' own registers are the same.
    for (a, b) in program.steps.iter().zip(&prepared.steps) {
        assert_eq!((a.registers(), a.constant_channels), (b.registers(), b.constant_channels), "{}", a.name);
    }
    assert_eq!(program.tap_ins, ready.program.tap_ins);
    assert_eq!(program.weights_checksum(), ready.program.weights_checksum());
    assert_ne!(program.checksum(), ready.program.checksum());
    // On every kind of loop, whether the norms came before the loops were chosen or after.
    let plain = outputs(&ready, &program.clone().with_kernels(Kernels::Reference));
    assert_eq!(outputs(&ready, &program), plain);
    let mut slow = ready.program.clone().with_kernels(Kernels::Reference);
    norms(&ready).into_iter().for_each(|node| load(&mut slow, node, &loaded(&ready, node)));
    assert_eq!(outputs(&ready, &slow), plain);
    assert_eq!(slow.checksum(), program.checksum());
    for node in norms(&ready) {
        let old = [0, 1, 2, 3].map(|i| value(&ready, node, i));
        load(&mut program, node, &old);
    }
    assert_eq!(program.checksum(), ready.program.checksum(), "the old values bring the old registers");
}

#[test]
fn a_constant_channel_has_a_gradient_for_beta_only() {
    let mut ready = network(true);
    let node = norms(&ready)[1];
    let values = loaded(&ready, node);
    load(&mut ready.program, node, &values);
    let forward = ready.forward(5, 2);
    let back = ready.back(&forward, &ready.error(6, 2), &real_context(&[0, 1]));
    let (gamma, beta) = (back.norms[&node].gamma.image(0), back.norms[&node].beta.image(0));
    assert_eq!(gamma[0], 0.0);
    assert!(beta[0] != 0.0 && gamma[1] != 0.0);
}

#[test]
fn norms_that_cannot_be_loaded_are_refused() {
    let ready = network(true);
    let mut program = ready.program.clone();
    let node = norms(&ready)[0];
    let [gamma, beta, mean, variance] = loaded(&ready, node);
    let mut load = |node, gamma: &[f32], variance: &[f32]| {
        program.load_norm(node, NormValues { gamma, beta: &beta, mean: &mean, variance }).unwrap_err().to_string()
    };
    assert!(load(NodeId(0), &gamma, &variance).contains("no batch norm number 0"));
    assert!(load(node, &gamma[1..], &variance).contains("8 finite values"));
    let negative = vec![-1.0; 8];
    assert!(load(node, &gamma, &negative).contains("no root"));
    assert_eq!(program.checksum(), ready.program.checksum(), "nothing was written");
}

/// Sums of accumulators give the mean and variance of the real convolution on dequantised codes.
#[test]
fn moments_are_those_of_the_real_map_before_the_norm() {
    let ready = network(true);
    let forward = ready.forward(5, 2);
    for node in norms(&ready) {
        let step = ready.program.steps.iter().find(|s| s.norm == Some(node)).unwrap();
        let Op::Conv2d(conv) = &ready.graph.node(step.nodes[0]).op else { panic!("a convolution") };
        let inputs: Vec<Map<'_>> = step.inputs.iter().map(|e| (&forward.maps[e]).into()).collect();
        let join = step.join.map(|e| &forward.joins[&e]);
        let moments = step.moments(&inputs, join).unwrap();
        let units = step.accumulator_units().unwrap();
        let (x, quant) = (&forward.maps[&step.inputs[0]], ready.graph.edge(step.inputs[0]).quant.unwrap());
        let (weights, output) = (step.weights().unwrap(), step.output_shape());
        for (n, moments) in moments.iter().enumerate() {
            let mut want = vec![[0.0f64; 2]; output.c];
            for i in 0..output.elements() {
                let (c, ox, oy) = (i % output.c, i / output.c % output.w, i / output.c / output.w);
                let mut sum = match (join, step.join) {
                    (Some(join), Some(edge)) => {
                        f64::from(join.image(n)[i]) * f64::from(ready.program.tap_ins[&edge].scale(c))
                    }
                    _ => 0.0,
                };
                for k in 0..conv.depth() {
                    let (ky, kx, ic) = (k / conv.in_c / conv.kernel[1], k / conv.in_c % conv.kernel[1], k % conv.in_c);
                    let (y, px) = ((oy + ky).wrapping_sub(conv.pad[0]), (ox + kx).wrapping_sub(conv.pad[1]));
                    if conv.groups == 1 && y < x.shape.h && px < x.shape.w {
                        let code = x.image(n)[(y * x.shape.w + px) * x.shape.c + ic];
                        let real = f64::from(i32::from(code) - quant.zero_point) * f64::from(quant.scale);
                        sum += real * f64::from(weights.codes[c * conv.depth() + k]) * f64::from(weights.scale(c));
                    }
                }
                want[c][0] += sum;
                want[c][1] += sum * sum;
            }
            for (c, want) in want.iter().enumerate() {
                let (unit, bias) = units[c];
                assert_eq!(bias, 0.0, "these layers have no bias of their own");
                let got = [moments.sums[c] as f64 * unit, moments.squares[c] as f64 * unit * unit];
                for (g, w) in got.iter().zip(want) {
                    assert!((g - w).abs() < 1e-5 * w.abs().max(1.0), "channel {c}: {g} is not {w}");
                }
            }
        }
    }
}
