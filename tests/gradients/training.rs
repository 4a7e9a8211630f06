//! The loss, the optimisers over several steps, and gradient clipping.

use super::check::{Case, DX, G, Memory, S, T, Y, random};
use trunkline::kernel::*;

const X: BufferId = BufferId(0);
const LABELS: BufferId = BufferId(1);

/// Losses in f64 by the definition: minus the logarithms under the smoothed target.
fn losses(logits: &[f64], labels: &[u32], smoothing: f64) -> Vec<f64> {
    let classes = logits.len() / labels.len();
    let loss = |(x, &label): (&[f64], &u32)| {
        let sum: f64 = x.iter().map(|x| x.exp()).sum();
        let target = |c: usize| smoothing / classes as f64 + if c == label as usize { 1.0 - smoothing } else { 0.0 };
        x.iter().enumerate().map(|(c, x)| -target(c) * (x - sum.ln())).sum()
    };
    logits.chunks(classes).zip(labels).map(loss).collect()
}

#[test]
fn cross_entropy_of_smoothed_labels() {
    let (labels, classes) = ([3u32, 0, 6], 7);
    for smoothing in [0.0f32, 0.2] {
        let definition = |v: &[Vec<f64>]| losses(&v[0], &labels, f64::from(smoothing));
        let mut memory = Memory::default();
        memory.write(LABELS, labels.to_vec());
        let logits = random(1, 21);
        memory.write_f32(X, &logits);
        memory.run(&[cross_entropy::call(cross_entropy::Params::new(3, classes, smoothing), X, LABELS, S)]);
        let own: Vec<f32> = memory.read(S).iter().step_by(2).copied().collect();
        memory.write_f32(T, &own);
        // The loss alone, without the hits; its gradient is that of the sum, so each weight is put to 1.
        let copy = crop::Params::new(1, shape(3), shape(3), [0; 3]);
        let case = Case::with(memory, &definition, &[logits], &[crop::call(copy, T, Y)]).unweighted();
        let p = cross_entropy_grad::Params::new(3, classes, smoothing, 1.0);
        case.check(0, &[cross_entropy_grad::call(p, X, LABELS, DX)], DX);
    }
}

fn shape(n: usize) -> trunkline::tensor::Shape {
    trunkline::tensor::Shape::vector(n)
}

const W: BufferId = BufferId(10);
const V: BufferId = BufferId(11);
const M: BufferId = BufferId(12);
const COUNT: usize = 50;
const STEPS: u64 = 7;

/// Runs an optimiser for some steps, with another gradient in each, beside its formula for one element:
/// from gradient, parameter, two values of state and the number of the step.
fn optimise(calls: impl Fn(u64) -> Vec<KernelCall>, formula: impl Fn(f64, &mut f64, &mut [f64; 2], u64)) {
    let mut memory = Memory::default();
    let start = random(1, COUNT);
    memory.write_f32(W, &start);
    for state in [V, M] {
        memory.write_f32(state, &[0.0; COUNT]);
    }
    let mut expected: Vec<(f64, [f64; 2])> = start.iter().map(|&w| (f64::from(w), [0.0; 2])).collect();
    for t in 1..=STEPS {
        let gradient = random(100 + t, COUNT);
        memory.write_f32(G, &gradient);
        memory.run(&calls(t));
        expected.iter_mut().zip(&gradient).for_each(|((w, state), &g)| formula(f64::from(g), w, state, t));
    }
    for (i, (&got, (expected, _))) in memory.read(W).iter().zip(&expected).enumerate() {
        assert!((f64::from(got) - expected).abs() < 1e-5, "{i}: {got}, formula {expected}");
    }
}

#[test]
fn stochastic_gradient_descent() {
    const RATE: f64 = 0.1;
    const DECAY: f64 = 0.02;
    const MOMENTUM: f64 = 0.9;
    let (rate, decay, momentum) = (RATE as f32, DECAY as f32, MOMENTUM as f32);
    optimise(
        |_| vec![sgd_step::call(sgd_step::Params::plain(COUNT, rate, decay), G, None, W)],
        |g, w, _, _| *w -= RATE * (g + DECAY * *w),
    );
    let velocity = || sgd_velocity::call(sgd_velocity::Params::new(COUNT, momentum, decay), G, W, V);
    optimise(
        |_| vec![velocity(), sgd_step::call(sgd_step::Params::momentum(COUNT, rate), G, Some(V), W)],
        |g, w, state, _| {
            state[0] = MOMENTUM * state[0] + g + DECAY * *w;
            *w -= RATE * state[0];
        },
    );
    let nesterov = sgd_step::Params::nesterov(COUNT, rate, decay, momentum);
    optimise(
        |_| vec![velocity(), sgd_step::call(nesterov, G, Some(V), W)],
        |g, w, state, _| {
            let g = g + DECAY * *w;
            state[0] = MOMENTUM * state[0] + g;
            *w -= RATE * (g + MOMENTUM * state[0]);
        },
    );
}

#[test]
fn adam_with_both_kinds_of_weight_decay() {
    const BETAS: [f64; 2] = [0.9, 0.999];
    for (decay, decoupled_decay) in [(0.0, 0.0), (0.1, 0.0), (0.0, 0.1)] {
        let settings = adam_step::Settings { rate: 0.01, betas: BETAS, epsilon: 1e-8, decoupled_decay };
        let calls = |t| {
            vec![
                adam_moment::call(adam_moment::Params::mean(COUNT, BETAS[0], decay as f32), G, W, M),
                adam_moment::call(adam_moment::Params::variance(COUNT, BETAS[1], decay as f32), G, W, V),
                adam_step::call(adam_step::Params::new(COUNT, &settings, t), M, V, W),
            ]
        };
        optimise(calls, |g, w, [m, v], t| {
            let g = g + decay * *w;
            *m = BETAS[0] * *m + (1.0 - BETAS[0]) * g;
            *v = BETAS[1] * *v + (1.0 - BETAS[1]) * g * g;
            let [m, v] = [(*m, BETAS[0]), (*v, BETAS[1])].map(|(x, beta)| x / (1.0 - beta.powi(t as i32)));
            *w -= 0.01 * decoupled_decay * *w;
            *w -= 0.01 * m / (v.sqrt() + 1e-8);
        });
    }
}

#[test]
fn clipping_by_the_norm_of_all_gradients() {
    let gradients = [random(1, 5000), random(2, 30)];
    let norm = gradients.concat().iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
    for max_norm in [1.0, 1e6] {
        let mut memory = Memory::default();
        let [a, b] = [BufferId(0), BufferId(1)];
        memory.write_f32(a, &gradients[0]);
        memory.write_f32(b, &gradients[1]);
        let first = sum_squares::Params::new(5000, 0);
        let second = sum_squares::Params::new(30, first.sums());
        let parts = first.sums() + second.sums();
        memory.run(&[
            sum_squares::call(first, a, S),
            sum_squares::call(second, b, S),
            clip_factor::call(clip_factor::Params::new(parts, max_norm), S, T),
            scale::call(scale::Params::new(5000), T, a),
            scale::call(scale::Params::new(30), T, b),
        ]);
        assert!((f64::from(memory.read(T)[1]) / norm - 1.0).abs() < 1e-6);
        let factor = (f64::from(max_norm) / norm).min(1.0);
        let clipped = [memory.read(a), memory.read(b)].concat();
        for (got, g) in clipped.iter().zip(gradients.concat()) {
            assert!((f64::from(*got) - factor * f64::from(g)).abs() < 1e-6);
        }
    }
}
