//! Training through the frozen trunk: the ledger of every step, what is held, determinism, and that
//! it learns.

use trunkline::data::{self, Dataset, OpenOptions};
use trunkline::device;
use trunkline::experiment::input;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::plan::program::{Optimiser, WeightDecay};
use trunkline::plan::tap::{Tap, TapPrecision, taps};
use trunkline::quant::error_code::GradFormat;
use trunkline::run::{self, Prepared, Recompute, RunError, State, StepOutcome, TrainSettings, Trainer};
use trunkline::scheme::{self, BatchNormMode, Placed, Request, SchemeSpec};
use trunkline::tensor::Tensor;
use trunkline::trunk::backward::ErrorFormat;
use trunkline::trunk::{TrunkProgram, prepare};

/// A trunk placed and prepared, with a data set's images as its input codes.
struct Lab {
    placed: Placed,
    program: TrunkProgram,
    taps: Vec<Tap>,
    codes: Tensor<i8>,
    labels: Vec<u32>,
}

const IMAGES: usize = 12;

fn images(trunk: &Trunk) -> Dataset {
    let shape = trunk.graph.shape(trunk.graph.input);
    let options = OpenOptions { limit: Some(IMAGES), seed: 0, size: Some([shape.h, shape.w]) };
    data::open("synth:shapes", &options).unwrap()
}

fn lab(trunk: &str, scheme: &str, batch_norm: Option<BatchNormMode>) -> Lab {
    let wanted = Wanted { classes: Some(5), input: Some(16), seed: 1 };
    let mut trunk = Trunk::open(trunk, wanted).unwrap();
    let set = images(&trunk);
    let shape = trunk.graph.shape(trunk.graph.input);
    trunk.calibrate(&input::reals(&set.images, shape, trunk.preprocess).unwrap()).unwrap();
    let request = Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm, seed: 1 };
    let placed = scheme::place(&trunk.graph, &request).unwrap();
    let program = prepare(&placed.graph, &trunk.profile, 16).unwrap();
    let taps = taps(&placed, TapPrecision::codes(16)).unwrap();
    let quant = placed.graph.edge(placed.graph.input).quant;
    let codes = input::codes(&set.images, shape, trunk.preprocess, quant).unwrap();
    Lab { placed, program, taps, codes, labels: set.labels.unwrap().iter().map(|l| l % 5).collect() }
}

fn settings(micro_batch: usize, format: GradFormat) -> TrainSettings {
    TrainSettings {
        micro_batch,
        slots: 2,
        threads: 2,
        errors: ErrorFormat::of(format),
        optimiser: Optimiser::SGD,
        decay: WeightDecay::uniform(1e-4),
        clip: None,
        smoothing: 0.0,
        recompute: Recompute::None,
    }
}

impl Lab {
    fn trainer(&self, settings: TrainSettings) -> Result<Trainer<'_>, RunError> {
        let prepared = Prepared { placed: &self.placed, trunk: &self.program, taps: &self.taps };
        Trainer::new(prepared, device::open("cpu").unwrap(), settings)
    }

    fn step(&self, trainer: &mut Trainer<'_>, rate: f64) -> StepOutcome {
        let source = |from: usize, to: usize| Ok(self.codes.slice(from, to));
        let indices: Vec<u32> = (0..IMAGES as u32).collect();
        trainer.step(&source, &indices, &self.labels, rate).unwrap()
    }

    /// Losses of some steps, and the state after them.
    fn train(&self, settings: TrainSettings, steps: usize, rate: f64) -> (Vec<f64>, Vec<State>) {
        let mut trainer = self.trainer(settings).unwrap();
        let losses = (0..steps).map(|_| self.step(&mut trainer, rate).loss).collect();
        trainer.check_frozen().unwrap();
        (losses, trainer.state().unwrap())
    }
}

/// So that a scheme added to the list is trained here too.
#[test]
fn no_scheme_is_left_out() {
    let here = include_str!("training.rs");
    for scheme in scheme::SCHEMES.iter().filter(|s| s.counted_only.is_none()) {
        let named = ["\",", ":"].iter().any(|end| here.contains(&format!("(\"{}{end}", scheme.name)));
        assert!(named, "no training of '{}'", scheme.name);
    }
}

