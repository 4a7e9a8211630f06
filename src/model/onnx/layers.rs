//! Operators with weights: convolution, linear layers, batch norm, and sums and products with
//! constants, which are batch norms.

use super::importer::{Importer, Map, Step, Value, View};
use super::tensor::Constant;
use super::window::Window;
use crate::graph::{EdgeId, ParamKind};
use crate::model::Fault;
use crate::op::{BatchNorm, Conv2d, Linear, Op};
use crate::tensor::Shape;
use std::rc::Rc;

pub fn conv<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let input = importer.map4(step, 0)?;
    let shape = importer.shape(input);
    let weight = importer.constant(step, 1)?;
    let &[out_c, per_group, kh, kw] = &weight.dims[..] else {
        let why = format!("has weights of dimensions {:?}; only 2-D convolutions (four) are done", weight.dims);
        return Err(step.unsupported(why));
    };
    if weight.values.is_empty() {
        return Err(step.malformed(format!("has weights of dimensions {:?}", weight.dims)));
    }
    let Window { kernel, stride, dilation, pad } = Window::read(step, shape, Some([kh, kw]))?;
    let groups = step.integer("group", 1)?;
    let groups = usize::try_from(groups).map_err(|_| step.malformed(format!("has {groups} groups")))?;
    let conv = Conv2d { in_c: shape.c, out_c, kernel, stride, dilation, pad, groups };
    if per_group.checked_mul(groups) != Some(shape.c) {
        let why = format!("has weights for {groups} groups of {per_group} channels but reads {}", shape.c);
        return Err(step.malformed(why));
    }
    let values = ohwi(importer.floats(step, "its weight", &weight)?, [out_c, per_group, kh, kw]);
    let op = Op::Conv2d(conv);
    let name = step.node_name(&op);
    let mut params = vec![importer.add_param(&name, "weight", ParamKind::Weight, &[out_c, kh, kw, per_group], values)];
    if let Some(bias) = importer.optional(step, 2)? {
        let values = per_channel(importer, step, "its bias", &bias, out_c)?;
        params.push(importer.add_param(&name, "bias", ParamKind::Bias, &[out_c], values));
    }
    let edge = importer.node(step, &name, op, &[input.edge], &params)?;
    importer.define(step, Value::Map(Map { edge, view: View::Map }))
}

/// Filters from out × in × height × width to out × height × width × in.
fn ohwi(values: &[f32], [out, channels, kh, kw]: [usize; 4]) -> Vec<f32> {
    let taps = kh * kw;
    let mut packed = Vec::with_capacity(values.len());
    for o in 0..out {
        for tap in 0..taps {
            packed.extend((0..channels).map(|c| values[(o * channels + c) * taps + tap]));
        }
    }
    packed
}

/// One value per channel.
fn per_channel(
    importer: &Importer,
    step: &Step,
    what: &str,
    constant: &Constant,
    channels: usize,
) -> Result<Vec<f32>, Fault> {
    let values = importer.floats(step, what, constant)?;
    if values.len() != channels {
        return Err(step.malformed(format!("{what} has {} values for {channels} channels", values.len())));
    }
    Ok(values.to_vec())
}

pub fn batch_norm<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    if step.integer("training_mode", 0)? != 0 || step.integer("spatial", 1)? != 1 {
        return Err(step.unsupported("normalises by the batch or per position; export the model in inference mode"));
    }
    let epsilon = step.float("epsilon", 1e-5)?;
    let input = importer.map(step, 0)?;
    let channels = channels_of(importer, step, input)?;
    let mut parts = vec![];
    for (position, what) in [(1, "its scale"), (2, "its bias"), (3, "its mean"), (4, "its variance")] {
        let constant = importer.constant(step, position)?;
        parts.push(per_channel(importer, step, what, &constant, channels)?);
    }
    // Written so that a sum that is no number is refused too.
    if !parts[3].iter().all(|v| v + epsilon > 0.0) {
        return Err(step.malformed("has a variance that, with epsilon, is not above 0"));
    }
    let edge = norm(importer, step, input.edge, BatchNorm { channels, epsilon }, parts)?;
    importer.define(step, Value::Map(Map { edge, view: input.view }))
}

/// The channels of a map, if ONNX and the graph agree which element is whose.
fn channels_of(importer: &Importer, step: &Step, input: Map) -> Result<usize, Fault> {
    match input.view {
        View::Flat(from) if from.pixels() != 1 => {
            Err(step.unsupported("works per element of a flattened map; move it before the Flatten"))
        }
        _ => Ok(importer.shape(input).c),
    }
}

/// A batch norm of (gamma, beta, mean, variance).
fn norm(
    importer: &mut Importer,
    step: &Step,
    input: EdgeId,
    op: BatchNorm,
    parts: Vec<Vec<f32>>,
) -> Result<EdgeId, Fault> {
    let channels = [op.channels];
    let op = Op::BatchNorm(op);
    let name = step.node_name(&op);
    let roles = ["gamma", "beta", "mean", "variance"];
    let mut params = vec![];
    for (i, (role, values)) in roles.into_iter().zip(parts).enumerate() {
        let kind = if i < 2 { ParamKind::NormAffine } else { ParamKind::NormStats };
        params.push(importer.add_param(&name, role, kind, &channels, values));
    }
    importer.node(step, &name, op, &[input], &params)
}

