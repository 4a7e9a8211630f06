//! Between reals and codes: `sat(rne(f32(x / s)) + z)`, a true division, and its reverse.

use super::{Fold, saturated};
use crate::model::Fault;
use crate::model::onnx::quantised::dequantized_constant;
use crate::model::onnx::tensor::{Constant, Element, Values};

pub fn quantize_linear(fold: &mut Fold) -> Result<Constant, Fault> {
    let (x, values, scales) = (fold.at(0)?, fold.floats(0)?, fold.floats(1)?);
    let zero_points = if fold.get(2).is_some() { fold.integers(2)? } else { &vec![0; scales.len()] };
    let element = match (fold.get(2), fold.step.integer("output_dtype", 0)?) {
        (Some(zero_point), _) => zero_point.element,
        (None, 0) => Element::Uint8,
        (None, number) => Element::from_number(number as i32).unwrap_or(Element::Float),
    };
    if element == Element::Float {
        return Err(fold.step.unsupported("quantises to a type that is no integer"));
    }
    let (inner, channels) = match scales.len() {
        1 => (1, 1),
        n => {
            let axis = fold.axis(fold.step.integer("axis", 1)?, x.dims.len())?;
            if x.dims[axis] != n {
                return Err(fold.step.malformed(format!("has {n} scales along axis {axis} of {:?}", x.dims)));
            }
            (x.dims[axis + 1..].iter().product::<usize>().max(1), n)
        }
    };
    if zero_points.len() != channels {
        return Err(fold.step.malformed(format!("has {channels} scales but {} zero points", zero_points.len())));
    }
    fold.room(&x.dims, 1)?;
    let code = |(i, &v): (usize, &f32)| {
        let c = i / inner % channels;
        saturated(((v / scales[c]).round_ties_even() as i64).saturating_add(zero_points[c]), element)
    };
    let codes = values.iter().enumerate().map(code).collect();
    Ok(Constant::new(x.dims.clone(), element, Values::Integer(codes)))
}

/// Keeps the codes: see [`Coding`](crate::model::onnx::tensor::Coding).
pub fn dequantize_linear(fold: &mut Fold) -> Result<Constant, Fault> {
    let dims = &fold.at(0)?.dims;
    fold.room(dims, 1)?;
    dequantized_constant(fold.step, fold.inputs)
}

/// Codes, scale and zero point from the range of the values, extended to hold 0.
pub fn dynamic_quantize_linear(fold: &mut Fold) -> Result<Vec<Constant>, Fault> {
    let (x, values) = (fold.at(0)?, fold.floats(0)?);
    fold.room(&x.dims, 1)?;
    let (min, max) = values.iter().fold((0f32, 0f32), |(lo, hi), &v| (lo.min(v), hi.max(v)));
    // Zeros alone have no range; any scale codes them.
    let scale = if max > min { (max - min) / 255.0 } else { 1.0 };
    let code = |v: f32| v.round_ties_even() as i64;
    let zero_point = saturated(code(-min / scale), Element::Uint8);
    let codes = values.iter().map(|&v| saturated(code(v / scale) + zero_point, Element::Uint8)).collect();
    let byte = |dims: Vec<usize>, codes: Vec<i64>| Constant::new(dims, Element::Uint8, Values::Integer(codes));
    Ok(vec![byte(x.dims.clone(), codes), Constant::float(vec![], vec![scale]), byte(vec![], vec![zero_point])])
}
