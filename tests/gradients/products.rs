//! Convolutions and fully connected layers: input, weight and bias gradients.

use super::check::{Case, DX, G, Memory, S, Y, random};
use trunkline::kernel::*;
use trunkline::op;
use trunkline::tensor::Shape;

const X: BufferId = BufferId(0);
const W: BufferId = BufferId(1);
const B: BufferId = BufferId(2);

/// A grouped convolution in f64, written from its definition; weights `[kh][kw][in / groups][out]`.
pub fn convolve(batch: usize, input: Shape, conv: &op::Conv2d, x: &[f64], w: &[f64], bias: &[f64]) -> Vec<f64> {
    let output = conv.output_shape(input).unwrap();
    let (group_in, group_out) = (input.c / conv.groups, conv.out_c / conv.groups);
    let mut y = Vec::new();
    for i in 0..batch * output.elements() {
        let (o, q) = (i % output.c, i / output.c);
        let (image, oy, ox) = (q / output.pixels(), q / output.w % output.h, q % output.w);
        let mut sum = bias.get(o).copied().unwrap_or(0.0);
        for ky in 0..conv.kernel[0] {
            for kx in 0..conv.kernel[1] {
                let iy = (oy * conv.stride[0] + ky * conv.dilation[0]).wrapping_sub(conv.pad[0]);
                let ix = (ox * conv.stride[1] + kx * conv.dilation[1]).wrapping_sub(conv.pad[1]);
                if iy < input.h && ix < input.w {
                    for c in 0..group_in {
                        let at = ((image * input.h + iy) * input.w + ix) * input.c + o / group_out * group_in + c;
                        sum += x[at] * w[((ky * conv.kernel[1] + kx) * group_in + c) * conv.out_c + o];
                    }
                }
            }
        }
        y.push(sum);
    }
    y
}

fn check_conv(input: Shape, conv: op::Conv2d) {
    const BATCH: usize = 2;
    let output = conv.output_shape(input).unwrap();
    let inputs = [random(1, BATCH * input.elements()), random(2, conv.weights()), random(3, conv.out_c)];
    let definition = |v: &[Vec<f64>]| convolve(BATCH, input, &conv, &v[0], &v[1], &v[2]);
    let bias = [
        channel_sum::call(channel_sum::Params::new(BATCH as u32, output.pixels(), output.c), G, S),
        sum_rows::call(sum_rows::Params::new(BATCH as u32, 1, output.c, false), S, DX),
    ];
    let p = conv2d::Params::new(BATCH as u32, input, output, &conv);
    let case = Case::new(&definition, &inputs, &[conv2d::call(p, X, W, Some(B), Y)]);
    let weight = |parts: KernelCall, rows: usize| {
        let p = sum_rows::Params::new(BATCH as u32, rows, conv.weights(), false);
        [parts, sum_rows::call(p, S, DX)]
    };
    case.check(0, &[conv2d_input_grad::call(p, G, W, DX)], DX);
    case.check(1, &weight(conv2d_weight_grad::call(p, X, G, S), conv2d_weight_grad::parts(&p)), DX);
    case.check(2, &bias, DX);
    if conv1x1::covers(&conv) {
        let p = conv1x1::Params::new(BATCH as u32, input, output, &conv);
        let case = Case::new(&definition, &inputs, &[conv1x1::call(p, X, W, Some(B), Y)]);
        case.check(0, &[conv1x1_input_grad::call(p, G, W, DX)], DX);
        case.check(1, &weight(conv1x1_weight_grad::call(p, X, G, S), conv1x1_weight_grad::parts(&p)), DX);
    }
}

#[test]
fn convolutions() {
    let square = op::Conv2d::square;
    check_conv(Shape::new(6, 5, 3), square(3, 4, 3, 1, 1));
    check_conv(Shape::new(7, 6, 4), op::Conv2d { groups: 2, ..square(4, 6, 3, 2, 1) });
    check_conv(Shape::new(5, 6, 5), op::Conv2d { groups: 5, ..square(5, 5, 3, 1, 1) });
    check_conv(Shape::new(8, 8, 2), square(2, 1, 7, 1, 3));
    let uneven = op::Conv2d { dilation: [2, 1], pad: [0, 2, 3, 1], ..square(3, 2, 3, 1, 0) };
    check_conv(Shape::new(6, 5, 3), uneven);
}

