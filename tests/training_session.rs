//! A training session around a small learner: what was stopped, killed or interrupted goes on to the
//! bytes of what was not, and a checkpoint that was changed is not read.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use trunkline::experiment::train::adapter_file::{AdapterConfig, BaseModel, Input, Training};
use trunkline::experiment::train::checkpoint::{self, BEST, LAST};
use trunkline::experiment::train::learner::{
    EpochReport, Learner, Observer, Start, StepAt, StepOutcome, StepReport, Unwatched,
};
use trunkline::experiment::train::run_folder::RunFolder;
use trunkline::experiment::train::session::{Finished, SessionError, SessionSettings, run};
use trunkline::experiment::train::snapshot::{Array, Evaluation, Held};
use trunkline::plan::tap_format::TapFormat;
use trunkline::seed::Noise;

/// Least squares in f32 with momentum, noise by step, a running mean and a delayed exponent: whatever
/// a checkpoint could lose changes its bytes.
struct Line {
    points: Vec<[f32; 2]>,
    /// Slope and offset.
    weights: [f32; 2],
    velocity: [f32; 2],
    running: f32,
    exponent: i32,
    /// The images of every step, in order.
    seen: Vec<Vec<usize>>,
    /// Waits so long in every step, so that it can be killed in one.
    pause: Duration,
    diverges_at: Option<u64>,
}

const IMAGES: usize = 10;

impl Line {
    fn new() -> Self {
        let point = |i: usize| [i as f32 / 7.0, 0.3 * i as f32 - 0.9 + (i % 3) as f32 / 5.0];
        Self {
            points: (0..IMAGES).map(point).collect(),
            weights: [0.1, -0.2],
            velocity: [0.0; 2],
            running: 0.0,
            exponent: 0,
            seen: vec![],
            pause: Duration::ZERO,
            diverges_at: None,
        }
    }

    fn error(&self, i: usize) -> f32 {
        self.weights[0] * self.points[i][0] + self.weights[1] - self.points[i][1]
    }
}

impl Learner for Line {
    type Error = Infallible;

    fn images(&self) -> usize {
        self.points.len()
    }

    fn step(&mut self, at: StepAt, indices: &[usize]) -> Result<StepOutcome, Infallible> {
        std::thread::sleep(self.pause);
        self.seen.push(indices.to_vec());
        let noise = Noise::new(1, at.step as u32, 0);
        let mut outcome = StepOutcome { images: indices.len() as u64, bytes_down: 1 << 30, ..StepOutcome::default() };
        let mut gradient = [0.0; 2];
        for &i in indices {
            let error = self.error(i) + 0.01 * noise.uniform(i as u64) as f32;
            outcome.loss_sum += f64::from(error * error) / 3.0;
            outcome.hits += u64::from(error.abs() < 0.3);
            gradient[0] += error * self.points[i][0];
            gradient[1] += error;
            self.running = 0.9 * self.running + 0.1 * error;
        }
        self.exponent = (gradient[0].abs().log2().floor() as i32 + self.exponent) / 2;
        for ((weight, velocity), g) in self.weights.iter_mut().zip(&mut self.velocity).zip(gradient) {
            *velocity = 0.9 * *velocity + g / indices.len() as f32 * 2f32.powi(self.exponent.clamp(-1, 0));
            *weight -= at.rate as f32 * *velocity;
        }
        outcome.saturations = vec![("join".into(), u64::from(self.running > 0.0))];
        if self.diverges_at == Some(at.step) {
            outcome.loss_sum = f64::NAN;
        }
        Ok(outcome)
    }

    fn evaluate(&mut self) -> Result<Option<Evaluation>, Infallible> {
        let errors: Vec<f32> = (0..IMAGES).map(|i| self.error(i)).collect();
        let loss = errors.iter().map(|e| f64::from(e * e)).sum::<f64>() / IMAGES as f64;
        let right = errors.iter().filter(|e| e.abs() < 0.3).count();
        Ok(Some(Evaluation { loss, accuracy: right as f64 / IMAGES as f64, images: IMAGES as u64 }))
    }

