//! Runs a model on recorded inputs and compares recorded outputs, and every recorded layer.
//!
//! A golden file holds `inputs` and one array per reference runtime; `X.golden_layers.npz` beside
//! `X.golden.npz` holds the intermediate tensors of the first of them in the order of `REFERENCES`,
//! keyed `in{i}_op{k}_{OP}_t{tensor}`.

use super::trunk::Trunk;
use crate::graph::EdgeId;
use crate::model::ModelError;
use crate::model::npz::Npz;
use crate::quant::Profile;
use crate::tensor::Tensor;
use crate::trunk::{TrunkError, TrunkProgram, prepare};
use serde::Serialize;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// The recorded runtimes that we know, each with the profile that is its arithmetic.
const REFERENCES: [(&str, &str); 5] = [
    ("litert_ref", "tflite-ref"),
    ("tflm", "tflm"),
    ("litert_default", "tflite-xnnpack"),
    ("litert_builtin", "tflite-x86"),
    ("onnxruntime", "onnxruntime"),
];

#[derive(Debug, Error)]
pub enum VerifyError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    #[error("{file}: array '{array}': {why}")]
    Array { file: PathBuf, array: String, why: String },
    #[error("{file}: holds no recorded outputs; expected 'inputs' and one of {}", references())]
    NoReference { file: PathBuf },
}

fn references() -> String {
    REFERENCES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The first code that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The array of the golden file.
    pub array: String,
    /// The edge of the graph.
    pub layer: String,
    pub input: usize,
    pub index: usize,
    pub recorded: i32,
    pub computed: i32,
}

/// What was compared with one reference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub reference: String,
    pub profile: String,
    pub inputs: usize,
    /// Recorded layers that were compared, over all inputs that have them.
    pub layers: usize,
    pub codes: u64,
    pub differing: u64,
    /// In running order: an intermediate layer before an output.
    pub first: Option<Difference>,
}

