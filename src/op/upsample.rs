//! Enlargement by whole factors: every position repeated, or zeros between the positions.
//!
//! With zeros between, a convolution after it is a transposed convolution.

use crate::tensor::{Shape, Tensor};

/// What lies between the input's positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Between {
    /// The position before: nearest-neighbour enlargement, h·w becomes (h·f)·(w·g).
    Repeated,
    /// Zeros, and none after the last position: h becomes (h-1)·f + 1.
    Zeros,
}

/// An enlargement; `factor` is that of height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Upsample {
    pub factor: [usize; 2],
    pub between: Between,
}

impl Upsample {
    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        if self.factor.contains(&0) || input.elements() == 0 {
            return Err("enlarges by factors of at least 1, and no empty map".into());
        }
        let grown = |n: usize, factor: usize| match self.between {
            Between::Repeated => n.checked_mul(factor),
            Between::Zeros => (n - 1).checked_mul(factor).and_then(|n| n.checked_add(1)),
        };
        match (grown(input.h, self.factor[0]), grown(input.w, self.factor[1])) {
            (Some(h), Some(w)) => Ok(Shape::new(h, w, input.c)),
            _ => Err("the enlarged shape overflows".into()),
        }
    }

    /// The position of the input that lies at position `at` along an axis, unless a zero does.
    pub fn source(&self, axis: usize, at: usize) -> Option<usize> {
        let factor = self.factor[axis];
        (self.between == Between::Repeated || at.is_multiple_of(factor)).then_some(at / factor)
    }
}

/// The int8 enlargement; zeros are the code of real zero. The output has the input's parameters.
pub fn int8(op: &Upsample, x: &Tensor<i8>, zero_point: i32) -> Tensor<i8> {
    let shape = op.output_shape(x.shape).expect("the graph has checked this enlargement");
    let mut y = Tensor::zeros(x.batch, shape);
    y.data.fill(zero_point as i8);
    for (i, pixel) in y.data.chunks_exact_mut(shape.c).enumerate() {
        let (n, oy, ox) = (i / shape.pixels(), i / shape.w % shape.h, i % shape.w);
        if let (Some(iy), Some(ix)) = (op.source(0, oy), op.source(1, ox)) {
            let from = ((n * x.shape.h + iy) * x.shape.w + ix) * shape.c;
            pixel.copy_from_slice(&x.data[from..from + shape.c]);
        }
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_repeated_or_set_apart() {
        let x = Tensor::from_vec(1, Shape::new(1, 2, 1), vec![5, 6]);
        let run = |between| int8(&Upsample { factor: [2, 3], between }, &x, -7);
        let repeated = run(Between::Repeated);
        assert_eq!((repeated.shape, repeated.data), (Shape::new(2, 6, 1), [5, 5, 5, 6, 6, 6].repeat(2)));
        let apart = run(Between::Zeros);
        assert_eq!((apart.shape, apart.data), (Shape::new(1, 4, 1), vec![5, -7, -7, 6]));
    }
}