/// Every step asserts that predicted == observed, and that what is held is what the plan says.
#[test]
fn every_scheme_learns() {
    use BatchNormMode::{AdapterDevice, Frozen, Registers, RegistersStats};
    for (scheme, norm, rate) in [
        ("head-only", Frozen, 0.05),
        ("head-only:dropout=0.2", Frozen, 0.05),
        ("parallel:dropout=0.1", Frozen, 0.02),
        ("parallel", Frozen, 0.02),
        ("parallel", Registers, 0.02),
        ("parallel", RegistersStats, 0.02),
        ("parallel", AdapterDevice, 0.02),
        ("adaptive-attention:gate=2sigmoid", Frozen, 0.05),
        ("adaptive-attention:return=map", Frozen, 0.05),
        ("spatial-attention", Frozen, 0.05),
        ("final-conv", Frozen, 0.02),
        ("fine-tune", Registers, 0.02),
        ("fine-tune", Frozen, 0.005),
        ("bias-only", Registers, 0.02),
        ("batch-norm", Registers, 0.02),
        ("low-rank", Frozen, 0.02),
        ("low-rank:init=zero", Registers, 0.02),
        ("series:init=zero", Frozen, 0.005),
        ("series:init=zero", Registers, 0.005),
        ("series:at=layer,init=zero", Frozen, 0.005),
        ("squeeze-excite:gate=2sigmoid", Frozen, 0.05),
        ("squeeze-excite:gate=2sigmoid,tap=pooled", Frozen, 0.05),
        ("squeeze-excite:gate=2sigmoid,return=map", Registers, 0.02),
        ("cbam:gate=2sigmoid", Frozen, 0.05),
        ("cbam:gate=2sigmoid,return=map", Registers, 0.02),
        ("adaptive-attention:gate=2sigmoid,tap=pooled", Frozen, 0.05),
        ("da3", Frozen, 0.02),
        ("da3:tap=pooled", Registers, 0.02),
        ("da3:form=res", Registers, 0.02),
        ("lite-residual:tap=pooled", Frozen, 0.02),
        ("lite-residual", Registers, 0.02),
        ("side-path", Frozen, 0.02),
        ("side-path:tap=pooled", Registers, 0.02),
    ] {
        let lab = lab("resnet8:width=0.5", scheme, Some(norm));
        let (losses, _) = lab.train(settings(12, GradFormat::F32), 12, rate);
        // What dropout leaves out differs from step to step: there the mean of the last three counts.
        let last_steps = if scheme.contains("dropout") { 3 } else { 1 };
        let last = losses[losses.len() - last_steps..].iter().sum::<f64>() / last_steps as f64;
        let first = losses[0];
        assert!(last < 0.985 * first, "{scheme}, {norm:?}: {losses:?}");
    }
}

/// Values that the trunk rounds train as the codes do, to the bit where they are single-precision.
#[test]
fn values_that_cross_train() {
    let mut lab = lab("resnet8:width=0.5", "parallel", Some(BatchNormMode::Frozen));
    let codes = lab.train(settings(12, GradFormat::F32), 6, 0.02);
    let mut with = |bits| {
        let precision = TapPrecision { tap_in_bits: 16, value_bits: Some(bits) };
        lab.taps = taps(&lab.placed, precision).unwrap();
        lab.train(settings(12, GradFormat::F32), 6, 0.02)
    };
    assert!(with(32) == codes);
    let (losses, _) = with(16);
    assert!(losses[5] < 0.985 * losses[0], "{losses:?}");
    assert!((losses[5] - codes.0[5]).abs() < 0.02 * codes.0[5], "{losses:?} {:?}", codes.0);
}

#[test]
fn micro_batches_and_threads_change_no_bit() {
    for (scheme, norm) in [
        ("parallel", BatchNormMode::Registers),
        ("head-only", BatchNormMode::RegistersStats),
        ("parallel:dropout=0.3", BatchNormMode::Frozen),
        ("head-only:dropout=0.3", BatchNormMode::Frozen),
        ("adaptive-attention", BatchNormMode::Frozen),
    ] {
        let lab = lab("resnet8:width=0.5", scheme, Some(norm));
        let whole = lab.train(settings(12, GradFormat::Int16), 3, 0.02);
        for (micro_batch, slots, threads) in [(1, 2, 1), (5, 1, 2), (4, 3, 2)] {
            let settings = TrainSettings { slots, threads, ..settings(micro_batch, GradFormat::Int16) };
            assert!(lab.train(settings, 3, 0.02) == whole, "{scheme}: {micro_batch} images at a time");
        }
    }
}

/// One plain step at rate 1: what each parameter lost is its gradient.
fn gradients(lab: &Lab) -> Vec<(String, Vec<f32>)> {
    let optimiser = Optimiser::Sgd { momentum: 0.0, nesterov: false };
    let settings = TrainSettings { optimiser, decay: WeightDecay::default(), ..settings(12, GradFormat::F32) };
    let mut trainer = lab.trainer(settings).unwrap();
    let before = trainer.state().unwrap();
    lab.step(&mut trainer, 1.0);
    let after = trainer.state().unwrap();
    let name = |s: &State| lab.placed.graph.param(s.param).name.clone();
    let lost = |(a, b): (&State, &State)| a.value.iter().zip(&b.value).map(|(a, b)| a - b).collect();
    before.iter().zip(&after).map(|pair| (name(pair.0), lost(pair))).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-30)
}

