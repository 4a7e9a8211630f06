//! Operators that move or enlarge a map: Transpose, Resize and Upsample, ConvTranspose.
//!
//! Enlargement is nearest-neighbour by whole factors; ConvTranspose is a convolution of the map with
//! zeros between its positions, by the filters turned around.

use super::importer::{Importer, Map, Step, Value, View};
use super::layers;
use super::tensor::Constant;
use super::weights;
use crate::graph::MAX_MAP_ELEMENTS;
use crate::model::Fault;
use crate::op::upsample::Between;
use crate::op::{Conv2d, Op, Transpose, Upsample};
use crate::tensor::Shape;

pub fn transpose<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map(step, 0)?;
    let rank = if map.view == View::Map { 4 } else { 2 };
    let order = step.sizes("perm")?.unwrap_or_else(|| (0..rank).rev().collect());
    if order.iter().copied().eq(0..rank) {
        return importer.define(step, Value::Map(map));
    }
    // Channels, height and width in ONNX's order are axes 2, 0 and 1 of the graph's.
    let axis = |onnx: usize| (1..4).contains(&onnx).then(|| (onnx + 1) % 3);
    let order = match order[..] {
        [0, c, h, w] if rank == 4 => axis(h).zip(axis(w)).zip(axis(c)).map(|((h, w), c)| [h, w, c]),
        _ => None,
    };
    let order = order.ok_or_else(|| step.unsupported("permutes the batch, or a flattened map"))?;
    importer.emit_moved(step, Op::Transpose(Transpose { order }), map, View::Map)
}

/// Resize, and its predecessor Upsample.
pub fn resize<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map4(step, 0)?;
    let mode = step.text("mode")?.unwrap_or("nearest");
    if mode != "nearest" {
        return Err(step.unsupported(format!("interpolates ({mode}); only nearest is done")));
    }
    let shape = importer.shape(map);
    let before: [usize; 4] = [importer.batch, shape.c, shape.h, shape.w];
    let after = size_after(importer, step, before)?;
    let whole = |i: usize| (after[i] >= before[i] && after[i] % before[i] == 0).then_some(after[i] / before[i]);
    let factors = [0, 1, 2, 3].map(whole);
    let elements = Shape::new(after[2], after[3], shape.c).checked_elements();
    let fits = elements.is_some_and(|n| n <= MAX_MAP_ELEMENTS);
    let ([Some(1), Some(1), Some(h), Some(w)], true) = (factors, fits) else {
        return Err(step.unsupported(format!(
            "resizes {before:?} to {after:?}; only height and width are enlarged, by whole factors"
        )));
    };
    for (extent, factor) in [(shape.h, h), (shape.w, w)] {
        repeats(step, extent, factor)?;
    }
    if (h, w) == (1, 1) {
        return importer.define(step, Value::Map(map));
    }
    let op = Op::Upsample(Upsample { factor: [h, w], between: Between::Repeated });
    importer.emit_moved(step, op, map, View::Map)
}

/// The dimensions that a node resizes to: from scales (an attribute, then an input) or sizes.
fn size_after(importer: &mut Importer, step: &Step, before: [usize; 4]) -> Result<[usize; 4], Fault> {
    let four = |n: usize| step.unsupported(format!("has {n} scales or sizes; four (N×C×H×W) are due"));
    if let Some(policy) = step.text("keep_aspect_ratio_policy")?.filter(|&policy| policy != "stretch") {
        return Err(step.unsupported(format!("has keep_aspect_ratio_policy {policy}; use stretch")));
    }
    if let Some(sizes) = importer.optional(step, 3)? {
        let sizes = importer.integers(step, "its sizes", &sizes)?;
        let sizes: [i64; 4] = sizes.try_into().map_err(|_| four(sizes.len()))?;
        return Ok(sizes.map(|n| usize::try_from(n).unwrap_or(0)));
    }
    let scales = match step.attribute("scales") {
        Some(attribute) => attribute.floats.clone(),
        None => {
            let position = if step.node.op_type == "Resize" && step.opset >= 11 { 2 } else { 1 };
            let constant = importer.constant(step, position)?;
            importer.floats(step, "its scales", &constant)?.into_owned()
        }
    };
    let scales: [f32; 4] = scales[..].try_into().map_err(|_| four(scales.len()))?;
    // A scale that is not whole also decides which positions are read.
    if let Some(scale) = scales.iter().find(|s| s.fract() != 0.0 || **s < 1.0) {
        return Err(step.unsupported(format!("has a scale of {scale}; only whole factors are done")));
    }
    let mut after = before;
    after.iter_mut().zip(scales).for_each(|(n, s)| *n = (*n as f64 * f64::from(s)).floor() as usize);
    Ok(after)
}

