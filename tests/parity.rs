//! Every kernel on every GPU of this machine, lavapipe included, against its twin: from equal
//! inputs, within the tolerance that the kernel declares.

#[path = "parity/backward.rs"]
mod backward;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use trunkline::device::{self, BufferId, BufferSpec, Device, DeviceError, DeviceKind};
use trunkline::kernel::*;
use trunkline::op;
use trunkline::op::upsample::Between;
use trunkline::tensor::Shape;

/// The GPUs of this machine, real and software; none where that is allowed.
fn gpus() -> Vec<Box<dyn Device>> {
    let names: BTreeSet<String> = device::list()
        .into_iter()
        .filter(|d| matches!(d.kind, DeviceKind::Gpu | DeviceKind::Software))
        .map(|d| d.name)
        .collect();
    let open = |name: &String| device::open(name).unwrap_or_else(|e| panic!("{e}"));
    if names.is_empty() {
        assert_ne!(std::env::var("TRUNKLINE_REQUIRE_GPU").as_deref(), Ok("1"), "no GPU adapter at all");
        println!("SKIPPED: no GPU adapter, not even a software one");
    }
    names.iter().map(open).collect()
}

/// Buffer 3 is the output in every call below, the others are inputs.
const A: BufferId = BufferId(0);
const B: BufferId = BufferId(1);
const C: BufferId = BufferId(2);
const OUT: BufferId = BufferId(3);
const D: BufferId = BufferId(4);
const E: BufferId = BufferId(5);
const F: BufferId = BufferId(6);

/// The words of the buffers before a call.
type Memory = Vec<Vec<u32>>;

/// Random contents for what a call reads, and for its output, which some kernels write in part.
fn memory(call: &KernelCall, seed: u64) -> Memory {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut memory = vec![vec![]; 7];
    let Bindings { inputs, output } = call.kernel.bindings();
    let read = call.inputs.iter().zip(call.input_words()).zip(inputs);
    for ((&id, words), &cell) in read.chain([((&OUT, call.output_words()), &output)]) {
        let buffer = &mut memory[id.0 as usize];
        while buffer.len() < words {
            buffer.push(match cell {
                Cell::F32 => rng.random_range(-2.0f32..2.0).to_bits(),
                Cell::U32 => rng.random(),
            });
        }
    }
    make_sensible(call, &mut memory);
    memory
}

/// Bounds what may not be just any value: labels, variances, sums of squares.
fn make_sensible(call: &KernelCall, memory: &mut Memory) {
    let mut positive = |id: BufferId, from: usize| {
        memory[id.0 as usize][from..].iter_mut().for_each(|word| *word &= 0x7fff_ffff);
    };
    match call.kernel {
        Kernel::BatchNorm => positive(B, call.input_words()[1] / 2),
        Kernel::BatchNormScaleGrad | Kernel::BatchNormInputGrad => positive(C, call.input_words()[2] / 2),
        Kernel::AdamStep => positive(B, 0),
        Kernel::ClipFactor => positive(A, 0),
        Kernel::CrossEntropy | Kernel::CrossEntropyGrad => {
            // One beyond the last class too.
            let classes = (call.input_words()[0] / call.input_words()[1]) as u32;
            memory[B.0 as usize].iter_mut().for_each(|label| *label %= classes + 1);
        }
        _ => {}
    }
}

/// What a twin makes of the memory.
fn expected(call: &KernelCall, memory: &[Vec<u32>], twin: Twin) -> Vec<u32> {
    let words = call.input_words();
    let inputs: Vec<&[u32]> = call.inputs.iter().zip(words).map(|(id, n)| &memory[id.0 as usize][..n]).collect();
    let mut out = memory[OUT.0 as usize].clone();
    twin(call.kernel, &call.params, &inputs, &mut out);
    out
}

type Twin = fn(Kernel, &[u32], &[&[u32]], &mut [u32]);

fn right_twin(kernel: Kernel, params: &[u32], inputs: &[&[u32]], out: &mut [u32]) {
    kernel.twin(params, inputs, out);
}