/// Compares `model` with a golden file: every reference it holds under its own profile, or all
/// under `profile`, in which case the reference of that profile is taken if the file has it.
pub fn verify(model: &Trunk, golden: &Path, profile: Option<&Profile>) -> Result<Vec<Verdict>, VerifyError> {
    let mut npz = Npz::open(golden)?;
    let held: Vec<(&str, &str)> =
        REFERENCES.into_iter().filter(|(name, _)| npz.names().iter().any(|n| n == name)).collect();
    let chosen: Vec<(&str, Profile)> = match profile {
        None => held.iter().map(|(r, p)| (*r, p.parse().expect("a known profile"))).collect(),
        Some(wanted) => {
            let own = held.iter().find(|(_, p)| *p == wanted.name()).or(held.first());
            own.map(|(r, _)| (*r, wanted.clone())).into_iter().collect()
        }
    };
    if chosen.is_empty() {
        return Err(VerifyError::NoReference { file: golden.into() });
    }
    let inputs = codes(model, golden, &mut npz, "inputs", model.graph.input)?;
    let layers_of = held[0].0;
    let mut layers = layers_file(golden).map(|p| Npz::open(&p).map(|n| (p, n))).transpose()?;
    let mut verdicts = Vec::new();
    for (reference, profile) in chosen {
        let program = prepare(&model.graph, &profile, 8)?;
        let recorded = codes(model, golden, &mut npz, reference, model.graph.output)?;
        if recorded.batch != inputs.batch {
            let why = format!("holds {} outputs for {} inputs", recorded.batch, inputs.batch);
            return Err(VerifyError::Array { file: golden.into(), array: reference.into(), why });
        }
        let mut verdict = Verdict {
            reference: reference.into(),
            profile: profile.name().into(),
            inputs: inputs.batch,
            layers: 0,
            codes: 0,
            differing: 0,
            first: None,
        };
        if let Some((path, layers)) = layers.as_mut().filter(|_| reference == layers_of) {
            compare_layers(model, &program, &inputs, path, layers, &mut verdict)?;
        }
        compare_outputs(model, &program, &inputs, &recorded, &mut verdict)?;
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// `X.golden_layers.npz` beside `X.golden.npz`, if there is one.
fn layers_file(golden: &Path) -> Option<PathBuf> {
    let name = golden.file_name()?.to_str()?.strip_suffix(".golden.npz")?;
    let path = golden.with_file_name(format!("{name}.golden_layers.npz"));
    path.exists().then_some(path)
}

/// An array of codes with the shape of an edge, in the engine's signed view.
fn codes(model: &Trunk, file: &Path, npz: &mut Npz, array: &str, edge: EdgeId) -> Result<Tensor<i8>, VerifyError> {
    let found = npz.read_i8(array)?;
    let shape = model.graph.shape(edge);
    let per_image = shape.elements();
    if found.data.is_empty() || found.data.len() % per_image != 0 {
        let why = format!("has shape {:?}, which is no batch of {shape}", found.shape);
        return Err(VerifyError::Array { file: file.into(), array: array.into(), why });
    }
    Ok(Tensor::from_vec(found.data.len() / per_image, shape, found.data))
}

fn compare_outputs(
    model: &Trunk,
    program: &TrunkProgram,
    inputs: &Tensor<i8>,
    recorded: &Tensor<i8>,
    verdict: &mut Verdict,
) -> Result<(), VerifyError> {
    for i in 0..inputs.batch {
        let maps = program.run_all(&inputs.slice(i, i + 1))?;
        compare(model, &verdict.reference.clone(), model.graph.output, i, recorded.image(i), &maps, verdict);
    }
    Ok(())
}

fn compare_layers(
    model: &Trunk,
    program: &TrunkProgram,
    inputs: &Tensor<i8>,
    path: &Path,
    layers: &mut Npz,
    verdict: &mut Verdict,
) -> Result<(), VerifyError> {
    let mut names: Vec<(usize, usize, String, u32)> = Vec::new();
    for name in layers.names() {
        let (input, op, tensor) = parse_key(&name).ok_or_else(|| VerifyError::Array {
            file: path.into(),
            array: name.clone(),
            why: "is not named in{i}_op{k}_{OP}_t{tensor}".into(),
        })?;
        names.push((input, op, name, tensor));
    }
    names.sort();
    let mut maps: HashMap<usize, BTreeMap<EdgeId, Tensor<i8>>> = HashMap::new();
    for (input, _, name, tensor) in names {
        let fault = |why: String| VerifyError::Array { file: path.into(), array: name.clone(), why };
        if input >= inputs.batch {
            return Err(fault(format!("belongs to input {input} of {}", inputs.batch)));
        }
        let edge = edge_of(model, tensor).ok_or_else(|| fault(format!("the model has no tensor {tensor}")))?;
        let recorded = codes(model, path, layers, &name, edge)?;
        if recorded.batch != 1 {
            return Err(fault(format!("holds {} images, should hold one", recorded.batch)));
        }
        if !program.makes(edge) {
            return Err(fault(format!("tensor {tensor} is not computed on its own: another step has taken it in")));
        }
        let maps = match maps.entry(input) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(open) => open.insert(program.run_all(&inputs.slice(input, input + 1))?),
        };
        compare(model, &name, edge, input, recorded.image(0), maps, verdict);
        verdict.layers += 1;
    }
    Ok(())
}

/// The edge imported from a tensor of the file; the last one, where a fused clamp split it.
fn edge_of(model: &Trunk, tensor: u32) -> Option<EdgeId> {
    model.graph.edges.iter().rposition(|e| e.origin == Some(tensor)).map(|i| EdgeId(i as u32))
}

/// Reads `in{i}_op{k}_{OP}_t{tensor}`.
fn parse_key(key: &str) -> Option<(usize, usize, u32)> {
    let (input, rest) = key.strip_prefix("in")?.split_once("_op")?;
    let (op, rest) = rest.split_once('_')?;
    let (_, tensor) = rest.rsplit_once("_t")?;
    Some((input.parse().ok()?, op.parse().ok()?, tensor.parse().ok()?))
}

fn compare(
    model: &Trunk,
    array: &str,
    edge: EdgeId,
    input: usize,
    recorded: &[i8],
    maps: &BTreeMap<EdgeId, Tensor<i8>>,
    verdict: &mut Verdict,
) {
    let computed = maps[&edge].image(0);
    let offset = model.graph.edge(edge).quant.map_or(0, |q| q.codes.offset());
    for (index, (&r, &c)) in recorded.iter().zip(computed).enumerate() {
        verdict.codes += 1;
        if r != c {
            verdict.differing += 1;
            verdict.first.get_or_insert_with(|| Difference {
                array: array.into(),
                layer: model.graph.edge(edge).name.clone(),
                input,
                index,
                recorded: i32::from(r) + offset,
                computed: i32::from(c) + offset,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layer_keys_are_read() {
        assert_eq!(parse_key("in0_op12_AVERAGE_POOL_2D_t34"), Some((0, 12, 34)));
        assert_eq!(parse_key("in1_op00_CONV_2D_t22"), Some((1, 0, 22)));
        assert_eq!(parse_key("layer3"), None);
        assert_eq!(parse_key("in0_op1_t"), None);
    }
}