    fn snapshot(&mut self) -> Result<Held, Infallible> {
        let weights = Array { name: "line.weight".into(), dims: vec![2, 1], values: self.weights.to_vec() };
        let running = Array { name: "bn.mean".into(), dims: vec![1], values: vec![self.running] };
        Ok(Held {
            values: vec![weights, running],
            moments: vec![("line.weight".into(), vec![self.velocity.to_vec()])],
            exponents: BTreeMap::from([("line".to_string(), self.exponent)]),
        })
    }

    fn restore(&mut self, held: &Held, _step: u64) -> Result<(), Infallible> {
        let [weights, running] = &held.values[..] else { panic!("two arrays: {held:?}") };
        self.weights.copy_from_slice(&weights.values);
        self.running = running.values[0];
        self.velocity.copy_from_slice(&held.moments[0].1[0]);
        self.exponent = held.exponents["line"];
        Ok(())
    }
}

/// Twelve steps: three epochs of four batches, of which the last has one image.
fn settings() -> SessionSettings {
    SessionSettings {
        epochs: 3,
        batch: 3,
        seed: 5,
        rate: 0.02,
        schedule: "cosine:warmup=0.2".parse().unwrap(),
        save_every: None,
    }
}

fn adapter() -> AdapterConfig {
    AdapterConfig {
        format_version: AdapterConfig::VERSION,
        adapter_type: AdapterConfig::adapter_type("parallel"),
        base_model: BaseModel {
            name: "line".into(),
            trunk_sha256: "ab".repeat(32),
            profile: "tflite-ref".into(),
            calibration: None,
        },
        scheme: "parallel".into(),
        sites: None,
        batch_norm: "frozen".into(),
        tap_in_bits: TapFormat::Int16,
        modules: vec!["line".into()],
        trained: vec!["adapters".into()],
        classes: vec!["near".into(), "far".into()],
        input: Input { size: [1, 1, 1], normalisation: "codes".into(), scale: 0.5, zero_point: 0 },
        training: Training { command: "trunkline train".into(), seed: 5, ..Training::default() },
        model_sha256: String::new(),
    }
}

fn folder(at: &Path) -> RunFolder {
    if at.exists() {
        RunFolder::reopen(at).unwrap().0
    } else {
        RunFolder::create(Some(at), "", &"args".into()).unwrap()
    }
}

/// Stops after so many steps of this sitting.
struct StopAfter(u64);

