//! Several visual domains on one trunk: in turns they learn what each would learn alone, stopped or not, and
//! their adapters are swapped without a trace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use trunkline::data::{self, Dataset, OpenOptions, Subset};
use trunkline::device;
use trunkline::experiment::adapters::{Adapters, Speed};
use trunkline::experiment::input;
use trunkline::experiment::train::adapter_file::Adapter;
use trunkline::experiment::train::learner::{Observer, StepReport, Unwatched};
use trunkline::experiment::train::run_folder::RunFolder;
use trunkline::experiment::train::session::SessionSettings;
use trunkline::experiment::train::tasks::{Task, TasksReport, train_tasks};
use trunkline::experiment::train::{TrainJob, TrainSettings, train};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::hw::{System, library::load_system};
use trunkline::plan::program::{Optimiser, WeightDecay};
use trunkline::plan::tap_format::TapFormat;
use trunkline::quant::error_code::GradFormat;
use trunkline::run::Recompute;
use trunkline::scheme::{BatchNormMode, Request, SchemeSpec};
use trunkline::trunk::backward::ErrorFormat;

const SHAPES: &str = "synth:shapes:count=12";
const HUES: &str = "synth:hues:count=6";

fn images(spec: &str) -> Dataset {
    data::open(spec, &OpenOptions { limit: None, seed: 0, size: Some([16, 16]) }).unwrap()
}

/// A trunk that shapes have calibrated.
fn trunk() -> Trunk {
    let wanted = Wanted { classes: None, input: Some(16), seed: 1 };
    let mut trunk = Trunk::open("resnet8:width=0.25", wanted).unwrap();
    let shape = trunk.graph.shape(trunk.graph.input);
    trunk.calibrate(&input::reals(&images(SHAPES).images, shape, trunk.preprocess).unwrap()).unwrap();
    trunk
}

fn task<'a>(spec: &str, batch_norm: BatchNormMode, system: &'a System) -> Task<'a> {
    let data = images(spec);
    let request = Request { scheme: SchemeSpec("parallel".into()), sites: None, batch_norm: Some(batch_norm), seed: 1 };
    let trunk = trunk().with_fresh_head(data.classes.len(), 1).unwrap();
    let data = Subset::from(data);
    let job =
        TrainJob { trunk, request, start: None, validation: Some(data.clone()), data, system, command: String::new() };
    Task { name: spec.replace([':', '='], "-"), job }
}

fn tasks(batch_norm: BatchNormMode, system: &System) -> Vec<Task<'_>> {
    [SHAPES, HUES].map(|spec| task(spec, batch_norm, system)).into()
}

/// Three steps an epoch for shapes, two for hues.
fn settings() -> TrainSettings {
    TrainSettings {
        session: SessionSettings {
            epochs: 2,
            batch: 4,
            seed: 3,
            rate: 0.02,
            schedule: "cosine".parse().unwrap(),
            save_every: None,
        },
        optimiser: Optimiser::SGD,
        weight_decay: WeightDecay::default(),
        label_smoothing: 0.0,
        clip: None,
        errors: ErrorFormat::of(GradFormat::Int16),
        tap_in_bits: TapFormat::Int16,
        micro_batch: 4,
        recompute: Recompute::None,
        threads: 1,
        device: "cpu".into(),
    }
}

fn run(at: &Path, batch_norm: BatchNormMode, observer: &mut dyn Observer) -> TasksReport {
    let folder = match at.exists() {
        true => RunFolder::reopen(at).unwrap().0,
        false => RunFolder::create(Some(at), "", &"args".into()).unwrap(),
    };
    let system = load_system("asic-h200-pcie").unwrap();
    train_tasks(&tasks(batch_norm, &system), &settings(), &folder, observer).unwrap()
}

