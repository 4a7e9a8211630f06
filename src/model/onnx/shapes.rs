//! Flatten, Reshape and Squeeze of maps, their Shape, and `Constant` nodes.
//!
//! A map is flattened to a vector and nothing else. What exporters compute from a shape (Gather,
//! Unsqueeze, Concat, Cast) is folded, a batch of unknown size counting as 1.

use super::importer::{Importer, Map, Step, Value, View};
use super::tensor::Constant;
use crate::model::Fault;
use crate::op::Op;
use crate::tensor::Shape;
use std::rc::Rc;

pub fn constant<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let [attribute] = &step.node.attribute[..] else {
        return Err(step.malformed(format!("has {} attributes, not one", step.node.attribute.len())));
    };
    let value = match (attribute.name.as_str(), &attribute.t) {
        ("value", Some(tensor)) => importer.read(step, "its value", tensor)?,
        ("value_float", _) => Rc::new(Constant::float(vec![], vec![attribute.f])),
        ("value_floats", _) => Rc::new(Constant::float(vec![attribute.floats.len()], attribute.floats.clone())),
        ("value_int", _) => Rc::new(Constant::scalar(attribute.i)),
        ("value_ints", _) => Rc::new(Constant::vector(attribute.ints.clone())),
        _ => return Err(step.unsupported("holds no dense tensor of numbers")),
    };
    importer.define(step, Value::Constant(value))
}

/// The dimensions of a map, as far as the attributes ask for them.
pub fn shape<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.any_map(step, 0)?;
    let dims = importer.dims(map);
    let within = |name: &str, none: i64| -> Result<usize, Fault> {
        let at = step.integer(name, none)?;
        let from_first = if at < 0 { at + dims.len() as i64 } else { at };
        Ok(from_first.clamp(0, dims.len() as i64) as usize)
    };
    let (start, end) = (within("start", 0)?, within("end", dims.len() as i64)?);
    let kept = dims[start.min(end)..end].iter().map(|&d| d as i64).collect();
    importer.define(step, Value::Constant(Rc::new(Constant::vector(kept))))
}

/// An axis more: a vector becomes a map of one pixel.
pub fn unsqueeze<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map(step, 0)?;
    let axes = importer.list(step, "axes", 1)?;
    let mut sorted: Vec<i64> = axes.iter().flatten().map(|&a| if a < 0 { a.saturating_add(4) } else { a }).collect();
    sorted.sort_unstable();
    if sorted != [2, 3] || !map.view.in_order() || map.view == View::Map {
        return Err(step.unsupported(format!("adds axes {axes:?} to a map; only N×C to N×C×1×1 is done")));
    }
    pixel(importer, step, map)
}

/// A vector as a map of one pixel.
fn pixel<'a>(importer: &mut Importer<'a>, step: &Step<'a>, map: Map) -> Result<(), Fault> {
    let shape = importer.shape(map);
    let map = Map { view: View::Map, ..map };
    if shape.pixels() == 1 {
        return importer.define(step, Value::Map(map));
    }
    importer.emit_moved(step, Op::Reshape(Shape::vector(shape.elements())), map, View::Map)
}

/// A map of one pixel loses height and width.
pub fn squeeze<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map4(step, 0)?;
    let axes = importer.list(step, "axes", 1)?;
    let mut sorted: Vec<i64> = axes.iter().flatten().map(|&a| if a < 0 { a.saturating_add(4) } else { a }).collect();
    sorted.sort_unstable();
    if sorted != [2, 3] || importer.shape(map).pixels() != 1 {
        return Err(step.unsupported(format!("squeezes axes {axes:?}; only height and width of one pixel are done")));
    }
    flat(importer, step, map)
}

/// A cast of a float map to a float type changes nothing here.
pub fn cast<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let to = step.integer("to", 0)?;
    if to == 1 {
        importer.map(step, 0)?;
        return super::maps::identity(importer, step);
    }
    Err(step.unsupported(format!("casts a map to {}", super::tensor::type_name(to as i32))))
}

pub fn flatten<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map(step, 0)?;
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
        return importer.define(step, Value::Map(Map { view, ..map }));
    }
    importer.emit_moved(step, Op::Reshape(Shape::vector(shape.elements())), map, view)
}

/// Reshape to the same dimensions, to a vector, or from a vector to one pixel.
pub fn reshape<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.moved_map(step, 0)?;
    let target = importer.list(step, "shape", 1)?.ok_or_else(|| step.malformed("has no shape"))?;
    let from = importer.dims(map);
    let to = resolve(&target, &from, step.integer("allowzero", 0)? == 0);
    let channels = importer.shape(map).elements();
    match to.as_deref() {
        Some(to) if to == from => importer.define(step, Value::Map(map)),
        Some([_, n]) if *n == channels => flat(importer, step, map),
        Some([_, c, 1, 1]) if *c == channels && map.view.in_order() && importer.shape(map).pixels() == 1 => {
            importer.define(step, Value::Map(Map { view: View::Map, ..map }))
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
