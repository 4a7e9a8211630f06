//! How fast analytic points are made: planned, placed, counted, priced and written, none of them known.
//!
//! ```text
//! cargo bench --bench sweep            # times
//! cargo bench --bench sweep -- --test  # each measurement once
//! ```

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::sync::atomic::AtomicBool;
use trunkline::experiment::sweep::{Plan, Source, SweepSettings, sweep};

const FILE: &str = r#"
mode = "analytic"
[grid]
trunks = ["resnet26"]
schemes = ["head-only", "parallel", "spatial-attention", "adaptive-attention", "final-conv"]
sites = ["every"]
tap-bits = [8, 16]
[grid.hardware]
trunks = ["fixed-weight-16nm", "nvdla-full-16nm", "eyeriss-v1-65nm", "edge-tpu"]
adapters = ["h200-sxm", "a100-sxm-80g", "rtx-4090"]
links = ["pcie-gen3", "pcie-gen4", "pcie-gen5", "usb3-gen1", "ucie-standard"]
"#;

/// The issue's bound: at least 3,000 points a second on two cores.
fn analytic(c: &mut Criterion) {
    let plan = Plan::of(Source { label: "bench".into(), text: FILE.into() }).expect("a plan");
    let settings = SweepSettings { threads: 2, ..SweepSettings::default() };
    let mut group = c.benchmark_group("sweep");
    group.throughput(Throughput::Elements(plan.len())).sample_size(10);
    group.bench_function("analytic", |b| {
        let folder = || tempfile::tempdir().expect("a folder");
        let all = |folder: tempfile::TempDir| {
            let swept = sweep(&plan, folder.path(), &settings, &AtomicBool::new(false), &mut |_| {}).expect("a sweep");
            assert!(!swept.stopped && swept.progress.failed == 0);
            folder
        };
        b.iter_batched(folder, all, BatchSize::PerIteration)
    });
    group.finish();
}

criterion_group!(benches, analytic);
criterion_main!(benches);