fn specs(memory: &[Vec<u32>]) -> Vec<BufferSpec> {
    let names = ["a", "b", "c", "out", "d", "e", "f"];
    let spec = |(name, words): (&str, &Vec<u32>)| BufferSpec::map(name, words.len());
    names.into_iter().zip(memory).map(spec).collect()
}

fn write_all(device: &mut dyn Device, slot: usize, memory: &[Vec<u32>]) {
    for (id, words) in memory.iter().enumerate() {
        device.write(slot, BufferId(id as u32), words).unwrap();
    }
}

/// Runs a call on two interleaved slots with different contents, and compares both with a twin.
fn compare(device: &mut dyn Device, call: &KernelCall, twin: Twin) -> Result<(), Mismatch> {
    let slots = [memory(call, 1), memory(call, 2)];
    device.prepare(&specs(&slots[0]), 2).unwrap();
    write_all(device, 0, &slots[0]);
    write_all(device, 1, &slots[1]);
    device.run(1, std::slice::from_ref(call)).unwrap_or_else(|e| panic!("{e}"));
    device.run(0, std::slice::from_ref(call)).unwrap_or_else(|e| panic!("{e}"));
    for slot in [0, 1] {
        let got = device.read(slot, OUT, call.output_words()).unwrap_or_else(|e| panic!("{e}"));
        let expected = expected(call, &slots[slot], twin);
        call.kernel.tolerance(&call.params).check(call.kernel.bindings().output, &expected, &got)?;
    }
    Ok(())
}

fn conv(batch: u32, input: Shape, conv: op::Conv2d, bias: bool) -> KernelCall {
    let params = conv2d::Params::new(batch, input, conv.output_shape(input).unwrap(), &conv);
    conv2d::call(params, A, B, bias.then_some(C), OUT)
}

fn conv_cases() -> Vec<KernelCall> {
    let square = op::Conv2d::square;
    let mut calls = vec![
        // The tiled form: tails in pixels, channels and depth, strides, pads.
        conv(1, Shape::new(8, 8, 16), square(16, 16, 3, 1, 1), true),
        conv(3, Shape::new(9, 11, 5), square(5, 19, 3, 1, 1), true),
        conv(2, Shape::new(17, 17, 33), square(33, 50, 3, 2, 1), false),
        conv(1, Shape::new(31, 30, 3), square(3, 8, 7, 2, 3), true),
        conv(2, Shape::new(6, 6, 18), op::Conv2d { groups: 2, ..square(18, 34, 3, 1, 1) }, true),
        // One output per invocation: few channels, groups, depthwise.
        conv(2, Shape::new(9, 7, 2), square(2, 1, 7, 1, 3), true),
        conv(2, Shape::new(7, 9, 6), op::Conv2d { groups: 3, ..square(6, 9, 3, 1, 1) }, false),
        conv(2, Shape::new(13, 13, 21), op::Conv2d { groups: 21, ..square(21, 21, 3, 2, 1) }, true),
        conv(1, Shape::new(5, 5, 4), op::Conv2d { groups: 4, ..square(4, 8, 5, 1, 2) }, true),
    ];
    let uneven =
        op::Conv2d { kernel: [2, 3], stride: [1, 2], dilation: [2, 1], pad: [3, 0, 1, 2], ..square(7, 12, 1, 1, 0) };
    calls.push(conv(2, Shape::new(6, 8, 7), uneven.clone(), true));
    calls.push(conv(2, Shape::new(6, 8, 7), op::Conv2d { out_c: 3, ..uneven }, false));
    for (input, out_c, stride, bias) in
        [(Shape::new(9, 9, 17), 16, 1, true), (Shape::new(16, 17, 40), 21, 2, false), (Shape::new(5, 3, 1), 1, 3, true)]
    {
        let o = square(input.c, out_c, 1, stride, 0);
        let params = conv1x1::Params::new(3, input, o.output_shape(input).unwrap(), &o);
        calls.push(conv1x1::call(params, A, B, bias.then_some(C), OUT));
    }
    for (batch, inputs, outputs, bias) in [(1, 256, 100, true), (5, 37, 11, false), (8, 1, 1, true)] {
        calls.push(linear::call(linear::Params::new(batch, inputs, outputs), A, B, bias.then_some(C), OUT));
    }
    calls
}

