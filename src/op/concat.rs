//! Concatenation along channels.

use super::{Counts, Table};
use crate::quant::{Clamp, Formula, QuantParams};
use crate::tensor::{Shape, Tensor};

pub fn output_shape(inputs: &[Shape]) -> Result<Shape, String> {
    let Some(first) = inputs.first() else {
        return Err("takes at least one input, has none".into());
    };
    if let Some(other) = inputs.iter().find(|s| (s.h, s.w) != (first.h, first.w)) {
        return Err(format!("joins maps of one height and width, gets {first} and {other}"));
    }
    Ok(Shape::new(first.h, first.w, inputs.iter().map(|s| s.c).sum()))
}

/// How one input's codes become the output's: `None` copies them. Different parameters are rescaled
/// in f32 on the presented codes, as TensorFlow Lite's legacy unsigned kernel does, or as ONNX
/// Runtime does.
pub fn rescale(formula: impl Into<Formula>, x: &QuantParams, y: &QuantParams) -> Option<Table> {
    if (x.scale, x.zero_point) == (y.scale, y.zero_point) && x.codes == y.codes {
        return None;
    }
    if formula.into() == Formula::Onnxruntime {
        return Some(super::requantise::table(Formula::Onnxruntime, x, y, Clamp::INT8));
    }
    let (offset_x, offset_y) = (x.codes.offset(), y.codes.offset());
    let scale = x.scale * (1.0 / y.scale);
    let bias = -((x.zero_point + offset_x) as f32) * scale;
    Some(Table::build(|q, counts| {
        let value = ((i32::from(q) + offset_x) as f32 * scale + bias).round() as i32;
        let presented = value.saturating_add(y.zero_point + offset_y);
        let (code, saturated) = Clamp::INT8.apply(presented.saturating_sub(offset_y));
        counts.saturations += u64::from(saturated);
        code
    }))
}

/// The int8 concatenation, each input rescaled by its table if it has one.
pub fn int8(inputs: &[&Tensor<i8>], tables: &[Option<Table>]) -> (Tensor<i8>, Counts) {
    assert_eq!(inputs.len(), tables.len(), "one rule per input");
    let shapes: Vec<Shape> = inputs.iter().map(|x| x.shape).collect();
    let shape = output_shape(&shapes).expect("the graph has checked this concatenation");
    let batch = inputs[0].batch;
    let mut y = Tensor::zeros(batch, shape);
    let mut counts = Counts::default();
    let mut first = 0;
    for (x, table) in inputs.iter().zip(tables) {
        assert_eq!(x.batch, batch, "all inputs hold the same images");
        let rescaled = table.as_ref().map(|table| super::table::int8(x, table));
        let codes = match &rescaled {
            Some((codes, events)) => {
                counts += *events;
                &codes.data
            }
            None => &x.data,
        };
        for (to, from) in y.data.chunks_mut(shape.c.max(1)).zip(codes.chunks(x.shape.c.max(1))) {
            to[first..first + x.shape.c].copy_from_slice(from);
        }
        first += x.shape.c;
    }
    (y, counts)
}
