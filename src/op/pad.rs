//! Zero padding, in space and in channels.

use crate::tensor::Shape;

/// How many zero positions to add: top, left, bottom, right, and channels before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
