//! Quantised ONNX models, in both of ONNX Runtime's formats, against its recorded codes: every map
//! that it can give out, bit for bit. The models and goldens are made by
//! `tests/conformance/onnx_quant.py tiny`; the same script compares real networks live.

use std::path::PathBuf;
use trunkline::experiment::trunk::Trunk;
use trunkline::experiment::verify::verify;
use trunkline::graph::ParamValue;
use trunkline::model::onnx;
use trunkline::quant::Profile;

fn model(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/onnx_quant")).join(format!("{name}.onnx"))
}

#[test]
fn both_formats_compute_what_onnx_runtime_does() {
    for name in ["tiny_qdq_u8", "tiny_qdq_s8", "tiny_qop_u8", "tiny_qop_s8"] {
        let path = model(name);
        let trunk = Trunk::import(&path).unwrap();
        assert!(trunk.is_calibrated(), "{name}: the file's own scales");
        assert_eq!(trunk.profile.name(), "onnxruntime");
        let verdicts = verify(&trunk, &path.with_extension("golden.npz"), None).unwrap();
        let [verdict] = &verdicts[..] else { panic!("{name}: {} references", verdicts.len()) };
        assert_eq!(verdict.differing, 0, "{name}: {:?}", verdict.first);
        assert_eq!((verdict.inputs, verdict.layers), (2, 2 * 14), "{name}");
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
    weight.unwrap().iter_mut().for_each(|code| *code ^= 0x40);
    let profile: Profile = "onnxruntime".parse().unwrap();
    let verdicts = verify(&changed, &path.with_extension("golden.npz"), Some(&profile)).unwrap();
    let first = verdicts[0].first.as_ref().expect("a changed weight shows");
    assert!(first.layer.starts_with("conv2d_"), "{first:?}");
}

/// A sequence without order, the same in every run.
fn scattered(i: usize) -> usize {
    (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 17) ^ i
}

#[test]
fn broken_models_are_told_and_never_panic() {
    for name in ["tiny_qdq_u8", "tiny_qop_s8"] {
        let path = model(name);
        let whole = std::fs::read(&path).unwrap();
        assert!(onnx::import_bytes(whole.clone(), &path).is_ok());
        for cut in (0..whole.len()).step_by(97) {
            assert!(onnx::import_bytes(whole[..cut].to_vec(), &path).is_err(), "{name} cut at {cut}");
        }
        for i in 0..4000 {
            let mut bytes = whole.clone();
            let at = scattered(i) % whole.len();
            bytes[at] ^= 1 << (i % 8);
            if let Ok(imported) = onnx::import_bytes(bytes, &path) {
                imported.graph.check().unwrap();
                // What the trunk cannot do with it is an error too.
                let _ = trunkline::trunk::prepare(&imported.graph, &Profile::default(), 8);
            }
        }
    }
}
