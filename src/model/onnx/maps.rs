//! Operators without weights: activations, pooling, sums, shapes.

use super::importer::{Form, Importer, Map, Step, Value, View};
use super::window::Window;
use crate::model::Fault;
use crate::op::{Activation, Op, Pad, Pool, Softmax};
use crate::tensor::Shape;

pub fn activation<'a>(importer: &mut Importer<'a>, step: &Step<'a>, activation: Activation) -> Result<(), Fault> {
    let map = importer.map(step, 0)?;
    importer.emit(step, Op::Activation(activation), &[map], map.view)
}

pub fn leaky_relu<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let slope = step.float("alpha", 0.01)?;
    activation(importer, step, Activation::LeakyRelu { slope })
}

/// A clamp that the trunk has; its bounds are attributes up to opset 10 and constants from 11.
pub fn clip<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let mut bound = |name: &str, position: usize, none: f32| -> Result<f32, Fault> {
        let given = match (step.attribute(name), importer.optional(step, position)?) {
            (Some(attribute), _) => attribute.f,
            (None, None) => none,
            (None, Some(constant)) => match &importer.floats(step, name, &constant)?[..] {
                [one] => *one,
                other => return Err(step.malformed(format!("its {name} has {} values", other.len()))),
            },
        };
        Ok(if given.abs() >= f32::MAX { none } else { given })
    };
    let bounds = (bound("min", 1, f32::NEG_INFINITY)?, bound("max", 2, f32::INFINITY)?);
    if bounds == (f32::NEG_INFINITY, f32::INFINITY) {
        return identity(importer, step);
    }
    let known = [Activation::Relu, Activation::Relu6, Activation::ReluN1To1];
    match known.into_iter().find(|a| a.clamp() == Some(bounds)) {
        Some(clamp) => activation(importer, step, clamp),
        None => Err(step.unsupported(format!(
            "clamps to [{}, {}]; [0, ∞], [0, 6] and [-1, 1] are done: train with ReLU or ReLU6 instead",
            bounds.0, bounds.1
        ))),
    }
}

/// The output is the input: Identity, and Dropout at inference.
pub fn identity<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let value = if importer.is_constant(step, 0) {
        Value::Constant(importer.constant(step, 0)?)
    } else {
        Value::Map(importer.moved_map(step, 0)?)
    };
    importer.define(step, value)
}

pub fn dropout<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    if step.opset < 7 && step.integer("is_test", 0)? == 0 {
        return Err(step.unsupported("drops values (is_test 0); export the model in inference mode"));
    }
    if let Some(training) = importer.optional(step, 2)?
        && importer.integers(step, "training_mode", &training)?.iter().any(|&t| t != 0)
    {
        return Err(step.unsupported("drops values; export the model in inference mode"));
    }
    identity(importer, step)
}

/// Two operands whose elements lie alike; the smaller one of a product comes second.
pub fn alike(importer: &Importer, step: &Step, maps: [Map; 2], op: &Op) -> Result<[Map; 2], Fault> {
    let same_rank = matches!((maps[0].view, maps[1].view), (View::Map, View::Map) | (View::Flat(_), View::Flat(_)));
    let alike = maps[0].view == maps[1].view || maps.iter().all(|m| m.view.in_order());
    if !same_rank || !alike {
        return Err(step.unsupported("combines maps of different rank or order; flatten after it"));
    }
    let [a, b] = maps;
    let swap = *op == Op::Mul && importer.shape(a).elements() < importer.shape(b).elements();
    Ok(if swap { [b, a] } else { maps })
}

/// A sum or product of two maps, or of a map and a constant.
pub fn binary<'a>(importer: &mut Importer<'a>, step: &Step<'a>, op: Op) -> Result<(), Fault> {
    if let Some(map) = beside_constant(importer, step) {
        return super::layers::affine(importer, step, map, op == Op::Mul);
    }
    let maps = [importer.map(step, 0)?, importer.map(step, 1)?];
    let maps = alike(importer, step, maps, &op)?;
    importer.emit(step, op, &maps, maps[0].view)
}

/// A map that must be N×C×H×W.
pub fn map4(step: &Step, map: Map) -> Result<Map, Fault> {
    match map.view {
        View::Map => Ok(map),
        View::Flat(_) => Err(step.unsupported("works on a flattened map; only N×C×H×W is done here")),
    }
}

/// The position of the map if the other operand is a constant.
fn beside_constant(importer: &Importer, step: &Step) -> Option<usize> {
    (0..2).find(|&map| importer.is_constant(step, 1 - map))
}

pub fn max_pool<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map4(step, 0)?;
    let pool = pool(step, &Window::read(step, importer.shape(map), None)?)?;
    importer.emit_moved(step, Op::MaxPool(pool), map, View::Map)
}

