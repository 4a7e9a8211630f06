//! Files of a checkpoint that were cut, changed or made up: an error that names the file, or the very
//! checkpoint that was written; never a panic, never memory for a size that a file only claims.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use trunkline::experiment::train::adapter_file::{Adapter, AdapterConfig, BaseModel, Input, Training};
use trunkline::experiment::train::checkpoint::{self, Checkpoint, LAST};
use trunkline::experiment::train::snapshot::{Array, Best, EpochMetrics, Evaluation, Held, Progress, Snapshot, Sums};
use trunkline::plan::tap_format::TapFormat;

const FILES: [&str; 4] =
    ["adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors", "trainer_state.json"];

fn snapshot() -> Snapshot {
    let values = |count: usize| (0..count).map(|i| i as f32 / 3.0 - 1.0).collect::<Vec<_>>();
    let array = |name: &str, dims: &[usize]| Array {
        name: name.into(),
        dims: dims.into(),
        values: values(dims.iter().product()),
    };
    let weights = ["stem.adapter.weight", "head.weight"];
    let held = Held {
        // In an order that is not that of the names.
        values: vec![array(weights[0], &[4, 1, 1, 3]), array("stem.bn.mean", &[4]), array(weights[1], &[2, 4])],
        moments: vec![(weights[0].into(), vec![values(12), values(12)]), (weights[1].into(), vec![])],
        exponents: BTreeMap::from([("stem".to_string(), -7)]),
    };
    let validation = Some(Evaluation { loss: 0.1 + 0.2, accuracy: 1.0 / 3.0, images: 3 });
    let progress = Progress {
        seed: u64::MAX,
        images: 10,
        step: 7,
        epoch: 1,
        batches_done: 3,
        rows: 8,
        sums: Sums { loss: 1.0 / 3.0, hits: 2, images: 9, saturations: 1 },
        latest: Some(EpochMetrics { epoch: 1, train_loss: 0.7, train_accuracy: 0.6, validation }),
        best: Some(Best { epoch: 1, metric: 1.0 / 3.0 }),
    };
    Snapshot { held, progress }
}

fn config() -> AdapterConfig {
    AdapterConfig {
        format_version: AdapterConfig::VERSION,
        adapter_type: "parallel".into(),
        base_model: BaseModel {
            name: "resnet8".into(),
            trunk_sha256: "ab".repeat(32),
            profile: "tflite-ref".into(),
            calibration: None,
        },
        scheme: "parallel".into(),
        sites: Some("all".into()),
        batch_norm: "frozen".into(),
        tap_in_bits: TapFormat::Int16,
        modules: vec!["stem.adapter".into()],
        trained: vec!["adapters".into(), "head".into()],
        classes: vec!["cat".into(), "dog".into()],
        input: Input { size: [8, 8, 3], normalisation: "codes".into(), scale: 0.25, zero_point: -1 },
        training: Training::default(),
        model_sha256: String::new(),
    }
}

fn write(at: &Path) -> Checkpoint {
    checkpoint::write(at, LAST, &snapshot(), &config()).unwrap();
    checkpoint::read(at, LAST).unwrap().unwrap()
}

