//! Everything between the products: elementwise functions, products of maps, pooling, softmax, norms.

use super::check::{Case, DX, G, Memory, S, T, U, Y, random};
use trunkline::kernel::*;
use trunkline::op::{self, Activation};
use trunkline::tensor::Shape;

const A: BufferId = BufferId(0);
const B: BufferId = BufferId(1);
const C: BufferId = BufferId(2);

#[test]
fn activations() {
    use Activation::*;
    let smooth = [Sigmoid { gain: 1.0 }, Sigmoid { gain: 2.0 }, Tanh, HardSwish, op::Activation::HARD_SIGMOID];
    for activation in [Relu, Relu6, ReluN1To1, LeakyRelu { slope: 0.1 }].into_iter().chain(smooth) {
        let function = |x: f64| match activation {
            Relu => x.max(0.0),
            Relu6 => x.clamp(0.0, 6.0),
            ReluN1To1 => x.clamp(-1.0, 1.0),
            LeakyRelu { slope } => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
            Sigmoid { gain } => f64::from(gain) / (1.0 + (-x).exp()),
            Tanh => x.tanh(),
            HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
            HardSigmoid { slope, offset } => (f64::from(slope) * x + f64::from(offset)).clamp(0.0, 1.0),
        };
        let definition = |v: &[Vec<f64>]| v[0].iter().map(|&x| function(x)).collect();
        let values: Vec<f32> = random(1, 60).iter().map(|x| 4.0 * x).collect();
        let p = activation::Params::new(2, 30, activation);
        let case = Case::new(&definition, &[values], &[activation::call(p, A, Y)]);
        let kept = match activation_grad::kept(activation) {
            activation_grad::Kept::Input => A,
            activation_grad::Kept::Output => Y,
        };
        case.check(0, &[activation_grad::call(p, kept, G, DX)], DX);
        if let Some(mask) = pass_mask::Params::new(2, 30, activation) {
            // From the input and from the output alike.
            for kept in [A, Y] {
                let grad = mask_grad::call(mask_grad::Params::new(2, 30, activation), G, S, DX);
                case.check(0, &[pass_mask::call(mask, kept, S), grad], DX);
            }
        }
    }
}

#[test]
fn a_wrong_gradient_is_caught() {
    let definition = |v: &[Vec<f64>]| v[0].iter().map(|&x| x.tanh()).collect();
    let p = activation::Params::new(1, 30, Activation::Tanh);
    let case = Case::new(&definition, &[random(1, 30)], &[activation::call(p, A, Y)]);
    // From the input instead of the output.
    assert!(case.fault(0, &[activation_grad::call(p, A, G, DX)], DX).is_some());
}

#[test]
fn products_of_maps() {
    let a = Shape::new(3, 2, 11);
    let (pixels, channels) = (a.pixels(), a.c);
    for b in [a, Shape::new(3, 2, 1), Shape::vector(11), Shape::vector(1)] {
        let definition = |v: &[Vec<f64>]| {
            let at = |i: usize| {
                let (image, y, x, c) = (i / a.elements(), i / channels / a.w % a.h, i / channels % a.w, i % channels);
                ((image * b.h + y % b.h) * b.w + x % b.w) * b.c + c % b.c
            };
            v[0].iter().enumerate().map(|(i, x)| x * v[1][at(i)]).collect()
        };
        let p = mul::Params::new(2, a, b);
        let values = [random(1, 2 * a.elements()), random(2, 2 * b.elements())];
        let case = Case::new(&definition, &values, &[mul::call(p, A, B, Y)]);
        case.check(0, &[mul::call(p, G, B, DX)], DX);
        let p = channel_sum::Params::new(2, pixels, channels);
        let backward = match (b.pixels() > 1, b.c > 1) {
            (true, true) => vec![mul::call(mul::Params::new(2, a, a), G, A, DX)],
            (true, false) => vec![dot_channels::call(p, G, A, DX)],
            (false, true) => vec![dot_positions::call(p, G, A, DX)],
            (false, false) => {
                vec![dot_channels::call(p, G, A, S), channel_sum::call(channel_sum::Params::new(2, pixels, 1), S, DX)]
            }
        };
        case.check(1, &backward, DX);
    }
}

#[test]
fn affine_scale_and_shift() {
    let (pixels, channels) = (9, 3);
    let definition =
        |v: &[Vec<f64>]| v[0].iter().enumerate().map(|(i, x)| x * v[1][i % channels] + v[2][i % channels]).collect();
    let values = [random(1, 2 * pixels * channels), random(2, channels), random(3, channels)];
    let forward = affine::call(affine::Params::new(2, pixels, channels), A, B, C, Y);
    let case = Case::new(&definition, &values, &[forward]);
    let shared = mul::Params::shared(2, Shape::new(pixels, 1, channels), Shape::vector(channels));
    case.check(0, &[mul::call(shared, G, B, DX)], DX);
    let p = channel_sum::Params::new(2, pixels, channels);
    let rows = sum_rows::call(sum_rows::Params::new(2, 1, channels, false), S, DX);
    case.check(1, &[dot_positions::call(p, G, A, S), rows.clone()], DX);
    case.check(2, &[channel_sum::call(p, G, S), rows], DX);
}

