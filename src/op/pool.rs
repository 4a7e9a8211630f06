//! Average and maximum pooling. Padding is never counted in an average.

use super::Counts;
use crate::quant::{Clamp, CodeType, onnxruntime, power_of_two};
use crate::tensor::{Shape, Tensor};
use rayon::prelude::*;
use std::ops::Range;

/// The window of a pooling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pool {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub pad: [usize; 4],
}

impl Pool {
    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        if self.kernel.contains(&0) || self.stride.contains(&0) {
            return Err("kernel and stride must be at least 1".into());
        }
        // A window lying wholly in the padding would average nothing.
        if self.pad[0].max(self.pad[2]) >= self.kernel[0] || self.pad[1].max(self.pad[3]) >= self.kernel[1] {
            return Err(format!("padding {:?} is not smaller than the window {:?}", self.pad, self.kernel));
        }
        let span = |n: usize, before: usize, after: usize, i: usize| {
            let padded = n.checked_add(before).and_then(|p| p.checked_add(after));
            match padded {
                Some(p) if p >= self.kernel[i] => Ok((p - self.kernel[i]) / self.stride[i] + 1),
                _ => Err(format!("a window of {} does not fit a map of {n}", self.kernel[i])),
            }
        };
        let h = span(input.h, self.pad[0], self.pad[2], 0)?;
        let w = span(input.w, self.pad[1], self.pad[3], 1)?;
        Ok(Shape::new(h, w, input.c))
    }

    /// The positions of the map under window `o` along axis `i`.
    pub fn valid(&self, i: usize, o: usize, n: usize) -> Range<usize> {
        let start = o * self.stride[i];
        start.saturating_sub(self.pad[i])..(start + self.kernel[i]).saturating_sub(self.pad[i]).min(n)
    }
}

/// Whose average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Average {
    /// Of the codes as they are presented outside: its half-away rounding sees where their zero is.
    /// The output has the input's parameters.
    Tflite(CodeType),
    /// Of real values in f32.
    Onnxruntime(onnxruntime::Average),
    /// By a product and a shift.
    PowerOfTwo,
}

impl From<CodeType> for Average {
    fn from(codes: CodeType) -> Self {
        Average::Tflite(codes)
    }
}

impl Average {
    /// The average of one window's codes, row by row, before the clamp.
    pub fn value(&self, codes: &[i8]) -> i32 {
        let sum = |offset: i64| codes.iter().fold(0, |sum, &q| sum + i64::from(q) + offset);
        let n = codes.len();
        match self {
            Average::Tflite(presented) => {
                let offset = i64::from(presented.offset());
                (round_half_away(sum(offset), n as i64) - offset) as i32
            }
            Average::PowerOfTwo => power_of_two::average(sum(0), n) as i32,
            Average::Onnxruntime(p) => p.value(codes.iter().fold(0.0, |sum, &q| sum + p.real(q)), n),
        }
    }

    /// Everything that can change a code but the bounds.
    pub fn words(&self) -> Vec<i32> {
        match self {
            Average::Tflite(codes) => vec![codes.offset()],
            Average::Onnxruntime(p) => p.words(),
            Average::PowerOfTwo => Vec::new(),
        }
    }
}

/// The int8 average.
pub fn average_int8(pool: &Pool, x: &Tensor<i8>, form: impl Into<Average>, clamp: Clamp) -> (Tensor<i8>, Counts) {
    match form.into() {
        Average::Tflite(codes) => {
            let offset = i64::from(codes.offset());
            let finish = |sum, n| (round_half_away(sum, n) - offset) as i32;
            windows(pool, x, clamp, |sum, q| sum + i64::from(q) + offset, finish, 0)
        }
        Average::PowerOfTwo => {
            let finish = |sum, n| power_of_two::average(sum, n as usize) as i32;
            windows(pool, x, clamp, |sum: i64, q| sum + i64::from(q), finish, 0)
        }
        Average::Onnxruntime(p) => {
            windows(pool, x, clamp, |sum, q| sum + p.real(q), |sum, n| p.value(sum, n as usize), 0.0f32)
        }
    }
}

/// The int8 maximum. The output has the input's parameters.
pub fn maximum_int8(pool: &Pool, x: &Tensor<i8>, clamp: Clamp) -> (Tensor<i8>, Counts) {
    windows(pool, x, clamp, |largest: i8, q| largest.max(q), |largest, _| i32::from(largest), i8::MIN)
}

/// `sum / n` rounded half away from zero, as TensorFlow Lite writes it: the half of an odd `n` is
/// rounded down before it is added.
pub fn round_half_away(sum: i64, n: i64) -> i64 {
    if sum > 0 { (sum + n / 2) / n } else { (sum - n / 2) / n }
}

/// Folds the valid positions of every window into one value per channel, row by row, starting from
/// `start`, and turns it and the number of positions into a code.
fn windows<T: Copy + Sync>(
    pool: &Pool,
    x: &Tensor<i8>,
    clamp: Clamp,
    fold: impl Fn(T, i8) -> T + Sync,
    finish: impl Fn(T, i64) -> i32 + Sync,
    start: T,
) -> (Tensor<i8>, Counts) {
    let shape = pool.output_shape(x.shape).expect("the graph has checked this pooling");
    let mut y = Tensor::zeros(x.batch, shape);
    if y.data.is_empty() {
        return (y, Counts::default());
    }
    let counts = y
        .data
        .par_chunks_mut(shape.w * shape.c)
        .enumerate()
        .map(|(i, row)| {
            let mut counts = Counts::default();
            let (image, rows) = (x.image(i / shape.h), pool.valid(0, i % shape.h, x.shape.h));
            let mut values = vec![start; shape.c];
            for (ox, codes) in row.chunks_mut(shape.c).enumerate() {
                let columns = pool.valid(1, ox, x.shape.w);
                values.fill(start);
                for iy in rows.clone() {
                    for ix in columns.clone() {
                        let pixel = &image[(iy * x.shape.w + ix) * shape.c..][..shape.c];
                        values.iter_mut().zip(pixel).for_each(|(value, &q)| *value = fold(*value, q));
                    }
                }
                let n = (rows.len() * columns.len()) as i64;
                for (code, &value) in codes.iter_mut().zip(&values) {
                    let (clamped, saturated) = clamp.apply(finish(value, n));
                    *code = clamped;
                    counts.saturations += u64::from(saturated);
                }
            }
            counts
        })
        .sum();
    (y, counts)
}
