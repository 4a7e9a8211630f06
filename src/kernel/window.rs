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
