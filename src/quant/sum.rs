//! Sums of two codes as other runtimes and chips than TensorFlow Lite's kernels form them.
//!
//! Values are in the engine's signed view with the zero point on, before the clamp.

use super::{QuantParams, Round, onnxruntime};

/// A sum prepared for two operands' and one output's parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sum {
    Onnxruntime(onnxruntime::Add),
    /// XNNPACK: 21-bit factors, one half-up shift.
    Scaled(Scaled),
    /// Xilinx DPU: codes shifted to the finer of two binary points, then to the output's.
    Shifted(Shifted),
    /// Gemmini: both operands scaled and saturated as they are loaded.
    Loaded {
        factors: [f32; 2],
    },
    /// PULP-NN: a shifted sum of products, cut to 16 bits before it is clipped.
    Cut(Cut),
}

/// `half_up(Σ k·(q - z), shift) + z_y`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaled {
    zero_points: [i32; 3],
    factors: [i32; 2],
    shift: u32,
}

impl Scaled {
    /// XNNPACK's constants; none for ratios of scales that it leaves to other kernels.
    pub fn xnnpack(a: &QuantParams, b: &QuantParams, y: &QuantParams) -> Option<Self> {
        let ratios = [a.scale / y.scale, b.scale / y.scale];
        let taken = 2f32.powi(-10)..2f32.powi(8);
        if !ratios.iter().all(|r| taken.contains(r)) {
            return None;
        }
        // The larger factor gets 21 bits.
        let exponent = ((ratios[0].max(ratios[1]).to_bits() >> 23) & 0xff) as i32 - 127;
        let shift = (20 - exponent) as u32;
        let factor = |r: f32| (f64::from(r) * 2f64.powi(shift as i32)).round_ties_even() as i32;
        let zero_points = [a.zero_point, b.zero_point, y.zero_point];
        Some(Self { zero_points, factors: ratios.map(factor), shift })
    }

    #[inline]
    pub fn value(&self, a: i8, b: i8) -> i32 {
        let term = |q: i8, i: usize| i64::from(i32::from(q) - self.zero_points[i]) * i64::from(self.factors[i]);
        Round::HalfUp.shift(term(a, 0) + term(b, 1), self.shift) as i32 + self.zero_points[2]
    }
}

/// Left shifts to the common binary point (one of them is 0), and the half-up shift from there;
/// negative is to the left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shifted {
    left: [u32; 2],
    right: i32,
}

/// `((a·m_a + b·m_b) >> shift) mod 2^16` of unsigned codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    factors: [i32; 2],
    shift: u32,
}

impl Sum {
    /// For scales that are powers of two.
    pub fn shifted(a: &QuantParams, b: &QuantParams, y: &QuantParams) -> Self {
        let [a, b, y] = [a, b, y].map(|q| -(q.scale.log2().round() as i32));
        let common = a.max(b);
        Sum::Shifted(Shifted { left: [(common - a).min(31) as u32, (common - b).min(31) as u32], right: common - y })
    }

    pub fn loaded(a: &QuantParams, b: &QuantParams, y: &QuantParams) -> Self {
        Sum::Loaded { factors: [a.scale / y.scale, b.scale / y.scale] }
    }

    /// Factors of 15 bits at most, under one shift.
    pub fn cut(a: &QuantParams, b: &QuantParams, y: &QuantParams) -> Self {
        let ratios = [a.scale, b.scale].map(|s| f64::from(s) / f64::from(y.scale));
        let shift = (0..=30).rev().find(|&d| ratios.iter().all(|r| r * 2f64.powi(d) < 32767.5)).unwrap_or(0);
        let factor = |r: f64| (r * 2f64.powi(shift)).round_ties_even() as i32;
        Sum::Cut(Cut { factors: ratios.map(factor), shift: shift as u32 })
    }

    #[inline]
    pub fn value(&self, a: i8, b: i8) -> i32 {
        match self {
            Sum::Onnxruntime(sum) => sum.value(a, b),
            Sum::Scaled(p) => p.value(a, b),
            Sum::Shifted(p) => {
                let sum = (i64::from(a) << p.left[0]) + (i64::from(b) << p.left[1]);
                saturated(shift_either_way(Round::HalfUp, sum, p.right))
            }
            Sum::Loaded { factors } => {
                let load = |q: i8, i: usize| (f32::from(q) * factors[i]).round_ties_even().clamp(-128.0, 127.0);
                (load(a, 0) + load(b, 1)) as i32
            }
            Sum::Cut(p) => {
                let term = |q: i8, i: usize| (i64::from(q) + 128) * i64::from(p.factors[i]);
                i32::from(((term(a, 0) + term(b, 1)) >> p.shift) as u16) - 128
            }
        }
    }

    /// Everything that can change a value.
    pub fn words(&self) -> Vec<i32> {
        match self {
            Sum::Onnxruntime(sum) => sum.words(),
            Sum::Scaled(p) => [&p.zero_points[..], &p.factors, &[p.shift as i32]].concat(),
            Sum::Shifted(p) => vec![p.left[0] as i32, p.left[1] as i32, p.right],
            Sum::Loaded { factors } => factors.map(|f| f.to_bits() as i32).to_vec(),
            Sum::Cut(p) => [&p.factors[..], &[p.shift as i32]].concat(),
        }
    }
}

/// `x / 2^n`, rounded; for negative `n` a left shift that saturates.
pub fn shift_either_way(round: Round, x: i64, n: i32) -> i64 {
    match n {
        0.. => round.shift(x, n.min(63) as u32),
        _ => (i128::from(x) << n.unsigned_abs().min(63)).clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64,
    }
}

/// The nearest 32-bit value.
pub fn saturated(x: i64) -> i32 {
    x.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}
