//! Average and maximum pooling. Padding is never counted in an average.

use crate::tensor::Shape;

/// The window of a pooling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}
