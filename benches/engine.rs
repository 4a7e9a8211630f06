//! The int8 engine: the reference loops against every instruction set of this CPU, ResNet-26 at 64 and
//! ResNet-34 at 224, batch 1 and 16, one thread and two.
//!
//! Throughput is in multiply-accumulates (criterion calls them elements): whole programs, and their
//! convolutions and linear layers alone. The first and last group are what the CPU could do at most:
//! the `vpdpbusd` peak, from a loop that touches no memory. On a machine that does other work too,
//! compare the fastest samples.
//!
//! ```text
//! cargo bench --bench engine            # times
//! cargo bench --bench engine -- --test  # each measurement once
//! ```

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use rayon::ThreadPool;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;
use trunkline::data::{self, OpenOptions};
use trunkline::experiment::input::reals;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::tensor::Tensor;
use trunkline::trunk::fast::{InstructionSet, Kernels};
use trunkline::trunk::{Executor, TrunkProgram, prepare};

const RESNET8: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/models/mlperf_tiny/pretrainedResnet_quant.tflite");

/// A network of the zoo with random weights and scales from one procedural image.
fn zoo(name: &str, size: usize) -> Trunk {
    let wanted = Wanted { input: Some(size), classes: Some(10), seed: 0 };
    let mut trunk = Trunk::open(name, wanted).expect("a network");
    let options = OpenOptions { limit: Some(1), seed: 0, size: Some([size, size]) };
    let task = data::open("synth:shapes", &options).expect("a procedural image");
    let shape = trunk.graph.shape(trunk.graph.input);
    let images = reals(&task.images, shape, trunk.preprocess).expect("an image that fits");
    trunk.calibrate(&images).expect("finite values");
    trunk
}

fn images(trunk: &Trunk, batch: usize) -> Tensor<i8> {
    let shape = trunk.graph.shape(trunk.graph.input);
    let codes = (0..batch * shape.elements()).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i8);
    Tensor::from_vec(batch, shape, codes.collect())
}

/// Whole runs, and runs of the products' steps on inputs made before; on the measuring thread, or in a
/// pool.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    program: &TrunkProgram,
    input: &Tensor<i8>,
    pool: Option<&ThreadPool>,
) {
    let output = program.steps.last().expect("a network has steps").output;
    let mut executor = Executor::new(program, input.batch, &[output]).expect("a program alone");
    group.bench_function(format!("whole/{name}"), |b| {
        let mut run = || {
            black_box(executor.run(input).expect("an input that fits"));
        };
        b.iter(|| within(pool, &mut run));
    });
    let maps = program.run_all(input).expect("a program alone");
    let products: Vec<_> = program.steps.iter().filter(|s| s.macs().0 > 0).collect();
    let mut codes: Vec<Vec<i8>> = products.iter().map(|s| vec![0; maps[&s.output].data.len()]).collect();
    group.bench_function(format!("products/{name}"), |b| {
        let mut run = || {
            for (step, codes) in products.iter().zip(&mut codes) {
                black_box(step.run_into(&[(&maps[&step.inputs[0]]).into()], None, codes));
            }
        };
        b.iter(|| within(pool, &mut run));
    });
}

fn within(pool: Option<&ThreadPool>, run: &mut (impl FnMut() + Send)) {
    match pool {
        Some(pool) => pool.install(run),
        None => run(),
    }
}

fn network(criterion: &mut Criterion, name: &str, trunk: &Trunk, with_reference: bool) {
    let program = prepare(&trunk.graph, &trunk.profile, 8).expect("a calibrated graph");
    let per_image: u64 = program.steps.iter().map(|s| s.macs().0).sum();
    for batch in [1, 16] {
        let input = images(trunk, batch);
        let mut group = criterion.benchmark_group(format!("{name}, batch {batch}"));
        group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500));
        group.throughput(Throughput::Elements(per_image * batch as u64));
        if with_reference {
            measure(&mut group, "reference", &program.clone().with_kernels(Kernels::Reference), &input, None);
        }
        for set in InstructionSet::available().filter(|&set| with_reference || set != InstructionSet::Portable) {
            measure(&mut group, &set.to_string(), &program.clone().with_kernels(Kernels::Only(set)), &input, None);
        }
        let two = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("a pool");
        measure(&mut group, "two threads", &program, &input, Some(&two));
        group.finish();
    }
}

#[cfg(target_arch = "x86_64")]
mod peak {
    use std::arch::x86_64::*;

    pub const ROUNDS: u64 = 10_000;
    const SUMS: usize = 20;
    pub const MACS: u64 = ROUNDS * SUMS as u64 * 64;

    pub fn is_available() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
    }

    /// Independent sums, as many as hide the latency of an instruction.
    ///
    /// # Safety
    /// The CPU must have AVX-512 F and VNNI.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub unsafe fn run(x: i32) -> i32 {
        let mut sums = [_mm512_setzero_si512(); SUMS];
        let (x, w) = (_mm512_set1_epi32(x), _mm512_set1_epi8(3));
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, x, w);
            }
        }
        sums.into_iter().fold(0, |all, sum| all.wrapping_add(_mm512_reduce_add_epi32(sum)))
    }
}

#[cfg(target_arch = "x86_64")]
fn peak(criterion: &mut Criterion) {
    if !peak::is_available() {
        return;
    }
    let mut group = criterion.benchmark_group("peak");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_millis(1500));
    group.throughput(Throughput::Elements(peak::MACS));
    // SAFETY: the CPU has been asked.
    group.bench_function("vpdpbusd", |b| b.iter(|| unsafe { peak::run(black_box(0x0102_0304)) }));
    group.finish();
}

#[cfg(not(target_arch = "x86_64"))]
fn peak(_: &mut Criterion) {}

fn main() {
    let mut criterion = Criterion::default().configure_from_args().without_plots();
    // The measuring thread is the pool, so that no call waits for another thread to wake up.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the first pool");
    peak(&mut criterion);
    network(&mut criterion, "resnet26@64", &zoo("resnet26", 64), true);
    network(&mut criterion, "resnet34@224", &zoo("resnet34", 224), false);
    if Path::new(RESNET8).exists() {
        network(&mut criterion, "resnet8", &Trunk::import(Path::new(RESNET8)).expect("a model that we import"), true);
    } else {
        println!("SKIPPED: {RESNET8} is absent");
    }
    peak(&mut criterion);
    criterion.final_summary();
}
