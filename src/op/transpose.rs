//! The axes of a map in another order.

use crate::tensor::{Shape, Tensor};

/// A permutation of height (0), width (1) and channels (2): the output's axis `i` is the input's
/// axis `order[i]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Transpose {
    pub order: [usize; 3],
}

impl Transpose {
    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        let mut sorted = self.order;
        sorted.sort_unstable();
        if sorted != [0, 1, 2] {
            return Err(format!("permutes height, width and channels by {:?}", self.order));
        }
        let extents = [input.h, input.w, input.c];
        let [h, w, c] = self.order.map(|axis| extents[axis]);
        Ok(Shape::new(h, w, c))
    }

    /// How far the index into the input moves per step along each of the output's axes.
    pub fn steps(&self, input: Shape) -> [usize; 3] {
        self.order.map(|axis| [input.w * input.c, input.c, 1][axis])
    }
}

/// The int8 transposition: codes move. The output has the input's parameters.
pub fn int8(op: &Transpose, x: &Tensor<i8>) -> Tensor<i8> {
    let shape = op.output_shape(x.shape).expect("the graph has checked this transposition");
    let [down, right, deep] = op.steps(x.shape);
    let mut y = Tensor::zeros(x.batch, shape);
    for (i, code) in y.data.iter_mut().enumerate() {
        let (pixel, c) = (i / shape.c, i % shape.c);
        let (n, oy, ox) = (pixel / shape.pixels(), pixel / shape.w % shape.h, pixel % shape.w);
        *code = x.data[n * shape.elements() + oy * down + ox * right + c * deep];
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_change_places() {
        let x = Tensor::from_vec(2, Shape::new(1, 2, 3), (0..12).collect());
        let y = int8(&Transpose { order: [2, 0, 1] }, &x);
        assert_eq!(y.shape, Shape::new(3, 1, 2));
        assert_eq!(y.data, [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]);
        assert!(Transpose { order: [0, 0, 1] }.output_shape(x.shape).is_err());
    }
}
