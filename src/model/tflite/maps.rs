//! Operators without weights.

use super::importer::{Importer, Step};
use super::layers::same_padding;
use super::tensor::TensorRef;
use super::window::{Axis, Window};
use crate::model::Fault;
use crate::op::{Activation, Op, Pad, Pool, Softmax, mul};
use crate::quant::CodeType;

pub fn add(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let inputs = [importer.edge(step, 0)?, importer.edge(step, 1)?];
    let fused = step.operator.raw.add().map_or(0, |o| o.fused());
    importer.emit(step, Op::Add, &inputs, &[], fused)
}

pub fn mul(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let (a, b) = (importer.edge(step, 0)?, importer.edge(step, 1)?);
    // The graph broadcasts its second operand; the product does not care which is which.
    let spreads = mul::broadcasts(importer.graph.shape(a), importer.graph.shape(b));
    let inputs = if spreads { [a, b] } else { [b, a] };
    let fused = step.operator.raw.mul().map_or(0, |o| o.fused());
    importer.emit(step, Op::Mul, &inputs, &[], fused)
}

pub fn pool(importer: &mut Importer, step: &Step, op: fn(Pool) -> Op) -> Result<(), Fault> {
    let options = step.options(step.operator.raw.pool())?;
    let filter =
        |n: i32| usize::try_from(n).ok().filter(|&n| n > 0).ok_or_else(|| step.malformed("has a window below 1"));
    let (kh, kw) = (filter(options.filter_h())?, filter(options.filter_w())?);
    let edge = importer.edge(step, 0)?;
    let input = importer.graph.shape(edge);
    let window = Window {
        same: same_padding(step, options.padding())?,
        h: Axis::new(step, input.h, kh, options.stride_h(), 1)?,
        w: Axis::new(step, input.w, kw, options.stride_w(), 1)?,
    };
    importer.same_coding(step, 0)?;
    let pool = Pool { kernel: [kh, kw], stride: [window.h.stride, window.w.stride], pad: window.pad() };
    importer.emit(step, op(pool), &[edge], &[], options.fused())
}

/// Mean over height and width; any other set of axes is another operation.
pub fn mean(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let edge = importer.edge(step, 0)?;
    let rank = importer.source.tensor(step.input(0)?)?.dims()?.len();
    let axes = importer.constant(step, 1)?.integers()?;
    let mut sorted: Vec<i64> = axes.iter().map(|&a| if a < 0 { a.saturating_add(rank as i64) } else { a }).collect();
    sorted.sort_unstable();
    if rank != 4 || sorted != [1, 2] {
        return Err(step.unsupported(format!(
            "averages a map of rank {rank} over axes {axes:?}; only axes 1 and 2 of rank 4 (height and width) are done"
        )));
    }
    importer.emit(step, Op::Mean, &[edge], &[], 0)
}

/// RESHAPE and SQUEEZE: rows of numbers keep their order, so the declared output shape says it all.
pub fn reshape(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let edge = importer.edge(step, 0)?;
    importer.same_coding(step, 0)?;
    let shape = step.output.map_shape(importer.batch())?;
    importer.emit(step, Op::Reshape(shape), &[edge], &[], 0)
}

pub fn pad(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let edge = importer.edge(step, 0)?;
    importer.same_coding(step, 0)?;
    let rank = importer.source.tensor(step.input(0)?)?.dims()?.len();
    let table = importer.constant(step, 1)?;
    let amounts = table.integers()?;
    if rank < 2 || amounts.len() != 2 * rank {
        return Err(step.malformed(format!("has {} amounts for a map of rank {rank}", amounts.len())));
    }
    let at = |axis_from_last: usize, end: usize| {
        let amount = if axis_from_last + 1 < rank { amounts[2 * (rank - 1 - axis_from_last) + end] } else { 0 };
        usize::try_from(amount).map_err(|_| step.malformed(format!("pads by {amount}")))
    };
    if amounts[..2] != [0, 0] {
        return Err(step.unsupported("pads the batch"));
    }
    if step.operator.input_count() > 2 {
        pads_with_zero(importer, step)?;
    }
    let space = [at(2, 0)?, at(1, 0)?, at(2, 1)?, at(1, 1)?];
    let pad = Pad { space, channels: [at(0, 0)?, at(0, 1)?] };
    importer.emit(step, Op::Pad(pad), &[edge], &[], 0)
}

