//! Where a network's time goes, by operation: the reference loops against the widest instruction set of
//! this CPU, on one thread. Times are the least of many runs, per image, in microseconds.
//!
//! ```text
//! cargo bench --bench operations            # the least of a second each
//! cargo bench --bench operations -- --test  # each measurement once
//! ```

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use trunkline::data::{self, OpenOptions};
use trunkline::experiment::input::reals;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::op::Op;
use trunkline::tensor::Tensor;
use trunkline::trunk::fast::Kernels;
use trunkline::trunk::{Map, TrunkProgram, TrunkStep, prepare};

/// Files of `../shared/models`.
const FILES: [&str; 3] = [
    "coral/mobilenet_v1_0.25_128_quant.tflite",
    "coral/tf2_mobilenet_v2_1.0_224_ptq.tflite",
    "mlperf_tiny/pretrainedResnet_quant.tflite",
];

const KERNELS: [Kernels; 2] = [Kernels::Reference, Kernels::Auto];

/// The least time of `work`, over `limit` and three runs at least.
fn least(limit: Duration, mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    let mut runs = 0;
    while runs < 3 || start.elapsed() < limit {
        let before = Instant::now();
        work();
        best = best.min(before.elapsed());
        runs += 1;
    }
    best
}

/// What a step is called here: depthwise convolutions are a kind of their own.
fn kind(trunk: &Trunk, step: &TrunkStep) -> &'static str {
    match &trunk.graph.node(step.nodes[0]).op {
        Op::Conv2d(conv) if conv.is_depthwise() => "depthwise",
        op => op.name(),
    }
}

/// Per kind: how many steps, and their least times under both kernels.
fn by_kind(trunk: &Trunk, programs: &[TrunkProgram; 2], x: &Tensor<i8>, limit: Duration) {
    let maps = programs[1].run_all(x).expect("a program alone");
    let mut rows: BTreeMap<&str, (usize, [f64; 2])> = BTreeMap::new();
    for (i, step) in programs[0].steps.iter().enumerate() {
        let inputs: Vec<Map<'_>> = step.inputs.iter().map(|edge| (&maps[edge]).into()).collect();
        let mut out = vec![0; maps[&step.output].data.len()];
        let row = rows.entry(kind(trunk, step)).or_default();
        row.0 += 1;
        for (program, time) in programs.iter().zip(&mut row.1) {
            let run = || _ = std::hint::black_box(program.steps[i].run_into(&inputs, None, &mut out));
            *time += least(limit, run).as_secs_f64();
        }
    }
    for (kind, (steps, times)) in rows {
        print(kind, steps, times, x.batch);
    }
}

fn print(kind: &str, steps: usize, [reference, fast]: [f64; 2], batch: usize) {
    let us = |seconds: f64| seconds * 1e6 / batch as f64;
    println!("| {kind} | {steps} | {:.1} | {:.1} | {:.1} |", us(reference), us(fast), reference / fast);
}

fn network(name: &str, trunk: &Trunk, limit: Duration) {
    let program = prepare(&trunk.graph, &trunk.profile, 8).expect("a quantised graph");
    let programs = KERNELS.map(|kernels| program.clone().with_kernels(kernels));
    let shape = trunk.graph.shape(trunk.graph.input);
    let codes = (0..shape.elements()).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i8);
    let x = Tensor::from_vec(1, shape, codes.collect());
    println!("\n{name}\n\n| operation | steps | reference, µs | fast, µs | ratio |\n|---|---|---|---|---|");
    by_kind(trunk, &programs, &x, limit / 20);
    let whole = programs.each_ref().map(|program| {
        least(limit, || drop(std::hint::black_box(program.run_all(&x).expect("a program alone")))).as_secs_f64()
    });
    print("all", program.steps.len(), whole, 1);
}

/// A network with random weights and scales from one procedural image.
fn calibrated(name: &str, size: usize) -> Option<Trunk> {
    let mut trunk = Trunk::open(name, Wanted { input: Some(size), classes: Some(1000), seed: 0 }).ok()?;
    let task = data::open("synth:shapes", &OpenOptions { limit: Some(1), seed: 0, size: Some([size; 2]) }).ok()?;
    let shape = trunk.graph.shape(trunk.graph.input);
    trunk.calibrate(&reals(&task.images, shape, trunk.preprocess).ok()?).ok()?;
    Some(trunk)
}

fn main() {
    let limit = Duration::from_millis(if std::env::args().any(|arg| arg == "--test") { 0 } else { 1000 });
    // The measuring thread is the pool, so that no call waits for another thread to wake up.
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().expect("the first pool");
    for file in FILES {
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/models")).join(file);
        if path.exists() {
            network(file, &Trunk::import(&path).expect("a model that we import"), limit);
        } else {
            println!("SKIPPED: {} is absent", path.display());
        }
    }
    match calibrated("mobilenetv3-large", 224) {
        Some(trunk) => network("mobilenetv3-large@224", &trunk, limit),
        None => println!("SKIPPED: the zoo has no mobilenetv3-large"),
    }
}
