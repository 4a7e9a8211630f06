//! Operators with weights: convolution, linear layers, batch norm, and sums and products with
//! constants, which are batch norms.

use super::importer::{Form, Importer, Map, Step, Value, View};
use super::maps::from_first;
use super::tensor::Constant;
use super::weights;
use super::window::Window;
use crate::graph::{EdgeId, ParamKind, ParamValue};
use crate::model::Fault;
use crate::op::{BatchNorm, Conv2d, Linear, Op};
use crate::tensor::Shape;

pub fn conv<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let input = importer.map(step, 0)?;
    let weight = importer.constant(step, 1)?;
    let bias = importer.optional(step, 2)?;
    let map = conv_map(importer, step, input, &weight, bias.as_deref())?;
    importer.define(step, Value::Map(map))
}

/// The convolution of a node, whatever its weights are coded as.
pub fn conv_map(
    importer: &mut Importer,
    step: &Step,
    input: Map,
    weight: &Constant,
    bias: Option<&Constant>,
) -> Result<Map, Fault> {
    let input = input.four(step)?;
    let shape = importer.shape(input);
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
    let packed = weights::read(step, input, weight, 0, ohwi([out_c, per_group, kh, kw]))?;
    let dims = [out_c, kh, kw, per_group];
    let edge = layer(importer, step, Op::Conv2d(conv), input, packed, &dims, bias)?;
    Ok(Map::real(edge, View::Map))
}

/// A node with weights and perhaps a bias, output channels first.
pub fn layer(
    importer: &mut Importer,
    step: &Step,
    op: Op,
    input: Map,
    packed: weights::Weights,
    dims: &[usize],
    bias: Option<&Constant>,
) -> Result<EdgeId, Fault> {
    let (name, channels) = (step.node_name(&op), dims[0]);
    let bias = match bias {
        Some(bias) => Some(weights::read_bias(importer, step, input, &packed, bias, channels)?),
        None => None,
    };
    let mut params = vec![importer.add_param(&name, "weight", ParamKind::Weight, dims, packed.value)];
    if let Some(bias) = bias {
        params.push(importer.add_param(&name, "bias", ParamKind::Bias, &[channels], bias));
    }
    importer.node(step, &name, op, &[input.edge], &params)
}

/// Where filters of out × in × height × width lie, read as out × height × width × in.
fn ohwi([out, channels, kh, kw]: [usize; 4]) -> impl Iterator<Item = usize> {
    let taps = kh * kw;
    (0..out)
        .flat_map(move |o| (0..taps).flat_map(move |tap| (0..channels).map(move |c| (o * channels + c) * taps + tap)))
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
    Ok(values.into_owned())
}

pub fn batch_norm<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    // Before opset 7 a batch norm said itself whether it is in inference mode.
    let trains = step.opset < 7 && step.integer("is_test", 0)? == 0;
    if trains || step.integer("training_mode", 0)? != 0 || step.integer("spatial", 1)? != 1 {
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
    let edge = norm(importer, step, input, BatchNorm { channels, epsilon }, parts)?;
    importer.define(step, Value::Map(Map::real(edge, input.view)))
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
    input: Map,
    op: BatchNorm,
    parts: Vec<Vec<f32>>,
) -> Result<EdgeId, Fault> {
    if input.form == Form::Dequantised {
        let why = "is done by requantisation registers, which may round otherwise than floats between codes do";
        importer.notes.push(format!("{} {why}", step.place()));
    }
    let channels = [op.channels];
    let op = Op::BatchNorm(op);
    let name = step.node_name(&op);
    let roles = ["gamma", "beta", "mean", "variance"];
    let mut params = vec![];
    for (i, (role, values)) in roles.into_iter().zip(parts).enumerate() {
        let kind = if i < 2 { ParamKind::NormAffine } else { ParamKind::NormStats };
        params.push(importer.add_param(&name, role, kind, &channels, ParamValue::F32(values)));
    }
    importer.node(step, &name, op, &[input.edge], &params)
}