/// Batch norm in f64 by the statistics of the batch.
fn normalise(channels: usize, epsilon: f64, x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let column = |c: usize| x.iter().skip(c).step_by(channels);
    let n = (x.len() / channels) as f64;
    let mean: Vec<f64> = (0..channels).map(|c| column(c).sum::<f64>() / n).collect();
    let variance: Vec<f64> = (0..channels).map(|c| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / n).collect();
    let value = |(i, x): (usize, &f64)| {
        let c = i % channels;
        gamma[c] * (x - mean[c]) / (variance[c] + epsilon).sqrt() + beta[c]
    };
    x.iter().enumerate().map(value).collect()
}

#[test]
fn batch_norm_by_batch_statistics() {
    const EPSILON: f32 = 0.01;
    let (batch, pixels, channels) = (3, 11, 5);
    let definition = |v: &[Vec<f64>]| normalise(channels, f64::from(EPSILON), &v[0], &v[1], &v[2]);
    let values = [random(1, batch * pixels * channels), random(2, channels), random(3, channels)];
    let n = batch as u32;
    let moments = BufferId(3);
    let sums = channel_sum::Params::new(n, pixels, channels);
    let p = batch_norm::Params::new(n, pixels, channels, EPSILON);
    let forward = [
        channel_moments::call(sums, A, S),
        combine_moments::call(combine_moments::Params::new(n, channels, 0), S, moments),
        batch_norm::call(p, A, moments, [B, C], Y),
    ];
    let case = Case::new(&definition, &values, &forward);
    let rows = sum_rows::Params::new(n, 1, channels, false);
    let gamma = [batch_norm_scale_grad::call(p, G, A, moments, S), sum_rows::call(rows, S, T)];
    let beta = [channel_sum::call(sums, G, S), sum_rows::call(rows, S, U)];
    case.check(1, &gamma, T);
    case.check(2, &beta, U);
    let inputs =
        batch_norm_input_grad::Inputs { gradient: G, map: A, moments, gamma: B, gamma_gradient: T, beta_gradient: U };
    let p = batch_norm_input_grad::Params::new(n, pixels, channels, EPSILON, batch);
    let input = [gamma.to_vec(), beta.to_vec(), vec![batch_norm_input_grad::call(p, inputs, DX)]].concat();
    case.check(0, &input, DX);
}

#[test]
fn batch_moments_have_the_same_bits_in_any_micro_batches() {
    let (pixels, channels) = (13, 6);
    let maps = random(1, 5 * pixels * channels);
    let run = |sizes: &[usize]| -> Vec<u32> {
        let mut memory = Memory::default();
        let mut first = 0;
        for &n in sizes {
            memory.write_f32(A, &maps[first * pixels * channels..(first + n) * pixels * channels]);
            let combine = combine_moments::Params::new(n as u32, channels, first);
            memory.run(&[
                channel_moments::call(channel_sum::Params::new(n as u32, pixels, channels), A, S),
                combine_moments::call(combine, S, DX),
            ]);
            first += n;
        }
        memory.read(DX).iter().map(|x| x.to_bits()).collect()
    };
    assert_eq!(run(&[5]), run(&[1, 3, 1]));
}

#[test]
fn pooling() {
    let input = Shape::new(7, 6, 3);
    for pool in [
        op::Pool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] },
        op::Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] },
        op::Pool { kernel: [3, 2], stride: [1, 1], pad: [2, 1, 0, 1] },
    ] {
        let output = pool.output_shape(input).unwrap();
        let window = |v: &[f64], i: usize| -> Vec<f64> {
            let (c, q) = (i % output.c, i / output.c);
            let (image, oy, ox) = (q / output.pixels(), q / output.w % output.h, q % output.w);
            let taps = (0..pool.kernel[0]).flat_map(|ky| (0..pool.kernel[1]).map(move |kx| (ky, kx)));
            let place = taps.map(|(ky, kx)| {
                let iy = (oy * pool.stride[0] + ky).wrapping_sub(pool.pad[0]);
                let ix = (ox * pool.stride[1] + kx).wrapping_sub(pool.pad[1]);
                (iy < input.h && ix < input.w).then(|| v[((image * input.h + iy) * input.w + ix) * input.c + c])
            });
            place.flatten().collect()
        };
        let all = |v: &[Vec<f64>], f: fn(&[f64]) -> f64| -> Vec<f64> {
            (0..2 * output.elements()).map(|i| f(&window(&v[0], i))).collect()
        };
        let mean = |v: &[Vec<f64>]| all(v, |w| w.iter().sum::<f64>() / w.len() as f64);
        let largest = |v: &[Vec<f64>]| all(v, |w| w.iter().copied().fold(f64::MIN, f64::max));
        let values = [random(1, 2 * input.elements())];
        let p = avg_pool::Params::new(2, input, output, &pool);
        let case = Case::new(&mean, &values, &[avg_pool::call(p, A, Y)]);
        case.check(0, &[avg_pool_grad::call(p, G, DX)], DX);
        let case = Case::new(&largest, &values, &[max_pool::call(p, A, Y)]);
        case.check(0, &[max_pool_index::call(p, A, S), max_pool_grad::call(p, G, S, DX)], DX);
    }
}

