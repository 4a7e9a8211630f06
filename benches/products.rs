//! The products of training on one thread: a convolution, its input gradient and its weight gradient.
//!
//! Prints floating-point operations per second of the fastest of many runs, which are short, so that
//! what else the machine does hardly enters.
//!
//! ```text
//! cargo bench --bench products
//! ```

use std::time::Instant;
use trunkline::kernel::*;
use trunkline::op::Conv2d;
use trunkline::tensor::Shape;

const BATCH: u32 = 4;
const RUNS: usize = 300;
const X: BufferId = BufferId(0);
const W: BufferId = BufferId(1);
const OUT: BufferId = BufferId(2);

/// Runs the calls of one product, each on buffers of its own.
fn measure(name: &str, calls: &[KernelCall]) {
    let buffers = |call: &KernelCall| -> (Vec<Vec<u32>>, Vec<u32>) {
        let wave = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin().to_bits()).collect();
        (call.input_words().into_iter().map(wave).collect(), vec![0; call.output_words()])
    };
    let mut buffers: Vec<_> = calls.iter().map(buffers).collect();
    let mut run = || {
        let start = Instant::now();
        for (call, (inputs, out)) in calls.iter().zip(&mut buffers) {
            let inputs: Vec<&[u32]> = inputs.iter().map(Vec::as_slice).collect();
            call.kernel.twin(&call.params, &inputs, out);
        }
        start.elapsed().as_secs_f64()
    };
    let best = (0..RUNS).map(|_| run()).fold(f64::INFINITY, f64::min);
    let operations = 2 * calls.iter().map(KernelCall::macs).sum::<u64>();
    println!(
        "{name:32} {:20} {:8.3} ms {:7.1} GFLOP/s",
        calls[0].kernel.name(),
        best * 1e3,
        operations as f64 / best / 1e9
    );
}

fn pointwise(size: usize, in_c: usize, out_c: usize, stride: usize) {
    let conv = Conv2d::square(in_c, out_c, 1, stride, 0);
    let input = Shape::new(size, size, in_c);
    let p = conv1x1::Params::new(BATCH, input, conv.output_shape(input).expect("a shape"), &conv);
    let name = format!("1x1 {in_c}->{out_c} stride {stride} at {size}x{size}");
    let sum = sum_rows::Params::new(BATCH, conv1x1_weight_grad::parts(&p), conv.weights(), true);
    measure(&name, &[conv1x1::call(p, X, W, None, OUT)]);
    measure(&name, &[conv1x1_input_grad::call(p, X, W, OUT)]);
    measure(&name, &[conv1x1_weight_grad::call(p, X, W, OUT), sum_rows::call(sum, X, OUT)]);
}

fn general(size: usize, conv: &Conv2d) {
    let input = Shape::new(size, size, conv.in_c);
    let p = conv2d::Params::new(BATCH, input, conv.output_shape(input).expect("a shape"), conv);
    let name = format!("{0}x{0} {1}->{2} at {size}x{size}", conv.kernel[0], conv.in_c, conv.out_c);
    let sum = sum_rows::Params::new(BATCH, conv2d_weight_grad::parts(&p), conv.weights(), true);
    measure(&name, &[conv2d::call(p, X, W, None, OUT)]);
    measure(&name, &[conv2d_input_grad::call(p, X, W, OUT)]);
    measure(&name, &[conv2d_weight_grad::call(p, X, W, OUT), sum_rows::call(sum, X, OUT)]);
}

fn main() {
    println!("{BATCH} images, one thread, fastest of {RUNS}");
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first pool");
    // The adapters of resnet26 at 64 by 64.
    pointwise(32, 64, 64, 1);
    pointwise(16, 128, 128, 1);
    pointwise(8, 256, 256, 1);
    pointwise(64, 32, 64, 2);
    general(64, &Conv2d::square(2, 1, 7, 1, 3));
    general(16, &Conv2d::square(64, 64, 3, 1, 1));
}
