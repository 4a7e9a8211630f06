//! Float ONNX models (opset 7 and later), read into a graph that our own quantiser can freeze.
//!
//! Nodes are named after the operation and the node's number in the file (`conv2d_03`,
//! `batch_norm_04`). ONNX counts channels first: weights are reordered on the way in, and linear
//! weights behind a flattened map follow the graph's order. Flatten of one pixel, Identity and
//! Dropout leave no node; a Slice that takes every second row and column becomes a maximum over
//! windows of one position; a sum or product with one constant per channel becomes a batch norm.
//!
//! Refused, each with its place and a way out: operators that are not listed in [`OPERATORS`],
//! quantised models, maps that are neither N×C×H×W nor N×C, an input of unknown size, several
//! inputs or outputs, weights in other files, subgraphs, and whatever contradicts itself.

use super::{Fault, Imported, ModelError, printable, read_file, sha256_hex};
use crate::graph::Graph;
use crate::op::Activation;
use crate::tensor::Shape;
use importer::{Importer, Map, Step, Value, View, is_sound};
use prost::Message;
use prost::bytes::Bytes;
use std::collections::HashSet;
use std::path::Path;

mod importer;
mod layers;
mod maps;
mod proto;
mod shapes;
mod tensor;
mod window;

/// A float network has no arithmetic of its own; it is frozen in the default one.
const PROFILE: &str = "tflite-ref";

/// Protobuf ends at 2 GiB.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// Before this opset, Add and Mul broadcast by attributes and batch norms could train.
const OLDEST_OPSET: i64 = 7;

type Convert = for<'a> fn(&mut Importer<'a>, &Step<'a>) -> Result<(), Fault>;

/// The operators that are read, and how.
const OPERATORS: &[(&str, Convert)] = &[
    ("Add", maps::add),
    ("AveragePool", maps::average_pool),
    ("BatchNormalization", layers::batch_norm),
    ("Cast", shapes::cast),
    ("Clip", maps::clip),
    ("Concat", |i, s| if i.is_constant(s, 0) { shapes::concat(i, s) } else { maps::concat(i, s) }),
    ("Constant", shapes::constant),
    ("Conv", layers::conv),
    ("Dropout", maps::dropout),
    ("Flatten", shapes::flatten),
    ("Gather", shapes::gather),
    ("Gemm", layers::gemm),
    ("GlobalAveragePool", maps::global_average_pool),
    ("HardSwish", |i, s| maps::activation(i, s, Activation::HardSwish)),
    ("Identity", maps::identity),
    ("LeakyRelu", maps::leaky_relu),
    ("MatMul", layers::matmul),
    ("MaxPool", maps::max_pool),
    ("Mul", maps::mul),
    ("Pad", maps::pad),
    ("ReduceMean", maps::reduce_mean),
    ("Relu", |i, s| maps::activation(i, s, Activation::Relu)),
    ("Reshape", shapes::reshape),
    ("Shape", shapes::shape),
    ("Sigmoid", |i, s| maps::activation(i, s, Activation::Sigmoid { gain: 1.0 })),
    ("Slice", maps::slice),
    ("Softmax", maps::softmax),
    ("Squeeze", shapes::squeeze),
    ("Tanh", |i, s| maps::activation(i, s, Activation::Tanh)),
    ("Unsqueeze", shapes::unsqueeze),
];

/// Reads the model at `path`; the graph is named after the file.
pub fn import(path: &Path) -> Result<Imported, ModelError> {
    import_bytes(read_file(path, MAX_FILE_BYTES)?, path)
}

/// Reads a model that is already in memory; `path` names it in errors and names the graph.
pub fn import_bytes(bytes: Vec<u8>, path: &Path) -> Result<Imported, ModelError> {
    let name = path.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
    convert(bytes, &name).map_err(|fault| fault.in_file(path))
}

fn convert(bytes: Vec<u8>, name: &str) -> Result<Imported, Fault> {
    let (file_bytes, source_sha256) = (bytes.len(), sha256_hex(&bytes));
    let model = proto::Model::decode(Bytes::from(bytes))
        .map_err(|e| Fault::malformed("file", format!("is no ONNX model: {e}")))?;
    let opset = opset(&model)?;
    let file = model.graph.as_ref().ok_or_else(|| Fault::malformed("file", "is no ONNX model: it has no graph"))?;
    let (input, batch, view, shape) = input(file)?;
    let mut importer = Importer::new(Graph::new(name, shape), batch, file, file_bytes);
    if batch > 1 {
        importer.notes.push(format!("the file's fixed batch of {batch} is dropped"));
    }
    importer.define_input(input, Map { edge: importer.graph.input, view });
    for (index, node) in file.node.iter().enumerate() {
        let step = Step { index, node, opset };
        converter(&step)?(&mut importer, &step)?;
    }
    importer.graph.output = output(&importer, file)?.edge;
    Ok(Imported { graph: importer.graph, default_profile: PROFILE, notes: importer.notes, source_sha256 })
}

