//! XNNPACK's functions of one code: factors with 8 fractional bits, one half-up shift.

use super::{QuantParams, Round};

/// `half_up((q - z_x)·k, 8) + z_y`, with one factor for each side of zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convert {
    zero_points: [i32; 2],
    /// For codes below the zero point, and for the others.
    factors: [i32; 2],
}

impl Convert {
    /// A map under new parameters; none for ratios that XNNPACK leaves to other kernels.
    pub fn requantise(x: &QuantParams, y: &QuantParams) -> Option<Self> {
        Self::new(x, y, x.scale / y.scale)
    }

    pub fn leaky_relu(slope: f32, x: &QuantParams, y: &QuantParams) -> Option<Self> {
        Self::new(x, y, x.scale * slope / y.scale)
    }

    fn new(x: &QuantParams, y: &QuantParams, below: f32) -> Option<Self> {
        let above = x.scale / y.scale;
        let taken = 2f32.powi(-8)..=2f32.powi(7);
        let factor = |ratio: f32| (256.0 * ratio).round_ties_even() as i32;
        (taken.contains(&above) && taken.contains(&below.abs()))
            .then(|| Self { zero_points: [x.zero_point, y.zero_point], factors: [factor(below), factor(above)] })
    }

    #[inline]
    pub fn value(&self, q: i8) -> i32 {
        let centred = i32::from(q) - self.zero_points[0];
        let factor = self.factors[usize::from(centred >= 0)];
        Round::HalfUp.shift(i64::from(centred) * i64::from(factor), 8) as i32 + self.zero_points[1]
    }
}