/// Every file of a run but the events, whose wall times differ.
fn files(at: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![at.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().contains("tfevents") {
                found.insert(path.strip_prefix(at).unwrap().into(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Stops after so many steps.
struct StopAfter(u64);

impl Observer for StopAfter {
    fn on_step(&mut self, _: &StepReport) {
        self.0 = self.0.saturating_sub(1);
    }
    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

#[test]
fn a_task_among_others_learns_what_it_learns_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let together = scratch.path().join("together");
    let report = run(&together, BatchNormMode::Registers, &mut Unwatched);
    assert_eq!(report.tasks.iter().map(|t| t.steps).collect::<Vec<_>>(), [6, 4]);
    let system = load_system("asic-h200-pcie").unwrap();
    for Task { name, job } in tasks(BatchNormMode::Registers, &system) {
        let alone = scratch.path().join(&name);
        let folder = RunFolder::create(Some(&alone), "", &"args".into()).unwrap();
        train(job, &settings(), &folder, &mut Unwatched).unwrap();
        let [a, b] = [alone, together.join("tasks").join(&name)].map(|at| files(&at.join("checkpoints")));
        assert_eq!(a.len(), 8);
        assert!(a == b, "{name}");
    }
}

#[test]
fn a_switch_moves_what_the_report_says() {
    let scratch = tempfile::tempdir().unwrap();
    let moved = |norm, name: &str| {
        let report = run(&scratch.path().join(name), norm, &mut Unwatched);
        // 0 1 0 1 0 1 0 1 0 0: hues has four steps, shapes six.
        assert_eq!(report.switches.iter().map(|s| s.times).collect::<Vec<_>>(), [4, 4]);
        let steps: Vec<u64> = report.tasks.iter().map(|t| t.macs.trunk).collect();
        assert!(steps[0] == 2 * steps[1], "twice the images, the same trunk: {steps:?}");
        report.switches[0].clone()
    };
    let frozen = moved(BatchNormMode::Frozen, "frozen");
    let registers = moved(BatchNormMode::Registers, "registers");
    let stats = moved(BatchNormMode::RegistersStats, "stats");
    assert_eq!(frozen.to_use.trunk_b, 0);
    assert!(registers.to_use.trunk_b > 0 && registers.to_use.cost.time_ps > frozen.to_use.cost.time_ps);
    assert_eq!(stats.to_use.trunk_b, registers.to_use.trunk_b);
    // A multiplier of five bytes and a bias of four; four bytes each of gamma and beta, of mean and variance.
    let channels = registers.to_use.trunk_b / 9;
    assert_eq!(registers.to_use.adapter_b - frozen.to_use.adapter_b, 8 * channels);
    assert_eq!(stats.to_use.adapter_b - registers.to_use.adapter_b, 8 * channels);
    // One momentum for every value that trains.
    assert_eq!(frozen.to_train.adapter_b, 2 * frozen.to_use.adapter_b);
    assert!(frozen.to_train.cost.energy_pj > frozen.to_use.cost.energy_pj && frozen.to_use.cost.energy_pj > 0.0);
}

#[test]
fn stopped_and_resumed_they_are_the_same_training() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    run(&whole, BatchNormMode::RegistersStats, &mut Unwatched);
    for first in [1, 4, 8, 9] {
        let at = scratch.path().join(format!("stopped-{first}"));
        assert!(run(&at, BatchNormMode::RegistersStats, &mut StopAfter(first)).stopped);
        assert!(!run(&at, BatchNormMode::RegistersStats, &mut Unwatched).stopped);
        let (a, b) = (files(&at), files(&whole));
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
        let differing: Vec<_> = a.iter().filter(|(path, bytes)| b[*path] != **bytes).map(|(path, _)| path).collect();
        assert!(differing.is_empty(), "after {first} steps: {differing:?}");
    }
}

#[test]
fn a_hot_swap_and_back_changes_no_bit() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("run");
    let report = run(&at, BatchNormMode::RegistersStats, &mut Unwatched);
    let system = load_system("asic-h200-pcie").unwrap();
    let mut adapters = Adapters::new(trunk(), &system);
    let open = |name: &str| Adapter::open(&at.join("tasks").join(name)).unwrap();
    report.tasks.iter().for_each(|task| adapters.load(&task.name, &open(&task.name), false).unwrap());
    let mut device = device::open("cpu").unwrap();
    let how = Speed { micro_batch: 5, threads: 2 };
    let sets = [SHAPES, HUES].map(|spec| Subset::from(images(spec)));
    let mut look = |adapters: &mut Adapters, task: usize| {
        let crossed = adapters.set(&report.tasks[task].name).unwrap();
        assert!(crossed == Default::default() || report.switches[0].to_use.trunk_b > 0);
        let evaluation = adapters.evaluate(&sets[task], device.as_mut(), how).unwrap().evaluation;
        assert_eq!(Some(evaluation.accuracy), report.tasks[task].best_accuracy, "as its best epoch measured it");
        let logits = adapters.outputs(&sets[0], device.as_mut(), how).unwrap();
        logits.concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let [first, second, again] = [0, 1, 0].map(|task| look(&mut adapters, task));
    assert!(first == again && first != second);
    assert!(adapters.set("other").unwrap_err().to_string().contains("synth-hues"));
    let mut other = open(&report.tasks[0].name);
    other.config.batch_norm = "frozen".into();
    assert!(adapters.load("other", &other, false).unwrap_err().to_string().contains("registers+stats"));
    adapters.remove(&report.tasks[1].name).unwrap();
    assert_eq!(adapters.names().collect::<Vec<_>>(), [report.tasks[0].name.as_str()]);
}

/// Whether it is refused rather than run on codes that are not its own.
#[test]
fn tasks_of_two_trunks_are_refused() {
    let system = load_system("asic-h200-pcie").unwrap();
    let mut tasks = tasks(BatchNormMode::Frozen, &system);
    let other = Wanted { classes: None, input: Some(16), seed: 2 };
    let mut trunk = Trunk::open("resnet8:width=0.25", other).unwrap();
    let shape = trunk.graph.shape(trunk.graph.input);
    trunk.calibrate(&input::reals(&images(SHAPES).images, shape, trunk.preprocess).unwrap()).unwrap();
    tasks[1].job.trunk = trunk.with_fresh_head(tasks[1].job.data.classes.len(), 1).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(Some(&scratch.path().join("run")), "", &"args".into()).unwrap();
    let refusal = train_tasks(&tasks, &settings(), &folder, &mut Unwatched).unwrap_err().to_string();
    assert!(refusal.contains("another trunk"), "{refusal}");
}
