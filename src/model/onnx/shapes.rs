//! Flatten, Reshape and Squeeze, and the small integer computations that exporters put before a Reshape.
//!
//! A map is flattened to a vector and nothing else; the subgraphs that compute a shape (Shape,
//! Gather, Unsqueeze, Concat, Cast) are folded, a batch of unknown size counting as 1.

use super::importer::{Importer, Map, Step, Value, View};
use super::tensor::{Constant, Values};
use crate::model::Fault;
use crate::op::Op;
use crate::tensor::Shape;
use std::rc::Rc;

/// Elements of the largest folded constant: shapes are short, and a chain of concatenations of one
/// value with itself grows exponentially.
const MOST_FOLDED: usize = 64;

pub fn constant<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let vector =
        |values: Values, scalar: bool| Constant { dims: if scalar { vec![] } else { vec![values.len()] }, values };
    let [attribute] = &step.node.attribute[..] else {
        return Err(step.malformed(format!("has {} attributes, not one", step.node.attribute.len())));
    };
    let value = match (attribute.name.as_str(), &attribute.t) {
        ("value", Some(tensor)) => importer.read(step, "its value", tensor)?,
        ("value_float", _) => Rc::new(vector(Values::Float(vec![attribute.f]), true)),
        ("value_floats", _) => Rc::new(vector(Values::Float(attribute.floats.clone()), false)),
        ("value_int", _) => Rc::new(Constant::scalar(attribute.i)),
        ("value_ints", _) => Rc::new(Constant::vector(attribute.ints.clone())),
        _ => return Err(step.unsupported("holds no dense tensor of numbers")),
    };
    importer.define(step, Value::Constant(value))
}

/// Defines a folded constant.
fn folded<'a>(importer: &mut Importer<'a>, step: &Step<'a>, constant: Constant) -> Result<(), Fault> {
    if constant.values.len() > MOST_FOLDED {
        return Err(step.unsupported(format!(
            "computes a constant of {} elements; simplify the model first (onnxsim)",
            constant.values.len()
        )));
    }
    importer.define(step, Value::Constant(Rc::new(constant)))
}

pub fn shape<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.map(step, 0)?;
    if step.attribute("start").is_some() || step.attribute("end").is_some() {
        return Err(step.unsupported("takes part of a shape; simplify the model first (onnxsim)"));
    }
    let dims = importer.dims(map).into_iter().map(|d| d as i64).collect();
    folded(importer, step, Constant::vector(dims))
}

pub fn gather<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let (data, indices) = (importer.constant(step, 0)?, importer.constant(step, 1)?);
    if data.dims.len() != 1 || indices.dims.len() > 1 {
        return Err(step.unsupported("gathers from other than a list of integers"));
    }
    let list = importer.integers(step, "its data", &data)?;
    let indices_of = importer.integers(step, "its indices", &indices)?;
    if indices_of.len() > MOST_FOLDED {
        return Err(step.unsupported(format!("gathers {} elements", indices_of.len())));
    }
    let at = |&index: &i64| {
        let index = if index < 0 { index.saturating_add(list.len() as i64) } else { index };
        let found = usize::try_from(index).ok().and_then(|i| list.get(i).copied());
        found.ok_or_else(|| step.malformed(format!("takes element {index} of {}", list.len())))
    };
    let values: Vec<i64> = indices_of.iter().map(at).collect::<Result<_, _>>()?;
    folded(importer, step, Constant { dims: indices.dims.clone(), values: Values::Integer(values) })
}

/// A scalar becomes a list of one.
pub fn unsqueeze<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    if !importer.is_constant(step, 0) {
        return Err(step.unsupported("adds an axis to a map; maps are N×C×H×W or flat"));
    }
    let constant = importer.constant(step, 0)?;
    if !constant.dims.is_empty() {
        return Err(step.unsupported(format!("adds an axis to a constant of dimensions {:?}", constant.dims)));
    }
    folded(importer, step, Constant { dims: vec![1], values: constant.values.clone() })
}

/// A list of one becomes a scalar; a map of one pixel loses height and width.
pub fn squeeze<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    if importer.is_constant(step, 0) {
        let constant = importer.constant(step, 0)?;
        if constant.dims != [1] {
            return Err(step.unsupported(format!("squeezes a constant of dimensions {:?}", constant.dims)));
        }
        return folded(importer, step, Constant { dims: vec![], values: constant.values.clone() });
    }
    let map = importer.map4(step, 0)?;
    let axes = importer.list(step, "axes", 1)?;
    let mut sorted: Vec<i64> = axes.iter().flatten().map(|&a| if a < 0 { a.saturating_add(4) } else { a }).collect();
    sorted.sort_unstable();
    if sorted != [2, 3] || importer.shape(map).pixels() != 1 {
        return Err(step.unsupported(format!("squeezes axes {axes:?}; only height and width of one pixel are done")));
    }
    flat(importer, step, map)
}

