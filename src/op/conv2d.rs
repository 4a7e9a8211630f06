//! 2-D convolution, grouped or not (depthwise is `groups == in_c`).

use super::Reads;
use crate::tensor::Shape;

/// Attributes of a convolution. Weights are `[out_c][kh][kw][in_c / groups]` (OHWI).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conv2d {
    pub in_c: usize,
    pub out_c: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Zero padding: top, left, bottom, right.
    pub pad: [usize; 4],
    pub groups: usize,
}

impl Conv2d {
    /// A square, undilated, ungrouped convolution padded alike on all sides.
    pub fn square(in_c: usize, out_c: usize, kernel: usize, stride: usize, pad: usize) -> Self {
        Self { in_c, out_c, kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad: [pad; 4], groups: 1 }
    }

    /// Products per output element.
    pub fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * (self.in_c / self.groups)
    }

    pub fn weights(&self) -> usize {
        self.out_c * self.depth()
    }

    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_c
    }

    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        if input.c != self.in_c {
            return Err(format!("expects {} input channels, gets {}", self.in_c, input.c));
        }
        let zero = |v: &[usize]| v.contains(&0);
        if zero(&self.kernel) || zero(&self.stride) || zero(&self.dilation) || self.groups == 0 {
            return Err("kernel, stride, dilation and groups must be at least 1".into());
        }
        if self.in_c % self.groups != 0 || self.out_c % self.groups != 0 {
            return Err(format!(
                "{} groups divide neither {} inputs nor {} outputs",
                self.groups, self.in_c, self.out_c
            ));
        }
        let span = |n: usize, before: usize, after: usize, i: usize| {
            let reach = (self.kernel[i] - 1).checked_mul(self.dilation[i]).and_then(|r| r.checked_add(1));
            let padded = n.checked_add(before).and_then(|p| p.checked_add(after));
            match (reach, padded) {
                (Some(reach), Some(padded)) if reach <= padded => Ok((padded - reach) / self.stride[i] + 1),
                _ => Err(format!("a kernel reaching over {reach:?} positions does not fit a padded map of {padded:?}")),
            }
        };
        let h = span(input.h, self.pad[0], self.pad[2], 0)?;
        let w = span(input.w, self.pad[1], self.pad[3], 1)?;
        Ok(Shape::new(h, w, self.out_c))
    }

    pub fn macs(&self, _input: Shape, output: Shape) -> u64 {
        output.elements() as u64 * self.depth() as u64
    }

    pub fn reads(&self) -> Reads {
        if self.kernel == [1, 1] && self.stride != [1, 1] && self.pad == [0; 4] {
            Reads::Strided { h: self.stride[0], w: self.stride[1] }
        } else {
            Reads::All
        }
    }
}
