//! The calls of the backward and training kernels that devices are held to.

use super::{A, B, C, D, E, F, OUT};
use trunkline::kernel::*;
use trunkline::op;
use trunkline::tensor::Shape;

pub fn cases() -> Vec<KernelCall> {
    [products(), sums(), elementwise(), norms(), windows(), losses(), dropouts(), optimisers()].concat()
}

fn products() -> Vec<KernelCall> {
    let square = op::Conv2d::square;
    let uneven =
        op::Conv2d { kernel: [2, 3], stride: [1, 2], dilation: [2, 1], pad: [3, 0, 1, 2], ..square(7, 12, 1, 1, 0) };
    let convs = [
        (2, Shape::new(9, 11, 5), square(5, 19, 3, 1, 1)),
        (1, Shape::new(17, 17, 33), square(33, 50, 3, 2, 1)),
        (2, Shape::new(19, 17, 2), square(2, 1, 7, 1, 3)),
        (2, Shape::new(7, 9, 6), op::Conv2d { groups: 3, ..square(6, 9, 3, 1, 1) }),
        (2, Shape::new(13, 13, 21), op::Conv2d { groups: 21, ..square(21, 21, 3, 2, 1) }),
        (1, Shape::new(5, 5, 4), op::Conv2d { groups: 4, ..square(4, 8, 5, 1, 2) }),
        (3, Shape::new(6, 8, 7), uneven),
    ];
    let mut calls = Vec::new();
    for (batch, input, conv) in convs {
        let p = conv2d::Params::new(batch, input, conv.output_shape(input).unwrap(), &conv);
        calls.push(conv2d_input_grad::call(p, A, B, OUT));
        calls.push(conv2d_weight_grad::call(p, A, B, OUT));
    }
    for (input, out_c, stride) in [
        (Shape::new(9, 9, 17), 16, 1),
        (Shape::new(16, 17, 40), 21, 2),
        (Shape::new(5, 3, 1), 1, 3),
        (Shape::new(18, 19, 64), 33, 1),
    ] {
        let conv = square(input.c, out_c, 1, stride, 0);
        let p = conv1x1::Params::new(3, input, conv.output_shape(input).unwrap(), &conv);
        calls.push(conv1x1_input_grad::call(p, A, B, OUT));
        calls.push(conv1x1_weight_grad::call(p, A, B, OUT));
    }
    for (batch, inputs, outputs, accumulate) in [(1, 256, 100, true), (5, 37, 11, false), (8, 1, 1, true)] {
        calls.push(conv1x1_input_grad::call(conv1x1_input_grad::linear(batch, inputs, outputs), A, B, OUT));
        let p = linear_weight_grad::Params::new(batch, inputs, outputs, accumulate);
        calls.push(linear_weight_grad::call(p, A, B, OUT));
    }
    calls
}

fn sums() -> Vec<KernelCall> {
    let mut calls = Vec::new();
    for (batch, pixels, channels) in [(3, 5, 19), (2, 64, 8), (2, 77, 1), (1, 1, 33)] {
        let p = channel_sum::Params::new(batch, pixels, channels);
        calls.push(channel_sum::call(p, A, OUT));
        calls.push(dot_channels::call(p, A, B, OUT));
        calls.push(dot_positions::call(p, A, B, OUT));
        calls.push(channel_moments::call(p, A, OUT));
    }
    for (batch, rows, columns, accumulate) in [(3, 1, 65, true), (4, 5, 1030, false), (1, 1, 1, true)] {
        calls.push(sum_rows::call(sum_rows::Params::new(batch, rows, columns, accumulate), A, OUT));
    }
    for n in [1, 64, 1001] {
        calls.push(accumulate::call(accumulate::Params::new(2, n), A, OUT));
    }
    calls
}

fn elementwise() -> Vec<KernelCall> {
    use op::Activation::*;
    let mut calls = Vec::new();
    let smooth = [Sigmoid { gain: 1.0 }, Sigmoid { gain: 2.0 }, Tanh, HardSwish];
    for activation in
        [op::Activation::HARD_SIGMOID, Relu, Relu6, ReluN1To1, LeakyRelu { slope: 0.1 }].into_iter().chain(smooth)
    {
        calls.push(activation_grad::call(activation_grad::Params::new(3, 77, activation), A, B, OUT));
        if let Some(p) = pass_mask::Params::new(3, 77, activation) {
            calls.push(pass_mask::call(p, A, OUT));
            calls.push(mask_grad::call(mask_grad::Params::new(3, 77, activation), A, B, OUT));
        }
    }
    for (pixels, channels) in [(1, 2), (65, 19), (300, 23)] {
        let p = channel_pool::Params::new(2, pixels, channels);
        calls.push(channel_max_index::call(p, A, OUT));
        calls.push(channel_pool_grad::call(p, A, B, OUT));
        let p = softmax::Params::new(2, pixels, channels, &op::Softmax { beta: 1.5 });
        calls.push(softmax_grad::call(p, A, B, OUT));
    }
    calls
}

