//! Element by element: arithmetic, activations, casts, batch norm.

use super::{Fold, broadcast, each, spread, strides};
use crate::model::Fault;
use crate::model::onnx::tensor::{Constant, Element, Values};

pub fn unary(fold: &mut Fold, f: impl Fn(f32) -> f32) -> Result<Constant, Fault> {
    let (x, values) = (fold.at(0)?, fold.floats(0)?);
    fold.room(&x.dims, 1)?;
    Ok(Constant::float(x.dims.clone(), values.iter().map(|&v| f(v)).collect()))
}

/// A function of two operands that are spread over each other; integers must not overflow.
pub fn binary(
    fold: &mut Fold,
    real: impl Fn(f32, f32) -> f32,
    integer: impl Fn(i64, i64) -> Option<i64>,
) -> Result<Constant, Fault> {
    let (a, b) = (fold.at(0)?, fold.at(1)?);
    let b_dims = spread_dims(fold, a, b)?;
    let dims = broadcast(fold.step, &a.dims, &b_dims)?;
    let elements = fold.room(&dims, 1)?;
    let (a_steps, b_steps) = (strides(&a.dims), strides(&b_dims));
    let mut pairs = Vec::with_capacity(elements);
    each(&dims, |at| pairs.push((spread(&a.dims, &a_steps, at), spread(&b_dims, &b_steps, at))));
    if a.presented() == Element::Float {
        let (x, y) = (fold.floats(0)?, fold.floats(1)?);
        return Ok(Constant::float(dims, pairs.into_iter().map(|(i, j)| real(x[i], y[j])).collect()));
    }
    let (x, y) = (fold.integers(0)?, fold.integers(1)?);
    let within = |v: &i64| a.element.range().contains(v);
    let values = pairs.into_iter().map(|(i, j)| integer(x[i], y[j]).filter(within)).collect::<Option<Vec<_>>>();
    let values = values.ok_or_else(|| fold.step.malformed("overflows, or divides by 0, on constants"))?;
    Ok(Constant::new(dims, a.element, Values::Integer(values)))
}

/// The second operand's dimensions; before opset 7 an attribute says from which axis on it is spread.
fn spread_dims(fold: &Fold, a: &Constant, b: &Constant) -> Result<Vec<usize>, Fault> {
    let mut dims = b.dims.clone();
    if fold.step.opset < 7 && fold.step.attribute("axis").is_some() {
        let axis = fold.axis(fold.step.integer("axis", 0)?, a.dims.len())?;
        dims.resize(dims.len().max(a.dims.len() - axis), 1);
    }
    Ok(dims)
}

pub fn leaky_relu(fold: &mut Fold) -> Result<Constant, Fault> {
    let slope = fold.step.float("alpha", 0.01)?;
    unary(fold, |x| if x >= 0.0 { x } else { slope * x })
}

pub fn hard_sigmoid(fold: &mut Fold) -> Result<Constant, Fault> {
    let (slope, offset) = (fold.step.float("alpha", 0.2)?, fold.step.float("beta", 0.5)?);
    unary(fold, |x| (slope * x + offset).clamp(0.0, 1.0))
}

pub fn clip(fold: &mut Fold) -> Result<Constant, Fault> {
    let bound = |name: &str, position: usize, none: f32| match (fold.step.attribute(name), fold.get(position)) {
        (Some(attribute), _) => Ok(attribute.f),
        (None, None) => Ok(none),
        (None, Some(_)) => Ok(fold.floats(position)?.first().copied().unwrap_or(none)),
    };
    let (lo, hi) = (bound("min", 1, f32::NEG_INFINITY)?, bound("max", 2, f32::INFINITY)?);
    unary(fold, |x| x.max(lo).min(hi))
}

pub fn cast(fold: &mut Fold) -> Result<Constant, Fault> {
    let x = fold.at(0)?;
    let number = fold.step.integer("to", 0)? as i32;
    let to = Element::from_number(number);
    let to = to.ok_or_else(|| fold.step.unsupported(format!("casts to element type {number}")))?;
    fold.room(&x.dims, 1)?;
    if to == Element::Float {
        let values = match (&x.values, &x.coding) {
            (Values::Integer(v), None) => v.iter().map(|&v| v as f32).collect(),
            _ => fold.floats(0)?.into_owned(),
        };
        return Ok(Constant::float(x.dims.clone(), values));
    }
    let whole: Vec<i64> = match (&x.values, &x.coding) {
        (Values::Integer(v), None) => v.clone(),
        _ => fold.floats(0)?.iter().map(|&v| v as i64).collect(),
    };
    if let Some(v) = whole.iter().find(|v| to != Element::Bool && !to.range().contains(v)) {
        return Err(fold.step.malformed(format!("casts {v} to {}", to.name())));
    }
    let values = if to == Element::Bool { whole.iter().map(|&v| i64::from(v != 0)).collect() } else { whole };
    Ok(Constant::new(x.dims.clone(), to, Values::Integer(values)))
}

/// Inference batch norm over axis 1.
pub fn batch_norm(fold: &mut Fold) -> Result<Constant, Fault> {
    if fold.step.integer("training_mode", 0)? != 0 || (fold.step.opset < 7 && fold.step.integer("is_test", 0)? == 0) {
        return Err(fold.step.unsupported("normalises by the batch; export the model in inference mode"));
    }
    let (x, values) = (fold.at(0)?, fold.floats(0)?);
    let parts = [fold.floats(1)?, fold.floats(2)?, fold.floats(3)?, fold.floats(4)?];
    let channels = x.dims.get(1).copied().unwrap_or(1);
    if parts.iter().any(|p| p.len() != channels) {
        return Err(fold.step.malformed(format!("has parameters of other than {channels} channels")));
    }
    let epsilon = fold.step.float("epsilon", 1e-5)?;
    fold.room(&x.dims, 1)?;
    let inner: usize = x.dims.iter().skip(2).product();
    let normal = |(i, &v): (usize, &f32)| {
        let c = i / inner.max(1) % channels.max(1);
        let [scale, bias, mean, variance] = [0, 1, 2, 3].map(|p| parts[p][c]);
        (v - mean) / (variance + epsilon).sqrt() * scale + bias
    };
    Ok(Constant::float(x.dims.clone(), values.iter().enumerate().map(normal).collect()))
}
