//! Timing of a trunk: every layer of ResNet-50 on every preset, and the whole account of an image.
//!
//! `layers/*` is the timing model alone, from shapes to the time of each layer. `account/*` is one
//! placed image on a system: taps, link, the schedule of single images in flight, and its energy.
//!
//! ```text
//! cargo bench --bench hardware            # times
//! cargo bench --bench hardware -- --test  # each measurement once
//! ```

use criterion::Criterion;
use std::hint::black_box;
use trunkline::hw::timing::layers::{self, Layer};
use trunkline::hw::timing::{Residency, TrunkTiming};
use trunkline::hw::{Body, Kind, Trunk, library};
use trunkline::model::zoo::ZooSpec;
use trunkline::plan::schedule;
use trunkline::plan::tap::{TapPrecision, taps};
use trunkline::plan::tap_format::TapFormat;
use trunkline::price::price;
use trunkline::scheme::{self, Request, SchemeSpec};

const NETWORK: &str = "resnet50-v1";
const SYSTEM: &str = "edge-nvdla-orin-ucie";

fn trunk(name: &str) -> Trunk {
    let model = library::load(Kind::Trunk, name).expect("a preset");
    let Body::Trunk(trunk) = model.body else { unreachable!("a trunk was asked for") };
    *trunk
}

fn total_ps(layers: &[Layer], timing: &TrunkTiming, trunk: &Trunk) -> u64 {
    let mut residency = Residency::new(trunk);
    layers.iter().map(|layer| timing.step(&residency.place(layer.work)).total_ps).sum()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let graph = ZooSpec::parse(NETWORK, None, None, 0).and_then(|spec| spec.build()).expect("a network of the zoo");
    let listed = layers::of(&graph).expect("a sound graph");

    let mut group = criterion.benchmark_group("layers");
    for entry in library::list().into_iter().filter(|e| e.kind == Kind::Trunk) {
        let trunk = trunk(entry.name);
        let timing = TrunkTiming::new(&trunk);
        group.bench_function(entry.name, |b| b.iter(|| total_ps(black_box(&listed), &timing, &trunk)));
    }
    group.bench_function("from the graph", |b| b.iter(|| layers::of(black_box(&graph)).expect("a sound graph")));
    group.finish();

    let system = library::load_system(SYSTEM).expect("a shipped system");
    let request = Request { scheme: SchemeSpec("parallel".into()), sites: None, batch_norm: None, seed: 0 };
    let placed = scheme::place(&graph, &request).expect("the scheme fits");
    let taps = taps(&placed, TapPrecision::on(&system, TapFormat::Int8)).expect("a sound graph");
    let mut group = criterion.benchmark_group("account");
    group.bench_function("time and energy", |b| {
        b.iter(|| {
            let timed = schedule::time(black_box(&placed.graph), &taps, &system).expect("a sound graph");
            price(&timed.activity, &system)
        });
    });
    group.finish();
    criterion.final_summary();
}
