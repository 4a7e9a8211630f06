//! Operators with weights: convolution, depthwise convolution, fully connected.

use super::importer::{Importer, Step};
use super::window::{Axis, Window};
use crate::graph::{ParamId, ParamKind, ParamValue};
use crate::model::Fault;
use crate::op::{Conv2d, Linear, Op};

/// Where a weight's output channels lie, and how many there are.
struct Channels {
    axis: usize,
    count: usize,
}

pub fn conv2d(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let options = step.options(step.operator.raw.conv2d())?;
    let dims = importer.constant(step, 1)?.dims()?;
    let &[out_c, kh, kw, depth] = &dims[..] else {
        return Err(step.malformed(format!("has a weight of shape {dims:?}; it must be [out, h, w, in]")));
    };
    let edge = importer.edge(step, 0)?;
    let input = importer.graph.shape(edge);
    if !input.c.is_multiple_of(depth) {
        return Err(step.malformed(format!("its weight reads {depth} channels per group, its input has {}", input.c)));
    }
    let window = Window {
        same: same_padding(step, options.padding())?,
        h: Axis::new(step, input.h, kh, options.stride_h(), options.dilation_h())?,
        w: Axis::new(step, input.w, kw, options.stride_w(), options.dilation_w())?,
    };
    let op = Op::Conv2d(convolution(&window, input.c, out_c, input.c / depth));
    let params = parameters(importer, step, &op, &dims, Channels { axis: 0, count: out_c }, |codes| codes)?;
    importer.emit(step, op, &[edge], &params, options.fused())
}

pub fn depthwise(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let options = step.options(step.operator.raw.depthwise())?;
    let dims = importer.constant(step, 1)?.dims()?;
    let &[1, kh, kw, out_c] = &dims[..] else {
        return Err(step.malformed(format!("has a weight of shape {dims:?}; it must be [1, h, w, in × multiplier]")));
    };
    let edge = importer.edge(step, 0)?;
    let input = importer.graph.shape(edge);
    let multiplier = usize::try_from(options.depth_multiplier()).unwrap_or(0);
    // Old converters leave the multiplier at 0 and let the shapes say it.
    if !out_c.is_multiple_of(input.c) || (multiplier != 0 && multiplier != out_c / input.c) {
        let why = format!("makes {out_c} channels of {} with a depth multiplier of {multiplier}", input.c);
        return Err(step.malformed(why));
    }
    let window = Window {
        same: same_padding(step, options.padding())?,
        h: Axis::new(step, input.h, kh, options.stride_h(), options.dilation_h())?,
        w: Axis::new(step, input.w, kw, options.stride_w(), options.dilation_w())?,
    };
    let op = Op::Conv2d(convolution(&window, input.c, out_c, input.c));
    let ohwi = [out_c, kh, kw, 1];
    let channels_first = |codes: Vec<i8>| {
        (0..out_c).flat_map(|c| codes[c..].iter().step_by(out_c).copied().collect::<Vec<_>>()).collect()
    };
    let params = parameters(importer, step, &op, &ohwi, Channels { axis: 3, count: out_c }, channels_first)?;
    importer.emit(step, op, &[edge], &params, options.fused())
}

pub fn fully_connected(importer: &mut Importer, step: &Step) -> Result<(), Fault> {
    let options = step.options(step.operator.raw.fully_connected())?;
    if options.weights_format() != 0 {
        return Err(step.unsupported("has shuffled weights; convert with the default weights format"));
    }
    let dims = importer.constant(step, 1)?.dims()?;
    let &[outputs, inputs] = &dims[..] else {
        return Err(step.malformed(format!("has a weight of shape {dims:?}; it must be [out, in]")));
    };
    let edge = importer.edge(step, 0)?;
    let op = Op::Linear(Linear { inputs, outputs });
    let params = parameters(importer, step, &op, &dims, Channels { axis: 0, count: outputs }, |codes| codes)?;
    importer.emit(step, op, &[edge], &params, options.fused())
}

/// Whether padding is SAME (else VALID).
pub fn same_padding(step: &Step, code: i8) -> Result<bool, Fault> {
    match code {
        0 => Ok(true),
        1 => Ok(false),
        other => Err(step.malformed(format!("has padding {other}; 0 (SAME) and 1 (VALID) exist"))),
    }
}

fn convolution(window: &Window, in_c: usize, out_c: usize, groups: usize) -> Conv2d {
    Conv2d {
        in_c,
        out_c,
        kernel: [window.h.kernel, window.w.kernel],
        stride: [window.h.stride, window.w.stride],
        dilation: [window.h.dilation, window.w.dilation],
        pad: window.pad(),
        groups,
    }
}

/// The weight, laid out with output channels first by `layout`, and the bias if there is one.
fn parameters(
    importer: &mut Importer,
    step: &Step,
    op: &Op,
    dims: &[usize],
    channels: Channels,
    layout: impl FnOnce(Vec<i8>) -> Vec<i8>,
) -> Result<Vec<ParamId>, Fault> {
    let weight = importer.source.tensor(step.input(1)?)?;
    let input = importer.coding(step, 0)?;
    if weight.element() != importer.source.tensor(step.input(0)?)?.element() && weight.element() != "FLOAT32" {
        let why = format!("its weight {weight} is {}, its input is not", weight.element());
        return Err(step.unsupported(why));
    }
    let codes = layout(weight.codes()?);
    let (scales, zero_point) = weight.weight_coding(channels.axis, channels.count)?;
    let bias = bias(importer, step, input.scale, &scales, channels.count)?;
    let value = ParamValue::I8 { codes, scales, zero_points: vec![zero_point] };
    let mut params = vec![importer.add_param(step, op, ParamKind::Weight, dims, value)];
    if let Some(value) = bias {
        params.push(importer.add_param(step, op, ParamKind::Bias, &[channels.count], value));
    }
    Ok(params)
}

/// The bias codes under scale `input × weight`, which the file's own bias scale must agree with.
fn bias(
    importer: &mut Importer,
    step: &Step,
    input_scale: f32,
    weight_scales: &[f32],
    channels: usize,
) -> Result<Option<ParamValue>, Fault> {
    let products: Vec<f64> = weight_scales.iter().map(|&s| f64::from(input_scale) * f64::from(s)).collect();
    let scales: Vec<f32> = products.iter().map(|&s| s as f32).collect();
    if let Some(bad) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
        return Err(step.malformed(format!("the product of its input and weight scales is {bad}")));
    }
    if step.operator.input(2).is_none() {
        return Ok(None);
    }
    let tensor = importer.constant(step, 2)?;
    let codes = tensor.int32s()?;
    if codes.len() != channels {
        return Err(step.malformed(format!("its bias {tensor} has {} values for {channels} channels", codes.len())));
    }
    let declared: Vec<f32> = tensor.raw.quantization().and_then(|q| q.scale()).into_iter().flatten().collect();
    // TFLite's own tolerance: a fiftieth of the output's scale.
    let tolerance = 0.02 * f64::from(step.output.coding()?.scale);
    let agrees = |(&bias, &product): (&f32, &f64)| (f64::from(bias) - product).abs() <= tolerance;
    let comparable = declared.len() == products.len() || declared.is_empty();
    if !comparable || !declared.iter().zip(&products).all(agrees) {
        return Err(step.malformed(format!("the scale of its bias {tensor} is not input scale × weight scale")));
    }
    Ok(Some(ParamValue::I32 { codes, scales }))
}