/// The same network with every node on the adapter device, in real values: kernels whose derivatives are
/// checked by finite differences. The trunk's codes are near its values, so its errors are near too.
#[test]
fn gradients_through_the_chip_are_those_of_the_real_network() {
    for scheme in ["parallel", "adaptive-attention:gate=2sigmoid", "adaptive-attention:return=map"] {
        let chip = lab("resnet8:width=0.5", scheme, Some(BatchNormMode::Frozen));
        let real = real(&chip);
        for ((name, a), (_, b)) in gradients(&chip).into_iter().zip(gradients(&real)) {
            let (norm_a, norm_b) = [&a, &b].map(|v| v.iter().map(|x| x * x).sum::<f32>().sqrt()).into();
            println!("{scheme} {name}: cosine {:.4}, norms {norm_a:.4} {norm_b:.4}", cosine(&a, &b));
            assert!(cosine(&a, &b) > 0.8, "{scheme}, {name}: {}", cosine(&a, &b));
        }
    }
}

/// Sums that the chip takes of its accumulators against the batch norms of the adapter device, which see the
/// same maps as codes.
#[test]
fn the_trunk_measures_what_the_adapter_device_would() {
    let after = |norm| {
        let lab = lab("resnet8:width=0.5", "head-only", Some(norm));
        // The whole batch: the adapter device's statistics are those of what it has at a time.
        let mut trainer = lab.trainer(settings(IMAGES, GradFormat::F32)).unwrap();
        lab.step(&mut trainer, 1e-9);
        let states = trainer.state().unwrap();
        ["mean", "variance"].map(|part| {
            let is = |s: &&State| lab.placed.graph.param(s.param).name == format!("stem.bn.{part}");
            states.iter().find(is).unwrap().value.clone()
        })
    };
    let [chip, device] = [BatchNormMode::RegistersStats, BatchNormMode::AdapterDevice].map(after);
    let spread = device[1].iter().map(|v| v.sqrt()).sum::<f32>() / device[1].len() as f32;
    for (a, b) in chip[0].iter().zip(&device[0]) {
        assert!((a - b).abs() < 0.01 * spread, "means {a} and {b}, deviations near {spread}");
    }
    for (a, b) in chip[1].iter().zip(&device[1]) {
        assert!((a / b - 1.0).abs() < 0.01, "variances {a} and {b}");
    }
}

/// One trunk and one adapter device, handed from task to task after every step.
#[test]
fn tasks_that_take_turns_learn_as_if_they_were_alone() {
    for norm in [BatchNormMode::Frozen, BatchNormMode::RegistersStats, BatchNormMode::AdapterDevice] {
        let mut tasks =
            [lab("resnet8:width=0.5", "parallel", Some(norm)), lab("resnet8:width=0.5", "parallel", Some(norm))];
        tasks[1].labels.reverse();
        let settings = settings(12, GradFormat::Int16);
        let alone = [0, 1].map(|i: usize| tasks[i].train(settings.clone(), 3, 0.02));
        let mut first = tasks[0].trainer(settings.clone()).unwrap();
        let device = first.rest().unwrap();
        let prepared = Prepared { placed: &tasks[1].placed, trunk: &tasks[1].program, taps: &tasks[1].taps };
        let mut second = Trainer::new(prepared, device, settings.clone()).unwrap();
        let mut losses = [vec![], vec![]];
        for _ in 0..3 {
            let into = first.take_over(&mut second).unwrap();
            assert_eq!(into, first.switch().tally());
            losses[0].push(tasks[0].step(&mut first, 0.02).loss);
            second.take_over(&mut first).unwrap();
            losses[1].push(tasks[1].step(&mut second, 0.02).loss);
        }
        let states = [first.state().unwrap(), second.state().unwrap()];
        for ((losses, state), alone) in losses.into_iter().zip(states).zip(alone) {
            assert!((losses, state) == alone, "{norm:?}");
        }
        assert_eq!(first.switch().registers_b > 0, norm == BatchNormMode::RegistersStats);
    }
}

/// The same lab with every node on the adapter device, in real values.
fn real(chip: &Lab) -> Lab {
    let mut placed = chip.placed.clone();
    placed.graph.nodes.iter_mut().for_each(|n| n.domain = trunkline::units::HardwareDomain::Adapter);
    let program = prepare(&placed.graph, &chip.program.profile, 16).unwrap();
    let taps = taps(&placed, TapPrecision::codes(16)).unwrap();
    Lab { placed, program, taps, codes: chip.codes.clone(), labels: chip.labels.clone() }
}