/// Joins lists of integers.
pub fn concat<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let mut joined = vec![];
    for position in 0..step.node.input.len() {
        let part = importer.constant(step, position)?;
        let part = importer.integers(step, "its operand", &part)?;
        joined.extend(part.iter().take(MOST_FOLDED + 1));
        if joined.len() > MOST_FOLDED {
            return Err(step.unsupported("joins constants that are no shape; simplify the model first (onnxsim)"));
        }
    }
    folded(importer, step, Constant::vector(joined))
}

/// A cast of floats to FLOAT, or of integers to INT64 or INT32, changes nothing here.
pub fn cast<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let to = step.integer("to", 0)?;
    let float = if importer.is_constant(step, 0) {
        matches!(importer.constant(step, 0)?.values, Values::Float(_))
    } else {
        true
    };
    if (float && to == 1) || (!float && (to == 6 || to == 7)) {
        return super::maps::identity(importer, step);
    }
    Err(step.unsupported(format!("casts to {}", super::tensor::type_name(to as i32))))
}

pub fn flatten<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.map(step, 0)?;
    let rank = importer.dims(map).len() as i64;
    let axis = step.integer("axis", 1)?;
    if axis != 1 && axis.saturating_add(rank) != 1 {
        return Err(step.unsupported(format!("flattens from axis {axis}; only axis 1 keeps the images apart")));
    }
    flat(importer, step, map)
}

/// Flattens a map: nothing to do for one pixel, which is a vector in either order.
fn flat<'a>(importer: &mut Importer<'a>, step: &Step<'a>, map: Map) -> Result<(), Fault> {
    let shape = importer.shape(map);
    let view = match map.view {
        View::Map => View::Flat(shape),
        flat => flat,
    };
    if shape.pixels() == 1 {
        return importer.define(step, Value::Map(Map { edge: map.edge, view }));
    }
    importer.emit(step, Op::Reshape(Shape::vector(shape.elements())), &[map], view)
}

/// Reshape to the same dimensions, to a vector, or from a vector to one pixel.
pub fn reshape<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.map(step, 0)?;
    let target = importer.list(step, "shape", 1)?.ok_or_else(|| step.malformed("has no shape"))?;
    let from = importer.dims(map);
    let to = resolve(&target, &from, step.integer("allowzero", 0)? == 0);
    let channels = importer.shape(map).elements();
    match to.as_deref() {
        Some(to) if to == from => importer.define(step, Value::Map(map)),
        Some([_, n]) if *n == channels => flat(importer, step, map),
        Some([_, c, 1, 1]) if *c == channels && map.view.in_order() && importer.shape(map).pixels() == 1 => {
            importer.define(step, Value::Map(Map { edge: map.edge, view: View::Map }))
        }
        _ => Err(step.unsupported(format!(
            "reshapes {from:?} to {target:?}; only N×C×H×W to N×(C·H·W), and N×C to N×C×1×1, are done"
        ))),
    }
}

/// The dimensions that a Reshape asks for, if they hold the same elements and keep the batch.
fn resolve(target: &[i64], from: &[usize], zero_copies: bool) -> Option<Vec<usize>> {
    let elements: usize = from.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    let mut dims = vec![];
    let mut open = None;
    for (i, &asked) in target.iter().enumerate() {
        dims.push(match asked {
            0 if zero_copies => *from.get(i)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            // A batch written as 1 stands for any.
            1 if i == 0 => from[0],
            asked => usize::try_from(asked).ok()?,
        });
    }
    let given = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n > 0)?;
    if let Some(open) = open {
        dims[open] = elements / given;
    }
    let filled = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
    (filled == elements && dims.first() == from.first()).then_some(dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reshape_keeps_images_and_elements() {
        let from = [1, 8, 2, 3];
        assert_eq!(resolve(&[0, -1], &from, true), Some(vec![1, 48]));
        assert_eq!(resolve(&[-1, 48], &from, true), Some(vec![1, 48]));
        assert_eq!(resolve(&[1, 8, -1], &from, true), Some(vec![1, 8, 6]));
        assert_eq!(resolve(&[4, 8, -1], &from, true), None);
        assert_eq!(resolve(&[0, -1, -1], &from, true), None);
        assert_eq!(resolve(&[0, 7, -1], &from, true), None);
        assert_eq!(resolve(&[0, -2], &from, true), None);
        assert_eq!(resolve(&[], &from, true), None);
        assert_eq!(resolve(&[0, i64::MAX, i64::MAX], &from, true), None);
        assert_eq!(resolve(&[0, 48], &from, false), None);
    }
}
