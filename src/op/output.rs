//! How an accumulator becomes a code: the last stage that every int8 loop shares.

use super::Counts;
use crate::quant::sum::saturated;
use crate::quant::{Clamp, Multiplier, RequantStyle};

/// The rule of one output map: requantisation style, zero point, bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Output {
    pub style: RequantStyle,
    pub zero_point: i32,
    pub clamp: Clamp,
}

impl Output {
    /// `acc × m`, on the zero point and clamped. `acc` is the exact sum: what 32 bits cannot hold
    /// wraps and is counted.
    #[inline]
    pub fn code(&self, acc: i64, m: Multiplier, counts: &mut Counts) -> i8 {
        if !self.style.is_wide() {
            let wrapped = acc as i32;
            counts.overflows += u64::from(i64::from(wrapped) != acc || self.style.overflows(wrapped, m));
        }
        self.clamped(self.value(acc, m), counts)
    }

    /// `acc × m` on the zero point, before the clamp.
    #[inline]
    pub fn value(&self, acc: i64, m: Multiplier) -> i32 {
        let value = match self.style.wide(acc, m) {
            Some(value) => saturated(value),
            None => self.style.apply(acc as i32, m),
        };
        value.saturating_add(self.zero_point)
    }

    /// A requantised value, on the zero point and clamped.
    #[inline]
    pub fn place(&self, value: i32, counts: &mut Counts) -> i8 {
        self.clamped(value.saturating_add(self.zero_point), counts)
    }

    /// A value with its zero point, clamped.
    #[inline]
    pub fn clamped(&self, value: i32, counts: &mut Counts) -> i8 {
        let (code, saturated) = self.clamp.apply(value);
        counts.saturations += u64::from(saturated);
        code
    }
}

/// The per-channel registers of a layer: what a batch norm writes.
///
/// A channel whose mantissa is zero has no accumulator to scale, so its bias register holds the
/// output itself: that is how a batch norm with gamma zero, whose output is a constant, is held.
#[derive(Clone, Debug, PartialEq)]
pub struct Registers {
    pub multipliers: Vec<Multiplier>,
    pub bias: Vec<i32>,
}

impl Registers {
    /// What one channel takes on the chip: a multiplier and 32 bits of bias.
    pub const CHANNEL_BYTES: u64 = Multiplier::BYTES + 4;

    /// Of these, the bias alone.
    pub const BIAS_BYTES: u64 = 4;

    pub fn channels(&self) -> usize {
        self.bias.len()
    }

    /// What one channel's sum of products becomes before the clamp.
    pub fn value(&self, channel: usize, products: i64, output: &Output) -> i32 {
        let (m, bias) = (self.multipliers[channel], self.bias[channel]);
        match m.mantissa {
            0 => bias.saturating_add(output.zero_point),
            _ => output.value(products + i64::from(bias), m),
        }
    }

    /// The code of one channel's sum of products.
    #[inline]
    pub fn code(&self, channel: usize, products: i64, output: &Output, counts: &mut Counts) -> i8 {
        let (m, bias) = (self.multipliers[channel], self.bias[channel]);
        if m.mantissa == 0 { output.place(bias, counts) } else { output.code(products + i64::from(bias), m, counts) }
    }
}