fn elementwise_cases() -> Vec<KernelCall> {
    use op::Activation::*;
    let modes = [Relu, Relu6, ReluN1To1, LeakyRelu { slope: 0.1 }, Sigmoid { gain: 1.0 }, Sigmoid { gain: 2.0 }, Tanh];
    let activate = |a| activation::call(activation::Params::new(3, 77, a), A, OUT);
    let mut calls: Vec<KernelCall> =
        modes.into_iter().chain([HardSwish, op::Activation::HARD_SIGMOID]).map(activate).collect();
    let map = Shape::new(5, 7, 9);
    for b in [map, Shape::new(5, 7, 1), Shape::vector(9), Shape::vector(1)] {
        calls.push(mul::call(mul::Params::new(3, map, b), A, B, OUT));
        calls.push(mul::call(mul::Params::shared(2, map, b), A, B, OUT));
    }
    for n in [1, 64, 1001] {
        calls.push(add::call(add::Params::new(2, n), A, B, OUT));
        calls.push(affine::call(affine::Params::new(2, n, 13), A, B, C, OUT));
        calls.push(channel_pool::call(channel_pool::Params::new(2, n, 19), A, OUT));
        calls.push(softmax::call(softmax::Params::new(2, n, 23, &op::Softmax { beta: 1.5 }), A, OUT));
        for bits in [8, 16] {
            calls.push(dequantise::call(dequantise::Params::new(3, n, 1, bits, -5), A, B, OUT));
            calls.push(dequantise::call(dequantise::Params::new(3, 7 * n, 7, bits, 99), A, B, OUT));
            calls.push(requantise::call(requantise::Params::new(3, n, 1, bits, -5), A, B, OUT));
            calls.push(requantise::call(requantise::Params::new(3, 7 * n, 7, bits, 99), A, B, OUT));
        }
    }
    calls
}

fn spatial_cases() -> Vec<KernelCall> {
    let mut calls = Vec::new();
    let windows = [
        op::Pool { kernel: [2, 2], stride: [2, 2], pad: [0; 4] },
        op::Pool { kernel: [3, 3], stride: [2, 2], pad: [1; 4] },
        op::Pool { kernel: [3, 2], stride: [1, 3], pad: [2, 1, 0, 1] },
    ];
    for pool in windows {
        let input = Shape::new(9, 10, 5);
        let params = avg_pool::Params::new(2, input, pool.output_shape(input).unwrap(), &pool);
        calls.push(avg_pool::call(params, A, OUT));
        calls.push(max_pool::call(params, A, OUT));
    }
    for input in [Shape::new(8, 8, 256), Shape::new(7, 3, 5), Shape::vector(3)] {
        calls.push(global_mean::call(global_mean::Params::new(3, input), A, OUT));
    }
    for pad in [
        op::Pad { space: [1, 2, 3, 0], channels: [2, 3] },
        op::Pad { space: [0; 4], channels: [0, 5] },
        op::Pad { space: [1; 4], channels: [0; 2] },
    ] {
        let input = Shape::new(4, 5, 3);
        let params = pad::Params::new(2, input, pad.output_shape(input).unwrap(), &pad);
        calls.push(pad::call(params, A, OUT));
    }
    for (factor, between) in [([2, 3], Between::Repeated), ([2, 2], Between::Zeros), ([1, 3], Between::Zeros)] {
        let (input, op) = (Shape::new(4, 5, 3), op::Upsample { factor, between });
        let params = upsample::Params::new(2, input, op.output_shape(input).unwrap(), &op);
        calls.push(upsample::call(params, A, OUT));
    }
    for order in [[2, 0, 1], [1, 2, 0], [1, 0, 2]] {
        let (input, op) = (Shape::new(4, 5, 3), op::Transpose { order });
        let params = transpose::Params::new(2, input, op.output_shape(input).unwrap(), &op);
        calls.push(transpose::call(params, A, OUT));
    }
    for (in_c, out_c, first) in [(3, 8, 0), (3, 8, 5), (8, 8, 0), (1, 4, 2)] {
        calls.push(concat::call(concat::Params::new(2, 35, in_c, out_c, first), A, OUT));
    }
    calls
}

