//! The main job end to end, through the library: every scheme on two trunks, identity, the check
//! that predicted == observed, devices against each other, and accuracy on real images.

use std::collections::BTreeMap;
use std::path::Path;
use trunkline::data::{self, Dataset, OpenOptions};
use trunkline::device::{self, DeviceKind};
use trunkline::experiment::account::account;
use trunkline::experiment::run::{ExperimentError, Job, RunReport, Settings, run};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::experiment::{input, run as experiment};
use trunkline::hw::library::load_system;
use trunkline::plan::macs::MacRule;
use trunkline::plan::tap::{Tap, TapPrecision, taps};
use trunkline::plan::tap_format::TapFormat;
use trunkline::run::{self as bus_run, Outcome, Prepared, RunError};
use trunkline::scheme::{self, BatchNormMode, Placed, Request, SCHEMES, Scheme, SchemeSpec};
use trunkline::trunk::{TrunkProgram, prepare};
use trunkline::units::{Direction, Phase};

mod common;

const SYSTEM: &str = "asic-h200-pcie";
const IMPORTED: &str = "models/mlperf_tiny/pretrainedResnet_quant.tflite";

/// Every scheme that can run.
fn schemes() -> impl Iterator<Item = &'static Scheme> {
    SCHEMES.iter().filter(|s| s.counted_only.is_none())
}

fn request(scheme: &str) -> Request {
    Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: None, seed: 0 }
}

fn at(scheme: &str, sites: &str) -> Request {
    Request { sites: Some(sites.parse().unwrap()), ..request(scheme) }
}

fn with_norm(scheme: &str, batch_norm: BatchNormMode) -> Request {
    Request { batch_norm: Some(batch_norm), ..request(scheme) }
}

/// Three images in two micro-batches on the twins.
fn settings() -> Settings {
    Settings { micro_batch: 2, threads: 2, device: "cpu".into(), ..Settings::default() }
}

fn images(spec: &str, trunk: &Trunk, limit: usize) -> Dataset {
    let shape = trunk.graph.shape(trunk.graph.input);
    data::open(spec, &OpenOptions { limit: Some(limit), seed: 0, size: Some([shape.h, shape.w]) }).unwrap()
}

fn zoo(spec: &str) -> Trunk {
    Trunk::open(spec, Wanted { classes: Some(10), ..Wanted::default() }).unwrap()
}

fn imported() -> Option<Trunk> {
    common::shared(IMPORTED).map(|path| Trunk::import(&path).unwrap())
}

/// The zoo's ResNet-8, and the trained one where it is there.
fn trunks() -> Vec<Trunk> {
    [Some(zoo("resnet8")), imported()].into_iter().flatten().collect()
}

fn report(trunk: &Trunk, request: Request, settings: &Settings) -> Result<RunReport, ExperimentError> {
    on_system(trunk, request, settings, SYSTEM)
}

fn on_system(trunk: &Trunk, request: Request, settings: &Settings, system: &str) -> Result<RunReport, ExperimentError> {
    let system = load_system(system).unwrap();
    let tasks = vec![images("synth:shapes", trunk, 3)];
    run(Job { trunk: trunk.clone(), request, tasks, calibration: vec![], system: &system }, settings, &|_| ())
}

