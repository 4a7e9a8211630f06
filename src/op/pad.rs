//! Zero padding, in space and in channels.

use crate::tensor::{Shape, Tensor};

/// How many zero positions to add: top, left, bottom, right, and channels before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pad {
    pub space: [usize; 4],
    pub channels: [usize; 2],
}

impl Pad {
    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        let grow = |n: usize, a: usize, b: usize| n.checked_add(a).and_then(|n| n.checked_add(b));
        let h = grow(input.h, self.space[0], self.space[2]);
        let w = grow(input.w, self.space[1], self.space[3]);
        let c = grow(input.c, self.channels[0], self.channels[1]);
        match (h, w, c) {
            (Some(h), Some(w), Some(c)) => Ok(Shape::new(h, w, c)),
            _ => Err("the padded shape overflows".into()),
        }
    }
}

/// The int8 padding: the code of real zero. The output has the input's parameters.
pub fn int8(pad: &Pad, x: &Tensor<i8>, zero_point: i32) -> Tensor<i8> {
    let shape = pad.output_shape(x.shape).expect("the graph has checked this padding");
    let mut y = Tensor::zeros(x.batch, shape);
    y.data.fill(zero_point as i8);
    for n in 0..x.batch {
        for iy in 0..x.shape.h {
            for ix in 0..x.shape.w {
                let from = ((n * x.shape.h + iy) * x.shape.w + ix) * x.shape.c;
                let (oy, ox) = (iy + pad.space[0], ix + pad.space[1]);
                let to = ((n * shape.h + oy) * shape.w + ox) * shape.c + pad.channels[0];
                y.data[to..to + x.shape.c].copy_from_slice(&x.data[from..from + x.shape.c]);
            }
        }
    }
    y
}
