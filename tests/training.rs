//! Training through the frozen trunk: the ledger of every step, what is held, determinism, and that
//! it learns.

use trunkline::data::{self, Dataset, OpenOptions};
use trunkline::device;
use trunkline::experiment::input;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::plan::program::{Optimiser, WeightDecay};
use trunkline::plan::tap::{Tap, TapPrecision, taps};
use trunkline::quant::error_code::GradFormat;
use trunkline::run::{Prepared, RunError, State, StepOutcome, TrainSettings, Trainer};
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
        let (first, last) = (losses[0], losses[losses.len() - 1]);
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
        let mut placed = chip.placed.clone();
        placed.graph.nodes.iter_mut().for_each(|n| n.domain = trunkline::units::HardwareDomain::Adapter);
        let program = prepare(&placed.graph, &chip.program.profile, 16).unwrap();
        let taps = taps(&placed, TapPrecision::codes(16)).unwrap();
        let real = Lab { placed, program, taps, codes: chip.codes.clone(), labels: chip.labels.clone() };
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
        let mut trainer = lab.trainer(settings(5, GradFormat::F32)).unwrap();
        lab.step(&mut trainer, 1e-9);
        let stem = |s: &State| lab.placed.graph.param(s.param).name.clone();
        let states = trainer.state().unwrap();
        ["mean", "variance"].map(|part| {
            let is = |s: &&State| stem(s).contains(part);
            states
                .iter()
                .find(is)
                .unwrap_or_else(|| panic!("no {part} among {:?}", states.iter().map(stem).collect::<Vec<_>>()))
                .value
                .clone()
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