/// Finite differences of the loss of one step, in which the same elements are dropped every time.
#[test]
fn gradients_go_around_what_was_dropped() {
    for scheme in ["head-only:dropout=0.4", "parallel:dropout=0.3"] {
        let lab = real(&lab("resnet8:width=0.25", scheme, Some(BatchNormMode::Frozen)));
        let mut trainer = lab.trainer(settings(IMAGES, GradFormat::F32)).unwrap();
        let before = trainer.state().unwrap();
        let mut loss = |param: usize, at: usize, by: f32| {
            let mut moved = before.clone();
            moved[param].value[at] += by;
            trainer.set_state(&moved).unwrap();
            trainer.step = 0;
            lab.step(&mut trainer, 1e-9).loss / IMAGES as f64
        };
        for (param, (name, gradient)) in gradients(&lab).into_iter().enumerate() {
            let steepest =
                (0..gradient.len()).max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
            let (h, g) = (5e-3, f64::from(gradient[steepest]));
            let difference = (loss(param, steepest, h) - loss(param, steepest, -h)) / (2.0 * f64::from(h));
            assert!((difference - g).abs() < 0.05 * g.abs() + 1e-4, "{scheme}, {name}: {g} by hand {difference}");
        }
    }
}

#[test]
fn what_is_dropped_follows_the_step_and_nothing_crosses_for_it() {
    let [plain, dropping] = ["parallel", "parallel:dropout=0.5"].map(|s| lab("resnet8:width=0.5", s, None));
    let bytes = |lab: &Lab| lab.taps.iter().map(|t| (t.name.clone(), t.shape, t.bytes)).collect::<Vec<_>>();
    assert_eq!(bytes(&plain), bytes(&dropping), "strided sites still read a quarter of their maps");
    // Off where nothing learns.
    let outputs = |lab: &Lab| {
        let prepared = Prepared { placed: &lab.placed, trunk: &lab.program, taps: &lab.taps };
        let settings = run::Settings { images: IMAGES, micro_batch: 5, slots: 2, threads: 2, record: false };
        let source = |from: usize, to: usize| Ok(lab.codes.slice(from, to));
        run::run(&prepared, device::open("cpu").unwrap().as_mut(), &source, &settings).unwrap().outputs
    };
    assert_eq!(outputs(&plain), outputs(&dropping));
    // From step to step others, and the same again in a training that was stopped between.
    let settings = settings(4, GradFormat::Int16);
    let whole = dropping.train(settings.clone(), 4, 0.02);
    let (first, state) = dropping.train(settings.clone(), 2, 0.02);
    let mut trainer = dropping.trainer(settings.clone()).unwrap();
    trainer.set_state(&state).unwrap();
    trainer.step = 2;
    let rest = (0..2).map(|_| dropping.step(&mut trainer, 0.02).loss);
    assert!((first.into_iter().chain(rest).collect::<Vec<_>>(), trainer.state().unwrap()) == whole);
    let one = settings.clone();
    let still = dropping.train(settings, 2, 1e-12).0;
    assert!(still[0] != still[1] && plain.train(one, 1, 1e-12).0[0] != still[0]);
}

/// Running the trunk again changes what is kept and what is computed, and no bit of what is learnt. Every step
/// asserts both against their predictions.
#[test]
fn a_trunk_that_runs_again_learns_the_same_and_keeps_less() {
    use BatchNormMode::{Frozen, RegistersStats};
    for (scheme, norm, keeps_less) in [
        ("adaptive-attention", Frozen, true),
        ("head-only", RegistersStats, true),
        // What enters takes more than the bits that it saves.
        ("spatial-attention:return=map", Frozen, false),
        ("parallel", Frozen, false),
    ] {
        let lab = lab("resnet8:width=0.5", scheme, Some(norm));
        let keeping = settings(5, GradFormat::Int16);
        let again = TrainSettings { recompute: Recompute::Masks, ..keeping.clone() };
        assert!(lab.train(keeping.clone(), 3, 0.02) == lab.train(again.clone(), 3, 0.02), "{scheme}");
        let [keeping, again] = [keeping, again].map(|settings| lab.trainer(settings).unwrap());
        let kept = [&keeping, &again].map(|trainer| trainer.memory().trunk_kept_b);
        assert_eq!(kept[1] < kept[0], keeps_less, "{scheme}: {kept:?}");
        assert!(keeping.again().is_empty() && again.again().iter().map(|(_, macs)| macs).sum::<u64>() > 0);
    }
}