pub fn average_pool<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.map4(step, 0)?;
    let map = average_pool_map(importer, step, map)?;
    importer.define(step, Value::Map(map))
}

/// The graph never counts padding in an average. Where the file does, the zeros become a padding
/// of their own, which is counted.
pub fn average_pool_map(importer: &mut Importer, step: &Step, mut map: Map) -> Result<Map, Fault> {
    let mut window = Window::read(step, importer.shape(map), None)?;
    if step.integer("count_include_pad", 0)? != 0 && window.pad != [0; 4] {
        if step.integer("ceil_mode", 0)? != 0 {
            return Err(step.unsupported("counts padding and rounds its size up; use ceil_mode 0"));
        }
        let pad = Op::Pad(Pad { space: window.pad, channels: [0; 2] });
        let quant = importer.graph.edge(map.edge).quant;
        map.edge = importer.node(step, &step.node_name(&pad), pad, &[map.edge], &[])?;
        importer.graph.edge_mut(map.edge).quant = quant;
        window.pad = [0; 4];
    }
    importer.apply(step, Op::AvgPool(pool(step, &window)?), &[map], View::Map)
}

fn pool(step: &Step, window: &Window) -> Result<Pool, Fault> {
    if window.dilation != [1, 1] {
        return Err(step.unsupported(format!("pools with dilations {:?}; only 1 is done", window.dilation)));
    }
    Ok(Pool { kernel: window.kernel, stride: window.stride, pad: window.pad })
}

pub fn global_average_pool<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.map4(step, 0)?;
    importer.emit(step, Op::Mean, &[map], View::Map)
}

/// Mean over height and width; other axes are another operation.
pub fn reduce_mean<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.map4(step, 0)?;
    let axes = importer.list(step, "axes", 1)?.unwrap_or_default();
    let mut sorted: Vec<i64> = axes.iter().map(|&a| from_first(a, 4)).collect();
    sorted.sort_unstable();
    if sorted != [2, 3] {
        return Err(step.unsupported(format!("averages over axes {axes:?}; only 2 and 3 (height and width) are done")));
    }
    let vector = View::Flat(Shape::vector(importer.shape(map).c));
    let view = if step.integer("keepdims", 1)? == 0 { vector } else { View::Map };
    importer.emit(step, Op::Mean, &[map], view)
}

/// An axis counted from the first of `rank`.
pub fn from_first(axis: i64, rank: i64) -> i64 {
    if axis < 0 { axis.saturating_add(rank) } else { axis }
}

pub fn softmax<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.map(step, 0)?;
    let map = softmax_map(importer, step, map, step.opset)?;
    importer.define(step, Value::Map(map))
}

/// Softmax over channels. Up to opset 12 everything from `axis` on is normalised together.
pub fn softmax_map(importer: &mut Importer, step: &Step, map: Map, opset: i64) -> Result<Map, Fault> {
    let rank = if map.view == View::Map { 4 } else { 2 };
    let axis = from_first(step.integer("axis", if opset < 13 { 1 } else { -1 })?, rank);
    let one_pixel = importer.shape(map).pixels() == 1;
    if axis != 1 || (rank == 4 && opset < 13 && !one_pixel) {
        return Err(step.unsupported(format!("normalises from axis {axis} of rank {rank}; only channels (1) are done")));
    }
    importer.apply(step, Op::Softmax(Softmax { beta: 1.0 }), &[map], map.view)
}

pub fn concat<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let maps: Vec<Map> =
        (0..step.node.input.len()).map(|position| importer.moved_map(step, position)).collect::<Result<_, _>>()?;
    let &first = maps.first().ok_or_else(|| step.malformed("joins nothing"))?;
    let coding = |m: &Map| importer.graph.edge(m.edge).quant;
    let codes = maps.iter().any(|m| m.form == Form::Codes);
    if codes && maps.iter().any(|m| m.form != Form::Codes || coding(m) != coding(&first)) {
        return Err(step.unsupported("joins codes of different scales; use QLinearConcat, or dequantise before it"));
    }
    let quant = coding(&first);
    let mut map = concat_map(importer, step, &maps)?;
    if codes {
        map.form = Form::Codes;
        let edge = importer.graph.edge_mut(map.edge);
        (edge.quant, edge.origin) = (quant, Some(step.index as u32));
    }
    importer.define(step, Value::Map(map))
}

