//! Where maps are while steps run: views of codes that somebody else owns.

use crate::tensor::{Shape, Tensor};

/// A batch of maps of one shape, NHWC, as a step reads it.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    pub batch: usize,
    pub shape: Shape,
    pub codes: &'a [i8],
}

impl<'a> Map<'a> {
    /// Wraps `codes`, whose length must be `batch × shape.elements()`.
    pub fn new(batch: usize, shape: Shape, codes: &'a [i8]) -> Self {
        assert_eq!(codes.len(), batch * shape.elements(), "codes do not fill {batch} x {shape}");
        Self { batch, shape, codes }
    }

    /// The codes of one image.
    pub fn image(&self, index: usize) -> &'a [i8] {
        let n = self.shape.elements();
        &self.codes[index * n..(index + 1) * n]
    }

    pub fn to_tensor(self) -> Tensor<i8> {
        Tensor::from_vec(self.batch, self.shape, self.codes.to_vec())
    }
}

impl<'a> From<&'a Tensor<i8>> for Map<'a> {
    fn from(x: &'a Tensor<i8>) -> Self {
        Self::new(x.batch, x.shape, &x.data)
    }
}
