//! ONNX models (opset 1 and later), float or quantised, read into a graph.
//!
//! A float network is frozen by our own quantiser. A quantised one, whether of QuantizeLinear and
//! DequantizeLinear around float operators (QDQ) or of QLinear operators (QOperator), keeps the
//! file's codes and scales: what stands between codes becomes the integer operation ([`quantised`]).
//! Codes and zero points of UINT8 are held minus 128. A QuantizeLinear at the very beginning and a
//! DequantizeLinear at the very end are left out: the graph begins and ends with codes.
//!
//! Nodes are named after the operation and the node's number in the file (`conv2d_03`,
//! `batch_norm_04`); a coded map has the number of the node that coded it as its `origin`. ONNX
//! counts channels first: weights are reordered on the way in, and linear weights behind a flattened
//! map follow the graph's order. Flatten of one pixel, Identity and Dropout leave no node; a Slice
//! that takes every second row and column becomes a maximum over windows of one position; a sum or
//! product with one constant per channel becomes a batch norm. Nodes of constants alone are
//! evaluated ([`fold`]), and [`evaluate`] does nothing else.
//!
//! Refused, each with its place and a way out: operators that are not listed in [`OPERATORS`],
//! scales that depend on the image, quantised networks with maps that nothing rounds, maps that are
//! neither N×C×H×W nor N×C, an input of unknown size, several inputs or outputs, weights in other
//! files, subgraphs, and whatever contradicts itself.

use super::{Fault, Imported, ModelError, printable, read_file, sha256_hex};
use crate::graph::Graph;
use crate::op::Activation;
use crate::op::Op;
use crate::quant::CodeType;
use crate::tensor::Shape;
use importer::{Form, Importer, Map, Step, Value, View, is_sound};
use prost::Message;
use prost::bytes::Bytes;
use std::collections::HashSet;
use std::path::Path;
use std::rc::Rc;

mod fold;
mod importer;
mod layers;
mod maps;
mod proto;
mod quantised;
mod resample;
mod shapes;
mod tensor;
mod weights;
mod window;

pub use tensor::{Constant, Element, Values};

/// A float network has no arithmetic of its own; it is frozen in the default one.
const PROFILE: &str = "tflite-ref";

/// Protobuf ends at 2 GiB.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;

/// The arithmetic that quantised ONNX files were made for.
const QUANTISED_PROFILE: &str = "onnxruntime";

type Convert = for<'a> fn(&mut Importer<'a>, &Step<'a>) -> Result<(), Fault>;

/// The operators that are read, and how.
const OPERATORS: &[(&str, Convert)] = &[
    ("Add", |i, s| maps::binary(i, s, Op::Add)),
    ("AveragePool", maps::average_pool),
    ("BatchNormalization", layers::batch_norm),
    ("Cast", shapes::cast),
    ("Clip", maps::clip),
    ("Concat", maps::concat),
    ("Constant", shapes::constant),
    ("Conv", layers::conv),
    ("ConvInteger", quantised::dynamic),
    ("ConvTranspose", resample::conv_transpose),
    ("DequantizeLinear", quantised::dequantize),
    ("Dropout", maps::dropout),
    ("DynamicQuantizeLinear", quantised::dynamic),
    ("Flatten", shapes::flatten),
    ("Gemm", layers::gemm),
    ("GlobalAveragePool", maps::global_average_pool),
    ("HardSigmoid", maps::hard_sigmoid),
    ("HardSwish", |i, s| maps::activation(i, s, Activation::HardSwish)),
    ("Identity", maps::identity),
    ("LeakyRelu", maps::leaky_relu),
    ("MatMul", layers::matmul),
    ("MatMulInteger", quantised::dynamic),
    ("MaxPool", maps::max_pool),
    ("Mul", |i, s| maps::binary(i, s, Op::Mul)),
    ("Pad", maps::pad),
    ("QGemm", quantised::gemm),
    ("QLinearAdd", |i, s| quantised::binary(i, s, Op::Add)),
    ("QLinearAveragePool", quantised::average_pool),
    ("QLinearConcat", quantised::concat),
    ("QLinearConv", quantised::conv),
    ("QLinearGlobalAveragePool", quantised::global_average_pool),
    ("QLinearLeakyRelu", quantised::leaky_relu),
    ("QLinearMatMul", quantised::matmul),
    ("QLinearMul", |i, s| quantised::binary(i, s, Op::Mul)),
    ("QLinearSigmoid", |i, s| quantised::activation(i, s, Activation::Sigmoid { gain: 1.0 })),
    ("QLinearSoftmax", quantised::softmax),
    ("QuantizeLinear", quantised::quantize),
    ("ReduceMean", maps::reduce_mean),
    ("Relu", |i, s| maps::activation(i, s, Activation::Relu)),
    ("Reshape", shapes::reshape),
    ("Resize", resample::resize),
    ("Shape", shapes::shape),
    ("Sigmoid", |i, s| maps::activation(i, s, Activation::Sigmoid { gain: 1.0 })),
    ("Slice", maps::slice),
    ("Softmax", maps::softmax),
    ("Squeeze", shapes::squeeze),
    ("Tanh", |i, s| maps::activation(i, s, Activation::Tanh)),
    ("Transpose", resample::transpose),
    ("Unsqueeze", shapes::unsqueeze),
    ("Upsample", resample::resize),
];

