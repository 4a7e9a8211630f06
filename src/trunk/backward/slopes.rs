//! The derivative of a function of one code, as a table: of the real function, and zero where the code
//! is cut.

use super::linear::Factors;
use crate::op::{Activation, Op, Table};
use crate::quant::{Clamp, Formula, OpKind, Profile, QuantParams, power_of_two};

/// Slopes by input code, in as few classes as there are.
#[derive(Clone, Debug)]
pub(super) struct Slopes {
    /// The class of every input code, -128 to 127; none where every code is a class of its own.
    pub classes: Option<Vec<u32>>,
    /// Bits of a class.
    pub bits: usize,
    pub factors: Factors,
}

impl Slopes {
    /// Those of `op`, which runs as `table` and ends in `clamp`.
    pub fn new(
        op: &Op,
        clamp: Option<Clamp>,
        table: &Table,
        x: &QuantParams,
        y: &QuantParams,
        profile: &Profile,
    ) -> Self {
        let clamp = match op {
            Op::Activation(a) => a.code_clamp(y).unwrap_or(Clamp::INT8),
            _ => clamp.unwrap_or(Clamp::INT8),
        };
        let slope = |q: i8| {
            let at = (i32::from(q) + 128) as usize;
            let saturates = table.events()[at].saturations > 0;
            // The activation's bound, or an end of the range that was not left.
            let passes = clamp.passes_code(table.codes()[at]).unwrap_or(true);
            if saturates || !passes {
                return 0.0;
            }
            let real = f64::from(x.scale) * f64::from(i32::from(q) - x.zero_point);
            match op {
                Op::Activation(a) => derivative(*a, real, profile),
                _ => 1.0,
            }
        };
        Self::of((i8::MIN..=i8::MAX).map(slope).collect())
    }

    fn of(slopes: Vec<f32>) -> Self {
        let mut distinct = slopes.clone();
        distinct.sort_unstable_by(f32::total_cmp);
        distinct.dedup();
        if distinct.len() > 4 {
            return Self { classes: None, bits: 8, factors: Factors::new(slopes) };
        }
        let class = |slope: &f32| distinct.iter().position(|d| d == slope).expect("every slope is listed") as u32;
        let classes = slopes.iter().map(class).collect();
        let bits = if distinct.len() > 2 { 2 } else { 1 };
        Self { classes: Some(classes), bits, factors: Factors::new(distinct) }
    }
}

/// The derivative of the real function at `x`.
fn derivative(activation: Activation, x: f64, profile: &Profile) -> f32 {
    let logistic = 1.0 / (1.0 + (-x).exp());
    let slope = match activation {
        // Their bounds are the clamp's.
        Activation::Relu | Activation::Relu6 | Activation::ReluN1To1 => 1.0,
        Activation::LeakyRelu { .. } if x > 0.0 => 1.0,
        Activation::LeakyRelu { slope } => leaky(slope, profile),
        Activation::Sigmoid { gain } => f64::from(gain) * logistic * (1.0 - logistic),
        Activation::Tanh => 1.0 - x.tanh().powi(2),
        Activation::HardSwish if x <= -3.0 => 0.0,
        Activation::HardSwish if x >= 3.0 => 1.0,
        Activation::HardSwish => (2.0 * x + 3.0) / 6.0,
        Activation::HardSigmoid { slope, offset } => {
            let gate = f64::from(slope) * x + f64::from(offset);
            if gate > 0.0 && gate < 1.0 { f64::from(slope) } else { 0.0 }
        }
    };
    slope as f32
}

/// A chip may have one slope only.
fn leaky(slope: f32, profile: &Profile) -> f64 {
    match profile.formula(OpKind::LeakyRelu) {
        Formula::PowerOfTwo => power_of_two::LEAKY.0 as f64 / f64::from(1u32 << power_of_two::LEAKY.1),
        _ => f64::from(slope),
    }
}