/// A map plus (or times) a constant per channel: a batch norm of an unmoved, unscaled map.
pub fn affine<'a>(importer: &mut Importer<'a>, step: &Step<'a>, map: usize, times: bool) -> Result<(), Fault> {
    let input = importer.map(step, map)?;
    let channels = channels_of(importer, step, input)?;
    let constant = importer.constant(step, 1 - map)?;
    let rank = if input.view == View::Map { 4 } else { 2 };
    // ONNX lines dimensions up from the last; before opset 7 an attribute says where they begin.
    let channel_axis = match step.attribute("axis") {
        Some(_) if step.opset < 7 => usize::try_from(1 - from_first(step.integer("axis", 0)?, rank as i64)).ok(),
        _ => (constant.dims.len() + 1).checked_sub(rank),
    };
    let one_per_channel = constant.dims.iter().enumerate().all(|(i, &d)| d == 1 || Some(i) == channel_axis);
    if !one_per_channel || constant.dims.len() > rank {
        return Err(step.unsupported(format!(
            "combines a map with a constant of dimensions {:?}; one value, or one per channel, is done",
            constant.dims
        )));
    }
    let mut values = importer.floats(step, "its constant", &constant)?.into_owned();
    importer.charge(step, channels.saturating_mul(4))?;
    if values.len() == 1 {
        values = vec![values[0]; channels];
    }
    if values.len() != channels {
        return Err(step.malformed(format!("has a constant of {} values for {channels} channels", values.len())));
    }
    let (gamma, beta) = if times { (values, vec![0.0; channels]) } else { (vec![1.0; channels], values) };
    let parts = vec![gamma, beta, vec![0.0; channels], vec![1.0; channels]];
    let edge = norm(importer, step, input, BatchNorm { channels, epsilon: 0.0 }, parts)?;
    importer.define(step, Value::Map(Map::real(edge, input.view)))
}

pub fn gemm<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    check_gemm(step)?;
    let (weight, bias) = (importer.constant(step, 1)?, importer.optional(step, 2)?);
    let input = importer.map(step, 0)?;
    let map = linear_map(importer, step, input, step.integer("transB", 0)? != 0, &weight, bias.as_deref())?;
    importer.define(step, Value::Map(map))
}

/// Refuses what a linear layer has not.
pub fn check_gemm(step: &Step) -> Result<(), Fault> {
    let plain = step.float("alpha", 1.0)? == 1.0 && step.float("beta", 1.0)? == 1.0;
    if !plain || step.integer("transA", 0)? != 0 {
        return Err(step.unsupported("has alpha or beta other than 1, or transA; fold the factors into the weights"));
    }
    Ok(())
}

pub fn matmul<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let input = importer.map(step, 0)?;
    let weight = importer.constant(step, 1)?;
    let map = linear_map(importer, step, input, false, &weight, None)?;
    importer.define(step, Value::Map(map))
}

/// A linear layer over a vector or a flattened map; `by_output` if the weights are out × in.
pub fn linear_map(
    importer: &mut Importer,
    step: &Step,
    input: Map,
    by_output: bool,
    weight: &Constant,
    bias: Option<&Constant>,
) -> Result<Map, Fault> {
    let View::Flat(from) = input.view else {
        return Err(step.unsupported("multiplies an N×C×H×W map by a matrix; only flattened maps (Flatten) are done"));
    };
    let &[rows, columns] = &weight.dims[..] else {
        return Err(step.unsupported(format!("has weights of dimensions {:?}; a matrix is due", weight.dims)));
    };
    let (outputs, inputs) = if by_output { (rows, columns) } else { (columns, rows) };
    if inputs != from.elements() || outputs == 0 {
        let why = format!("has weights for {inputs} inputs and {outputs} outputs but reads {}", from.elements());
        return Err(step.malformed(why));
    }
    let steps = if by_output { (inputs, 1) } else { (1, outputs) };
    let axis = usize::from(!by_output);
    let packed = weights::read(step, input, weight, axis, channels_last(outputs, from, steps))?;
    let op = Op::Linear(Linear { inputs, outputs });
    let edge = layer(importer, step, op, input, packed, &[outputs, inputs], bias)?;
    Ok(Map::real(edge, View::Flat(Shape::vector(outputs))))
}

/// Where linear weights lie, read as out × in with the inputs in the graph's order instead of
/// ONNX's channels-first one. `steps` is how far the index moves per output and per input.
fn channels_last(outputs: usize, from: Shape, steps: (usize, usize)) -> impl Iterator<Item = usize> {
    let pixels = from.pixels();
    (0..outputs).flat_map(move |o| {
        (0..pixels).flat_map(move |pixel| (0..from.c).map(move |c| o * steps.0 + (c * pixels + pixel) * steps.1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_get_their_channels_last() {
        assert_eq!(ohwi([1, 2, 2, 2]).collect::<Vec<_>>(), [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn linear_weights_follow_the_flattened_map() {
        // Two outputs over a map of 1×2 pixels and 2 channels, stored in × out.
        let stored = channels_last(2, Shape::new(1, 2, 2), (1, 2));
        assert_eq!(stored.collect::<Vec<_>>(), [0, 4, 2, 6, 1, 5, 3, 7]);
        let by_output = channels_last(2, Shape::new(1, 2, 2), (4, 1));
        assert_eq!(by_output.collect::<Vec<_>>(), [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