/// What must hold of every report.
fn assert_sane(report: &RunReport, trunk: &Trunk, what: &str) {
    let a = &report.account;
    assert!(report.predicted_equals_observed, "{what}");
    assert_eq!((report.outputs_sha256.len(), report.trunk_sha256.len()), (64, 64), "{what}");
    assert!(report.accuracy.is_some_and(|a| (0.0..=1.0).contains(&a)), "{what}: {:?}", report.accuracy);
    assert_eq!(a.macs.trunk + a.macs.adapter + a.macs.host, a.macs.total, "{what}");
    let bare: u64 = trunk.graph.node_ids().map(|n| trunk.graph.macs(n)).sum();
    assert!(a.macs.total >= bare, "{what}: an adapter takes no work away");
    for domain in &report.visual_domains {
        assert_eq!(domain.macs.total, a.macs.total * domain.images as u64, "{what}");
    }
    let p = &a.params;
    assert!(0 < p.trainable && p.trainable <= p.total && p.total_without_head < p.total, "{what}: {p:?}");
    assert!(p.trainable_without_head <= p.total_without_head, "{what}: {p:?}");
    assert_taps(report, what);
    assert!(a.time.latency_ps > 0 && a.time.throughput_per_s > 0.0, "{what}: {:?}", a.time);
    assert!(a.time.busy_ps.values().all(|&busy| busy <= a.time.latency_ps), "{what}: {:?}", a.time);
    let e = &a.energy_pj;
    let parts = e.trunk + e.adapter + e.host + e.link + e.memory + e.idle;
    assert!((parts - e.total).abs() <= 1e-9 * e.total, "{what}: {e:?}");
    assert!(0.0 < e.low && e.low <= e.total && e.total <= e.high, "{what}: {e:?}");
    assert!(!e.lower_bound || !a.unknown.is_empty(), "{what}: a bound names what is unknown");
}

fn assert_taps(report: &RunReport, what: &str) {
    let a = &report.account;
    let forward: Vec<&Tap> = a.taps.iter().filter(|t| t.phase == Phase::Forward).collect();
    assert!(!forward.is_empty(), "{what}: something has to cross");
    for tap in &a.taps {
        assert_eq!(tap.elements, tap.shape.elements() as u64, "{what}: {tap:?}");
        assert_eq!(tap.bytes * 8, tap.elements * u64::from(tap.bits), "{what}: {tap:?}");
    }
    let c = &a.connections;
    assert_eq!(c.unfiltered, forward.iter().map(|t| t.elements).sum::<u64>(), "{what}");
    assert!(c.tap_out + c.tap_in == c.total && c.total <= c.unfiltered, "{what}: {c:?}");
    assert_eq!(a.link.payload_bytes, forward.iter().map(|t| t.bytes).sum::<u64>(), "{what}");
    assert!(a.link.wire_bytes > a.link.payload_bytes && a.link.transactions >= forward.len() as u64, "{what}");
}

#[test]
fn every_scheme_does_what_it_predicts() {
    for trunk in trunks() {
        for scheme in schemes() {
            for (bits, norm) in [(8, BatchNormMode::Frozen), (16, BatchNormMode::Registers)] {
                let what = format!("{} + {} at {bits} bits, {norm:?}", trunk.name, scheme.name);
                let settings = Settings { tap_in_bits: bits.to_string().parse().unwrap(), ..settings() };
                let report = report(&trunk, with_norm(scheme.name, norm), &settings).unwrap();
                assert_sane(&report, &trunk, &what);
                let registers = report.account.taps.iter().any(|t| t.phase == Phase::Switch);
                let loads = norm == BatchNormMode::Registers && scheme.name != "fine-tune";
                assert_eq!(registers, loads, "{what}: registers are loaded where the trunk has any to load");
            }
        }
    }
}

#[test]
fn parallel_adapters_do_what_they_predict_at_every_placement() {
    for trunk in trunks() {
        let names: Vec<&str> =
            trunk.graph.nodes.iter().filter(|n| n.op.name() == "conv2d").map(|n| n.name.as_str()).collect();
        let list = format!("{},{}", names[1], names[2]);
        let mut elements = BTreeMap::new();
        for sites in ["all", "all-but-stem", "early", "mid", "late", "half", &list] {
            for bits in [8, 16] {
                let what = format!("{} at {sites}, {bits} bits", trunk.name);
                let settings = Settings { tap_in_bits: bits.to_string().parse().unwrap(), ..settings() };
                let report = report(&trunk, at("parallel", sites), &settings).unwrap();
                assert_sane(&report, &trunk, &what);
                assert_eq!(report.account.sites, sites);
                let sums = report.account.taps.iter().filter(|t| t.direction == Direction::TapIn);
                assert!(sums.filter(|t| t.phase == Phase::Forward).all(|t| t.bits == bits), "{what}");
                elements.insert(sites.to_string(), report.account.connections.unfiltered);
            }
        }
        assert!(elements["all"] > elements["all-but-stem"] && elements["all-but-stem"] > elements["half"]);
    }
}