fn cases() -> Vec<KernelCall> {
    [conv_cases(), elementwise_cases(), spatial_cases(), backward::cases()].concat()
}

#[test]
fn every_kernel_has_several_cases() {
    for &kernel in Kernel::ALL {
        let count = cases().iter().filter(|c| c.kernel == kernel).count();
        assert!(count >= 3, "{} has {count}", kernel.name());
    }
}

#[test]
fn every_device_agrees_with_the_twins() {
    for mut device in gpus() {
        for call in cases() {
            if let Err(mismatch) = compare(&mut *device, &call, right_twin) {
                panic!("{}: {} {:?}: {mismatch}", device.info().name, call.kernel.name(), call.params);
            }
        }
    }
}

#[test]
fn the_cpu_device_gives_the_bits_of_the_twins() {
    let mut cpu = device::open("cpu").unwrap();
    for call in cases() {
        let memory = memory(&call, 3);
        cpu.prepare(&specs(&memory), 1).unwrap();
        write_all(&mut *cpu, 0, &memory);
        cpu.run(0, std::slice::from_ref(&call)).unwrap();
        assert_eq!(cpu.read(0, OUT, call.output_words()).unwrap(), expected(&call, &memory, right_twin));
    }
}

/// The right twin, but for a single word in the middle, just beyond the tolerance.
fn slightly_wrong_twin(kernel: Kernel, params: &[u32], inputs: &[&[u32]], out: &mut [u32]) {
    kernel.twin(params, inputs, out);
    let middle = out.len() / 2;
    let bits = out[middle];
    out[middle] = match kernel.tolerance(params) {
        Tolerance::Bitwise => bits ^ 1,
        Tolerance::AbsRel { abs, rel } => {
            let y = f32::from_bits(bits);
            let moved = y + 3.0 * (abs + rel * y.abs());
            // A tolerance below half a unit of the last place moves nothing by itself.
            if moved == y { bits + 1 } else { moved.to_bits() }
        }
    };
}

/// The mistakes one makes: weights in another order, an input read one word off.
fn plausibly_wrong_twin(kernel: Kernel, params: &[u32], inputs: &[&[u32]], out: &mut [u32]) {
    let mut inputs: Vec<Vec<u32>> = inputs.iter().map(|i| i.to_vec()).collect();
    match kernel {
        Kernel::Conv2d | Kernel::Linear => inputs[1].reverse(),
        // Sums over everything, in which no order shows.
        Kernel::SumSquares | Kernel::ClipFactor | Kernel::Scale => {
            let half = inputs[0].len().div_ceil(2);
            inputs[0][..half].fill(0);
        }
        _ => inputs[0].rotate_left(1),
    }
    kernel.twin(params, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), out);
}

#[test]
fn a_wrong_twin_is_caught() {
    let mut devices = gpus();
    devices.push(device::open("cpu").unwrap());
    let largest = |&kernel: &Kernel| {
        let own = cases().into_iter().filter(move |c| c.kernel == kernel);
        own.max_by_key(KernelCall::output_words).unwrap()
    };
    let calls: Vec<KernelCall> = Kernel::ALL.iter().map(largest).collect();
    for device in &mut devices {
        for call in &calls {
            for wrong in [slightly_wrong_twin, plausibly_wrong_twin] {
                assert!(compare(&mut **device, call, wrong).is_err(), "{} passes a wrong twin", call.kernel.name());
            }
        }
    }
}

