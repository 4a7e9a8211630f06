//! Trunks that are trained here: the same file whatever the threads and the interruptions, what was
//! learnt is in it, and the one that is shipped is the one that its recipe says.

use sha2::{Digest, Sha256};
use std::path::Path;
use trunkline::data::mixture;
use trunkline::data::{Dataset, OpenOptions};
use trunkline::experiment::pretrain::{PretrainError, PretrainJob, PretrainSettings, Pretrained, pretrain};
use trunkline::experiment::train::learner::{Observer, StepReport, Unwatched};
use trunkline::experiment::train::run_folder::RunFolder;
use trunkline::experiment::train::schedule::Schedule;
use trunkline::experiment::train::session::SessionSettings;
use trunkline::experiment::trunk::{Trunk, TrunkError, Wanted};
use trunkline::graph::ParamValue;
use trunkline::hw::library::load_system;
use trunkline::model::zoo::PRETRAINED;
use trunkline::op::Op;
use trunkline::trunk::prepare;

const SIDE: usize = 12;
const SEED: u64 = 4;

fn images() -> (Dataset, Option<Dataset>) {
    let specs = ["synth:hues:count=60", "synth:gratings:count=20"].map(String::from);
    mixture::open(&specs, &OpenOptions { limit: None, seed: SEED, size: Some([SIDE, SIDE]) }).unwrap()
}

fn settings(threads: usize) -> PretrainSettings {
    PretrainSettings {
        session: SessionSettings {
            epochs: 3,
            batch: 16,
            seed: SEED,
            rate: 0.01,
            schedule: Schedule::Constant,
            save_every: None,
        },
        optimiser: "adam".parse().unwrap(),
        weight_decay: "0".parse().unwrap(),
        label_smoothing: 0.0,
        clip: None,
        threads,
        device: "cpu".into(),
        calibration_images: 16,
    }
}

fn zoo() -> Trunk {
    let wanted = Wanted { input: Some(SIDE), classes: None, seed: SEED };
    Trunk::open("resnet8:width=0.25", wanted).unwrap()
}

fn run(trunk: Trunk, threads: usize, run: &Path, observer: &mut dyn Observer) -> Result<Pretrained, PretrainError> {
    let folder = match run.exists() {
        true => RunFolder::reopen(run).unwrap().0,
        false => RunFolder::create(Some(run), "", &serde_json::json!({})).unwrap(),
    };
    let (data, validation) = images();
    let system = load_system("asic-h200-pcie").unwrap();
    let job = PretrainJob {
        trunk,
        data,
        validation,
        system: &system,
        name: "tiny-pretrained".into(),
        data_spec: "two sets".into(),
        recipe: "this test".into(),
    };
    pretrain(job, &settings(threads), &folder, observer)
}

/// The bytes of the file of a finished training.
fn bytes(done: &Pretrained) -> Vec<u8> {
    done.trunk.as_ref().expect("finished").to_file().unwrap().to_bytes().unwrap()
}

struct StopsAfter(u64);

impl Observer for StopsAfter {
    fn on_step(&mut self, _: &StepReport) {
        self.0 -= 1;
    }
    fn should_stop(&mut self) -> bool {
        self.0 == 0
    }
}

#[test]
fn threads_and_interruptions_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let through = run(zoo(), 1, &folder.path().join("a"), &mut Unwatched).unwrap();
    let resumed = folder.path().join("b");
    let stopped = run(zoo(), 2, &resumed, &mut StopsAfter(7)).unwrap();
    assert!(stopped.trunk.is_none() && stopped.progress.step == 7);
    let resumed = run(zoo(), 2, &resumed, &mut Unwatched).unwrap();
    assert_eq!(bytes(&resumed), bytes(&through));
}

#[test]
fn what_was_learnt_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let done = run(zoo(), 2, &folder.path().join("run"), &mut Unwatched).unwrap();
    let path = folder.path().join("t.safetensors");
    let trunk = done.trunk.as_ref().unwrap();
    trunk.to_file().unwrap().write(&path, false).unwrap();
    let back = Trunk::import(&path).unwrap();
    assert_eq!((&back.name, &back.provenance), (&trunk.name, &trunk.provenance));
    assert_eq!(back.provenance.recipe.as_deref(), Some("this test"));
    let weights = back.graph.nodes.iter().filter(|n| matches!(n.op, Op::Conv2d(_) | Op::Linear(_)));
    assert!(weights.map(|n| back.graph.param(n.params[0])).all(|p| matches!(p.value, ParamValue::I8 { .. })));
    // The frozen trunk does what the float one did; one that lost its values is far from it.
    let float = done.progress.latest.unwrap().validation.unwrap();
    let frozen = done.frozen.unwrap();
    assert_eq!(frozen.images, float.images);
    assert!((frozen.loss - float.loss).abs() < 0.05 * float.loss, "{frozen:?} after {float:?}");
    let fresh = |trunk: &Trunk| prepare(&trunk.graph, &trunk.profile, 8).unwrap().checksum();
    let mut untrained = zoo();
    untrained.calibrate_on("random", 4, SEED).unwrap();
    assert_ne!(fresh(&back), fresh(&untrained));
}

#[test]
fn a_trunk_that_has_codes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut coded = zoo();
    coded.calibrate_on("random", 4, SEED).unwrap();
    let refused = run(coded, 1, &folder.path().join("run"), &mut Unwatched).err().unwrap();
    assert!(matches!(refused, PretrainError::Coded { .. }), "{refused}");
}

#[test]
fn the_shipped_trunks_are_those_of_their_recipes() {
    for known in PRETRAINED {
        let sha256: String = Sha256::digest(known.bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sha256, known.sha256, "{}", known.name);
        assert!(known.bytes.len() < 1_000_000, "{} has {} bytes", known.name, known.bytes.len());
        let trunk = Trunk::open(known.name, Wanted::default()).unwrap();
        let shape = trunk.graph.shape(trunk.graph.input);
        assert_eq!((trunk.name.as_str(), shape.h, shape.w), (known.name, known.input, known.input));
        let recipe = trunk.provenance.recipe.unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/pretrained.sh");
        let script = std::fs::read_to_string(script).unwrap();
        let given = recipe.split(" --").skip(1);
        given.for_each(|flag| assert!(script.contains(&format!("--{flag}")), "'--{flag}' is not in pretrained.sh"));
        let larger = Trunk::open(known.name, Wanted { input: Some(known.input + 1), ..Wanted::default() });
        assert!(matches!(larger, Err(TrunkError::FixedInput { .. })));
    }
}