#[test]
fn reductions_over_channels_and_positions() {
    let shape = Shape::new(3, 4, 5);
    let values = [random(1, 2 * shape.elements())];
    let pooled = |v: &[Vec<f64>]| {
        let both = |p: &[f64]| [p.iter().sum::<f64>() / p.len() as f64, p.iter().copied().fold(f64::MIN, f64::max)];
        v[0].chunks(5).flat_map(both).collect()
    };
    let p = channel_pool::Params::new(2, shape.pixels(), shape.c);
    let case = Case::new(&pooled, &values, &[channel_pool::call(p, A, Y)]);
    case.check(0, &[channel_max_index::call(p, A, S), channel_pool_grad::call(p, S, G, DX)], DX);

    let mean = |v: &[Vec<f64>]| {
        let image = |map: &[f64]| (0..5).map(|c| map.iter().skip(c).step_by(5).sum::<f64>() / 12.0).collect::<Vec<_>>();
        v[0].chunks(60).flat_map(image).collect()
    };
    let p = global_mean::Params::new(2, shape);
    let case = Case::new(&mean, &values, &[global_mean::call(p, A, Y)]);
    case.check(0, &[global_mean_grad::call(p, G, DX)], DX);

    let softmax = |v: &[Vec<f64>]| {
        let pixel = |p: &[f64]| {
            let sum: f64 = p.iter().map(|x| (1.5 * x).exp()).sum();
            p.iter().map(|x| (1.5 * x).exp() / sum).collect::<Vec<_>>()
        };
        v[0].chunks(5).flat_map(pixel).collect()
    };
    let p = softmax::Params::new(2, shape.pixels(), shape.c, &op::Softmax { beta: 1.5 });
    let case = Case::new(&softmax, &values, &[softmax::call(p, A, Y)]);
    case.check(0, &[softmax_grad::call(p, Y, G, DX)], DX);
}

#[test]
fn padding_and_concatenation() {
    let (input, pad) = (Shape::new(3, 4, 2), op::Pad { space: [1, 2, 0, 3], channels: [1, 2] });
    let padded = pad.output_shape(input).unwrap();
    let definition = |v: &[Vec<f64>]| {
        let value = |i: usize| {
            let (c, q) = ((i % padded.c).wrapping_sub(1), i / padded.c);
            let (y, x) = ((q / padded.w % padded.h).wrapping_sub(1), (q % padded.w).wrapping_sub(2));
            let inside = c < input.c && y < input.h && x < input.w;
            if inside { v[0][((q / padded.pixels() * input.h + y) * input.w + x) * input.c + c] } else { 0.0 }
        };
        (0..2 * padded.elements()).map(value).collect()
    };
    // `space` is top, left, bottom, right.
    let values = [random(1, 2 * input.elements())];
    let case = Case::new(&definition, &values, &[pad::call(pad::Params::new(2, input, padded, &pad), A, Y)]);
    case.check(0, &[crop::call(crop::Params::unpad(2, padded, input, &pad), G, DX)], DX);

    let definition = |v: &[Vec<f64>]| {
        let pixels = v[0].chunks(2).zip(v[1].chunks(3));
        pixels.flat_map(|(a, b)| [a, b].concat()).collect()
    };
    let values = [random(1, 2 * 4 * 2), random(2, 2 * 4 * 3)];
    let case = Case::new(&definition, &values, &concat::calls(2, 4, &[(A, 2), (B, 3)], Y));
    let whole = Shape::new(2, 2, 5);
    case.check(0, &[crop::call(crop::Params::part(2, whole, 0, 2), G, DX)], DX);
    case.check(1, &[crop::call(crop::Params::part(2, whole, 2, 3), G, DX)], DX);
}

#[test]
fn dropout_by_its_own_mask() {
    let key = dropout::Key { seed: 5, step: 2, tensor: 1 };
    for p in [dropout::Params::elements(2, 60, 0.4, key), dropout::Params::channels(2, 12, 5, 0.4, key)] {
        let mut memory = Memory::default();
        memory.write(C, vec![17, 3]);
        memory.write_f32(A, &[1.0; 120]);
        memory.run(&[dropout::call(p, A, C, S)]);
        let mask: Vec<f64> = memory.read(S).iter().map(|&x| f64::from(x)).collect();
        let definition = |v: &[Vec<f64>]| v[0].iter().zip(&mask).map(|(x, m)| x * m).collect();
        let case = Case::with(memory, &definition, &[random(1, 120)], &[dropout::call(p, A, C, Y)]);
        case.check(0, &[dropout::call(p, G, C, DX)], DX);
    }
}
