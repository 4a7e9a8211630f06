//! Requantisation constants for vectors, and the proof that a vector may use them.
//!
//! A layer is *calm* if no sum it can form overflows 32 bits, before or after its requantisation:
//! then the only events are saturations, and 32-bit vector arithmetic is exact. Other layers, and
//! tiles that a tap-in takes beyond the limit, go through the scalar definition.

use super::pack::Block;
use crate::op::product::Product;
use crate::op::{Output, Registers};
use crate::quant::{Multiplier, RequantStyle};

/// How a vector requantises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A rounding doubling high product by `factor`, then a rounding shift by `right`: ties away
    /// from zero, or up. `wide`: ties away, every channel's factor is 2^30 at least, and every shift one.
    Double { away: bool, wide: bool },
    /// The 64-bit product by `factor`, rounded once by a shift of `right`.
    Single,
    /// A product by `factor`, the bits of an f32, ties to even.
    Float,
}

/// Per-channel constants in lanes (16 to a line, absent channels included).
#[derive(Clone, Debug)]
pub(super) struct Requant {
    pub style: Style,
    /// Every right shift is by one at least.
    pub halved: bool,
    pub factor: Vec<i32>,
    pub right: Vec<i32>,
    /// The zero point; for a constant channel, its constant.
    pub offset: Vec<i32>,
    pub saturates: [i32; 2],
    /// Sums up to this are calm, whatever else was added to them.
    pub limit: i64,
}

impl Requant {
    /// The constants of a calm layer. `largest` bounds each channel's sum of products, in lanes.
    pub fn new(p: &Product, blocks: &[Block], largest: &[i64]) -> Option<Self> {
        Self::of(&p.registers, &p.output, blocks, largest)
    }

    /// The same for anything with registers.
    pub fn of(registers: &Registers, output: &Output, blocks: &[Block], largest: &[i64]) -> Option<Self> {
        let mut made = Self::absent(output, largest.len())?;
        let (style, mut wide) = (made.style, true);
        for block in blocks {
            for c in 0..block.channels {
                let (channel, lane) = (block.first + c, block.lane + c);
                let (m, bias) = (registers.multipliers[channel], registers.bias[channel]);
                if m.mantissa == 0 {
                    made.offset[lane] = bias.saturating_add(output.zero_point);
                    wide = false;
                } else {
                    (made.factor[lane], made.right[lane]) = constants(style, m, largest[lane] + i64::from(bias).abs())?;
                    made.offset[lane] = output.zero_point;
                    made.limit = made.limit.min(limit(style, m));
                    wide &= is_wide(m);
                }
            }
        }
        made.shifts(wide);
        Some(made)
    }

    /// One multiplier for all lanes, of sums within `largest`.
    pub fn uniform(output: &Output, m: Multiplier, largest: i64, lanes: usize) -> Option<Self> {
        let mut made = Self::absent(output, lanes)?;
        let (factor, right) = constants(made.style, m, largest)?;
        (made.factor, made.right, made.offset) =
            (vec![factor; lanes], vec![right; lanes], vec![output.zero_point; lanes]);
        made.shifts(is_wide(m));
        Some(made)
    }

    /// Notes what is known of all shifts and factors.
    fn shifts(&mut self, are_wide: bool) {
        self.halved = self.right.iter().all(|&right| right > 0);
        if let Style::Double { away: true, wide } = &mut self.style {
            *wide = are_wide && self.halved;
        }
    }

    /// For values that another runtime's formula has rounded already, within [`Requant::NEAR`]: what is
    /// left are the bounds.
    pub fn identity(output: &Output, lanes: usize) -> Option<Self> {
        let output = Output { style: RequantStyle::F32Rne, zero_point: 0, ..*output };
        Self::uniform(&output, Multiplier::from_f32(1.0), i64::from(Self::NEAR), lanes)
    }

    /// Farther values than this are beyond any bound, and an f32 holds all up to it.
    pub const NEAR: i32 = 1 << 20;

    /// Lanes without channels.
    fn absent(output: &Output, lanes: usize) -> Option<Self> {
        let style = match output.style {
            RequantStyle::GemmlowpDouble => Style::Double { away: true, wide: false },
            RequantStyle::Ruy => Style::Double { away: false, wide: false },
            RequantStyle::Single => Style::Single,
            RequantStyle::F32Rne => Style::Float,
            // The scalar definition requantises what no vector does.
            RequantStyle::Shift { .. } | RequantStyle::MulShift { .. } | RequantStyle::Nvdla => return None,
        };
        if output.clamp.lo() > output.clamp.hi() {
            return None;
        }
        let end = |value: i32, bound: i32| if output.clamp.apply(value).1 { bound } else { value };
        let saturates = [end(i32::MIN, output.clamp.lo()), end(i32::MAX, output.clamp.hi())];
        let (factor, right, offset) = (vec![0; lanes], vec![1; lanes], vec![output.clamp.lo(); lanes]);
        Some(Self { style, halved: true, factor, right, offset, saturates, limit: i64::from(i32::MAX) })
    }
}

/// Twice the factor is a 32-bit number less 2^32.
fn is_wide(m: Multiplier) -> bool {
    m.mantissa >= 1 << 30
}

/// The largest sum with which [`constants`] has an answer.
fn limit(style: Style, m: Multiplier) -> i64 {
    let (mut calm, mut beyond) = (0, i64::from(i32::MAX) + 1);
    while beyond - calm > 1 {
        let middle = (calm + beyond) / 2;
        if constants(style, m, middle).is_some() { calm = middle } else { beyond = middle }
    }
    calm
}

/// Factor and shift of a channel whose sums stay within `largest`, if nothing can overflow.
fn constants(style: Style, m: Multiplier, largest: i64) -> Option<(i32, i32)> {
    /// What leaves room for a zero point and for half a unit.
    const ROOM: i64 = 1 << 30;
    let value = largest as f64 * m.to_f64().abs();
    if largest > i64::from(i32::MAX) || m.mantissa == i32::MIN || value.is_nan() || value >= ROOM as f64 {
        return None;
    }
    match style {
        Style::Double { .. } => {
            let right = -m.shift;
            let half = if right > 0 { 1i64.checked_shl(right as u32 - 1)? } else { 0 };
            // Twice the sum fits 32 bits, and so does the high product (which is smaller than the sum)
            // with half a unit added to it.
            let fits = (0..=31).contains(&right) && largest < 1 << 30 && largest + half <= i64::from(i32::MAX);
            fits.then_some((m.mantissa, right))
        }
        Style::Single => {
            let right = 31 - i64::from(m.shift);
            (1..=62).contains(&right).then_some((m.mantissa, right as i32))
        }
        Style::Float => Some((m.to_f32().to_bits() as i32, 0)),
    }
}
