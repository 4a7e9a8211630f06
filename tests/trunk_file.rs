//! Our own trunk file: what is written comes back as the same trunk, to the bit and through every
//! scheme; what was changed does not come back at all.

use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use trunkline::data::{self, Dataset, OpenOptions};
use trunkline::experiment::run::{Job, RunReport, Settings, run};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::hw::library::load_system;
use trunkline::model::trunk_file::{TrunkFile, WriteError};
use trunkline::quant::{CodeType, QuantParams};
use trunkline::scheme::{Request, SCHEMES, SchemeSpec};
use trunkline::seed;
use trunkline::tensor::Tensor;
use trunkline::trunk::prepare;

mod common;
mod sealed;
mod tiny;

use sealed::resealed;

/// A calibrated network of the zoo with random weights.
fn zoo(spec: &str) -> Trunk {
    let mut trunk = Trunk::open(spec, Wanted { seed: 5, ..Wanted::default() }).unwrap();
    trunk.calibrate_on("synth:shapes", 4, 5).unwrap();
    trunk
}

/// Writes a trunk and reads it back.
fn through_a_file(trunk: &Trunk) -> Trunk {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    trunk.to_file().unwrap().write(&path, false).unwrap();
    Trunk::import(&path).unwrap()
}

/// Random codes in, every map that the trunk makes out.
fn all_codes(trunk: &Trunk) -> (Vec<Vec<i8>>, [u8; 32]) {
    let program = prepare(&trunk.graph, &trunk.profile, 8).unwrap();
    let shape = trunk.graph.shape(trunk.graph.input);
    let drawn = seed::normal(9, "input codes", 2 * shape.elements(), 60.0);
    let input = Tensor::from_vec(2, shape, drawn.into_iter().map(|v| v as i8).collect());
    (program.run_all(&input).unwrap().into_values().map(|map| map.data).collect(), program.checksum())
}

#[track_caller]
fn assert_same(trunk: &Trunk, back: &Trunk) {
    assert_eq!(all_codes(back), all_codes(trunk), "{}", trunk.name);
    assert_eq!((&back.name, &back.notes, back.preprocess), (&trunk.name, &trunk.notes, trunk.preprocess));
    assert_eq!((&back.profile, &back.provenance), (&trunk.profile, &trunk.provenance));
}

#[test]
fn a_zoo_network_comes_back_to_the_bit() {
    let trunk = zoo("resnet26:width=0.25,input=32");
    assert_same(&trunk, &through_a_file(&trunk));
}

#[test]
fn imported_models_come_back_to_the_bit() {
    let coded = ["mlperf_tiny/pretrainedResnet_quant", "mlperf_tiny/kws_ref_model", "mlperf_tiny/ad01_int8"];
    let more = ["mlperf_tiny/vww_96_int8", "coral/mobilenet_v1_0.25_128_quant"];
    for name in coded.into_iter().chain(more) {
        let Some(path) = common::shared(&format!("models/{name}.tflite")) else { continue };
        let trunk = Trunk::import(&path).unwrap();
        let back = through_a_file(&trunk);
        assert_same(&trunk, &back);
        assert_eq!(back.provenance.calibration, None);
        assert_eq!(back.provenance.source_sha256.as_ref().map(String::len), Some(64));
    }
    for name in ["cifar10_resnets/resnet20_cifar10", "stm_mobilenetv1/mobilenet_v1_0.25_224"] {
        let Some(path) = common::shared(&format!("models/{name}.onnx")) else { continue };
        let mut trunk = Trunk::import(&path).unwrap();
        trunk.calibrate_on("random", 2, 1).unwrap();
        let back = through_a_file(&trunk);
        assert_same(&trunk, &back);
        assert_eq!(back.provenance.calibration.map(|c| (c.data, c.images, c.seed)), Some(("random".into(), 2, 1)));
    }
}

/// A small quantised model with most operations.
fn coded() -> Trunk {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.tflite");
    fs::write(&path, tiny::sample().build()).unwrap();
    Trunk::import(&path).unwrap()
}

#[test]
fn every_operation_of_a_tflite_file_has_a_place_in_ours() {
    let trunk = coded();
    assert_same(&trunk, &through_a_file(&trunk));
}