/// Refuses a rule by which some output is not the position `at / factor`.
fn repeats(step: &Step, extent: usize, factor: usize) -> Result<(), Fault> {
    let old = step.node.op_type == "Upsample" || step.opset < 11;
    let place = step.text("coordinate_transformation_mode")?.unwrap_or(if old { "asymmetric" } else { "half_pixel" });
    let rule = step.text("nearest_mode")?.unwrap_or(if old { "floor" } else { "round_prefer_floor" });
    let (scale, last) = (factor as f64, extent * factor - 1);
    for at in 0..=last {
        let half = (at as f64 + 0.5) / scale - 0.5;
        let x = match place {
            "asymmetric" => at as f64 / scale,
            "half_pixel" => half,
            "pytorch_half_pixel" if last > 0 => half,
            "align_corners" if last > 0 => at as f64 * (extent as f64 - 1.0) / last as f64,
            "pytorch_half_pixel" | "align_corners" => 0.0,
            other => return Err(step.unsupported(format!("has coordinate_transformation_mode {other}"))),
        };
        let nearest = match rule {
            "round_prefer_floor" => (x - 0.5).ceil(),
            "round_prefer_ceil" => (x + 0.5).floor(),
            "floor" => x.floor(),
            "ceil" => x.ceil(),
            other => return Err(step.unsupported(format!("has nearest_mode {other}"))),
        };
        if nearest.clamp(0.0, extent as f64 - 1.0) != (at / factor) as f64 {
            return Err(step.unsupported(format!(
                "does not repeat every position {factor} times ({place}, {rule}); use asymmetric and floor"
            )));
        }
    }
    Ok(())
}

/// A transposed convolution.
pub fn conv_transpose<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let input = importer.map4(step, 0)?;
    let (weight, bias) = (importer.constant(step, 1)?, importer.optional(step, 2)?);
    let filters = Filters::read(step, importer.shape(input), &weight)?;
    let stride = pair(step, "strides", [1; 2])?;
    let dilation = pair(step, "dilations", [1; 2])?;
    let pad = padding(step, &filters, dilation)?;
    let spread = importer.spread(step, input, stride)?;
    let conv = Conv2d {
        in_c: filters.in_c,
        out_c: filters.out_per_group * filters.groups,
        kernel: filters.kernel,
        stride: [1; 2],
        dilation,
        pad,
        groups: filters.groups,
    };
    let dims = [conv.out_c, conv.kernel[0], conv.kernel[1], conv.in_c / conv.groups];
    let per_channel = weight.coding.as_ref().is_some_and(|c| c.scales.len() > 1);
    if per_channel && filters.groups > 1 {
        return Err(step.unsupported("has groups and one scale per channel; use one scale"));
    }
    let packed = weights::read(step, spread, &weight, 1, filters.turned())?;
    let edge = layers::layer(importer, step, Op::Conv2d(conv), spread, packed, &dims, bias.as_deref())?;
    importer.define(step, Value::Map(Map::real(edge, View::Map)))
}

impl Importer<'_> {
    /// The map with zeros between its positions.
    fn spread(&mut self, step: &Step, map: Map, factor: [usize; 2]) -> Result<Map, Fault> {
        if factor == [1, 1] {
            return Ok(map);
        }
        let op = Op::Upsample(Upsample { factor, between: Between::Zeros });
        let edge = self.apply(step, op, &[map], View::Map)?.edge;
        self.graph.edge_mut(edge).quant = self.graph.edge(map.edge).quant;
        Ok(Map { edge, ..map })
    }
}

