//! One axis of a transposed convolution: which outputs read an input position, by its phase.
//!
//! Under a stride `s`, input positions fall into `s` phases by the remainder of their padded position.
//! All positions of a phase are read by the same taps, so a phase is an ordinary convolution of the
//! errors at stride 1.

use crate::op::Conv2d;

/// One axis of a convolution, seen from its input.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    stride: usize,
    pad: usize,
    /// How far the last tap lies from the first.
    reach: usize,
    pub phases: Vec<Phase>,
}

/// The input positions with one remainder.
#[derive(Clone, Debug)]
pub(super) struct Phase {
    remainder: usize,
    pub taps: Vec<Tap>,
}

/// A tap of the kernel, and how many outputs back from a position's own it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tap {
    pub index: usize,
    pub back: usize,
}

impl Axis {
    /// Axis 0 is vertical. None where the padding is so large that positions would overflow.
    pub fn new(conv: &Conv2d, axis: usize, length: usize) -> Option<Self> {
        let (stride, pad, dilation) = (conv.stride[axis], conv.pad[axis], conv.dilation[axis]);
        let reach = (conv.kernel[axis] - 1).checked_mul(dilation)?;
        i32::try_from(reach.checked_add(pad)?.checked_add(length)?).ok()?;
        let tap = |index: usize| Tap { index, back: index * dilation / stride };
        let phase = |remainder: usize| {
            let taps = (0..conv.kernel[axis]).filter(|k| k * dilation % stride == remainder).map(tap);
            Phase { remainder, taps: taps.collect() }
        };
        // A stride beyond the map leaves one position per phase, or none.
        let phases = (0..stride.min(length + reach + pad)).map(phase).collect();
        Some(Self { stride, pad, reach, phases })
    }

    /// The first and the last output that could read any of `first..=last`, whether it exists or not.
    pub fn readers(&self, first: usize, last: usize) -> (isize, isize) {
        let from = (first + self.pad) as isize - self.reach as isize;
        let stride = self.stride as isize;
        (-(-from).div_euclid(stride), ((last + self.pad) / self.stride) as isize)
    }

    /// The positions of `first..end` in a phase, each with the output at which its taps count back from.
    pub fn positions(&self, phase: &Phase, first: usize, end: usize) -> impl Iterator<Item = (usize, usize)> + Clone {
        let (stride, pad, remainder) = (self.stride, self.pad, phase.remainder);
        let skip = (stride + remainder - (first + pad) % stride) % stride;
        (first.saturating_add(skip)..end).step_by(stride).map(move |at| (at, (at + pad - remainder) / stride))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_find_every_reader_and_no_other() {
        for (kernel, stride, dilation, pad) in
            [(3, 1, 1, 1), (3, 2, 1, 1), (5, 3, 2, 4), (1, 2, 1, 0), (2, 7, 3, 1), (4, 2, 2, 0)]
        {
            let conv = Conv2d { dilation: [dilation; 2], ..Conv2d::square(1, 1, kernel, stride, pad) };
            let axis = Axis::new(&conv, 0, 9).unwrap();
            let (low, high) = axis.readers(2, 8);
            let mut seen = Vec::new();
            for phase in &axis.phases {
                for (at, own) in axis.positions(phase, 2, 9) {
                    seen.push(at);
                    let reads = |k| conv.reader(0, at, k, 100).map(|o| (k, o));
                    let want: Vec<_> = (0..kernel).filter_map(reads).collect();
                    let reads = |tap: &Tap| own.checked_sub(tap.back).map(|o| (tap.index, o));
                    let got: Vec<_> = phase.taps.iter().filter_map(reads).collect();
                    assert_eq!(got, want, "position {at}");
                    assert!(phase.taps.iter().all(|t| (low..=high).contains(&(own as isize - t.back as isize))));
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (2..9).collect::<Vec<_>>());
        }
    }
}
