//! Where the taps of a sliding window fall.

/// One axis of a window over a padded map.
#[derive(Clone, Copy)]
pub struct Axis {
    /// Length of the input along this axis, without padding.
    pub length: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Padding before the first position.
    pub pad: usize,
}

impl Axis {
    /// The output position, of `outputs`, whose tap `tap` falls on input position `at`: the inverse
    /// of [`Axis::source`].
    #[inline(always)]
    pub fn target(self, at: usize, tap: usize, outputs: usize) -> Option<usize> {
        let from = (at + self.pad).checked_sub(tap * self.dilation)?;
        Some(from / self.stride).filter(|&o| from % self.stride == 0 && o < outputs)
    }

    /// The input position of tap `tap` for output position `at`, or `None` in the padding.
    #[inline(always)]
    pub fn source(self, at: usize, tap: usize) -> Option<usize> {
        (at * self.stride + tap * self.dilation).checked_sub(self.pad).filter(|&i| i < self.length)
    }
}

/// Splits the flat index of an output pixel into image, row and column.
#[inline(always)]
pub fn pixel(index: usize, height: usize, width: usize) -> (usize, usize, usize) {
    (index / (height * width), index / width % height, index % width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_the_inverse_of_sources() {
        let axis = Axis { length: 9, stride: 2, dilation: 3, pad: 4 };
        for tap in 0..4 {
            let sources: Vec<_> = (0..5).filter_map(|o| axis.source(o, tap).map(|i| (i, o))).collect();
            let targets: Vec<_> = (0..9).filter_map(|i| axis.target(i, tap, 5).map(|o| (i, o))).collect();
            assert_eq!(sources, targets, "tap {tap}");
        }
    }
}