fn norms() -> Vec<KernelCall> {
    let mut calls = Vec::new();
    for (batch, pixels, channels) in [(3, 5, 19), (2, 64, 8), (1, 77, 1)] {
        let p = batch_norm::Params::new(batch, pixels, channels, 0.1);
        calls.push(batch_norm::call(p, A, B, [C, D], OUT));
        calls.push(batch_norm_scale_grad::call(p, A, B, C, OUT));
        let inputs = batch_norm_input_grad::Inputs {
            gradient: A,
            map: B,
            moments: C,
            gamma: D,
            gamma_gradient: E,
            beta_gradient: F,
        };
        let p = batch_norm_input_grad::Params::new(batch, pixels, channels, 0.1, 5);
        calls.push(batch_norm_input_grad::call(p, inputs, OUT));
        calls.push(running_stats::call(running_stats::Params::new(channels, 0.1, pixels), A, OUT));
    }
    for (batch, channels, seen) in [(3, 70, 0), (2, 3, 4), (1, 1, 1)] {
        calls.push(combine_moments::call(combine_moments::Params::new(batch, channels, seen), A, OUT));
    }
    calls
}

fn windows() -> Vec<KernelCall> {
    let mut calls = Vec::new();
    for pool in [
        op::Pool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] },
        op::Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] },
        op::Pool { kernel: [3, 2], stride: [1, 3], pad: [2, 1, 0, 1] },
        op::Pool { kernel: [5, 4], stride: [1, 1], pad: [2, 1, 2, 2] },
    ] {
        let input = Shape::new(9, 10, 5);
        let p = avg_pool::Params::new(2, input, pool.output_shape(input).unwrap(), &pool);
        calls.push(avg_pool_grad::call(p, A, OUT));
        calls.push(max_pool_index::call(p, A, OUT));
        calls.push(max_pool_grad::call(p, A, B, OUT));
    }
    for input in [Shape::new(8, 8, 25), Shape::new(7, 3, 5), Shape::vector(3)] {
        calls.push(global_mean_grad::call(global_mean::Params::new(3, input), A, OUT));
    }
    for (output, at) in [
        (Shape::new(4, 5, 3), [1, 2, 4]),
        (Shape::new(7, 8, 9), [0, 0, 0]),
        (Shape::new(7, 8, 2), [0, 0, 7]),
        (Shape::new(1, 1, 1), [6, 7, 8]),
    ] {
        calls.push(crop::call(crop::Params::new(2, Shape::new(7, 8, 9), output, at), A, OUT));
    }
    calls
}

fn losses() -> Vec<KernelCall> {
    let mut calls = Vec::new();
    for (batch, classes, smoothing) in [(7, 10, 0.0), (65, 101, 0.1), (3, 1, 0.5), (2, 1000, 0.7)] {
        calls.push(cross_entropy::call(cross_entropy::Params::new(batch, classes, smoothing), A, B, OUT));
        let p = cross_entropy_grad::Params::new(batch, classes, smoothing, 0.125);
        calls.push(cross_entropy_grad::call(p, A, B, OUT));
    }
    calls
}

fn dropouts() -> Vec<KernelCall> {
    let key = dropout::Key { seed: 0x0123_4567_89ab_cdef, step: 12, tensor: 3 };
    [
        dropout::Params::elements(3, 1001, 0.5, key),
        dropout::Params::elements(2, 64, 0.0, key),
        dropout::Params::channels(3, 35, 19, 0.3, key),
    ]
    .map(|p| dropout::call(p, A, B, OUT))
    .to_vec()
}

fn optimisers() -> Vec<KernelCall> {
    let mut calls = Vec::new();
    for n in [1, 64, 9001] {
        calls.push(sgd_velocity::call(sgd_velocity::Params::new(n, 0.9, 0.01), A, B, OUT));
        calls.push(sgd_step::call(sgd_step::Params::plain(n, 0.1, 0.01), A, None, OUT));
        calls.push(sgd_step::call(sgd_step::Params::momentum(n, 0.1), A, Some(B), OUT));
        calls.push(sgd_step::call(sgd_step::Params::nesterov(n, 0.1, 0.01, 0.9), A, Some(B), OUT));
        calls.push(adam_moment::call(adam_moment::Params::mean(n, 0.9, 0.01), A, B, OUT));
        calls.push(adam_moment::call(adam_moment::Params::variance(n, 0.999, 0.0), A, B, OUT));
        let settings = adam_step::Settings { rate: 0.01, betas: [0.9, 0.999], epsilon: 1e-8, decoupled_decay: 0.1 };
        calls.push(adam_step::call(adam_step::Params::new(n, &settings, 3), A, B, OUT));
        calls.push(sum_squares::call(sum_squares::Params::new(n, 2), A, OUT));
        calls.push(clip_factor::call(clip_factor::Params::new(n, 0.5), A, OUT));
        calls.push(scale::call(scale::Params::new(n), A, OUT));
    }
    calls
}
