//! Elements under other dimensions or in another order.

use super::{Fold, each, strides};
use crate::model::Fault;
use crate::model::onnx::tensor::{Constant, Element, Values};

pub fn identity(fold: &mut Fold) -> Result<Constant, Fault> {
    let x = fold.at(0)?;
    fold.room(&x.dims, 1)?;
    Ok(x.clone())
}

/// The same elements under other dimensions.
fn reshaped(fold: &mut Fold, dims: Vec<usize>) -> Result<Constant, Fault> {
    let x = fold.at(0)?;
    let elements = fold.room(&dims, 1)?;
    if elements != x.values.len() {
        return Err(fold.step.malformed(format!("reshapes {:?} to {dims:?}", x.dims)));
    }
    Ok(x.picked(dims, None, 0..elements))
}

pub fn shape(fold: &mut Fold) -> Result<Constant, Fault> {
    let dims = &fold.at(0)?.dims;
    let within = |name: &str, none: i64| -> Result<usize, Fault> {
        let at = fold.step.integer(name, none)?;
        let from_first = if at < 0 { at + dims.len() as i64 } else { at };
        Ok(from_first.clamp(0, dims.len() as i64) as usize)
    };
    let (start, end) = (within("start", 0)?, within("end", dims.len() as i64)?);
    Ok(Constant::vector(dims[start.min(end)..end].iter().map(|&d| d as i64).collect()))
}

pub fn reshape(fold: &mut Fold) -> Result<Constant, Fault> {
    let x = fold.at(0)?;
    let target = fold.list("shape", 1)?.ok_or_else(|| fold.step.malformed("has no shape"))?;
    let zero_copies = fold.step.integer("allowzero", 0)? == 0;
    let wrong = || fold.step.malformed(format!("reshapes {:?} to {target:?}", x.dims));
    let mut dims = vec![];
    for (i, &asked) in target.iter().enumerate() {
        dims.push(match asked {
            0 if zero_copies => *x.dims.get(i).ok_or_else(wrong)?,
            -1 => 1,
            asked => usize::try_from(asked).map_err(|_| wrong())?,
        });
    }
    if let Some(open) = target.iter().position(|&d| d == -1) {
        let given = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n > 0);
        dims[open] = x.values.len() / given.ok_or_else(wrong)?;
    }
    reshaped(fold, dims)
}

pub fn flatten(fold: &mut Fold) -> Result<Constant, Fault> {
    let dims = &fold.at(0)?.dims;
    let axis = fold.step.integer("axis", 1)?;
    let axis = if axis < 0 { axis + dims.len() as i64 } else { axis };
    let axis = usize::try_from(axis).ok().filter(|&a| a <= dims.len());
    let axis = axis.ok_or_else(|| fold.step.malformed("flattens from an axis that is not there"))?;
    let size = |dims: &[usize]| dims.iter().product::<usize>();
    let to = vec![size(&dims[..axis]), size(&dims[axis..])];
    reshaped(fold, to)
}

pub fn squeeze(fold: &mut Fold) -> Result<Constant, Fault> {
    let dims = fold.at(0)?.dims.clone();
    let axes = match fold.list("axes", 1)? {
        Some(axes) => axes.into_iter().map(|a| fold.axis(a, dims.len())).collect::<Result<Vec<_>, _>>()?,
        None => (0..dims.len()).filter(|&i| dims[i] == 1).collect(),
    };
    let kept = (0..dims.len()).filter(|i| !axes.contains(i)).map(|i| dims[i]).collect();
    reshaped(fold, kept)
}

