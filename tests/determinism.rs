//! Threads and micro-batches are a matter of speed: not a byte of a report may depend on them.

use std::process::Command;
use trunkline::data::{self, OpenOptions};
use trunkline::experiment::run::{Job, RunReport, Settings, run};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::hw::library::load_system;
use trunkline::scheme::{Request, SchemeSpec};

/// Threads and images per micro-batch: more images than a batch, fewer, and no multiple.
const HOW: [(usize, usize); 6] = [(1, 1), (1, 3), (1, 8), (2, 1), (2, 3), (2, 8)];
const IMAGES: usize = 7;

fn report(trunk: &str, scheme: &str, (threads, micro_batch): (usize, usize), seed: u64) -> RunReport {
    let trunk = Trunk::open(trunk, Wanted { input: Some(32), classes: Some(10), seed }).unwrap();
    let options = OpenOptions { limit: Some(IMAGES), seed, size: Some([32, 32]) };
    let tasks = ["synth:shapes", "synth:gratings"].map(|spec| data::open(spec, &options).unwrap()).to_vec();
    let system = load_system("asic-h200-pcie").unwrap();
    let request = Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: None, seed };
    let settings = Settings { micro_batch, threads, device: "cpu".into(), ..Settings::default() };
    run(Job { trunk, request, tasks, calibration: vec![], system: &system }, &settings, &|_| ()).unwrap()
}

fn assert_one_result(trunk: &str, scheme: &str) {
    let json = |how| serde_json::to_string(&report(trunk, scheme, how, 0)).unwrap();
    let first = json(HOW[0]);
    for how in &HOW[1..] {
        assert!(json(*how) == first, "{trunk} + {scheme}: {how:?} and {:?} give different bytes", HOW[0]);
    }
    assert_eq!(json(HOW[0]), first, "{trunk} + {scheme}: the same twice");
}

#[test]
fn resnet8_with_adaptive_attention() {
    assert_one_result("resnet8", "adaptive-attention");
}

#[test]
fn resnet8_with_parallel_adapters() {
    assert_one_result("resnet8", "parallel");
}

#[test]
fn resnet26_with_adaptive_attention() {
    assert_one_result("resnet26:width=0.25", "adaptive-attention");
}

#[test]
fn resnet26_with_parallel_adapters() {
    assert_one_result("resnet26:width=0.25", "parallel");
}

#[test]
fn fine_tuning_which_runs_everything_on_the_adapter_device() {
    assert_one_result("resnet8", "fine-tune");
}

#[test]
fn another_seed_is_another_result() {
    for scheme in ["adaptive-attention", "parallel"] {
        let [zero, one] = [0, 1].map(|seed| report("resnet8", scheme, (2, 8), seed));
        assert_ne!(zero.outputs_sha256, one.outputs_sha256, "{scheme}");
        assert_ne!(zero.trunk_sha256, one.trunk_sha256, "{scheme}: the weights are drawn anew");
        assert_eq!(zero.account.macs, one.account.macs, "{scheme}: and nothing else is");
        assert_eq!(zero.account.taps, one.account.taps, "{scheme}");
    }
}

fn program(scheme: &str, extra: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    command.env("NODEVICE_SELECT", "1");
    command.args(["run", "--trunk", "resnet8", "--batch", "7", "--device", "cpu", "--format", "json"]);
    let output = command.args(["--scheme", scheme]).args(extra).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!output.stdout.is_empty());
    output.stdout
}

#[test]
fn the_program_prints_the_same_bytes() {
    for scheme in ["adaptive-attention", "parallel"] {
        let how = |threads: &str, micro: &str| program(scheme, &["--threads", threads, "--micro-batch", micro]);
        let first = how("1", "1");
        assert!([("1", "8"), ("2", "1"), ("2", "3"), ("0", "8")].iter().all(|(t, m)| how(t, m) == first), "{scheme}");
        assert!(program(scheme, &["--seed", "1"]) != first, "{scheme}");
    }
}