/// Values at which rounding, saturation and classification go wrong, then random bits.
fn hard_values(count: usize) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::EPSILON];
    let nans = [0x7f80_0001, 0x7fc0_0000, 0x7fff_ffff, 0xff80_0001, 0xffc0_0000, 0xffff_ffff];
    let halves = (-300..300).map(|i| (i as f32 + 0.5).to_bits());
    let wide = (-70_000..70_000).step_by(997).map(|i| (i as f32 + 0.5).to_bits());
    let known: Vec<u32> = special.map(f32::to_bits).into_iter().chain(nans).chain(halves).chain(wide).collect();
    let near = known.clone().into_iter().flat_map(|bits| [bits.wrapping_sub(1), bits, bits.wrapping_add(1)]);
    let mut values: Vec<u32> = near.collect();
    while values.len() < count {
        values.push(rng.random());
        values.push(rng.random_range(-400.0f32..400.0).to_bits());
    }
    values.truncate(count);
    values
}

fn run_once(device: &mut dyn Device, call: &KernelCall, memory: &[Vec<u32>]) -> Vec<u32> {
    device.prepare(&specs(memory), 1).unwrap();
    write_all(device, 0, memory);
    device.run(0, std::slice::from_ref(call)).unwrap();
    device.read(0, OUT, call.output_words()).unwrap()
}

#[test]
fn requantisation_is_bit_exact_everywhere() {
    const COUNT: usize = 20_001;
    for mut device in gpus() {
        for (bits, zero_point) in [(8, 0), (8, -128), (8, 127), (8, 3), (16, 0), (16, -32768), (16, 77)] {
            for scale in [1.0f32, 0.05, 1.0 / 3.0, 2f32.powi(-12), 1e-20, 1e20] {
                let call = requantise::call(requantise::Params::new(1, COUNT, 1, bits, zero_point), A, B, OUT);
                let inverse = vec![requantise::inverse(scale).to_bits()];
                let memory = [hard_values(COUNT), inverse, vec![], vec![u32::MAX; call.output_words()]];
                let got = run_once(&mut *device, &call, &memory);
                assert_eq!(got, expected(&call, &memory, right_twin), "{bits} bits, z {zero_point}, s {scale}");
            }
        }
    }
}

/// The contract of `requantise` in wide arithmetic, apart from the twin.
#[test]
fn the_requantise_twin_is_its_contract() {
    for (bits, zero_point) in [(8, 0), (8, -128), (8, 127), (16, -1234)] {
        let p = requantise::Params::new(1, 1, 1, bits, zero_point);
        for (bits, inverse) in hard_values(5_000).into_iter().flat_map(|v| [(v, 1.0f32), (v, 20.0), (v, 0.3)]) {
            let r = f32::from_bits(bits);
            let rounded = f64::from(r * inverse).round_ties_even() + f64::from(zero_point);
            let code = rounded.clamp(f64::from(p.low), f64::from(p.high));
            let code = if r.is_nan() { zero_point } else { code as i32 };
            assert_eq!(requantise::quantise(&p, r, inverse), code, "{r} * {inverse} + {zero_point}");
        }
    }
}

#[test]
fn dequantisation_is_bit_exact_everywhere() {
    for mut device in gpus() {
        for (bits, zero_point) in [(8, 0), (8, -128), (8, 127), (16, 0), (16, -32768), (16, 32767)] {
            for scale in [1.0f32, 0.05, 1.0 / 3.0, 1e-30, 1e30] {
                // Every code of the width once, and a tail.
                let codes: Vec<i16> = (i16::MIN..=i16::MAX).chain([1]).collect();
                let packed = if bits == 8 {
                    codes::pack8(&codes.iter().map(|&c| c as i8).collect::<Vec<_>>())
                } else {
                    codes::pack16(&codes)
                };
                let call = dequantise::call(dequantise::Params::new(1, codes.len(), 1, bits, zero_point), A, B, OUT);
                let memory = [packed, vec![scale.to_bits()], vec![], vec![0; codes.len()]];
                let got = run_once(&mut *device, &call, &memory);
                assert_eq!(got, expected(&call, &memory, right_twin), "{bits} bits, z {zero_point}, s {scale}");
            }
        }
    }
}