/// Reads the model at `path`; the graph is named after the file.
pub fn import(path: &Path) -> Result<Imported, ModelError> {
    import_bytes(read_file(path, MAX_FILE_BYTES)?, path)
}

/// Reads a model that is already in memory; `path` names it in errors and names the graph.
pub fn import_bytes(bytes: Vec<u8>, path: &Path) -> Result<Imported, ModelError> {
    import_fed(bytes, &[], path)
}

/// The same for a model whose weights are inputs: those after the first are given, as `.pb` tensors
/// in the file's order.
pub fn import_fed(bytes: Vec<u8>, weights: &[Vec<u8>], path: &Path) -> Result<Imported, ModelError> {
    let name = path.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
    convert(bytes, weights, &name).map_err(|fault| fault.in_file(path))
}

/// Computes a model whose inputs are all given, as `.pb` tensors in the file's order.
pub fn evaluate(bytes: Vec<u8>, inputs: &[Vec<u8>], path: &Path) -> Result<Vec<Constant>, ModelError> {
    compute(bytes, inputs).map_err(|fault| fault.in_file(path))
}

/// Reads one tensor that is a file of its own (`.pb`).
pub fn read_tensor(bytes: &[u8], path: &Path) -> Result<Constant, ModelError> {
    let read = |bytes| Constant::read(&tensor("file", bytes)?).map_err(|r| Fault::malformed("file", r.why));
    read(bytes).map_err(|fault: Fault| fault.in_file(path))
}

fn convert(bytes: Vec<u8>, weights: &[Vec<u8>], name: &str) -> Result<Imported, Fault> {
    let source_sha256 = sha256_hex(&bytes);
    let mut model = decode(bytes)?;
    feed(&mut model, 1, weights)?;
    let opset = opset(&model)?;
    let file = graph_of(&model)?;
    let input = input(file)?;
    let mut importer = Importer::new(Graph::new(name, input.shape), input.batch, file);
    if input.batch > 1 {
        importer.notes.push(format!("the file's fixed batch of {} is dropped", input.batch));
    }
    importer.input_codes = input.codes.unwrap_or(CodeType::U8);
    let form = if input.codes.is_some() { Form::Codes } else { Form::Real };
    importer.define_input(input.name, Map { edge: importer.graph.input, view: input.view, form });
    run(&mut importer, file, opset)?;
    importer.graph.output = output(&mut importer, file)?.edge;
    let quantised = importer.graph.edges.iter().any(|e| e.quant.is_some());
    if quantised {
        every_map_is_rounded(&importer.graph)?;
    }
    let default_profile = if quantised { QUANTISED_PROFILE } else { PROFILE };
    Ok(Imported { graph: importer.graph, default_profile, notes: importer.notes, source_sha256 })
}

fn compute(bytes: Vec<u8>, inputs: &[Vec<u8>]) -> Result<Vec<Constant>, Fault> {
    let mut model = decode(bytes)?;
    feed(&mut model, 0, inputs)?;
    let opset = opset(&model)?;
    let file = graph_of(&model)?;
    let mut importer = Importer::new(Graph::new("constants", Shape::vector(1)), 1, file);
    run(&mut importer, file, opset)?;
    let value = |info: &proto::ValueInfo| match importer.value(&info.name) {
        Some(Value::Constant(constant)) => Ok(constant.as_ref().clone()),
        _ => Err(Fault::malformed(format!("output '{}'", printable(&info.name)), "is computed by no node")),
    };
    file.output.iter().map(value).collect()
}

/// Makes initialisers of the inputs from `first` on.
fn feed(model: &mut proto::Model, first: usize, tensors: &[Vec<u8>]) -> Result<(), Fault> {
    let Some(file) = &mut model.graph else { return Ok(()) };
    for (info, bytes) in file.input.iter().skip(first).zip(tensors) {
        let fed = tensor(&format!("input '{}'", printable(&info.name)), bytes)?;
        file.initializer.push(proto::Tensor { name: info.name.clone(), ..fed });
    }
    Ok(())
}

fn tensor(place: &str, bytes: &[u8]) -> Result<proto::Tensor, Fault> {
    proto::Tensor::decode(bytes).map_err(|e| Fault::malformed(place, format!("is no ONNX tensor: {e}")))
}

fn decode(bytes: Vec<u8>) -> Result<proto::Model, Fault> {
    proto::Model::decode(Bytes::from(bytes)).map_err(|e| Fault::malformed("file", format!("is no ONNX model: {e}")))
}

fn graph_of(model: &proto::Model) -> Result<&proto::Graph, Fault> {
    model.graph.as_ref().ok_or_else(|| Fault::malformed("file", "is no ONNX model: it has no graph"))
}