/// The weights of a transposed convolution: in × (out / groups) × height × width.
struct Filters {
    in_c: usize,
    out_per_group: usize,
    kernel: [usize; 2],
    groups: usize,
}

impl Filters {
    fn read(step: &Step, input: Shape, weight: &Constant) -> Result<Self, Fault> {
        let &[in_c, out_per_group, kh, kw] = &weight.dims[..] else {
            let why = format!("has weights of dimensions {:?}; only 2-D convolutions (four) are done", weight.dims);
            return Err(step.unsupported(why));
        };
        let groups = usize::try_from(step.integer("group", 1)?).unwrap_or(0);
        let sound = groups > 0 && in_c == input.c && in_c.is_multiple_of(groups) && !weight.values.is_empty();
        if !sound || step.sizes("kernel_shape")?.is_some_and(|k| k != [kh, kw]) {
            let why = format!("has weights of {:?} in {groups} groups but reads {} channels", weight.dims, input.c);
            return Err(step.malformed(why));
        }
        Ok(Self { in_c, out_per_group, kernel: [kh, kw], groups })
    }

    /// Where the filters lie, read as out × height × width × (in / groups) and turned around.
    fn turned(&self) -> impl Iterator<Item = usize> + use<> {
        let ([kh, kw], out, groups) = (self.kernel, self.out_per_group, self.groups);
        let (per_group, taps) = (self.in_c / groups, kh * kw);
        (0..groups * out).flat_map(move |o| {
            let (g, o) = (o / out, o % out);
            (0..taps).flat_map(move |tap| {
                (0..per_group).map(move |c| ((g * per_group + c) * out + o) * taps + (taps - 1 - tap))
            })
        })
    }
}

/// What the convolution over the spread map is padded by.
fn padding(step: &Step, filters: &Filters, dilation: [usize; 2]) -> Result<[usize; 4], Fault> {
    let automatic = !matches!(step.text("auto_pad")?.unwrap_or("NOTSET"), "NOTSET" | "VALID" | "");
    if automatic || step.attribute("output_shape").is_some() {
        return Err(step.unsupported("leaves its padding open (auto_pad, output_shape); give pads"));
    }
    let given = step.sizes("pads")?.unwrap_or_else(|| vec![0; 4]);
    let given: [usize; 4] = given[..].try_into().map_err(|_| step.unsupported("has other than four pads"))?;
    let more = pair(step, "output_padding", [0; 2])?;
    let mut pad = [0; 4];
    for (i, pad) in pad.iter_mut().enumerate() {
        let axis = i % 2;
        let reach = (filters.kernel[axis] - 1) * dilation[axis] + if i < 2 { 0 } else { more[axis] };
        *pad = reach.checked_sub(given[i]).ok_or_else(|| step.unsupported("crops more than its filters reach"))?;
    }
    Ok(pad)
}

fn pair(step: &Step, name: &str, none: [usize; 2]) -> Result<[usize; 2], Fault> {
    let given = step.sizes(name)?.map_or(Ok(none), |v| v[..].try_into());
    let given = given.map_err(|_| step.unsupported(format!("has other than two {name}")))?;
    if name != "output_padding" && given.contains(&0) {
        return Err(step.malformed(format!("has {name} of 0")));
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_turned_around() {
        let filters = Filters { in_c: 2, out_per_group: 2, kernel: [1, 2], groups: 1 };
        // In × out × taps is 0..8; out 0 reads in 0 and in 1, last tap first.
        assert_eq!(filters.turned().collect::<Vec<_>>(), [1, 5, 0, 4, 3, 7, 2, 6]);
        let grouped = Filters { in_c: 2, out_per_group: 1, kernel: [1, 2], groups: 2 };
        assert_eq!(grouped.turned().collect::<Vec<_>>(), [1, 0, 3, 2]);
    }
}