#[test]
fn grids_fold_at_the_limit_of_workgroups() {
    for mut device in gpus() {
        for elements in [65_535 * 64, 65_535 * 64 + 1, 65_536 * 64 + 5] {
            let call = add::call(add::Params::new(1, elements), A, B, OUT);
            assert_eq!(compare(&mut *device, &call, right_twin), Ok(()), "{elements} elements");
        }
        // Kernels that find their tile by workgroup.
        let call = channel_sum::call(channel_sum::Params::new(65_537, 3, 1), A, OUT);
        assert_eq!(compare(&mut *device, &call, right_twin), Ok(()));
        // 65,537 of them, one channel in eight to spare.
        let narrow = op::Conv2d { groups: 1, ..op::Conv2d::square(1, 8, 2, 1, 0) };
        let call = conv(1, Shape::new(257, 257, 1), narrow, false);
        assert_eq!(compare(&mut *device, &call, right_twin), Ok(()));
    }
}

#[test]
fn a_buffer_beyond_the_binding_limit_is_an_error() {
    for mut device in gpus() {
        let words = (device.max_binding_bytes() / 4 + 1) as usize;
        let spec = BufferSpec::map("feature map", words);
        let error = device.prepare(&[spec], 1).unwrap_err();
        assert!(matches!(error, DeviceError::TooLarge { .. }), "{error}");
        assert!(error.to_string().contains("--micro-batch"), "{error}");
    }
}

#[test]
fn shared_buffers_are_one_for_all_slots_and_calls_run_in_order() {
    let mut devices = gpus();
    devices.push(device::open("cpu").unwrap());
    for mut device in devices {
        let words = |values: [f32; 2]| values.map(f32::to_bits).to_vec();
        let map = |name: &str| BufferSpec::map(name, 2);
        let state = BufferSpec::state("s", words([1.0, 1.0]));
        let buffers = [map("x"), BufferSpec::constant("w", words([10.0, 20.0])), map("t"), map("y"), state];
        device.prepare(&buffers, 2).unwrap();
        let p = add::Params::new(1, 2);
        let calls = [add::call(p, A, B, C), add::call(p, C, C, OUT)];
        device.write(0, A, &words([1.0, 2.0])).unwrap();
        device.write(1, A, &words([5.0, 6.0])).unwrap();
        device.run(0, &calls).unwrap();
        device.run(1, &calls).unwrap();
        assert_eq!(device.read(1, OUT, 2).unwrap(), words([30.0, 52.0]));
        assert_eq!(device.read(0, OUT, 2).unwrap(), words([22.0, 44.0]));
        // New weights reach every slot, but no run that came before.
        device.run(0, &calls[1..]).unwrap();
        device.write(0, B, &words([0.0, 0.5])).unwrap();
        assert_eq!(device.read(0, OUT, 2).unwrap(), words([22.0, 44.0]));
        device.run(1, &calls).unwrap();
        assert_eq!(device.read(1, OUT, 2).unwrap(), words([10.0, 13.0]));
        assert_eq!((device.counts().runs, device.counts().calls, device.counts().reads), (4, 7, 4));
        // What a kernel adds to the state in one slot is there in the other.
        let add = [accumulate::call(accumulate::Params::new(1, 2), A, BufferId(4))];
        (0..2).for_each(|slot| device.run(slot, &add).unwrap());
        assert_eq!(device.read(0, BufferId(4), 2).unwrap(), words([7.0, 9.0]));
    }
}

#[test]
fn twins_have_the_same_bits_for_any_thread_count() {
    let all = |threads: usize| -> Vec<Vec<u32>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| cases().iter().map(|call| expected(call, &memory(call, 5), right_twin)).collect())
    };
    let one = all(1);
    assert!(one == all(2));
    assert!(one == all(5));
}