#[test]
fn pointwise_convolutions() {
    check_conv(Shape::new(5, 4, 3), op::Conv2d::square(3, 5, 1, 1, 0));
    check_conv(Shape::new(5, 6, 4), op::Conv2d::square(4, 3, 1, 2, 0));
    // More than one part per image.
    check_conv(Shape::new(18, 17, 2), op::Conv2d::square(2, 3, 1, 1, 0));
}

#[test]
fn fully_connected_layers() {
    let (batch, inputs, outputs) = (4, 7, 5);
    let conv = op::Conv2d::square(inputs, outputs, 1, 1, 0);
    let definition = |v: &[Vec<f64>]| convolve(batch, Shape::vector(inputs), &conv, &v[0], &v[1], &v[2]);
    let values = [random(1, batch * inputs), random(2, inputs * outputs), random(3, outputs)];
    let n = batch as u32;
    let forward = linear::call(linear::Params::new(n, inputs, outputs), X, W, Some(B), Y);
    let case = Case::new(&definition, &values, &[forward]);
    let p = conv1x1_input_grad::linear(n, inputs, outputs);
    case.check(0, &[conv1x1_input_grad::call(p, G, W, DX)], DX);
    let p = linear_weight_grad::Params::new(n, inputs, outputs, false);
    case.check(1, &[linear_weight_grad::call(p, X, G, DX)], DX);
    // The gradient of the output is the parts of the bias' gradient.
    case.check(2, &[sum_rows::call(sum_rows::Params::new(n, 1, outputs, false), G, DX)], DX);
}

/// The bits of a weight's gradient over five images in micro-batches of these sizes.
fn grouped(sizes: &[usize], input: Shape, output: Shape, calls: impl Fn(u32, bool) -> Vec<KernelCall>) -> Vec<u32> {
    let (maps, gradients) = (random(1, 5 * input.elements()), random(2, 5 * output.elements()));
    let mut memory = Memory::default();
    let mut first = 0;
    for &n in sizes {
        memory.write_f32(X, &maps[first * input.elements()..(first + n) * input.elements()]);
        memory.write_f32(G, &gradients[first * output.elements()..(first + n) * output.elements()]);
        memory.run(&calls(n as u32, first > 0));
        first += n;
    }
    assert_eq!(first, 5);
    memory.read(DX).iter().map(|x| x.to_bits()).collect()
}

#[test]
fn micro_batches_never_change_a_bit_of_a_weight_gradient() {
    let input = Shape::new(18, 17, 5);
    for conv in
        [op::Conv2d::square(5, 9, 1, 1, 0), op::Conv2d::square(5, 9, 1, 2, 0), op::Conv2d::square(5, 3, 3, 1, 1)]
    {
        let output = conv.output_shape(input).unwrap();
        let calls = |n: u32, accumulate: bool| {
            let (parts, rows) = if conv1x1::covers(&conv) {
                let p = conv1x1::Params::new(n, input, output, &conv);
                (conv1x1_weight_grad::call(p, X, G, S), conv1x1_weight_grad::parts(&p))
            } else {
                let p = conv2d::Params::new(n, input, output, &conv);
                (conv2d_weight_grad::call(p, X, G, S), conv2d_weight_grad::parts(&p))
            };
            vec![parts, sum_rows::call(sum_rows::Params::new(n, rows, conv.weights(), accumulate), S, DX)]
        };
        let whole = grouped(&[5], input, output, calls);
        assert_eq!(whole, grouped(&[2, 1, 2], input, output, calls), "{conv:?}");
        assert_eq!(whole, grouped(&[1; 5], input, output, calls), "{conv:?}");
    }
}