#[test]
fn attention_does_what_it_predicts_at_every_placement() {
    for trunk in trunks() {
        for scheme in ["adaptive-attention", "spatial-attention"] {
            for back in ["mask", "map"] {
                for sites in
                    ["before-each-stage", "after-each-stage", "all", "early", "mid", "late", "before:1,after:3"]
                {
                    let what = format!("{} + {scheme} returning a {back} at {sites}", trunk.name);
                    let placed = at(&format!("{scheme}:return={back}"), sites);
                    let report = report(&trunk, placed, &settings()).unwrap();
                    assert_sane(&report, &trunk, &what);
                    let c = &report.account.connections;
                    assert_eq!(back == "map", c.tap_in == c.tap_out, "{what}: {c:?}");
                }
            }
        }
    }
}

#[test]
fn schemes_on_blocks_do_what_they_predict_at_every_placement() {
    for trunk in trunks() {
        for scheme in ["da3", "lite-residual:tap=pooled", "squeeze-excite", "cbam"] {
            let mut elements = BTreeMap::new();
            for sites in [
                "each-block",
                "all",
                "early",
                "mid",
                "late",
                "half",
                "before-each-stage",
                "after-each-stage",
                "block:1,block:3",
            ] {
                let what = format!("{} + {scheme} at {sites}", trunk.name);
                let report = report(&trunk, at(scheme, sites), &settings()).unwrap();
                assert_sane(&report, &trunk, &what);
                elements.insert(sites, report.account.connections.unfiltered);
            }
            assert_eq!(elements["all"], elements["each-block"], "{scheme}");
            assert!(elements["all"] > elements["block:1,block:3"] && elements["block:1,block:3"] > elements["late"]);
        }
    }
}

/// Values cost more bytes than codes; single-precision ones, rounded in the trunk, are the same network.
#[test]
fn values_that_cross_cost_bytes_and_change_little() {
    for trunk in trunks() {
        for scheme in ["parallel", "series:init=zero", "squeeze-excite"] {
            let with = |format: &str| {
                let settings = Settings { tap_in_bits: format.parse().unwrap(), ..settings() };
                let report = report(&trunk, request(scheme), &settings).unwrap();
                assert_sane(&report, &trunk, &format!("{} + {scheme} as {format}", trunk.name));
                report
            };
            let [codes, half, single] = ["int16", "f16", "f32"].map(with);
            assert_eq!(codes.outputs_sha256, single.outputs_sha256, "{scheme}");
            let entering = |r: &RunReport| -> Vec<(u32, bool)> {
                let enters = |t: &&Tap| t.direction == Direction::TapIn && t.phase == Phase::Forward;
                r.account.taps.iter().filter(enters).map(|t| (t.bits, t.values)).collect()
            };
            assert!(entering(&half).iter().all(|&t| t == (16, true)), "{scheme}");
            assert!(entering(&single).iter().all(|&t| t == (32, true)), "{scheme}");
            let bytes = [&codes, &half, &single].map(|r| r.account.link.payload_bytes);
            assert!(bytes[0] <= bytes[1] && bytes[1] < bytes[2], "{scheme}: {bytes:?}");
            // A link whose energy is known.
            let system = load_system("edge-nvdla-orin-ucie").unwrap();
            let energy = [TapFormat::Int16, TapFormat::F16, TapFormat::F32].map(|format| {
                let (row, _) = account(&trunk, &request(scheme), &system, format, MacRule::Conv).unwrap();
                row.energy_pj.link
            });
            // A few factors per channel fit the link's smallest packet in any form.
            let more = energy[1] < energy[2] || scheme == "squeeze-excite";
            assert!(0.0 < energy[0] && energy[0] <= energy[1] && more, "{scheme}: {energy:?}");
        }
    }
}

