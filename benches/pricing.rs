//! How fast a plan is timed and priced: one account, prepared plans over systems, a training step.
//!
//! ```text
//! cargo bench --bench pricing            # times
//! cargo bench --bench pricing -- --test  # each measurement once
//! ```

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rayon::prelude::*;
use std::hint::black_box;
use trunkline::graph::gradient::Gradients;
use trunkline::hw::System;
use trunkline::hw::library::load_system;
use trunkline::model::zoo::ZooSpec;
use trunkline::plan::prepared::Prepared;
use trunkline::plan::tap::{TapPrecision, taps};
use trunkline::plan::training::Batch;
use trunkline::plan::{backward, schedule};
use trunkline::price::price;
use trunkline::quant::error_code::GradFormat;
use trunkline::scheme::{BatchNormMode, Placed, Request, SchemeSpec, Sites, place};

fn placed(network: &str, size: usize, scheme: &str, sites: Option<Sites>) -> Placed {
    let trunk = ZooSpec::parse(network, Some(size), Some(10), 1).expect("a network").build().expect("a graph");
    let batch_norm = Some(BatchNormMode::Frozen);
    let request = Request { scheme: SchemeSpec(scheme.into()), sites, batch_norm, seed: 1 };
    place(&trunk, &request).expect("a place for it")
}

fn systems() -> Vec<System> {
    let names = ["asic-h200-pcie", "asic-a100-pcie", "asic-rtx4090-pcie", "edge-nvdla-orin-ucie", "nvdla-m1-usb"];
    names.map(|name| load_system(name).expect("a carried system")).into()
}

/// The issue's bound: a whole ResNet-50 account, timing and energy, under 200 µs.
fn account(c: &mut Criterion) {
    let resnet50 = placed("resnet50", 224, "head-only", None);
    let forward = taps(&resnet50, TapPrecision::codes(8)).expect("taps");
    let system = load_system("edge-nvdla-orin-ucie").expect("a carried system");
    c.bench_function("account/resnet50", |b| {
        b.iter(|| {
            let timed = schedule::time(&resnet50.graph, &forward, &system).expect("an order");
            black_box(price(&timed.activity, &system))
        })
    });
}

/// The issue's bound: at least 20,000 a second on two cores.
fn reprice(c: &mut Criterion) {
    let resnet26 = placed("resnet26", 64, "parallel", Some(Sites::AllButStem));
    let forward = taps(&resnet26, TapPrecision::codes(8)).expect("taps");
    let prepared = Prepared::forward(&resnet26.graph, &forward).expect("an order");
    let systems = systems();
    const TIMES: u64 = 2000;
    let mut group = c.benchmark_group("reprice");
    group.throughput(Throughput::Elements(TIMES)).sample_size(20);
    group.bench_function("resnet26", |b| {
        b.iter(|| {
            let one = |i: u64| {
                let system = &systems[i as usize % systems.len()];
                let timed = prepared.on(system, 1).bounds();
                price(&timed.activity, system).total_pj.v + timed.time.throughput_per_s
            };
            black_box((0..TIMES).into_par_iter().map(one).sum::<f64>())
        })
    });
    group.finish();
}

/// The issue's bound: a ResNet-26 step of 64 micro-batches under 5 ms.
fn step(c: &mut Criterion) {
    let resnet26 = placed("resnet26", 64, "parallel", Some(Sites::AllButStem));
    let forward = taps(&resnet26, TapPrecision::codes(8)).expect("taps");
    let gradients = Gradients::of(&resnet26.graph).expect("an order");
    let back = backward::taps(&resnet26, &gradients, GradFormat::F32);
    let prepared = Prepared::step(&resnet26.graph, &forward, &gradients, &back, &[]).expect("an order");
    let batch = Batch { micro_batches: 64, images: 1, in_flight: 8 };
    for system in systems() {
        c.bench_function(&format!("step/resnet26/64/{}", system.name), |b| {
            b.iter(|| black_box(prepared.train(&system, batch)))
        });
    }
}

criterion_group!(benches, account, reprice, step);
criterion_main!(benches);