/// Converts every node; one whose inputs are all constants is evaluated.
fn run<'a>(importer: &mut Importer<'a>, file: &'a proto::Graph, opset: i64) -> Result<(), Fault> {
    for (index, node) in file.node.iter().enumerate() {
        let step = Step { index, node, opset };
        if !importer.is_all_constant(&step) {
            converter(&step)?(importer, &step)?;
            continue;
        }
        let inputs = (0..node.input.len()).map(|i| importer.optional(&step, i)).collect::<Result<Vec<_>, _>>()?;
        let outputs = fold::evaluate(&step, &inputs, &mut importer.budget)?;
        for (position, constant) in outputs.into_iter().enumerate().take(node.output.len()) {
            importer.define_at(&step, position, Value::Constant(Rc::new(constant)))?;
        }
    }
    Ok(())
}

/// In a quantised network, every map between steps has codes: a float one would be the trunk's guess.
fn every_map_is_rounded(graph: &Graph) -> Result<(), Fault> {
    if graph.edge(graph.input).quant.is_none() {
        return Err(Fault::unsupported("input", "is read as floats; a quantised network begins with a QuantizeLinear"));
    }
    for id in graph.node_ids() {
        let node = graph.node(id);
        if graph.edge(node.output).quant.is_some() {
            continue;
        }
        let fuses = graph.sole_consumer(node.output).is_some_and(|next| match &graph.node(next).op {
            Op::Activation(a) => a.clamp().is_some(),
            Op::BatchNorm(_) => matches!(node.op, Op::Conv2d(_) | Op::Linear(_)),
            _ => false,
        });
        if !fuses {
            let why = "computes a float map that no QuantizeLinear rounds; quantise this operator too \
                       (op_types_to_quantize), or cut the model before it (onnx.utils.extract_model)";
            return Err(Fault::unsupported(format!("node '{}'", node.name), why));
        }
    }
    Ok(())
}

fn opset(model: &proto::Model) -> Result<i64, Fault> {
    let standard = model.opset_import.iter().find(|o| matches!(o.domain.as_str(), "" | "ai.onnx"));
    let version =
        standard.ok_or_else(|| Fault::malformed("file", "is no ONNX model: it names no operator set"))?.version;
    if version < 1 {
        return Err(Fault::malformed("file", format!("is of opset {version}; the first is 1")));
    }
    Ok(version)
}

/// What a network reads.
struct Input<'a> {
    name: &'a str,
    batch: usize,
    view: View,
    shape: Shape,
    /// If it is codes already.
    codes: Option<CodeType>,
}

/// The one input that is no initialiser.
fn input(file: &proto::Graph) -> Result<Input<'_>, Fault> {
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
    let codes = match Element::from_number(tensor.elem_type) {
        Some(Element::Float) => None,
        Some(Element::Uint8) => Some(CodeType::U8),
        Some(Element::Int8) => Some(CodeType::I8),
        _ => {
            let why = format!("is of type {}; FLOAT, UINT8 and INT8 are read", tensor::type_name(tensor.elem_type));
            return Err(Fault::unsupported(&place, why));
        }
    };
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
    Ok(Input { name: &info.name, batch: batch(dims), view, shape, codes })
}

/// The images of a fixed batch; 1 where the file leaves it open.
fn batch(dims: &[proto::Dimension]) -> usize {
    const LARGEST: i64 = 1 << 20;
    dims[0].dim_value.filter(|d| (1..=LARGEST).contains(d)).map_or(1, |d| d as usize)
}

fn output(importer: &mut Importer, file: &proto::Graph) -> Result<Map, Fault> {
    let [info] = &file.output[..] else {
        let why = format!("has {} outputs; one is read: cut the others (onnx.utils.extract_model)", file.output.len());
        return Err(Fault::unsupported("graph", why));
    };
    let place = format!("output '{}'", printable(&info.name));
    match importer.value(&info.name).cloned() {
        Some(Value::Map(map)) if map.edge == importer.graph.input => {
            Err(Fault::malformed(&place, "is the graph's input"))
        }
        Some(Value::Map(map)) if !map.view.in_order() => {
            Err(Fault::unsupported(&place, "is a flattened map of several pixels; cut the model before the Flatten"))
        }
        Some(Value::Map(map)) => {
            if map.form == Form::Dequantised {
                importer.notes.push("the DequantizeLinear at the output is left out; the output is its codes".into());
            }
            Ok(map)
        }
        Some(Value::Constant(_)) => Err(Fault::malformed(&place, "is a constant")),
        None => Err(Fault::malformed(&place, "is computed by no node")),
    }
}

/// Domains of the operators that are read: ONNX's own, and that of ONNX Runtime's QLinear operators.
const DOMAINS: [&str; 3] = ["", "ai.onnx", "com.microsoft"];

fn converter(step: &Step) -> Result<Convert, Fault> {
    let name = step.node.op_type.as_str();
    let ours = |known: &str| step.is_standard() || known.starts_with('Q') && DOMAINS.contains(&&*step.node.domain);
    let known = OPERATORS.iter().find(|(known, _)| *known == name && ours(known));
    known.map(|(_, convert)| *convert).ok_or_else(|| {
        let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
        step.unsupported(format!(
            "the operator is not read; replace it before export, simplify the model (onnxsim), or cut it before this \
             node (onnx.utils.extract_model) ({} are read)",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests;