#[test]
fn what_can_only_be_counted_says_so() {
    let trunk = zoo("resnet8");
    let system = load_system(SYSTEM).unwrap();
    let (row, _) = account(&trunk, &request("piggyback"), &system, TapFormat::Int8, MacRule::Conv).unwrap();
    assert_eq!((row.macs.trunk, row.taps.len()), (0, 1));
    // A mask for every weight but the classifier's, and that with its bias.
    let weights = trunk.graph.params.iter().filter(|p| p.name.ends_with("weight"));
    let weights: usize = weights.map(|p| p.value.len()).sum();
    assert_eq!(row.params.trainable, weights as u64 + 10);
    let error = report(&trunk, request("piggyback"), &settings()).unwrap_err().to_string();
    assert!(error.contains("piggyback") && error.contains("cannot run"), "{error}");
}

#[test]
fn options_of_attention_change_what_they_say() {
    let trunk = zoo("resnet8");
    let settings = settings();
    let two = report(&trunk, request("adaptive-attention"), &settings).unwrap();
    let eight = report(&trunk, request("adaptive-attention:m=8"), &settings).unwrap();
    let share = report(&trunk, request("adaptive-attention:m=c/8"), &settings).unwrap();
    assert!(eight.account.params.trainable > share.account.params.trainable);
    assert!(share.account.params.trainable > two.account.params.trainable);
    let doubled = report(&trunk, request("adaptive-attention:gate=2sigmoid"), &settings).unwrap();
    assert_ne!(doubled.outputs_sha256, two.outputs_sha256);
    assert_eq!(doubled.account.macs, two.account.macs);
}

#[test]
fn counting_alone_gives_what_a_run_gives() {
    let system = load_system(SYSTEM).unwrap();
    for trunk in trunks() {
        for scheme in schemes() {
            let ran = report(&trunk, request(scheme.name), &settings()).unwrap().account;
            let (counted, _) = account(&trunk, &request(scheme.name), &system, TapFormat::Int8, MacRule::Conv).unwrap();
            // A run adds notes on what it did; nothing else may differ.
            let without_notes = |mut a: trunkline::experiment::account::Account| {
                a.notes.clear();
                serde_json::to_string(&a).unwrap()
            };
            assert_eq!(without_notes(ran), without_notes(counted), "{} + {}", trunk.name, scheme.name);
        }
    }
}

#[test]
fn two_tasks_run_one_after_another_and_are_told_apart() {
    let trunk = zoo("resnet8");
    let system = load_system(SYSTEM).unwrap();
    let job = |specs: &[&str]| Job {
        trunk: trunk.clone(),
        request: request("parallel"),
        tasks: specs.iter().map(|s| images(s, &trunk, 3)).collect(),
        calibration: vec![],
        system: &system,
    };
    let both = run(job(&["synth:shapes", "synth:gratings"]), &settings(), &|_| ()).unwrap();
    let names: Vec<&str> = both.visual_domains.iter().map(|d| d.data.as_str()).collect();
    assert_eq!((names, both.images), (vec!["shapes", "gratings"], 6));
    let right: f64 = both.visual_domains.iter().map(|d| d.accuracy.unwrap() * d.images as f64).sum();
    assert!((both.accuracy.unwrap() * 6.0 - right).abs() < 1e-9);
    let nothing = run(job(&[]), &settings(), &|_| ());
    assert!(matches!(nothing, Err(ExperimentError::NoImages)), "{:?}", nothing.map(|r| r.images));
}

