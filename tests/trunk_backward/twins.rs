//! Single operations against the backward twins of the adapter device, on the dequantised weights.

use super::net::{Net, Ready, real_context};
use trunkline::kernel::{
    BufferId, KernelCall, avg_pool, avg_pool_grad, conv2d, conv2d_input_grad, max_pool_grad, max_pool_index,
};
use trunkline::op::{Conv2d, Op, Pool};
use trunkline::tensor::Shape;

const A: BufferId = BufferId(0);

fn run(call: &KernelCall, inputs: &[&[u32]]) -> Vec<u32> {
    let mut out = vec![0; call.output_words()];
    call.kernel.twin(&call.params, inputs, &mut out);
    out
}

fn compare(ready: &Ready, what: &str, twin: impl Fn(&[u32]) -> Vec<u32>) {
    let forward = ready.forward(5, 2);
    let error = ready.error(6, 2);
    let back = ready.back(&forward, &error, &real_context(&[0, 1]));
    let want = twin(bytemuck::cast_slice(&error.data));
    let [tapped] = ready.tapped()[..] else { panic!("one map is tapped") };
    let got = back.errors[&tapped].to_values().data;
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want.iter().map(|&w| f32::from_bits(w))) {
        assert!((g - w).abs() <= 1e-5 + 1e-5 * w.abs(), "{what}: {g} is not {w}");
    }
}

#[test]
fn convolutions_agree_with_the_twin() {
    let input = Shape::new(7, 6, 8);
    for (groups, stride, dilation, kernel, pad) in
        [(1, 1, 1, 3, 1), (2, 2, 1, 3, 1), (8, 1, 1, 3, 1), (1, 2, 1, 1, 0), (4, 1, 2, 3, 2)]
    {
        let mut net = Net::new(input);
        let x = net.tapped(8, 0.02, 11);
        let conv = Conv2d { groups, dilation: [dilation; 2], ..Conv2d::square(8, 8, kernel, stride, pad) };
        let y = net.conv(conv.clone(), x);
        net.quant(y, 0.4, 5);
        let output = net.graph.shape(y);
        let ready = net.ready(y);
        assert_eq!(ready.forward(5, 2).counts.saturations, 0);
        let weights = ready.program.steps[0].weights().unwrap();
        let depth = conv.depth();
        let real: Vec<f32> =
            weights.codes.iter().enumerate().map(|(i, &q)| f32::from(q) * weights.scale(i / depth)).collect();
        let call = conv2d_input_grad::call(conv2d::Params::new(2, input, output, &conv), A, A, A);
        let packed = conv2d::pack(&conv, &real);
        compare(&ready, "convolution", |error| run(&call, &[error, bytemuck::cast_slice(&packed)]));
    }
}

#[test]
fn pools_agree_with_the_twins() {
    let input = Shape::new(7, 6, 3);
    for pool in [
        Pool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] },
        Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] },
        Pool { kernel: [3, 2], stride: [1, 1], pad: [2, 1, 0, 1] },
    ] {
        let ready = |op: Op| {
            let mut net = Net::new(input);
            let x = net.tapped(3, 0.02, 11);
            let y = net.alike(op, &[x]);
            net.ready(y)
        };
        let average = ready(Op::AvgPool(pool));
        let p = avg_pool::Params::new(2, input, average.graph.shape(average.graph.output), &pool);
        compare(&average, "average", |error| run(&avg_pool_grad::call(p, A, A), &[error]));
        let maximum = ready(Op::MaxPool(pool));
        // Codes have ties in plenty: both take the first.
        let codes = &maximum.forward(5, 2).maps[&maximum.tapped()[0]].data;
        let real: Vec<f32> = codes.iter().map(|&q| f32::from(q)).collect();
        let indices = run(&max_pool_index::call(p, A, A), &[bytemuck::cast_slice(&real)]);
        compare(&maximum, "maximum", |error| run(&max_pool_grad::call(p, A, A, A), &[error, &indices]));
    }
}
