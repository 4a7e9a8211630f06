//! TFLite models, int8 or legacy uint8, read into a graph.
//!
//! Nodes are named after the operation and the operator's number in the file (`conv2d_03`,
//! `depthwise_05`, `softmax_15`); a fused activation becomes a node of its own right behind
//! (`conv2d_03_relu`) and the edge between the two carries no coding: it is the accumulator.
//! Every other edge has the file's coding, and the tensor's number as its `origin`. Codes and zero
//! points of uint8 models are held minus 128. A float QUANTIZE at the very beginning and a float
//! DEQUANTIZE at the very end are left out: the graph begins and ends with codes.
//!
//! Refused, each with its place: operators that are not listed in [`OPERATORS`], maps that are
//! float, 16-bit or of unknown size, sparse or dynamic-range ("hybrid") weights, constants used as
//! maps, several inputs or outputs, codings and sizes that contradict the operator or the buffers.

use super::{Fault, Imported, ModelError, printable, read_file, sha256_hex};
use crate::op::{Activation, Op};
use importer::{Importer, Step};
use source::{Operator, Source};
use std::path::Path;
use tensor::TensorRef;

mod importer;
mod layers;
mod maps;
mod names;
mod schema;
mod source;
mod tensor;
mod window;

/// The arithmetic that TFLite's reference kernels define.
const PROFILE: &str = "tflite-ref";

/// FlatBuffers address by signed 32-bit offsets.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;

type Convert = fn(&mut Importer, &Step) -> Result<(), Fault>;

/// The operators that are read, and how.
const OPERATORS: &[(&str, Convert)] = &[
    ("ADD", maps::add),
    ("AVERAGE_POOL_2D", |i, s| maps::pool(i, s, Op::AvgPool)),
    ("CONCATENATION", maps::concatenation),
    ("CONV_2D", layers::conv2d),
    ("DEPTHWISE_CONV_2D", layers::depthwise),
    ("FULLY_CONNECTED", layers::fully_connected),
    ("HARD_SWISH", |i, s| maps::activation(i, s, Activation::HardSwish)),
    ("LEAKY_RELU", maps::leaky_relu),
    ("LOGISTIC", |i, s| maps::activation(i, s, Activation::Sigmoid { gain: 1.0 })),
    ("MAX_POOL_2D", |i, s| maps::pool(i, s, Op::MaxPool)),
    ("MEAN", maps::mean),
    ("MUL", maps::mul),
    ("PAD", maps::pad),
    ("PADV2", maps::pad),
    ("QUANTIZE", maps::requantise),
    ("RELU", |i, s| maps::activation(i, s, Activation::Relu)),
    ("RELU6", |i, s| maps::activation(i, s, Activation::Relu6)),
    ("RELU_N1_TO_1", |i, s| maps::activation(i, s, Activation::ReluN1To1)),
    ("RESHAPE", maps::reshape),
    ("SOFTMAX", maps::softmax),
    ("SQUEEZE", maps::reshape),
    ("TANH", |i, s| maps::activation(i, s, Activation::Tanh)),
];

/// Reads the model at `path`; the graph is named after the file.
pub fn import(path: &Path) -> Result<Imported, ModelError> {
    import_bytes(&read_file(path, MAX_FILE_BYTES)?, path)
}

/// Reads a model that is already in memory; `path` names it in errors and names the graph.
pub fn import_bytes(bytes: &[u8], path: &Path) -> Result<Imported, ModelError> {
    let name = path.file_stem().map_or("model".into(), |stem| stem.to_string_lossy());
    convert(bytes, &name).map_err(|fault| fault.in_file(path))
}

fn convert(bytes: &[u8], name: &str) -> Result<Imported, Fault> {
    let source = Source::new(bytes)?;
    let operators: Vec<Operator> = source.operators().collect::<Result<_, _>>()?;
    let mut notes = vec![];
    let (operators, input, output) = without_float_ends(&source, &operators, &mut notes)?;
    let input = source.tensor(input)?;
    if source.subgraphs > 1 {
        notes.push(format!("{} further subgraphs are ignored", source.subgraphs - 1));
    }
    let mut importer = Importer::new(name, source, &input, bytes.len())?;
    if importer.batch() > 1 {
        notes.push(format!("the file's fixed batch of {} is dropped", importer.batch()));
    }
    for &operator in operators {
        let step = Step { operator, output: importer.source.tensor(operator.output()?)? };
        converter(&step)?(&mut importer, &step)?;
    }
    let output = importer
        .edge_of(output)
        .filter(|&edge| edge != importer.graph.input)
        .ok_or_else(|| Fault::malformed(format!("output tensor {output}"), "no operator computes it"))?;
    importer.graph.output = output;
    Ok(Imported { graph: importer.graph, default_profile: PROFILE, notes, source_sha256: sha256_hex(bytes) })
}

fn converter(step: &Step) -> Result<Convert, Fault> {
    let known = OPERATORS.iter().find(|(name, _)| !step.operator.custom && *name == step.operator.name);
    known.map(|(_, convert)| *convert).ok_or_else(|| {
        let names: Vec<&str> = OPERATORS.iter().map(|(name, _)| *name).collect();
        step.unsupported(format!(
            "the operator {} is not read; replace it before conversion, or cut the model before it ({} are read)",
            step.operator.shown_name(),
            names.join(", ")
        ))
    })
}

/// The operators between the coded ends of the model, and the tensors at those ends.
fn without_float_ends<'o, 'a>(
    source: &Source<'a>,
    operators: &'o [Operator<'a>],
    notes: &mut Vec<String>,
) -> Result<(&'o [Operator<'a>], i32, i32), Fault> {
    let (mut rest, mut input, mut output) = (operators, source.input, source.output);
    let float = |tensor: i32| Ok(source.tensor(tensor)?.element() == "FLOAT32");
    let named = |tensor: &TensorRef| printable(tensor.raw.name().unwrap_or(""));
    if let [first, others @ ..] = rest
        && first.name == "QUANTIZE"
        && first.input(0) == Some(input)
        && float(input)?
        && !others.iter().any(|o| o.reads(input))
    {
        (rest, input) = (others, first.output()?);
        let coded = source.tensor(input)?;
        notes.push(format!("the float QUANTIZE at the input is left out; the input is '{}'", named(&coded)));
    }
    if let [others @ .., last] = rest
        && last.name == "DEQUANTIZE"
        && last.output()? == output
        && float(output)?
    {
        (rest, output) = (others, last.input(0).unwrap_or(-1));
        let coded = source.tensor(output)?;
        notes.push(format!("the float DEQUANTIZE at the output is left out; the output is '{}'", named(&coded)));
    }
    Ok((rest, input, output))
}