fn images(trunk: &Trunk) -> Dataset {
    let shape = trunk.graph.shape(trunk.graph.input);
    data::open("synth:shapes", &OpenOptions { limit: Some(8), seed: 5, size: Some([shape.h, shape.w]) }).unwrap()
}

fn report(trunk: Trunk, scheme: &str) -> RunReport {
    let mut tasks = vec![images(&trunk)];
    let calibration = tasks[0].images[..4].to_vec();
    tasks[0].truncate(2);
    let system = load_system("asic-h200-pcie").unwrap();
    let request = Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: None, seed: 0 };
    let settings = Settings { device: "cpu".into(), ..Settings::default() };
    run(Job { trunk, request, tasks, calibration, system: &system }, &settings, &|_| {}).unwrap()
}

#[test]
fn a_run_on_the_file_is_a_run_on_the_model() {
    for scheme in SCHEMES.iter().filter(|scheme| scheme.counted_only.is_none()) {
        let trunk = zoo("resnet26:width=0.125,input=16");
        let back = through_a_file(&trunk);
        // Codes, ledger, taps, prices and notes: the whole report.
        assert_eq!(report(back, scheme.name), report(trunk, scheme.name), "{}", scheme.name);
    }
}

/// The bytes of a small trunk file.
fn sample() -> Vec<u8> {
    zoo("resnet8:width=0.25,input=16").to_file().unwrap().to_bytes().unwrap()
}

/// Writes bytes as a trunk file, and reads them as a trunk.
fn open(bytes: &[u8]) -> Result<Trunk, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("changed.safetensors");
    fs::write(&path, bytes).unwrap();
    Trunk::import(&path).map_err(|e| e.to_string())
}

#[track_caller]
fn refused(bytes: &[u8], words: &[&str]) {
    let error = open(bytes).expect_err("should be refused");
    for word in ["changed.safetensors"].iter().chain(words) {
        assert!(error.contains(word), "should say '{word}': {error}");
    }
}

#[test]
fn the_same_trunk_is_the_same_bytes() {
    assert!(sample() == sample());
    let untouched = resealed(&sample(), |_| {});
    open(&untouched).unwrap();
}

#[test]
fn a_changed_byte_is_told_with_both_hashes() {
    let good = sample();
    let mut bytes = good.clone();
    let last = bytes.len() - 100;
    bytes[last] ^= 1;
    let error = open(&bytes).unwrap_err();
    let hashes: Vec<&str> = error.split(|c: char| !c.is_ascii_hexdigit()).filter(|w| w.len() == 64).collect();
    assert!(hashes.len() == 2 && hashes[0] != hashes[1], "{error}");
    // A single letter of a note is seen too.
    let at = good.windows(6).position(|w| w == b"random").unwrap();
    let mut bytes = good;
    bytes[at] = b'R';
    refused(&bytes, &["contents", "have SHA-256", "when they were written"]);
}

/// The name of a tensor that begins with `part`.
fn first(parts: &sealed::Parts, part: &str) -> String {
    parts.tensors.keys().find(|name| name.starts_with(part)).unwrap().clone()
}

#[test]
fn a_changed_weight_is_found_even_if_the_contents_are_sealed_again() {
    let change = |part: &str, bytes: &[u8]| {
        resealed(bytes, |parts| {
            let name = first(parts, part);
            let data = &mut parts.tensors.get_mut(&name).unwrap().2;
            // The low byte of a word, or a code; all of a float's exponent.
            let at = if part == "values/" { 3 } else { 0 };
            data[at] ^= 2;
        })
    };
    let with_floats = sample();
    for part in ["codes/", "mantissa/", "shift/", "bias/", "scales/"] {
        refused(&change(part, &with_floats), &["node '", "its parameters give"]);
    }
    // Where the source had codes, no float tells what they were.
    let bytes = resealed(&coded().to_file().unwrap().to_bytes().unwrap(), |parts| {
        let name = first(parts, "codes/");
        assert!(!parts.tensors.contains_key(&name.replace("codes/", "values/")), "{name} is a float weight");
        parts.tensors.get_mut(&name).unwrap().2[0] ^= 2;
    });
    // Its registers do not depend on the codes: only the trunk's hash tells.
    let error = open(&bytes).unwrap_err();
    let hashes: Vec<&str> = error.split(|c: char| !c.is_ascii_hexdigit()).filter(|w| w.len() == 64).collect();
    assert!(error.contains("trunk_sha256") && hashes.len() == 2 && hashes[0] != hashes[1], "{error}");
}

