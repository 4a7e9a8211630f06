//! Windows that slide over a map: ONNX's `kernel_shape`, `strides`, `dilations`, `pads`, `auto_pad`
//! and `ceil_mode`, turned into a stride and explicit padding.

use super::importer::Step;
use crate::model::Fault;
use crate::tensor::Shape;

/// A window over height and width.
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub pad: [usize; 4],
}

impl Window {
    /// The window of a node over a map of this shape; `kernel` is known from the weights, or given.
    pub fn read(step: &Step, input: Shape, kernel: Option<[usize; 2]>) -> Result<Self, Fault> {
        let pair = |name: &str| -> Result<Option<[usize; 2]>, Fault> {
            step.sizes(name)?.map(|v| pair_of(step, name, &v)).transpose()
        };
        let declared = pair("kernel_shape")?;
        let kernel = match (declared, kernel) {
            (Some(a), Some(b)) if a != b => {
                return Err(step.malformed(format!("declares a kernel of {a:?} but has weights of {b:?}")));
            }
            (Some(k), _) | (None, Some(k)) => k,
            (None, None) => return Err(step.malformed("has no kernel_shape")),
        };
        let stride = pair("strides")?.unwrap_or([1; 2]);
        let dilation = pair("dilations")?.unwrap_or([1; 2]);
        if [kernel, stride, dilation].concat().contains(&0) {
            return Err(step.malformed("has a kernel, stride or dilation of 0"));
        }
        let mut window = Self { kernel, stride, dilation, pad: [0; 4] };
        window.pad = window.padding(step, input)?;
        if step.integer("ceil_mode", 0)? != 0 {
            window.round_up(input);
        }
        Ok(window)
    }

    /// How many windows fit a map of this height and width.
    pub fn positions(&self, extent: [usize; 2]) -> Option<[usize; 2]> {
        let of = |axis: usize| {
            let padded = extent[axis] + self.pad[axis] + self.pad[axis + 2];
            Some(padded.checked_sub(self.reach(axis))? / self.stride[axis] + 1)
        };
        Some([of(0)?, of(1)?])
    }

    /// The position of the map under tap `tap` of window `at`, unless that is padding.
    pub fn input(&self, axis: usize, at: usize, tap: usize, extent: usize) -> Option<usize> {
        let padded = at * self.stride[axis] + tap * self.dilation[axis];
        padded.checked_sub(self.pad[axis]).filter(|&i| i < extent)
    }

    fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilation[axis] + 1
    }

    fn padding(&self, step: &Step, input: Shape) -> Result<[usize; 4], Fault> {
        let given = step.sizes("pads")?;
        match step.text("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" | "" => match given.as_deref() {
                None => Ok([0; 4]),
                Some(&[top, left, bottom, right]) => Ok([top, left, bottom, right]),
                Some(other) => Err(step.unsupported(format!("has pads {other:?}; four are due (height and width)"))),
            },
            "VALID" => Ok([0; 4]),
            same @ ("SAME_UPPER" | "SAME_LOWER") => {
                let total = |axis: usize, extent: usize| {
                    let covered = (extent.div_ceil(self.stride[axis]) - 1) * self.stride[axis] + self.reach(axis);
                    covered.saturating_sub(extent)
                };
                let ([h, w], upper) = ([total(0, input.h), total(1, input.w)], same == "SAME_UPPER");
                let before = |total: usize| if upper { total / 2 } else { total - total / 2 };
                Ok([before(h), before(w), h - before(h), w - before(w)])
            }
            other => Err(step.malformed(format!("has auto_pad {other:?}"))),
        }
    }

    /// Pads the far side so far that the last window which begins inside the map is whole.
    fn round_up(&mut self, input: Shape) {
        for (axis, extent) in [(0, input.h), (1, input.w)] {
            let (before, after) = (self.pad[axis], self.pad[axis + 2]);
            let free = (extent + before + after).saturating_sub(self.reach(axis));
            let mut last = free.div_ceil(self.stride[axis]) * self.stride[axis];
            if last >= extent + before {
                last -= self.stride[axis];
            }
            self.pad[axis + 2] = (last + self.reach(axis)).saturating_sub(extent + before);
        }
    }
}

fn pair_of(step: &Step, name: &str, values: &[usize]) -> Result<[usize; 2], Fault> {
    values.try_into().map_err(|_| {
        step.unsupported(format!("has {name} {values:?}; only windows over height and width (two values) are done"))
    })
}