#[test]
fn progress_is_told_of_every_image_once() {
    let trunk = zoo("resnet8");
    let system = load_system(SYSTEM).unwrap();
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let tasks = vec![images("synth:shapes", &trunk, 5)];
    let job = Job { trunk, request: request("head-only"), tasks, calibration: vec![], system: &system };
    run(job, &settings(), &|n| {
        seen.fetch_add(n, std::sync::atomic::Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(seen.into_inner(), 5);
}

#[test]
fn the_null_device_counts_the_same_and_claims_no_accuracy() {
    for scheme in schemes() {
        let trunk = zoo("resnet8");
        let nowhere = Settings { device: "null".into(), ..settings() };
        let counted = report(&trunk, request(scheme.name), &nowhere).unwrap();
        let computed = report(&trunk, request(scheme.name), &settings()).unwrap();
        assert_eq!((counted.accuracy, counted.device_kind.as_str()), (None, "null"));
        assert_eq!(counted.account.macs, computed.account.macs);
        assert_eq!(counted.account.taps, computed.account.taps);
    }
}

// ---- identity ----------------------------------------------------------------------------------

/// A trunk with codes on every map.
fn calibrated(mut trunk: Trunk) -> Trunk {
    if !trunk.is_calibrated() {
        let set = images("synth:shapes", &trunk, 8);
        let shape = trunk.graph.shape(trunk.graph.input);
        trunk.calibrate(&input::reals(&set.images, shape, trunk.preprocess).unwrap()).unwrap();
    }
    trunk
}

fn place(trunk: &Trunk, request: &Request) -> Placed {
    scheme::place(&trunk.graph, request).unwrap()
}

fn prepared(trunk: &Trunk, placed: &Placed, bits: u8) -> TrunkProgram {
    prepare(&placed.graph, &trunk.profile, bits).unwrap()
}

/// Runs a placed graph on the twins, over the bus, with whatever taps are given.
fn run_with(
    trunk: &Trunk,
    placed: &Placed,
    program: &TrunkProgram,
    taps: &[Tap],
    set: &Dataset,
) -> Result<Outcome, RunError> {
    let graph = &placed.graph;
    let (shape, quant) = (graph.shape(graph.input), graph.edge(graph.input).quant);
    let source = |from: usize, to: usize| {
        input::codes(&set.images[from..to], shape, trunk.preprocess, quant).map_err(|e| RunError::Input(e.to_string()))
    };
    let settings = bus_run::Settings { images: set.len(), micro_batch: 2, slots: 2, threads: 1, record: false };
    let mut device = device::open("cpu").unwrap();
    bus_run::run(&Prepared { placed, trunk: program, taps }, device.as_mut(), &source, &settings)
}

fn outputs(trunk: &Trunk, placed: &Placed, bits: u8, set: &Dataset) -> Vec<Vec<u32>> {
    let program = prepared(trunk, placed, bits);
    let taps = taps(placed, TapPrecision::codes(bits.into())).unwrap();
    let outcome = run_with(trunk, placed, &program, &taps, set).unwrap();
    outcome.outputs.into_iter().map(|values| values.into_iter().map(f32::to_bits).collect()).collect()
}

/// Every map that the trunk makes while it runs with its adapters, by the step that makes it.
///
/// A run gives only the network's output, so the network is cut after each step in turn: its output
/// is then that map. Codes and their real values are one to one, so bits can be compared.
fn trunk_maps(trunk: &Trunk, placed: &Placed, bits: u8, set: &Dataset) -> BTreeMap<String, Vec<Vec<u32>>> {
    let steps = prepared(trunk, placed, bits).steps;
    let map = |output| {
        let mut cut = placed.clone();
        cut.graph.output = output;
        outputs(trunk, &cut, bits, set)
    };
    steps.iter().map(|step| (step.name.clone(), map(step.output))).collect()
}

/// Names of the bare trunk's steps whose maps are not the same under `request`.
fn changed(trunk: &Trunk, request: &Request, bits: u8) -> Vec<String> {
    let set = images("synth:shapes", trunk, 3);
    let bare = trunk_maps(trunk, &place(trunk, &with_norm("head-only", BatchNormMode::Frozen)), bits, &set);
    let placed = place(trunk, request);
    let adapted = trunk_maps(trunk, &placed, bits, &set);
    assert!(bare.len() >= 9, "{}: {:?}", trunk.name, bare.keys());
    // A product that a mask makes must be the map that it was made from.
    for step in prepared(trunk, &placed, bits).steps.iter().filter(|s| s.op == "mul") {
        let mut before = placed.clone();
        before.graph.output = step.inputs[0];
        let same = outputs(trunk, &before, bits, &set) == adapted[&step.name];
        if !same {
            return vec![step.name.clone()];
        }
    }
    bare.iter().filter(|(name, map)| adapted[*name] != **map).map(|(name, _)| name.clone()).collect()
}

fn assert_identity(request: &Request, bits: u8) {
    let small = zoo("resnet26:width=0.25,input=32");
    for trunk in trunks().into_iter().chain([small]).map(calibrated) {
        let what = format!("{} + {} at {bits} bits", trunk.name, request.scheme);
        assert_eq!(changed(&trunk, request, bits), Vec::<String>::new(), "{what}");
        let set = images("synth:gratings", &trunk, 4);
        let bare = place(&trunk, &with_norm("head-only", BatchNormMode::Frozen));
        assert_eq!(
            outputs(&trunk, &place(&trunk, request), bits, &set),
            outputs(&trunk, &bare, bits, &set),
            "{what}: logits"
        );
    }
}

#[test]
fn adaptive_attention_at_identity_changes_no_trunk_code() {
    for back in ["mask", "map"] {
        assert_identity(&request(&format!("adaptive-attention:gate=2sigmoid,init=zero,return={back}")), 8);
    }
}

#[test]
fn spatial_attention_at_identity_changes_no_trunk_code() {
    for back in ["mask", "map"] {
        assert_identity(&request(&format!("spatial-attention:gate=2sigmoid,init=zero,return={back}")), 8);
    }
}

#[test]
fn parallel_adapters_at_zero_change_no_trunk_code() {
    for bits in [8, 16] {
        assert_identity(&request("parallel:init=zero"), bits);
    }
}

#[test]
fn loadable_registers_change_no_trunk_code() {
    assert_identity(&with_norm("head-only", BatchNormMode::Registers), 8);
}

/// Every other scheme that changes anything, at its identity.
#[test]
fn every_scheme_at_identity_changes_no_trunk_code() {
    for spec in [
        "bias-only",
        "batch-norm",
        "low-rank:init=zero",
        "series:at=layer,init=zero",
        "squeeze-excite:gate=2sigmoid,init=zero",
        "squeeze-excite:gate=2sigmoid,init=zero,return=map",
        "squeeze-excite:gate=2sigmoid,init=zero,tap=pooled",
        "cbam:gate=2sigmoid,init=zero",
        "cbam:gate=2sigmoid,init=zero,return=map",
        "adaptive-attention:gate=2sigmoid,init=zero,tap=pooled",
        "da3",
        "da3:tap=pooled",
        "da3:form=res",
        "lite-residual:tap=pooled",
        "side-path",
        "side-path:tap=pooled",
    ] {
        assert_identity(&request(spec), 8);
    }
}

/// A series adapter before a batch norm makes the chip round there; of that rounding, nothing is changed.
#[test]
fn series_adapters_at_zero_change_no_code_of_a_chip_that_rounds_where_they_are() {
    let series = request("series:init=zero");
    if let Some(trunk) = imported() {
        assert_eq!(changed(&trunk, &series, 8), Vec::<String>::new(), "imported layers are rounded there anyway");
    }
    for trunk in [zoo("resnet8"), zoo("resnet26:width=0.25,input=32")].map(calibrated) {
        let placed = place(&trunk, &series);
        let mut rounding = trunk.clone();
        for node in &trunk.graph.nodes {
            let adapted = format!("series.{}", node.name);
            if placed.graph.nodes.iter().any(|n| n.site.as_deref() == Some(&adapted)) {
                rounding.graph.edge_mut(node.output).origin = Some(0);
            }
        }
        let set = images("synth:gratings", &trunk, 4);
        let bare = place(&rounding, &with_norm("head-only", BatchNormMode::Registers));
        assert_eq!(outputs(&trunk, &placed, 8, &set), outputs(&rounding, &bare, 8, &set), "{}", trunk.name);
    }
}

#[test]
fn adapters_that_are_not_at_identity_do_change_codes() {
    let trunk = calibrated(zoo("resnet8"));
    for scheme in ["adaptive-attention", "spatial-attention:gate=2sigmoid", "parallel"] {
        assert!(!changed(&trunk, &request(scheme), 8).is_empty(), "{scheme}");
    }
}

// ---- predicted == observed ---------------------------------------------------------------------

/// Runs ResNet-8 with parallel adapters under taps that were tampered with.
fn with_tampered_taps(tamper: impl FnOnce(&mut Vec<Tap>)) -> Result<Outcome, RunError> {
    let trunk = calibrated(zoo("resnet8"));
    let placed = place(&trunk, &with_norm("parallel", BatchNormMode::Registers));
    let mut taps = taps(&placed, TapPrecision::codes(8)).unwrap();
    tamper(&mut taps);
    run_with(&trunk, &placed, &prepared(&trunk, &placed, 8), &taps, &images("synth:shapes", &trunk, 3))
}

#[test]
fn a_wrong_prediction_is_caught() {
    assert!(with_tampered_taps(|_| ()).is_ok());
    for direction in [Direction::TapOut, Direction::TapIn] {
        for event in ["PayloadBytes", "Elements"] {
            let outcome = with_tampered_taps(|taps| {
                let tap = taps.iter_mut().find(|t| t.direction == direction && t.phase == Phase::Forward).unwrap();
                *(if event == "Elements" { &mut tap.elements } else { &mut tap.bytes }) += 1;
            });
            let Err(error @ RunError::NotAsPredicted(_)) = outcome else { panic!("{event} of {direction} went by") };
            let text = error.to_string();
            assert!(text.contains(event) && text.contains("predicted") && text.contains("observed"), "{text}");
        }
    }
}

#[test]
fn a_register_load_that_the_plan_forgot_is_caught() {
    let outcome = with_tampered_taps(|taps| taps.retain(|t| t.phase == Phase::Forward));
    assert!(matches!(outcome, Err(RunError::NotAsPredicted(d)) if d.iter().all(|d| d.predicted == 0)));
    let doubled = with_tampered_taps(|taps| taps.extend(taps.clone().last().cloned()));
    assert!(matches!(doubled, Err(RunError::NotAsPredicted(_))));
}

// ---- where the adapters run, and who rounds -----------------------------------------------------

/// A software Vulkan device, such as Mesa's lavapipe.
fn software() -> Option<String> {
    let found = device::list().into_iter().find(|d| d.kind == DeviceKind::Software).map(|d| d.name);
    if found.is_none() {
        let required = std::env::var("TRUNKLINE_REQUIRE_GPU").is_ok_and(|v| v == "1");
        assert!(!required, "there is no software Vulkan device and TRUNKLINE_REQUIRE_GPU=1");
        println!("SKIPPED: there is no software Vulkan device");
    }
    found
}

#[test]
fn a_gpu_and_the_twins_give_the_same_ledger_and_almost_the_same_codes() {
    let Some(software) = software() else { return };
    for trunk in trunks() {
        for (scheme, bits) in [
            ("adaptive-attention", 8),
            ("adaptive-attention:return=map", 8),
            ("spatial-attention", 8),
            ("parallel", 8),
            ("parallel", 16),
            ("final-conv", 8),
        ] {
            let what = format!("{} + {scheme} at {bits} bits", trunk.name);
            let settings = Settings {
                tap_in_bits: bits.to_string().parse().unwrap(),
                compare: Some(software.clone()),
                ..settings()
            };
            let c = report(&trunk, request(scheme), &settings).unwrap().comparison.unwrap();
            assert_eq!(c.device, software);
            assert!(c.same_ledger, "{what}");
            assert_eq!(c.tap_in_codes > 0, scheme != "final-conv", "{what}");
            let share = c.tap_in_codes_differing as f64 / c.tap_in_codes.max(1) as f64;
            println!("{what}: {} of {} tap-in codes differ", c.tap_in_codes_differing, c.tap_in_codes);
            assert!(share < 0.01, "{what}: {} of {}", c.tap_in_codes_differing, c.tap_in_codes);
            assert!(c.largest_output_difference < 0.05, "{what}: {}", c.largest_output_difference);
        }
    }
}

#[test]
fn a_comparison_with_a_device_that_computes_nothing_finds_differences() {
    let settings = Settings { compare: Some("null".into()), ..settings() };
    let c = report(&zoo("resnet8"), request("parallel"), &settings).unwrap().comparison.unwrap();
    assert!(c.tap_in_codes_differing > c.tap_in_codes / 2 && c.outputs_differing > 0, "{c:?}");
    assert!(c.same_ledger, "counting needs no values");
}

#[test]
fn a_device_that_is_not_there_is_refused_before_anything_runs() {
    let unheard = |n: usize| panic!("{n} images ran");
    let system = load_system(SYSTEM).unwrap();
    let trunk = zoo("resnet8");
    for (device, compare) in [("no-such-device", None), ("cpu", Some("no-such-device".to_string()))] {
        let tasks = vec![images("synth:shapes", &trunk, 1)];
        let job =
            Job { trunk: trunk.clone(), request: request("parallel"), tasks, calibration: vec![], system: &system };
        let settings = Settings { device: device.into(), compare, ..settings() };
        assert!(matches!(run(job, &settings, &unheard), Err(ExperimentError::Device(_))));
    }
}

/// A system of built-in parts whose trunk rounds what enters it.
fn system_whose_trunk_rounds(folder: &Path) -> String {
    let path = folder.join("rounds.toml");
    let text = r#"
schema = "hw_models/system/1"
name = "trunk-rounds"
trunk = "fixed-weight-16nm"
adapter = "h200-sxm"
link = "pcie-gen3-x8"
launch_api = "vulkan"
tap_in_rounds = "trunk"
"#;
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn which_side_rounds_changes_bytes_and_no_result() {
    let folder = tempfile::tempdir().unwrap();
    let rounds = system_whose_trunk_rounds(folder.path());
    for trunk in trunks() {
        for (scheme, bits) in [
            ("parallel", 8),
            ("parallel", 16),
            ("adaptive-attention", 8),
            ("adaptive-attention:return=map", 8),
            ("spatial-attention", 8),
        ] {
            let what = format!("{} + {scheme} at {bits} bits", trunk.name);
            let settings = Settings { tap_in_bits: bits.to_string().parse().unwrap(), ..settings() };
            let adapter = report(&trunk, request(scheme), &settings).unwrap();
            let trunk_side = on_system(&trunk, request(scheme), &settings, &rounds).unwrap();
            assert_eq!(adapter.outputs_sha256, trunk_side.outputs_sha256, "{what}");
            assert_eq!(adapter.trunk_sha256, trunk_side.trunk_sha256, "{what}");
            assert_sane(&trunk_side, &trunk, &what);
            let tap_ins = |r: &RunReport| -> Vec<u32> {
                let enters = |t: &&Tap| t.direction == Direction::TapIn && t.phase == Phase::Forward;
                r.account.taps.iter().filter(enters).map(|t| t.bits).collect()
            };
            assert!(tap_ins(&trunk_side).iter().all(|&b| b == 32), "{what}");
            assert!(tap_ins(&adapter).iter().all(|&b| b == bits), "{what}");
            assert!(trunk_side.account.link.payload_bytes > adapter.account.link.payload_bytes, "{what}");
        }
    }
}

// ---- real images -------------------------------------------------------------------------------

/// Top-1 of the trained ResNet-8, nothing adapted, on the first images of a set.
fn accuracy(kind: &str, limit: usize) -> Option<f64> {
    let folder = common::shared("data/cifar10")?;
    let trunk = imported()?;
    let system = load_system(SYSTEM).unwrap();
    let tasks = vec![images(&format!("{kind}:{}", folder.display()), &trunk, limit)];
    let job = Job { trunk, request: request("head-only"), tasks, calibration: vec![], system: &system };
    let settings = Settings { threads: 0, micro_batch: 50, ..settings() };
    let report = experiment::run(job, &settings, &|_| ()).unwrap();
    assert_eq!(report.images, limit);
    report.accuracy
}

/// LiteRT gives 92.2 % on all 4,000.
#[test]
fn the_trained_network_knows_lossless_images() {
    let Some(top1) = accuracy("cifar10", 400) else { return };
    assert!((0.90..=0.95).contains(&top1), "{top1}");
}

/// LiteRT gives 75.4 % on all 10,000.
#[test]
fn the_trained_network_knows_jpeg_images_less_well() {
    let Some(top1) = accuracy("cifar10-jpeg", 1000) else { return };
    assert!((0.72..=0.80).contains(&top1), "{top1}");
}
