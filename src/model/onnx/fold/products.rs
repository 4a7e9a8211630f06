//! Convolutions and matrix products, in floats and in integers with zero points.

use super::{Fold, broadcast, each, saturated, spread, strides};
use crate::model::Fault;
use crate::model::onnx::tensor::{Constant, Element, Values};
use crate::model::onnx::window::Window;
use crate::tensor::Shape;
use std::ops::{AddAssign, Mul};

/// What products are summed in: f64 for floats, i64 for codes.
trait Number: Copy + Default + AddAssign + Mul<Output = Self> {}
impl Number for f64 {}
impl Number for i64 {}

/// The 2-D convolution of N×C×H×W by O×(C/groups)×H×W, without a bias.
struct Convolution {
    x: [usize; 4],
    w: [usize; 4],
    y: [usize; 4],
    window: Window,
    groups: usize,
}

impl Convolution {
    fn read(fold: &mut Fold, x: usize, w: usize) -> Result<Self, Fault> {
        let four = |position: usize| -> Result<[usize; 4], Fault> {
            let dims = &fold.at(position)?.dims;
            let why = || fold.step.unsupported(format!("convolves {dims:?}; only 2-D convolutions (rank 4) are done"));
            dims[..].try_into().map_err(|_| why())
        };
        let (x, w) = (four(x)?, four(w)?);
        let groups = usize::try_from(fold.step.integer("group", 1)?).unwrap_or(0);
        let wrong = fold.step.malformed(format!("convolves {x:?} by {w:?} in {groups} groups"));
        if groups == 0 || w.contains(&0) || x.contains(&0) || !w[0].is_multiple_of(groups) {
            return Err(wrong);
        }
        if w[1].checked_mul(groups) != Some(x[1]) {
            return Err(wrong);
        }
        let window = Window::read(fold.step, Shape::new(x[2], x[3], x[1]), Some([w[2], w[3]]))?;
        let span = window.positions([x[2], x[3]]).ok_or(wrong)?;
        let y = [x[0], w[0], span[0], span[1]];
        fold.room(&y, w[1].saturating_mul(w[2]).saturating_mul(w[3]))?;
        Ok(Self { x, w, y, window, groups })
    }

    fn run<T: Number>(&self, x: &[T], w: &[T]) -> Vec<T> {
        let ([_, channels, height, width], [filters, depth, kh, kw]) = (self.x, self.w);
        let mut sums = vec![];
        each(&self.y, |at| {
            let &[n, o, oy, ox] = at else { return };
            let first = o / (filters / self.groups) * depth;
            let mut sum = T::default();
            for ky in 0..kh {
                let Some(iy) = self.window.input(0, oy, ky, height) else { continue };
                for kx in 0..kw {
                    let Some(ix) = self.window.input(1, ox, kx, width) else { continue };
                    for c in 0..depth {
                        let from = ((n * channels + first + c) * height + iy) * width + ix;
                        sum += x[from] * w[((o * depth + c) * kh + ky) * kw + kx];
                    }
                }
            }
            sums.push(sum);
        });
        sums
    }

    /// The output channel of element `i`.
    fn channel(&self, i: usize) -> usize {
        i / (self.y[2] * self.y[3]) % self.y[1]
    }
}

fn doubles(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| v.into()).collect()
}

pub fn conv(fold: &mut Fold) -> Result<Constant, Fault> {
    let conv = Convolution::read(fold, 0, 1)?;
    let sums = conv.run(&doubles(&fold.floats(0)?), &doubles(&fold.floats(1)?));
    let bias = bias(fold, 2, conv.y[1])?;
    let with_bias = |(i, sum): (usize, f64)| (sum + bias.as_ref().map_or(0.0, |b| b[conv.channel(i)])) as f32;
    Ok(Constant::float(conv.y.to_vec(), sums.into_iter().enumerate().map(with_bias).collect()))
}

/// One float bias per channel, if there is one.
fn bias(fold: &Fold, position: usize, channels: usize) -> Result<Option<Vec<f64>>, Fault> {
    if fold.get(position).is_none() {
        return Ok(None);
    }
    let values = doubles(&fold.floats(position)?);
    if values.len() != channels {
        return Err(fold.step.malformed(format!("has {} biases for {channels} channels", values.len())));
    }
    Ok(Some(values))
}

/// Codes minus their zero points, of which there is one, or one per index of `axis`.
fn centred(fold: &Fold, codes: usize, zero_points: usize, axis: usize) -> Result<Vec<i64>, Fault> {
    let (dims, codes) = (&fold.at(codes)?.dims, fold.integers(codes)?);
    let zero_points = if fold.get(zero_points).is_some() { fold.integers(zero_points)? } else { &[0] };
    let zero = per_index(fold, dims, axis, zero_points.len())?;
    Ok(codes.iter().enumerate().map(|(i, &q)| q - zero_points[zero(i)]).collect())
}