/// PADV2 carries its value as a constant of the output's coding; only the code of 0 is a zero padding.
fn pads_with_zero(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let value: TensorRef = importer.source.tensor(step.input(2)?)?;
    let zero = step.output.coding()?;
    let same_type = value.element() == step.output.element();
    match value.data {
        Some(&[byte]) if same_type => {
            let code = if zero.codes == CodeType::U8 { i32::from(byte) - 128 } else { i32::from(byte as i8) };
            if code == zero.zero_point {
                return Ok(());
            }
            Err(step.unsupported(format!("pads with code {code}, not with zero (code {})", zero.zero_point)))
        }
        _ => Err(step.unsupported(format!("its padding value {value} is not one constant of the map's type"))),
    }
}

pub fn concatenation(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let options = step.options(step.operator.raw.concatenation())?;
    if options.fused() != 0 {
        return Err(step.unsupported("its fused activation has no place in the trunk; put the activation before it"));
    }
    let rank = step.output.dims()?.len();
    let axis = if options.axis() < 0 { i64::from(options.axis()) + rank as i64 } else { i64::from(options.axis()) };
    if axis != rank as i64 - 1 || rank < 2 {
        let why = format!("joins along axis {axis} of rank {rank}; only channels (the last axis) are joined");
        return Err(step.unsupported(why));
    }
    let count = step.operator.input_count();
    let legacy = step.output.coding()?.codes == CodeType::U8;
    let mut inputs = vec![];
    for position in 0..count {
        inputs.push(importer.edge(step, position)?);
        // uint8 models rescale here; int8 models copy codes.
        if !legacy {
            importer.same_coding(step, position)?;
        }
    }
    importer.emit(step, Op::Concat, &inputs, &[], options.fused())
}

pub fn activation(importer: &mut Importer, step: &Step, activation: Activation) -> Result<(), Fault> {
    let edge = importer.edge(step, 0)?;
    match activation {
        Activation::Sigmoid { .. } => fixed_coding(step, 1.0 / 256.0, -128)?,
        Activation::Tanh => fixed_coding(step, 1.0 / 128.0, 0)?,
        _ => {}
    }
    importer.emit(step, Op::Activation(activation), &[edge], &[], 0)
}

pub fn leaky_relu(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let slope = step.options(step.operator.raw.leaky_relu())?.alpha();
    if !slope.is_finite() {
        return Err(step.malformed(format!("has a slope of {slope}")));
    }
    activation(importer, step, Activation::LeakyRelu { slope })
}

pub fn softmax(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let beta = step.options(step.operator.raw.softmax())?.beta();
    if !(beta.is_finite() && beta > 0.0) {
        return Err(step.malformed(format!("has a beta of {beta}; it must be above 0")));
    }
    let edge = importer.edge(step, 0)?;
    fixed_coding(step, 1.0 / 256.0, -128)?;
    importer.emit(step, Op::Softmax(Softmax { beta }), &[edge], &[], 0)
}

pub fn requantise(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let edge = importer.edge(step, 0)?;
    importer.emit(step, Op::Requantise, &[edge], &[], 0)
}

/// TFLite fixes the output coding of functions with a bounded range.
fn fixed_coding(step: &Step, scale: f32, zero_point: i32) -> Result<(), Fault> {
    let coding = step.output.coding()?;
    if coding.scale == scale && coding.zero_point == zero_point {
        return Ok(());
    }
    let offset = coding.codes.offset();
    let (got, wanted) = (coding.zero_point + offset, zero_point + offset);
    Err(step.malformed(format!(
        "its output has scale {} and zero point {got}; TFLite fixes them to {scale} and {wanted}",
        coding.scale
    )))
}