#[test]
fn fields_that_say_something_else_are_refused_by_name() {
    let good = sample();
    type Edit = fn(&mut sealed::Parts);
    let cases: &[(Edit, &[&str])] = &[
        (|p| p.document["version"] = 2.into(), &["version 2", "reads 1"]),
        (|p| p.document["colour"] = 1.into(), &["document", "colour"]),
        (|p| p.document["profile"] = "abacus".into(), &["profile", "abacus"]),
        (|p| p.document["preprocess"] = "sharpen".into(), &["preprocess"]),
        (|p| p.document["preprocess"] = json!({"normalise": {"mean": [0, 0, 0], "std": [1, 0, 1]}}), &["preprocess"]),
        (|p| p.document["trunk_sha256"] = "00".into(), &["trunk_sha256", "no SHA-256"]),
        (|p| p.document["trunk_sha256"] = "0".repeat(64).into(), &["trunk_sha256", "0000", "when they were written"]),
        (|p| p.document["name"] = "a\u{1b}[2J".into(), &["name", "control character"]),
        (|p| p.document["graph"]["input"] = "nowhere".into(), &["graph input", "nowhere"]),
        (|p| p.document["graph"]["output"] = "input".into(), &["graph output", "no node"]),
        (|p| p.document["graph"]["nodes"][0]["inputs"] = json!(["later"]), &["node 'stem'", "later"]),
        (|p| p.document["graph"]["nodes"][0]["inputs"] = json!([]), &["node 'stem'", "no input"]),
        (|p| p.document["graph"]["nodes"][0]["op"]["kind"] = "fft".into(), &["document", "fft"]),
        (|p| p.document["graph"]["nodes"][0]["op"]["groups"] = 0.into(), &["node 'stem'", "dimensions"]),
        (|p| p.document["graph"]["nodes"][0]["op"]["pad"] = json!([0, 0, 0, 1u64 << 40]), &["node 'stem'", "size"]),
        (|p| p.document["graph"]["nodes"][0]["op"]["stride"] = json!([0, 1]), &["graph", "stem"]),
        (|p| p.document["graph"]["nodes"][0]["op"]["out_c"] = 5.into(), &["node 'stem'", "dimensions"]),
        (|p| p.document["graph"]["nodes"][1]["op"]["epsilon"] = json!(1e300), &["node 'stem.bn'", "not finite"]),
        (|p| p.document["graph"]["nodes"][1]["name"] = "stem".into(), &["stem", "twice"]),
        (|p| p.document["graph"]["nodes"][1]["output"] = "stem".into(), &["makes map 'stem'"]),
        (|p| p.document["graph"]["maps"][1]["name"] = "input".into(), &["map 'input'", "twice"]),
        (|p| p.document["graph"]["maps"][0]["shape"]["h"] = (1u64 << 40).into(), &["map 'input'", "elements"]),
        (|p| p.document["graph"]["maps"][0]["shape"]["h"] = 0.into(), &["map 'input'", "elements"]),
        (|p| p.document["graph"]["maps"][0]["quant"]["scale"] = (-1).into(), &["map 'input'", "scale"]),
        (|p| p.document["graph"]["maps"][0]["quant"]["scale"] = json!(1e300), &["document", "out of range"]),
        (|p| p.document["graph"]["maps"][0]["quant"]["zero_point"] = 128.into(), &["map 'input'", "128"]),
        (|p| p.document["graph"]["maps"][0]["quant"] = json!(null), &["graph", "input", "calibrate"]),
        (|p| p.document["graph"]["nodes"][0]["params"] = json!([]), &["node 'stem'", "no weight"]),
        (|p| p.document["graph"]["nodes"][0]["params"][0]["form"] = "int32".into(), &["stem.weight", "F32", "I32"]),
    ];
    for (i, (edit, words)) in cases.iter().enumerate() {
        let bytes = resealed(&good, edit);
        assert!(bytes != resealed(&good, |_| {}), "case {i} changes nothing");
        refused(&bytes, words);
    }
}