/// A map plus (or times) a constant per channel: a batch norm of an unmoved, unscaled map.
pub fn affine<'a>(importer: &mut Importer<'a>, step: &Step<'a>, map: usize, times: bool) -> Result<(), Fault> {
    let input = importer.map(step, map)?;
    let channels = channels_of(importer, step, input)?;
    let constant = importer.constant(step, 1 - map)?;
    let rank = if input.view == View::Map { 4 } else { 2 };
    // ONNX lines dimensions up from the last.
    let channel_axis = (constant.dims.len() + 1).checked_sub(rank);
    let one_per_channel = constant.dims.iter().enumerate().all(|(i, &d)| d == 1 || Some(i) == channel_axis);
    if !one_per_channel || constant.dims.len() > rank {
        return Err(step.unsupported(format!(
            "combines a map with a constant of dimensions {:?}; one value, or one per channel, is done",
            constant.dims
        )));
    }
    let mut values = importer.floats(step, "its constant", &constant)?.to_vec();
    importer.charge(step, channels.saturating_mul(16))?;
    if values.len() == 1 {
        values = vec![values[0]; channels];
    }
    if values.len() != channels {
        return Err(step.malformed(format!("has a constant of {} values for {channels} channels", values.len())));
    }
    let (gamma, beta) = if times { (values, vec![0.0; channels]) } else { (vec![1.0; channels], values) };
    let parts = vec![gamma, beta, vec![0.0; channels], vec![1.0; channels]];
    let edge = norm(importer, step, input.edge, BatchNorm { channels, epsilon: 0.0 }, parts)?;
    importer.define(step, Value::Map(Map { edge, view: input.view }))
}

pub fn gemm<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let plain = step.float("alpha", 1.0)? == 1.0 && step.float("beta", 1.0)? == 1.0;
    if !plain || step.integer("transA", 0)? != 0 {
        return Err(step.unsupported("has alpha or beta other than 1, or transA; fold the factors into the weights"));
    }
    let bias = importer.optional(step, 2)?;
    linear(importer, step, step.integer("transB", 0)? != 0, bias)
}

pub fn matmul<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    linear(importer, step, false, None)
}

/// A linear layer over a vector or a flattened map; `by_output` if the weights are out × in.
fn linear<'a>(
    importer: &mut Importer<'a>,
    step: &Step<'a>,
    by_output: bool,
    bias: Option<Rc<Constant>>,
) -> Result<(), Fault> {
    let input = importer.map(step, 0)?;
    let View::Flat(from) = input.view else {
        return Err(step.unsupported("multiplies an N×C×H×W map by a matrix; only flattened maps (Flatten) are done"));
    };
    let weight = importer.constant(step, 1)?;
    let &[rows, columns] = &weight.dims[..] else {
        return Err(step.unsupported(format!("has weights of dimensions {:?}; a matrix is due", weight.dims)));
    };
    let (outputs, inputs) = if by_output { (rows, columns) } else { (columns, rows) };
    if inputs != from.elements() || outputs == 0 {
        let why = format!("has weights for {inputs} inputs and {outputs} outputs but reads {}", from.elements());
        return Err(step.malformed(why));
    }
    let values = importer.floats(step, "its weight", &weight)?;
    let steps = if by_output { (inputs, 1) } else { (1, outputs) };
    let values = channels_last(values, outputs, from, steps);
    let op = Op::Linear(Linear { inputs, outputs });
    let name = step.node_name(&op);
    let mut params = vec![importer.add_param(&name, "weight", ParamKind::Weight, &[outputs, inputs], values)];
    if let Some(bias) = bias {
        let one = importer.floats(step, "its bias", &bias)?.to_vec();
        let values = if one.len() == 1 {
            vec![one[0]; outputs]
        } else {
            per_channel(importer, step, "its bias", &bias, outputs)?
        };
        params.push(importer.add_param(&name, "bias", ParamKind::Bias, &[outputs], values));
    }
    let edge = importer.node(step, &name, op, &[input.edge], &params)?;
    importer.define(step, Value::Map(Map { edge, view: View::Flat(Shape::vector(outputs)) }))
}

/// Linear weights as out × in, the inputs from ONNX's channels-first order to the graph's.
/// `steps` is how far the index moves per output and per input.
fn channels_last(values: &[f32], outputs: usize, from: Shape, steps: (usize, usize)) -> Vec<f32> {
    let pixels = from.pixels();
    let mut packed = Vec::with_capacity(values.len());
    for o in 0..outputs {
        for pixel in 0..pixels {
            packed.extend((0..from.c).map(|c| values[o * steps.0 + (c * pixels + pixel) * steps.1]));
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_get_their_channels_last() {
        let filters: Vec<f32> = (0..8).map(|i| i as f32).collect();
        assert_eq!(ohwi(&filters, [1, 2, 2, 2]), [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]);
    }

    #[test]
    fn linear_weights_follow_the_flattened_map() {
        // Two outputs over a map of 1×2 pixels and 2 channels, stored in × out.
        let stored: Vec<f32> = (0..8).map(|i| i as f32).collect();
        let packed = channels_last(&stored, 2, Shape::new(1, 2, 2), (1, 2));
        assert_eq!(packed, [0.0, 4.0, 2.0, 6.0, 1.0, 5.0, 3.0, 7.0]);
        let by_output = channels_last(&stored, 2, Shape::new(1, 2, 2), (4, 1));
        assert_eq!(by_output, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