/// Which of `count` parameters belongs to element `i`: the only one, or the one of its index along
/// `axis`.
fn per_index(fold: &Fold, dims: &[usize], axis: usize, count: usize) -> Result<impl Fn(usize) -> usize + use<>, Fault> {
    let extent = dims.get(axis).copied();
    if count != 1 && extent != Some(count) {
        return Err(fold.step.malformed(format!("has {count} scales or zero points along axis {axis} of {dims:?}")));
    }
    let inner: usize = dims.iter().skip(axis + 1).product();
    Ok(move |i: usize| i / inner.max(1) % count)
}

pub fn conv_integer(fold: &mut Fold) -> Result<Constant, Fault> {
    let conv = Convolution::read(fold, 0, 1)?;
    let sums = conv.run(&centred(fold, 0, 2, usize::MAX - 1)?, &centred(fold, 1, 3, 0)?);
    accumulators(fold, conv.y.to_vec(), sums)
}

/// Sums that a 32-bit accumulator holds (wrapped if need be, as it does).
fn accumulators(_: &Fold, dims: Vec<usize>, sums: Vec<i64>) -> Result<Constant, Fault> {
    let wrapped = sums.into_iter().map(|sum| i64::from(sum as i32)).collect();
    Ok(Constant::new(dims, Element::Int32, Values::Integer(wrapped)))
}

/// x, its coding, w, its coding, y's coding, bias.
pub fn qlinear_conv(fold: &mut Fold) -> Result<Constant, Fault> {
    let conv = Convolution::read(fold, 0, 3)?;
    let mut sums = conv.run(&centred(fold, 0, 2, usize::MAX - 1)?, &centred(fold, 3, 5, 0)?);
    if fold.get(8).is_some() {
        let bias = fold.integers(8)?;
        if bias.len() != conv.y[1] {
            return Err(fold.step.malformed(format!("has {} biases for {} channels", bias.len(), conv.y[1])));
        }
        sums.iter_mut().enumerate().for_each(|(i, sum)| *sum += bias[conv.channel(i)]);
    }
    requantised(fold, conv.y.to_vec(), 1, sums)
}

/// Requantises sums of input 0 × input 3 as ONNX Runtime does (SPEC 5.4): the zero point is added
/// after rounding; weight scales lie along `axis` of the output.
fn requantised(fold: &Fold, dims: Vec<usize>, axis: usize, sums: Vec<i64>) -> Result<Constant, Fault> {
    let (x_scale, w_scales, y_scale) = (fold.floats(1)?, fold.floats(4)?, fold.floats(6)?);
    let scale = per_index(fold, &dims, axis, w_scales.len())?;
    let (&[x_scale], &[y_scale]) = (&x_scale[..], &y_scale[..]) else {
        return Err(fold.step.unsupported("has several scales for its input or output"));
    };
    let zero_point = fold.integers(7)?.first().copied().unwrap_or(0);
    let element = fold.at(7)?.element;
    let code = |(i, sum): (usize, i64)| {
        let real = (sum as i32) as f32 * (x_scale * w_scales[scale(i)] / y_scale);
        saturated((real.round_ties_even() as i64).saturating_add(zero_point), element)
    };
    Ok(Constant::new(dims, element, Values::Integer(sums.into_iter().enumerate().map(code).collect())))
}

/// A product of matrices, stacked in dimensions that are spread over each other.
struct Product {
    a: Vec<usize>,
    b: Vec<usize>,
    /// Dimensions of the stack, without those of the matrices.
    stack: Vec<usize>,
    /// Vectors count as matrices of one row (a) or column (b), whose dimension the result loses.
    drop: [bool; 2],
}

impl Product {
    fn read(fold: &mut Fold, a: usize, b: usize) -> Result<Self, Fault> {
        let (mut a, mut b) = (fold.at(a)?.dims.clone(), fold.at(b)?.dims.clone());
        let drop = [a.len() == 1, b.len() == 1];
        if drop[0] {
            a.insert(0, 1);
        }
        if drop[1] {
            b.push(1);
        }
        if a.len() < 2 || b.len() < 2 || a[a.len() - 1] != b[b.len() - 2] {
            return Err(fold.step.malformed(format!("multiplies {a:?} by {b:?}")));
        }
        let stack = broadcast(fold.step, &a[..a.len() - 2], &b[..b.len() - 2])?;
        let product = Self { a, b, stack, drop };
        fold.room(&product.full(), product.depth())?;
        Ok(product)
    }

    fn depth(&self) -> usize {
        self.a[self.a.len() - 1]
    }