pub fn concat_map(importer: &mut Importer, step: &Step, maps: &[Map]) -> Result<Map, Fault> {
    let first = maps.first().ok_or_else(|| step.malformed("joins nothing"))?;
    let rank = if first.view == View::Map { 4 } else { 2 };
    let axis = from_first(step.integer("axis", 1)?, rank);
    if axis != 1 {
        return Err(step.unsupported(format!("joins along axis {axis}; only channels (axis 1) are joined")));
    }
    let flat = rank == 2;
    if maps.iter().any(|m| (m.view != View::Map) != flat || !m.view.in_order()) {
        return Err(step.unsupported("joins flattened maps of more than one pixel; join them before the Flatten"));
    }
    let channels = maps.iter().try_fold(0usize, |sum, m| sum.checked_add(importer.shape(*m).c));
    let channels = channels.ok_or_else(|| step.malformed("joins more channels than can be counted"))?;
    let view = if flat { View::Flat(Shape::vector(channels)) } else { View::Map };
    importer.apply(step, Op::Concat, maps, view)
}

/// Zero padding; the amounts are an attribute up to opset 10 and a constant from 11. Codes are padded
/// with the code of zero.
pub fn pad<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map4(step, 0)?;
    let mode = step.text("mode")?.unwrap_or("constant");
    let other = match (importer.optional(step, 2)?, map.form) {
        (Some(constant), Form::Codes) => {
            let zero = importer.coding(step, map)?;
            let zero = i64::from(zero.zero_point + zero.codes.offset());
            importer.integers(step, "its padding value", &constant)?.iter().any(|&v| v != zero)
        }
        (None, Form::Codes) => {
            let zero = importer.coding(step, map)?;
            zero.zero_point + zero.codes.offset() != 0
        }
        (Some(constant), _) => importer.floats(step, "its padding value", &constant)?.iter().any(|&v| v != 0.0),
        (None, _) => step.float("value", 0.0)? != 0.0,
    };
    if mode != "constant" || other {
        return Err(step.unsupported(format!("pads in mode {mode:?} or not with 0; only zeros are done")));
    }
    // The first opset had another name for it.
    let given = importer.list(step, if step.opset < 2 { "paddings" } else { "pads" }, 1)?;
    let given = given.ok_or_else(|| step.malformed("has no pads"))?;
    let axes = match importer.optional(step, 3)? {
        Some(axes) => importer.integers(step, "axes", &axes)?.to_vec(),
        None => (0..4).collect(),
    };
    if given.len() != 2 * axes.len() {
        return Err(step.malformed(format!("has {} pads for {} axes", given.len(), axes.len())));
    }
    let mut amounts = [[0usize; 2]; 4];
    for (i, &axis) in axes.iter().enumerate() {
        let at = usize::try_from(from_first(axis, 4)).ok().and_then(|a| amounts.get_mut(a));
        let at = at.ok_or_else(|| step.malformed(format!("pads axis {axis} of a map of rank 4")))?;
        for (end, amount) in at.iter_mut().enumerate() {
            let given = given[i + end * axes.len()];
            let sane =
                u16::try_from(given).map_err(|_| step.unsupported(format!("pads by {given}; crops are not done")));
            *amount = usize::from(sane?);
        }
    }
    let [batch, channels, h, w] = amounts;
    if batch != [0, 0] {
        return Err(step.unsupported("pads the batch"));
    }
    let pad = Pad { space: [h[0], w[0], h[1], w[1]], channels };
    importer.emit_moved(step, Op::Pad(pad), map, View::Map)
}

/// Every `stride`-th row and column (the option-A shortcuts of CIFAR ResNets): a maximum over
/// windows of one position.
pub fn slice<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map4(step, 0)?;
    let dims = importer.dims(map);
    let starts = importer.list(step, "starts", 1)?.ok_or_else(|| step.malformed("has no starts"))?;
    let ends = importer.list(step, "ends", 2)?.ok_or_else(|| step.malformed("has no ends"))?;
    let axes = importer.list(step, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = importer.list(step, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(step.malformed("has starts, ends, axes and steps of different lengths"));
    }
    let mut stride = [1; 4];
    for (i, &axis) in axes.iter().enumerate() {
        let at = usize::try_from(from_first(axis, 4)).ok().filter(|&a| a < 4);
        let at = at.ok_or_else(|| step.malformed(format!("slices axis {axis} of a map of rank 4")))?;
        let whole = starts[i] == 0 && ends[i] >= dims[at] as i64;
        let by = u16::try_from(steps[i]).ok().map(usize::from).filter(|&s| s > 0 && whole && (s == 1 || at >= 2));
        stride[at] = by.ok_or_else(|| {
            step.unsupported(format!(
                "takes {}..{} by {} of axis {axis}; only whole axes, and strides over height and width, are done",
                starts[i], ends[i], steps[i]
            ))
        })?;
    }
    if stride == [1; 4] {
        return importer.define(step, Value::Map(map));
    }
    let pool = Pool { kernel: [1, 1], stride: [stride[2], stride[3]], pad: [0; 4] };
    importer.emit_moved(step, Op::MaxPool(pool), map, View::Map)
}