#[test]
fn tensors_that_do_not_belong_are_refused_by_name() {
    let good = sample();
    type Edit = fn(&mut sealed::Parts);
    let cases: &[(Edit, &[&str])] = &[
        (|p| drop(p.tensors.remove("codes/stem.weight")), &["tensor 'scales/stem.weight'", "belongs to no node"]),
        (|p| drop(p.tensors.remove("values/stem.weight")), &["tensor 'values/stem.weight'", "missing"]),
        (|p| drop(p.tensors.remove("shift/stem")), &["tensor 'shift/stem'", "missing"]),
        (|p| drop(p.tensors.remove("mantissa/stem")), &["tensor 'bias/stem'", "belongs to no node"]),
        (
            |p| {
                let t = p.tensors["bias/stem"].clone();
                p.tensors.insert("bias/nobody".into(), t);
            },
            &["tensor 'bias/nobody'", "belongs to no node"],
        ),
        (
            |p| {
                let t = p.tensors["bias/stem"].clone();
                p.tensors.insert("values/stem.weight".into(), t);
            },
            &["tensor 'values/stem.weight'", "I32", "F32"],
        ),
        (
            |p| {
                let t = p.tensors["values/fc.bias"].clone();
                p.tensors.insert("scales/stem.weight".into(), t);
            },
            &["parameter 'stem.weight'", "10 scales for 4"],
        ),
        (
            |p| p.tensors.get_mut("values/fc.bias").unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes()),
            &["tensor 'values/fc.bias'", "NaN at 0"],
        ),
        // One parameter under two nodes would multiply the file.
        (
            |p| {
                let params = p.document["graph"]["nodes"][0]["params"].clone();
                p.document["graph"]["nodes"][3]["params"] = params;
            },
            &["used twice"],
        ),
    ];
    for (edit, words) in cases {
        refused(&resealed(&good, edit), words);
    }
}

#[test]
fn what_is_no_trunk_file_is_told_so() {
    refused(b"", &["header"]);
    refused(b"this is no trunk", &["header", "safetensors"]);
    let mut huge = sample();
    huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    refused(&huge, &["header"]);
    let others = safetensors::serialize::<String, &safetensors::tensor::TensorView, _>([], None).unwrap();
    refused(&others, &["no metadata 'trunkline'"]);
    for keep in [7, 8, 100, sample().len() / 2, sample().len() - 1] {
        refused(&sample()[..keep], &["header"]);
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect()
}

#[test]
fn a_file_is_written_whole_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    let file: TrunkFile = zoo("resnet8:width=0.25,input=16").to_file().unwrap();
    fs::write(&path, "mine").unwrap();
    assert!(matches!(file.write(&path, false), Err(WriteError::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"mine");
    file.write(&path, true).unwrap();
    assert_eq!(fs::read(&path).unwrap(), file.to_bytes().unwrap());
    // A graph that the format cannot hold leaves the older file as it was.
    let mut nameless = file.clone();
    nameless.graph.edges[2].name = "input".into();
    let error = nameless.write(&path, true).unwrap_err().to_string();
    assert!(error.contains("two maps are called 'input'"), "{error}");
    assert!(file.write(&folder.path().join("nowhere/t.safetensors"), false).is_err());
    assert!(file.write(folder.path(), true).is_err());
    assert_eq!(fs::read(&path).unwrap(), file.to_bytes().unwrap());
    assert_eq!(files(folder.path()), [path]);
}

#[test]
fn an_uncalibrated_network_has_no_file() {
    let trunk = Trunk::open("resnet8", Wanted::default()).unwrap();
    assert!(trunk.to_file().unwrap_err().to_string().contains("calibrate"));
}

/// The document holds scales as decimal text: every f32 must come back from it.
#[test]
fn scales_survive_as_text() {
    let mut bits = 0x0080_0000u32;
    while bits < f32::INFINITY.to_bits() {
        let quant = QuantParams { scale: f32::from_bits(bits), zero_point: 0, codes: CodeType::I8 };
        let text = serde_json::to_string(&quant).unwrap();
        assert_eq!(serde_json::from_str::<QuantParams>(&text).unwrap(), quant, "{text}");
        bits += 1201;
    }
}