    fn full(&self) -> Vec<usize> {
        [&self.stack[..], &[self.a[self.a.len() - 2], self.b[self.b.len() - 1]]].concat()
    }

    fn dims(&self) -> Vec<usize> {
        let mut dims = self.full();
        let columns = dims.pop().filter(|_| !self.drop[1]);
        let rows = dims.pop().filter(|_| !self.drop[0]);
        dims.extend(rows);
        dims.extend(columns);
        dims
    }

    fn run<T: Number>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let (depth, columns) = (self.depth(), self.b[self.b.len() - 1]);
        let (a_stack, b_stack) = (&self.a[..self.a.len() - 2], &self.b[..self.b.len() - 2]);
        let (a_steps, b_steps) = (strides(&self.a), strides(&self.b));
        let mut sums = vec![];
        each(&self.full(), |at| {
            let (stack, &[row, column]) = at.split_at(at.len() - 2) else { return };
            let a_first = spread(a_stack, &a_steps, stack) + row * depth;
            let b_first = spread(b_stack, &b_steps, stack) + column;
            let mut sum = T::default();
            for k in 0..depth {
                sum += a[a_first + k] * b[b_first + k * columns];
            }
            sums.push(sum);
        });
        sums
    }
}

pub fn matmul(fold: &mut Fold) -> Result<Constant, Fault> {
    let product = Product::read(fold, 0, 1)?;
    let sums = product.run(&doubles(&fold.floats(0)?), &doubles(&fold.floats(1)?));
    Ok(Constant::float(product.dims(), sums.into_iter().map(|v| v as f32).collect()))
}

/// a, b, and their zero points: one per matrix, per row of a, or per column of b.
pub fn matmul_integer(fold: &mut Fold) -> Result<Constant, Fault> {
    let product = Product::read(fold, 0, 1)?;
    let (a_axis, b_axis) = (fold.at(0)?.dims.len().saturating_sub(2), fold.at(1)?.dims.len().saturating_sub(1));
    let sums = product.run(&centred(fold, 0, 2, a_axis)?, &centred(fold, 1, 3, b_axis)?);
    accumulators(fold, product.dims(), sums)
}

/// a, its coding, b, its coding, y's coding.
pub fn qlinear_matmul(fold: &mut Fold) -> Result<Constant, Fault> {
    let product = Product::read(fold, 0, 3)?;
    let b_axis = fold.at(3)?.dims.len().saturating_sub(1);
    let sums = product.run(&centred(fold, 0, 2, usize::MAX - 1)?, &centred(fold, 3, 5, b_axis)?);
    let dims = product.dims();
    let axis = dims.len().saturating_sub(1);
    requantised(fold, dims, axis, sums)
}

pub fn gemm(fold: &mut Fold) -> Result<Constant, Fault> {
    let (alpha, beta) = (fold.step.float("alpha", 1.0)?, fold.step.float("beta", 1.0)?);
    let matrix = |position: usize, transposed: bool| -> Result<([usize; 2], Vec<f64>), Fault> {
        let (dims, values) = (&fold.at(position)?.dims, doubles(&fold.floats(position)?));
        let &[rows, columns] = &dims[..] else {
            return Err(fold.step.malformed(format!("multiplies a constant of {dims:?}")));
        };
        if !transposed {
            return Ok(([rows, columns], values));
        }
        let turned = (0..columns).flat_map(|c| (0..rows).map(move |r| r * columns + c)).map(|i| values[i]).collect();
        Ok(([columns, rows], turned))
    };
    let (a, x) = matrix(0, fold.step.integer("transA", 0)? != 0)?;
    let (b, w) = matrix(1, fold.step.integer("transB", 0)? != 0)?;
    if a[1] != b[0] {
        return Err(fold.step.malformed(format!("multiplies {a:?} by {b:?}")));
    }
    let product = Product { a: a.to_vec(), b: b.to_vec(), stack: vec![], drop: [false; 2] };
    let dims = product.full();
    fold.room(&dims, product.depth())?;
    let mut sums = product.run(&x, &w);
    sums.iter_mut().for_each(|v| *v *= f64::from(alpha));
    if let Some(c) = fold.get(2) {
        let values = fold.floats(2)?;
        if broadcast(fold.step, &dims, &c.dims)? != dims {
            return Err(fold.step.malformed(format!("adds a constant of {:?} to {dims:?}", c.dims)));
        }
        let steps = strides(&c.dims);
        let mut i = 0;
        each(&dims, |at| {
            sums[i] += f64::from(beta * values[spread(&c.dims, &steps, at)]);
            i += 1;
        });
    }
    Ok(Constant::float(dims, sums.into_iter().map(|v| v as f32).collect()))
}
