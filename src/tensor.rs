//! Dense tensors: a batch of images, each height × width × channels, channels innermost (NHWC).
//!
//! A vector (the input of a linear layer, logits) is 1×1×C. There are no views and no strides:
//! an operation that wants another layout packs it itself.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The shape of one image's map: height, width, channels. The batch is never part of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Shape {
    pub h: usize,
    pub w: usize,
    pub c: usize,
}

impl Shape {
    pub const fn new(h: usize, w: usize, c: usize) -> Self {
        Self { h, w, c }
    }
    /// A vector of `c` values: 1×1×c.
    pub const fn vector(c: usize) -> Self {
        Self { h: 1, w: 1, c }
    }
    pub const fn pixels(self) -> usize {
        self.h * self.w
    }
    pub const fn elements(self) -> usize {
        self.h * self.w * self.c
    }
    /// The same for a shape that nobody has checked yet; `None` if the product overflows.
    pub fn checked_elements(self) -> Option<usize> {
        self.h.checked_mul(self.w)?.checked_mul(self.c)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}x{}x{}", self.h, self.w, self.c))
    }
}

/// `batch` images of one shape, contiguous, NHWC.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<T> {
    pub batch: usize,
    pub shape: Shape,
    pub data: Vec<T>,
}

impl<T: Copy + Default> Tensor<T> {
    pub fn zeros(batch: usize, shape: Shape) -> Self {
        Self { batch, shape, data: vec![T::default(); batch * shape.elements()] }
    }
    /// Wraps `data`, whose length must be `batch × shape.elements()`.
    pub fn from_vec(batch: usize, shape: Shape, data: Vec<T>) -> Self {
        assert_eq!(data.len(), batch * shape.elements(), "tensor data does not fill {batch} x {shape}");
        Self { batch, shape, data }
    }
    /// The elements of one image.
    pub fn image(&self, index: usize) -> &[T] {
        let n = self.shape.elements();
        &self.data[index * n..(index + 1) * n]
    }
    /// Images `from..to` as a tensor of their own.
    pub fn slice(&self, from: usize, to: usize) -> Self {
        let n = self.shape.elements();
        Self { batch: to - from, shape: self.shape, data: self.data[from * n..to * n].to_vec() }
    }
}