#[test]
fn a_checkpoint_comes_back_and_its_bytes_are_the_same_every_time() {
    let [a, b] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let read = write(a.path());
    assert_eq!(read.snapshot, snapshot());
    assert_eq!(AdapterConfig { model_sha256: String::new(), ..read.config }, config());
    write(b.path());
    // Over one that is there, too.
    write(b.path());
    for name in FILES {
        let bytes = [a.path(), b.path()].map(|at| fs::read(at.join(LAST).join(name)).unwrap());
        assert!(bytes[0] == bytes[1], "{name}");
    }
    assert_eq!(fs::read_dir(b.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn what_a_killed_program_leaves_is_read_and_tidied() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path();
    assert!(checkpoint::read(at, LAST).unwrap().is_none());
    let first = write(at);
    let mut newer = snapshot();
    newer.progress.step = 8;
    let other = tempfile::tempdir().unwrap();
    checkpoint::write(other.path(), LAST, &newer, &config()).unwrap();
    let step = || checkpoint::read(at, LAST).unwrap().unwrap().snapshot.progress.step;

    // In the middle of a draft.
    fs::create_dir(at.join(".last.draft")).unwrap();
    fs::write(at.join(".last.draft").join(FILES[0]), "half").unwrap();
    assert_eq!(checkpoint::read(at, LAST).unwrap(), Some(first.clone()));
    // The draft is whole.
    fs::remove_dir_all(at.join(".last.draft")).unwrap();
    fs::rename(other.path().join(LAST), at.join(".last.new")).unwrap();
    assert_eq!(step(), 8);
    // The old one is out of the way.
    fs::rename(at.join(LAST), at.join(".last.old")).unwrap();
    assert_eq!(step(), 8);
    // The new one is in place.
    fs::rename(at.join(".last.new"), at.join(LAST)).unwrap();
    assert_eq!(step(), 8);
    assert_eq!(write(at), first);
    assert_eq!(fs::read_dir(at).unwrap().count(), 1, "nothing is left beside it");
}

/// What reading gives after a file has other bytes.
fn read_changed(name: &str, change: impl FnOnce(&mut Vec<u8>)) -> (Checkpoint, Result<Checkpoint, String>) {
    let scratch = tempfile::tempdir().unwrap();
    let written = write(scratch.path());
    let path = scratch.path().join(LAST).join(name);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(&path, bytes).unwrap();
    let read = checkpoint::open(&scratch.path().join(LAST));
    // An adapter's files are also read without the others.
    let alone = Adapter::open(&scratch.path().join(LAST)).map_err(|e| e.to_string());
    if name == FILES[0] && read.is_err() {
        assert!(alone.is_err());
    }
    (written, read.map_err(|e| e.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_changed_byte_is_found(file in 0..4usize, at in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let (written, read) = read_changed(FILES[file], |bytes| {
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
        });
        match read {
            // White space between two words of the state.
            Ok(read) => prop_assert!(file == 3 && read == written),
            Err(why) => prop_assert!(FILES.iter().any(|name| why.contains(name)), "{}", why),
        }
    }

    #[test]
    fn a_cut_file_is_found(file in 0..4usize, at in any::<prop::sample::Index>()) {
        let (written, read) = read_changed(FILES[file], |bytes| {
            let at = at.index(bytes.len());
            bytes.truncate(at);
        });
        match read {
            // The last line's end.
            Ok(read) => prop_assert!(file == 3 && read == written),
            Err(why) => prop_assert!(FILES.iter().any(|name| why.contains(name)), "{}", why),
        }
    }

    #[test]
    fn made_up_files_are_refused(file in 0..4usize, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (_, read) = read_changed(FILES[file], |old| *old = bytes);
        prop_assert!(read.is_err());
    }
}

#[test]
fn a_size_that_is_only_claimed_takes_no_memory() {
    let header = br#"{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,18446744073709551612]}}"#;
    for length in [header.len() as u64, u64::MAX, 1 << 40] {
        let bytes = [&length.to_le_bytes()[..], header].concat();
        let (_, read) = read_changed(FILES[0], |old| *old = bytes);
        assert!(read.unwrap_err().contains(FILES[0]));
    }
    let (_, read) = read_changed(FILES[3], |state| {
        let text = String::from_utf8(state.clone()).unwrap();
        *state = text.replace("2\n", "18446744073709551615\n").into_bytes();
    });
    assert!(read.is_err());
}

#[test]
fn a_missing_file_is_named() {
    for name in FILES {
        let scratch = tempfile::tempdir().unwrap();
        write(scratch.path());
        fs::remove_file(scratch.path().join(LAST).join(name)).unwrap();
        let refusal = checkpoint::read(scratch.path(), LAST).unwrap_err().to_string();
        assert!(refusal.contains(name) && refusal.contains("cannot read"), "{refusal}");
    }
}
