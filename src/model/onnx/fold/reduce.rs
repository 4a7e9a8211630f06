//! Pooling and means.

use super::{Fold, each};
use crate::model::Fault;
use crate::model::onnx::tensor::{Constant, Element, Values};
use crate::model::onnx::window::Window;
use crate::tensor::Shape;

/// A window over N×C×H×W, and the dimensions that it gives.
fn window(fold: &mut Fold) -> Result<(Window, [usize; 4], [usize; 4]), Fault> {
    let dims = &fold.at(0)?.dims;
    let &[n, c, h, w] = &dims[..] else {
        return Err(fold.step.unsupported(format!("pools {dims:?}; only N×C×H×W is done")));
    };
    if dims.contains(&0) {
        return Err(fold.step.malformed(format!("pools {dims:?}")));
    }
    let window = Window::read(fold.step, Shape::new(h, w, c), None)?;
    let span = window.positions([h, w]).ok_or_else(|| fold.step.malformed("has a window that does not fit"))?;
    let y = [n, c, span[0], span[1]];
    fold.room(&y, window.kernel[0].saturating_mul(window.kernel[1]))?;
    Ok((window, [n, c, h, w], y))
}

/// Calls `visit` per output with the indices of the inputs under its window.
fn windows(window: &Window, x: [usize; 4], y: [usize; 4], mut visit: impl FnMut(&[usize])) {
    let [_, channels, h, w] = x;
    let mut under = vec![];
    each(&y, |at| {
        let &[n, c, oy, ox] = at else { return };
        under.clear();
        for ky in 0..window.kernel[0] {
            let Some(iy) = window.input(0, oy, ky, h) else { continue };
            let row = ((n * channels + c) * h + iy) * w;
            under.extend((0..window.kernel[1]).filter_map(|kx| window.input(1, ox, kx, w)).map(|ix| row + ix));
        }
        visit(&under);
    });
}

pub fn average_pool(fold: &mut Fold) -> Result<Constant, Fault> {
    let (window, x, y) = window(fold)?;
    let counts_padding = fold.step.integer("count_include_pad", 0)? != 0;
    if counts_padding && fold.step.integer("ceil_mode", 0)? != 0 {
        return Err(fold.step.unsupported("counts padding and rounds its size up; use ceil_mode 0"));
    }
    let values = fold.floats(0)?;
    let whole = window.kernel[0] * window.kernel[1];
    let mut means = vec![];
    windows(&window, x, y, |under| {
        let count = if counts_padding { whole } else { under.len().max(1) };
        let sum: f64 = under.iter().map(|&i| f64::from(values[i])).sum();
        means.push((sum / count as f64) as f32);
    });
    Ok(Constant::float(y.to_vec(), means))
}

pub fn max_pool(fold: &mut Fold) -> Result<Constant, Fault> {
    let (window, x, y) = window(fold)?;
    let input = fold.at(0)?;
    if input.presented() == Element::Float {
        let values = fold.floats(0)?;
        let mut largest = vec![];
        windows(&window, x, y, |under| {
            largest.push(under.iter().fold(f32::NEG_INFINITY, |m, &i| m.max(values[i])));
        });
        return Ok(Constant::float(y.to_vec(), largest));
    }
    let values = fold.integers(0)?;
    let mut largest = vec![];
    windows(&window, x, y, |under| {
        let lowest = *input.element.range().start();
        largest.push(under.iter().map(|&i| values[i]).max().unwrap_or(lowest));
    });
    Ok(Constant::new(y.to_vec(), input.element, Values::Integer(largest)))
}

/// The mean of every channel over all positions.
pub fn global_average_pool(fold: &mut Fold) -> Result<Constant, Fault> {
    let rank = fold.at(0)?.dims.len();
    mean(fold, &(2..rank).collect::<Vec<_>>(), true)
}

pub fn reduce_mean(fold: &mut Fold) -> Result<Constant, Fault> {
    let rank = fold.at(0)?.dims.len();
    let axes = match fold.list("axes", 1)? {
        Some(axes) if !axes.is_empty() => {
            axes.into_iter().map(|a| fold.axis(a, rank)).collect::<Result<Vec<_>, _>>()?
        }
        _ if fold.step.integer("noop_with_empty_axes", 0)? != 0 => vec![],
        _ => (0..rank).collect(),
    };
    mean(fold, &axes, fold.step.integer("keepdims", 1)? != 0)
}

fn mean(fold: &mut Fold, axes: &[usize], keeps: bool) -> Result<Constant, Fault> {
    let (x, values) = (fold.at(0)?, fold.floats(0)?);
    let reduced: Vec<usize> = (0..x.dims.len()).map(|i| if axes.contains(&i) { 1 } else { x.dims[i] }).collect();
    let count = values.len() / reduced.iter().product::<usize>().max(1);
    fold.room(&reduced, count)?;
    let steps = super::strides(&reduced);
    let mut sums = vec![0.0f64; reduced.iter().product()];
    let mut i = 0;
    each(&x.dims, |at| {
        sums[super::spread(&reduced, &steps, at)] += f64::from(values[i]);
        i += 1;
    });
    let dims = (0..reduced.len()).filter(|i| keeps || !axes.contains(i)).map(|i| reduced[i]).collect();
    Ok(Constant::float(dims, sums.into_iter().map(|s| (s / count.max(1) as f64) as f32).collect()))
}
