//! Quantised ONNX models, in both of ONNX Runtime's formats, against its recorded codes: every map
//! that it can give out, bit for bit. The models and goldens are made by
//! `tests/conformance/onnx_quant.py tiny`; the same script compares real networks live.

use std::path::PathBuf;
use trunkline::experiment::trunk::Trunk;
use trunkline::experiment::verify::verify;
use trunkline::graph::ParamValue;
use trunkline::quant::Profile;

fn model(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/onnx_quant")).join(format!("{name}.onnx"))
}

#[test]
fn both_formats_compute_what_onnx_runtime_does() {
    // With signed activations in QDQ, ONNX Runtime gives out only the codes of its output.
    for (name, layers) in [("tiny_qdq_u8", true), ("tiny_qdq_s8", false), ("tiny_qop_u8", true), ("tiny_qop_s8", true)]
    {
        let path = model(name);
        let trunk = Trunk::import(&path).unwrap();
        assert!(trunk.is_calibrated(), "{name}: the file's own scales");
        assert_eq!(trunk.profile.name(), "onnxruntime");
        let verdicts = verify(&trunk, &path.with_extension("golden.npz"), None).unwrap();
        let [verdict] = &verdicts[..] else { panic!("{name}: {} references", verdicts.len()) };
        assert_eq!(verdict.differing, 0, "{name}: {:?}", verdict.first);
        assert_eq!((verdict.inputs, verdict.layers > 40), (4, layers), "{name}");
    }
}

#[test]
fn another_arithmetic_is_told_apart() {
    let path = model("tiny_qop_u8");
    let trunk = Trunk::import(&path).unwrap();
    let mut changed = trunk.clone();
    let weight = changed.graph.params.iter_mut().find_map(|p| match &mut p.value {
        ParamValue::I8 { codes, .. } => Some(codes),
        _ => None,
    });
    weight.unwrap()[0] ^= 0x40;
    let profile: Profile = "onnxruntime".parse().unwrap();
    let verdicts = verify(&changed, &path.with_extension("golden.npz"), Some(&profile)).unwrap();
    let first = verdicts[0].first.as_ref().expect("a changed weight shows");
    assert!(first.layer.starts_with("conv2d_"), "{first:?}");
}
