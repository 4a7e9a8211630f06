//! Windows that slide over a map, and TFLite's SAME padding around it.

use super::importer::Step;
use crate::model::Fault;

/// A window along one axis of a map of `extent` positions.
pub struct Axis {
    pub extent: usize,
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
}

impl Axis {
    pub fn new(step: &Step, extent: usize, kernel: usize, stride: i32, dilation: i32) -> Result<Self, Fault> {
        let at_least_1 = |what: &str, value: i32| {
            let value = usize::try_from(value).ok().filter(|&v| v > 0);
            value.ok_or_else(|| step.malformed(format!("has a {what} below 1")))
        };
        Ok(Self { extent, kernel, stride: at_least_1("stride", stride)?, dilation: at_least_1("dilation", dilation)? })
    }

    /// SAME padding before and after: as many outputs as strides fit, the odd position after.
    fn same(&self) -> [usize; 2] {
        let outputs = self.extent.div_ceil(self.stride);
        let reach = (self.kernel - 1).saturating_mul(self.dilation).saturating_add(1);
        let total = ((outputs - 1) * self.stride).saturating_add(reach).saturating_sub(self.extent);
        [total / 2, total - total / 2]
    }
}

/// A window over height and width.
pub struct Window {
    pub same: bool,
    pub h: Axis,
    pub w: Axis,
}

impl Window {
    /// Padding: top, left, bottom, right.
    pub fn pad(&self) -> [usize; 4] {
        if !self.same {
            return [0; 4];
        }
        let ([top, bottom], [left, right]) = (self.h.same(), self.w.same());
        [top, left, bottom, right]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(extent: usize, kernel: usize, stride: usize, dilation: usize) -> [usize; 2] {
        Axis { extent, kernel, stride, dilation }.same()
    }

    #[test]
    fn same_padding_puts_the_odd_position_after() {
        assert_eq!(same(32, 3, 1, 1), [1, 1]);
        assert_eq!(same(32, 3, 2, 1), [0, 1]);
        assert_eq!(same(49, 10, 2, 1), [4, 5]);
        assert_eq!(same(10, 4, 2, 1), [1, 1]);
        assert_eq!(same(8, 1, 2, 1), [0, 0]);
        assert_eq!(same(16, 3, 1, 2), [2, 2]);
        assert_eq!(same(3, 8, 8, 1), [2, 3]);
    }
}