fn opset(model: &proto::Model) -> Result<i64, Fault> {
    let standard = model.opset_import.iter().find(|o| matches!(o.domain.as_str(), "" | "ai.onnx"));
    let version =
        standard.ok_or_else(|| Fault::malformed("file", "is no ONNX model: it names no operator set"))?.version;
    if version < OLDEST_OPSET {
        let why = format!(
            "is of opset {version}; {OLDEST_OPSET} and later are read: convert it with onnx.version_converter.convert_version"
        );
        return Err(Fault::unsupported("file", why));
    }
    Ok(version)
}

/// The one input that is no initialiser: its name, batch, view and shape.
fn input(file: &proto::Graph) -> Result<(&str, usize, View, Shape), Fault> {
    let weights: HashSet<&str> = file.initializer.iter().map(|t| t.name.as_str()).collect();
    let inputs: Vec<_> = file.input.iter().filter(|i| !weights.contains(i.name.as_str())).collect();
    let [info] = inputs[..] else {
        let names: Vec<String> = inputs.iter().take(8).map(|i| printable(&i.name)).collect();
        let why = format!(
            "has {} inputs ({}); a network of one image is read, with its weights as initialisers",
            inputs.len(),
            names.join(", ")
        );
        return Err(Fault::unsupported("graph", why));
    };
    let place = format!("input '{}'", printable(&info.name));
    let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| Fault::malformed(&place, "has no tensor type"))?;
    if tensor.elem_type != 1 {
        let why = format!("is of type {}; float networks take FLOAT", tensor::type_name(tensor.elem_type));
        return Err(Fault::unsupported(&place, why));
    }
    let dims = tensor.shape.as_ref().map_or(&[][..], |s| &s.dim);
    let size = |i: usize| {
        let size = dims[i].dim_value.and_then(|d| usize::try_from(d).ok()).filter(|&d| d > 0);
        size.ok_or_else(|| {
            Fault::unsupported(
                &place,
                format!("leaves dimension {i} open; fix it (python -m onnxruntime.tools.make_dynamic_shape_fixed)"),
            )
        })
    };
    let (shape, is_map) = match dims.len() {
        4 => (Shape::new(size(2)?, size(3)?, size(1)?), true),
        2 => (Shape::vector(size(1)?), false),
        rank => return Err(Fault::unsupported(&place, format!("has rank {rank}; N×C×H×W and N×C are read"))),
    };
    if !is_sound(shape) {
        return Err(Fault::malformed(&place, "has more elements than can be addressed"));
    }
    let view = if is_map { View::Map } else { View::Flat(shape) };
    Ok((&info.name, batch(dims), view, shape))
}

/// The images of a fixed batch; 1 where the file leaves it open.
fn batch(dims: &[proto::Dimension]) -> usize {
    const LARGEST: i64 = 1 << 20;
    dims[0].dim_value.filter(|d| (1..=LARGEST).contains(d)).map_or(1, |d| d as usize)
}

fn output(importer: &Importer, file: &proto::Graph) -> Result<Map, Fault> {
    let [info] = &file.output[..] else {
        let why = format!("has {} outputs; one is read: cut the others (onnx.utils.extract_model)", file.output.len());
        return Err(Fault::unsupported("graph", why));
    };
    let place = format!("output '{}'", printable(&info.name));
    match importer.value(&info.name) {
        Some(Value::Map(map)) if map.edge == importer.graph.input => {
            Err(Fault::malformed(&place, "is the graph's input"))
        }
        Some(Value::Map(map)) if !map.view.in_order() => {
            Err(Fault::unsupported(&place, "is a flattened map of several pixels; cut the model before the Flatten"))
        }
        Some(Value::Map(map)) => Ok(*map),
        Some(Value::Constant(_)) => Err(Fault::malformed(&place, "is a constant")),
        None => Err(Fault::malformed(&place, "is computed by no node")),
    }
}

fn converter(step: &Step) -> Result<Convert, Fault> {
    let name = step.node.op_type.as_str();
    let known = OPERATORS.iter().find(|(known, _)| step.is_standard() && *known == name);
    known.map(|(_, convert)| *convert).ok_or_else(|| {
        let quantised = ["QuantizeLinear", "DequantizeLinear", "QLinear", "Integer"].iter().any(|q| name.contains(q));
        let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
        let advice = if quantised {
            "this door reads float networks, which are quantised here: give the model as it was before quantisation"
        } else {
            "replace it before export, simplify the model (onnxsim), or cut it before this node (onnx.utils.extract_model)"
        };
        step.unsupported(format!("the operator is not read; {advice} ({} are read)", names.join(", ")))
    })
}

#[cfg(test)]
mod tests;