pub fn unsqueeze(fold: &mut Fold) -> Result<Constant, Fault> {
    let old = fold.at(0)?.dims.clone();
    let axes = fold.list("axes", 1)?.ok_or_else(|| fold.step.malformed("has no axes"))?;
    let rank = old.len() + axes.len();
    let axes = axes.into_iter().map(|a| fold.axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut rest = old.into_iter();
    let dims = (0..rank).map(|i| if axes.contains(&i) { Some(1) } else { rest.next() }).collect::<Option<Vec<_>>>();
    let dims = dims.ok_or_else(|| fold.step.malformed("adds an axis twice"))?;
    reshaped(fold, dims)
}

pub fn transpose(fold: &mut Fold) -> Result<Constant, Fault> {
    let x = fold.at(0)?;
    let rank = x.dims.len();
    let order = match fold.step.sizes("perm")? {
        Some(order) => order,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if sorted != (0..rank).collect::<Vec<_>>() {
        return Err(fold.step.malformed(format!("permutes rank {rank} by {order:?}")));
    }
    let dims: Vec<usize> = order.iter().map(|&i| x.dims[i]).collect();
    let elements = fold.room(&dims, rank)?;
    let steps = strides(&x.dims);
    let mut from = Vec::with_capacity(elements);
    each(&dims, |at| from.push(at.iter().zip(&order).map(|(&i, &axis)| i * steps[axis]).sum()));
    let axis = x.coding.as_ref().and_then(|c| order.iter().position(|&i| i == c.axis));
    Ok(x.picked(dims, axis, from.into_iter()))
}

pub fn gather(fold: &mut Fold) -> Result<Constant, Fault> {
    let (x, list) = (fold.at(0)?, fold.integers(1)?);
    let axis = fold.axis(fold.step.integer("axis", 0)?, x.dims.len())?;
    let extent = x.dims[axis];
    let index = |&i: &i64| {
        let from_first = if i < 0 { i.saturating_add(extent as i64) } else { i };
        let found = usize::try_from(from_first).ok().filter(|&i| i < extent);
        found.ok_or_else(|| fold.step.malformed(format!("takes element {i} of {extent}")))
    };
    let indices = list.iter().map(index).collect::<Result<Vec<_>, _>>()?;
    let (outer, inner) = (x.dims[..axis].to_vec(), x.dims[axis + 1..].to_vec());
    let dims = [&outer[..], &fold.at(1)?.dims, &inner].concat();
    let elements = fold.room(&dims, 1)?;
    let block: usize = inner.iter().product();
    let mut from = Vec::with_capacity(elements);
    for o in 0..outer.iter().product::<usize>() {
        for &i in &indices {
            from.extend((0..block).map(|k| (o * extent + i) * block + k));
        }
    }
    Ok(x.picked(dims, None, from.into_iter()))
}

pub fn slice(fold: &mut Fold) -> Result<Constant, Fault> {
    let x = fold.at(0)?;
    let starts = fold.list("starts", 1)?.ok_or_else(|| fold.step.malformed("has no starts"))?;
    let ends = fold.list("ends", 2)?.ok_or_else(|| fold.step.malformed("has no ends"))?;
    let axes = fold.list("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = fold.list("steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(fold.step.malformed("has starts, ends, axes and steps of different lengths"));
    }
    let mut taken: Vec<Vec<usize>> = x.dims.iter().map(|&d| (0..d).collect()).collect();
    for (i, &axis) in axes.iter().enumerate() {
        let axis = fold.axis(axis, x.dims.len())?;
        taken[axis] = picks(x.dims[axis] as i64, starts[i], ends[i], steps[i])
            .ok_or_else(|| fold.step.malformed("slices by steps of 0"))?;
    }
    let dims: Vec<usize> = taken.iter().map(Vec::len).collect();
    let elements = fold.room(&dims, dims.len())?;
    let by = strides(&x.dims);
    let mut from = Vec::with_capacity(elements);
    each(&dims, |at| from.push((0..at.len()).map(|i| taken[i][at[i]] * by[i]).sum()));
    Ok(x.picked(dims, None, from.into_iter()))
}

/// The indices that a slice takes of one axis.
fn picks(extent: i64, start: i64, end: i64, step: i64) -> Option<Vec<usize>> {
    if extent == 0 {
        return Some(vec![]);
    }
    let from_first = |at: i64| if at < 0 { at.saturating_add(extent) } else { at };
    let (lo, hi) = if step > 0 { (0, extent) } else { (-1, extent - 1) };
    let (start, end) = (from_first(start).clamp(lo.max(0), hi), from_first(end).clamp(lo, hi));
    let ahead = |at: &i64| if step > 0 { *at < end } else { *at > end };
    let next = |at: &i64| at.checked_add(step);
    (step != 0).then(|| std::iter::successors(Some(start), next).take_while(ahead).map(|at| at as usize).collect())
}

pub fn concat(fold: &mut Fold) -> Result<Constant, Fault> {
    let parts = (0..fold.inputs.len()).map(|i| fold.at(i)).collect::<Result<Vec<_>, _>>()?;
    let first = fold.at(0)?;
    let axis = fold.axis(fold.step.integer("axis", 1)?, first.dims.len())?;
    let mut dims = first.dims.clone();
    let mut extent = 0usize;
    for part in &parts {
        let mut like = part.dims.clone();
        if like.len() != dims.len() || part.presented() != first.presented() {
            return Err(fold.step.malformed("joins constants of different ranks or types"));
        }
        extent = extent.checked_add(like[axis]).ok_or_else(|| fold.step.malformed("joins without end"))?;
        like[axis] = dims[axis];
        if like != dims {
            return Err(fold.step.malformed(format!("joins {:?} to {:?}", part.dims, first.dims)));
        }
    }
    dims[axis] = extent;
    fold.room(&dims, 1)?;
    let outer: usize = dims[..axis].iter().product();
    let blocks: Vec<usize> = parts.iter().map(|p| p.dims[axis..].iter().product()).collect();
    let at = |o: usize| parts.iter().zip(&blocks).enumerate().map(move |(i, (_, &n))| (i, o * n..(o + 1) * n));
    if first.presented() == Element::Float {
        let values = (0..parts.len()).map(|i| fold.floats(i)).collect::<Result<Vec<_>, _>>()?;
        let joined = (0..outer).flat_map(at).flat_map(|(i, range)| values[i][range].to_vec()).collect();
        return Ok(Constant::float(dims, joined));
    }
    let values = (0..parts.len()).map(|i| fold.integers(i)).collect::<Result<Vec<_>, _>>()?;
    let joined = (0..outer).flat_map(at).flat_map(|(i, range)| values[i][range].to_vec()).collect();
    Ok(Constant::new(dims, first.element, Values::Integer(joined)))
}

/// One value everywhere; 0 if the attribute is absent.
pub fn constant_of_shape(fold: &mut Fold) -> Result<Constant, Fault> {
    let dims = fold.integers(0)?.iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
    let dims = dims.map_err(|_| fold.step.malformed("has a negative dimension"))?;
    let elements = fold.room(&dims, 1)?;
    let value = match fold.step.attribute("value").and_then(|a| a.t.as_ref()) {
        Some(tensor) => Constant::read(tensor).map_err(|refusal| fold.step.refused("its value", refusal))?,
        None => Constant::float(vec![1], vec![0.0]),
    };
    if value.values.len() != 1 {
        return Err(fold.step.malformed("has other than one value"));
    }
    Ok(value.picked(dims, None, std::iter::repeat_n(0, elements)))
}
