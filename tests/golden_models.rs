//! Six real quantised models against the recorded outputs and layers of two runtimes, bit for bit.

mod common;

use trunkline::experiment::trunk::Trunk;
use trunkline::experiment::verify::verify;
use trunkline::quant::Profile;

/// Verifies a model; `layers` says whether recorded layers must be there.
fn exact(model: &str, references: &[&str], layers: bool) {
    let Some(path) = common::shared(&format!("models/{model}.tflite")) else { return };
    let golden = path.with_extension("golden.npz");
    let trunk = Trunk::import(&path).unwrap();
    let verdicts = verify(&trunk, &golden, None).unwrap();
    let found: Vec<&str> = verdicts.iter().map(|v| v.reference.as_str()).collect();
    assert_eq!(found, references, "{model}");
    for verdict in &verdicts {
        assert_eq!(verdict.differing, 0, "{model}: {:?}", verdict.first);
        assert!(verdict.codes > 0);
    }
    assert_eq!(verdicts[0].layers > 0, layers, "{model}");
}

#[test]
fn resnet8_int8() {
    exact("mlperf_tiny/pretrainedResnet_quant", &["litert_ref", "tflm"], true);
}

#[test]
fn visual_wake_words_int8() {
    exact("mlperf_tiny/vww_96_int8", &["litert_ref", "tflm"], true);
}

#[test]
fn keyword_spotting_int8() {
    exact("mlperf_tiny/kws_ref_model", &["litert_ref", "tflm"], true);
}

#[test]
fn anomaly_detection_int8() {
    exact("mlperf_tiny/ad01_int8", &["litert_ref", "tflm"], true);
}

#[test]
fn mobilenet_v1_uint8() {
    exact("coral/mobilenet_v1_0.25_128_quant", &["litert_ref"], true);
}

#[test]
fn mobilenet_v2_int8() {
    exact("coral/tf2_mobilenet_v2_1.0_224_ptq", &["litert_ref", "tflm"], false);
}

#[test]
fn the_wrong_arithmetic_is_told_with_layer_and_codes() {
    let Some(path) = common::shared("models/mlperf_tiny/ad01_int8.tflite") else { return };
    let trunk = Trunk::import(&path).unwrap();
    let golden = path.with_extension("golden.npz");
    // The recorded runtimes differ on this model in fully-connected layers only.
    let mut swapped = trunk.clone();
    let classifier = swapped.graph.nodes.iter_mut().find(|n| n.op.name() == "linear").unwrap();
    let weight = classifier.params[0];
    let trunkline::graph::ParamValue::I8 { codes, .. } = &mut swapped.graph.params[weight.index()].value else {
        panic!("an imported weight is coded")
    };
    codes[0] = codes[0].wrapping_add(64);
    let verdicts = verify(&swapped, &golden, Some(&Profile::tflm())).unwrap();
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].reference, "tflm");
    let first = verdicts[0].first.as_ref().expect("a changed weight shows");
    assert_ne!(first.recorded, first.computed);
}
