//! The trunk's input gradients on one thread: the convolutions of ResNet-26 at 64 in every error format,
//! beside what the CPU could do at most.
//!
//! Prints billions of multiply-accumulates per second of the fastest of many runs, which are short and
//! take turns, so that what else the machine does hardly enters. The peak is a loop of fused products in
//! registers that touches no memory.
//!
//! ```text
//! cargo bench --bench backward
//! ```

use std::hint::black_box;
use std::time::Instant;
use trunkline::op::Conv2d;
use trunkline::quant::error_code::{ErrorBits, ErrorRounding, GradFormat};
use trunkline::tensor::Shape;
use trunkline::trunk::fast::Kernels;
use trunkline::trunk::fast::backward::PackedGrad;

const BATCH: usize = 8;
const RUNS: usize = 40;
const FORMATS: [GradFormat; 4] = [GradFormat::F32, GradFormat::Int16, GradFormat::Int12, GradFormat::Int8];

/// A layer, and how often the network has it.
struct Layer {
    conv: Conv2d,
    size: usize,
    count: usize,
}

impl Layer {
    fn new(in_c: usize, out_c: usize, stride: usize, size: usize, count: usize) -> Self {
        Self { conv: Conv2d::square(in_c, out_c, 3, stride, 1), size, count }
    }

    fn input(&self) -> Shape {
        Shape::new(self.size, self.size, self.conv.in_c)
    }

    fn output(&self) -> Shape {
        self.conv.output_shape(self.input()).expect("a shape")
    }

    fn macs(&self) -> f64 {
        (BATCH as u64 * self.conv.macs(self.input(), self.output())) as f64
    }
}

/// A layer's gradient in one format: seconds of one run of a batch.
fn runs(layer: &Layer, format: GradFormat) -> impl FnMut() -> f64 {
    let wave = |i: usize, most: f32| ((i as f32 * 0.37).sin() * most) as i16;
    let codes: Vec<i16> = (0..layer.conv.weights()).map(|i| wave(i, 90.0) / (1 + (i % 3) as i16)).collect();
    let plan = PackedGrad::new(&layer.conv, layer.input(), &codes, format, Kernels::Auto);
    let plan = plan.expect("vector instructions");
    let n = BATCH * layer.output().elements();
    let (bits, most) = match format {
        GradFormat::Int8 => (ErrorBits::INT8, 127.0),
        GradFormat::Int12 => (ErrorBits::INT12, 2047.0),
        _ => (ErrorBits::INT16, 32767.0),
    };
    let mantissas: Vec<i16> = (0..n).map(|i| wave(i, most)).collect();
    let reals: Vec<f32> = mantissas.iter().map(|&m| f32::from(m)).collect();
    let mut real = vec![0f32; BATCH * layer.input().elements()];
    let mut codes = vec![0i16; real.len()];
    move || {
        let start = Instant::now();
        if format == GradFormat::F32 {
            plan.run_f32(&reals, BATCH, &mut real);
        } else {
            let rule = ErrorRounding::NearestEven;
            black_box(plan.run_int(&mantissas, BATCH, &mut codes, |_, accs, to| accs.renormalise(0, bits, rule, to)));
        }
        start.elapsed().as_secs_f64()
    }
}

/// Seconds of 2^20 lines of fused products in registers.
fn peak() -> f64 {
    const LANES: usize = 16 * 14;
    #[inline(always)]
    fn products(sums: &mut [f32; LANES], x: f32) {
        for _ in 0..1 << 16 {
            sums.iter_mut().for_each(|sum| *sum = sum.mul_add(x, x));
        }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f")]
    unsafe fn avx512(sums: &mut [f32; LANES], x: f32) {
        products(sums, x);
    }
    let (mut sums, x) = (black_box([1f32; LANES]), black_box(0.5));
    let start = Instant::now();
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the CPU has it.
        unsafe { avx512(&mut sums, x) };
        black_box(sums);
        return start.elapsed().as_secs_f64() / (LANES << 16) as f64;
    }
    products(&mut sums, x);
    black_box(sums);
    start.elapsed().as_secs_f64() / (LANES << 16) as f64
}

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the first pool");
    let layers = [
        Layer::new(32, 64, 2, 64, 1),
        Layer::new(64, 64, 1, 32, 7),
        Layer::new(64, 128, 2, 32, 1),
        Layer::new(128, 128, 1, 16, 7),
        Layer::new(128, 256, 2, 16, 1),
        Layer::new(256, 256, 1, 8, 7),
    ];
    println!("{BATCH} images, one thread, fastest of {RUNS}, 10^9 multiply-accumulates per second");
    println!(
        "{:28} {:>8} {:>8} {:>8} {:>8} {:>8}   f32/peak int16 int12 int8 / f32",
        "", "peak", "f32", "int16", "int12", "int8"
    );
    let (mut seconds, mut macs, mut limit) = ([0.0; 4], 0.0, f64::INFINITY);
    for layer in &layers {
        let mut formats = FORMATS.map(|format| runs(layer, format));
        let (mut best, mut one) = ([f64::INFINITY; 4], f64::INFINITY);
        for _ in 0..RUNS {
            one = one.min(peak());
            best.iter_mut().zip(&mut formats).for_each(|(best, run)| *best = best.min(run()));
        }
        let Conv2d { in_c, out_c, stride, .. } = layer.conv;
        let name = format!("{in_c}->{out_c} stride {} at {1}x{1}", stride[0], layer.size);
        report(&name, one, layer.macs(), best);
        let count = layer.count as f64;
        macs += layer.macs() * count;
        limit = limit.min(one);
        seconds.iter_mut().zip(best).for_each(|(sum, best)| *sum += best * count);
    }
    report("all, as often as there are", limit, macs, seconds);
}

fn report(name: &str, peak: f64, macs: f64, seconds: [f64; 4]) {
    let rate = seconds.map(|s| macs / s / 1e9);
    let [f32s, rest @ ..] = rate;
    let share = f32s * peak * 1e9;
    print!("{name:28} {:8.1}", 1e-9 / peak);
    rate.iter().for_each(|rate| print!(" {rate:8.1}"));
    print!("   {share:8.2}");
    rest.iter().for_each(|rate| print!(" {:5.2}", rate / f32s));
    println!();
}