impl Observer for StopAfter {
    fn on_step(&mut self, _: &StepReport) {
        self.0 = self.0.saturating_sub(1);
    }
    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

fn session(at: &Path, settings: &SessionSettings, observer: &mut dyn Observer) -> (Finished, Vec<Vec<usize>>) {
    let mut line = Line::new();
    let finished = run(&mut line, settings, &adapter(), &folder(at), observer).unwrap();
    (finished, line.seen)
}

/// Every file of a run but the events, whose wall times differ, by its path.
fn files(at: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![at.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.to_string_lossy().contains("tfevents") {
                found.insert(path.strip_prefix(at).unwrap().into(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[track_caller]
fn assert_same_files(a: &Path, b: &Path) {
    let (a, b) = (files(a), files(b));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (path, bytes) in &a {
        assert!(bytes == &b[path], "{} differs", path.display());
    }
}

/// A session that nothing interrupts.
fn uninterrupted(at: &Path, settings: &SessionSettings) -> Vec<Vec<usize>> {
    let (finished, seen) = session(at, settings, &mut Unwatched);
    assert!(!finished.stopped);
    seen
}

#[test]
fn stopped_after_any_step_and_resumed_it_is_the_same_training() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    let seen = uninterrupted(&whole, &settings());
    assert_eq!(seen.len(), 12);
    assert_eq!(files(&whole).len(), 1 + 2 + 2 * 4);
    for first in 1..12 {
        let at = scratch.path().join(format!("stopped-{first}"));
        let (finished, mut parts) = session(&at, &settings(), &mut StopAfter(first));
        assert!(finished.stopped && finished.progress.step == first);
        let (finished, rest) = session(&at, &settings(), &mut Unwatched);
        assert!(!finished.stopped);
        parts.extend(rest);
        assert_eq!(parts, seen);
        assert_same_files(&at, &whole);
    }
}

#[test]
fn a_finished_run_resumed_stays_as_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let [once, twice] = ["once", "twice"].map(|name| scratch.path().join(name));
    uninterrupted(&once, &settings());
    uninterrupted(&twice, &settings());
    let (finished, seen) = session(&twice, &settings(), &mut Unwatched);
    assert!(!finished.stopped && seen.is_empty());
    assert_same_files(&once, &twice);
}

#[test]
fn an_epoch_sees_every_image_once_and_the_last_batch_is_what_is_left() {
    let scratch = tempfile::tempdir().unwrap();
    let seen = uninterrupted(&scratch.path().join("run"), &settings());
    let epochs: Vec<&[Vec<usize>]> = seen.chunks(4).collect();
    for epoch in &epochs {
        assert_eq!(epoch.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
        let mut images = epoch.concat();
        images.sort_unstable();
        assert_eq!(images, (0..IMAGES).collect::<Vec<_>>());
    }
    assert_ne!(epochs[0], epochs[1]);
}

#[test]
fn the_seed_and_nothing_else_chooses_the_order() {
    let scratch = tempfile::tempdir().unwrap();
    let seen = |name: &str, settings: SessionSettings| uninterrupted(&scratch.path().join(name), &settings).concat();
    let first = seen("a", settings());
    assert_eq!(seen("b", SessionSettings { batch: 5, ..settings() }), first);
    assert_ne!(seen("c", SessionSettings { seed: 6, ..settings() }), first);
}

/// Not a test of its own: the process that [`killed_at_any_moment_it_resumes_to_the_same_bytes`] kills.
#[test]
fn victim() {
    let Some(at) = std::env::var_os("TRUNKLINE_TEST_VICTIM") else { return };
    let mut line = Line { pause: Duration::from_millis(2), ..Line::new() };
    let settings = SessionSettings { save_every: Some(1), ..settings() };
    run(&mut line, &settings, &adapter(), &folder(Path::new(&at)), &mut Unwatched).unwrap();
}

#[test]
fn killed_at_any_moment_it_resumes_to_the_same_bytes() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    uninterrupted(&whole, &settings());
    let killed = scratch.path().join("killed");
    let mut kills = 0;
    // Killed again and again on its way; every sitting gets a little longer.
    for wait_ms in (0..400).map(|i| 3 + i) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim"])
            .env("TRUNKLINE_TEST_VICTIM", &killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait_ms));
        if child.try_wait().unwrap().is_some_and(|status| status.success()) {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        if killed.join("checkpoints").exists() {
            checkpoint::read(&killed.join("checkpoints"), LAST).unwrap();
        }
        if killed.exists() && !killed.join("args.json").exists() {
            // Killed before it was a run.
            fs::remove_dir_all(&killed).unwrap();
        }
    }
    session(&killed, &settings(), &mut Unwatched);
    assert!(kills > 3, "{kills}");
    assert_same_files(&killed, &whole);
}

/// What a program leaves that is killed while it replaces the last checkpoint of its training.
#[test]
fn what_is_left_beside_a_checkpoint_goes_when_the_run_is_resumed() {
    let scratch = tempfile::tempdir().unwrap();
    let whole = scratch.path().join("whole");
    uninterrupted(&whole, &settings());
    let killed = scratch.path().join("killed");
    uninterrupted(&killed, &settings());
    let in_folder = |name: &str| killed.join("checkpoints").join(name);
    for (from, to) in [(LAST, ".last.new"), (BEST, ".last.old"), (BEST, ".best.draft")] {
        let copy = in_folder(to);
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(in_folder(from)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
        }
    }
    session(&killed, &settings(), &mut Unwatched);
    assert_same_files(&killed, &whole);
}

#[test]
fn the_best_epoch_is_kept_and_the_last_one_too() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("run");
    #[derive(Default)]
    struct Watch(Vec<EpochReport>, Option<Start>);
    impl Observer for Watch {
        fn on_start(&mut self, start: &Start) {
            self.1 = Some(*start);
        }
        fn on_epoch(&mut self, report: &EpochReport) {
            self.0.push(*report);
        }
    }
    let mut watch = Watch::default();
    session(&at, &settings(), &mut watch);
    let accuracies: Vec<f64> = watch.0.iter().map(|e| e.metrics.validation.unwrap().accuracy).collect();
    let most = accuracies.iter().copied().fold(0.0, f64::max);
    let first = accuracies.iter().position(|&a| a == most).unwrap() as u64 + 1;
    let read = |name| checkpoint::read(&at.join("checkpoints"), name).unwrap().unwrap();
    let (best, last) = (read(BEST), read(LAST));
    assert_eq!((best.snapshot.progress.epoch, last.snapshot.progress.epoch), (first, 3));
    assert_eq!(best.snapshot.progress.best.unwrap().metric, most);
    assert_eq!(best.config.training.metrics["val/acc"], most);
    assert_eq!(watch.1, Some(Start { epochs: 3, steps_per_epoch: 4, images: IMAGES, step: 0 }));
}

#[test]
fn a_loss_that_is_no_number_ends_the_training_with_its_checkpoint_whole() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("run");
    let mut line = Line { diverges_at: Some(6), ..Line::new() };
    let failed = run(&mut line, &settings(), &adapter(), &folder(&at), &mut Unwatched).unwrap_err();
    assert!(matches!(failed, SessionError::Diverged { step: 7, .. }), "{failed}");
    let last = checkpoint::read(&at.join("checkpoints"), LAST).unwrap().unwrap();
    assert_eq!(last.snapshot.progress.step, 4);
}

#[test]
fn another_training_is_not_resumed() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("run");
    session(&at, &settings(), &mut StopAfter(5));
    let refusal = |settings: SessionSettings, adapter: AdapterConfig| {
        run(&mut Line::new(), &settings, &adapter, &folder(&at), &mut Unwatched).unwrap_err().to_string()
    };
    let seed = refusal(SessionSettings { seed: 6, ..settings() }, adapter());
    assert!(seed.contains("its seed: 5; here: 6"), "{seed}");
    let batch = refusal(SessionSettings { batch: 4, ..settings() }, adapter());
    assert!(batch.contains("after step 5") && batch.contains("3 batches"), "{batch}");
    let mut other = adapter();
    other.base_model.trunk_sha256 = "cd".repeat(32);
    let trunk = refusal(settings(), other);
    assert!(trunk.contains("abab") && trunk.contains("cdcd"), "{trunk}");
}

/// Something stands where a checkpoint would be written. A full disk and a read-only folder end the same
/// way, but a test that may run as root on a disk with room has neither.
#[test]
fn a_checkpoint_that_cannot_be_written_is_told_and_the_last_one_stays() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path().join("run");
    session(&at, &settings(), &mut StopAfter(5));
    let before = files(&at.join("checkpoints/last"));
    fs::write(at.join("checkpoints/.last.draft"), "no folder").unwrap();
    let mut line = Line::new();
    let refusal = run(&mut line, &settings(), &adapter(), &folder(&at), &mut Unwatched).unwrap_err().to_string();
    assert!(refusal.contains("cannot write") && refusal.contains(".last.draft"), "{refusal}");
    assert_eq!(files(&at.join("checkpoints/last")), before);
}
