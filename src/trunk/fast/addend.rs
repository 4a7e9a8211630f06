//! What one operand of an int8 addition contributes, as a formula that vectors can follow.
//!
//! A code's contribution is a function of 256 values. Every fixed-point style makes it a product with
//! a fraction, rounded once by a shift and a nudge that depends on the sign; the formula is used only
//! if it gives all 256 values.

use crate::op::add;
use crate::quant::Multiplier;

/// `d × whole + (d × part + start) >> right` for the centred code `d`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addend {
    zero_point: i32,
    whole: i32,
    pub part: i32,
    start: i32,
    start_negative: i32,
    right: u32,
}

/// Bits by which the definition shifts codes left before it scales them.
const LEFT: i32 = 20;

impl Addend {
    /// The formula of one operand, if there is one.
    pub fn find(p: &add::Fixed, operand: usize) -> Option<Self> {
        let is_right = |addend: &Self| (i8::MIN..=i8::MAX).all(|q| i64::from(addend.value(q)) == p.scaled(operand, q));
        let zero_point = p.zero_points[operand];
        Self::candidates(zero_point, p.inputs[operand]).into_iter().flatten().find(is_right)
    }

    /// Two roundings with ties away from zero or up, and one rounding.
    fn candidates(zero_point: i32, m: Multiplier) -> [Option<Self>; 3] {
        // Factors are below one, and products of a nine-bit code with either part of the mantissa must
        // fit 32 bits.
        let right = 31 - LEFT - m.shift;
        if !(31 - LEFT..=22).contains(&right) || m.mantissa < 0 {
            return [None; 3];
        }
        let (whole, part) = (m.mantissa >> right, m.mantissa & ((1 << right) - 1));
        let half = 1 << (right - 1);
        let (first, unit) = (1 << (30 - LEFT), 1 << (31 - LEFT));
        let twice = if m.shift < 0 { half + first } else { first };
        let with = |start, start_negative| {
            // Nothing is left to round: a shift of any start gives zero.
            let (start, start_negative) = if part == 0 { (0, 0) } else { (start, start_negative) };
            Some(Self { zero_point, whole, part, start, start_negative, right: right as u32 })
        };
        [with(twice, twice - unit), with(twice, twice), with(half, half)]
    }

    /// What `q` contributes.
    #[inline(always)]
    pub fn value(&self, q: i8) -> i32 {
        let d = i32::from(q) - self.zero_point;
        let start = if d < 0 { self.start_negative } else { self.start };
        d * self.whole + ((d * self.part + start) >> self.right)
    }

    /// The same where `part` is zero.
    #[inline(always)]
    pub fn whole_value(&self, q: i8) -> i32 {
        (i32::from(q) - self.zero_point) * self.whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{Clamp, CodeType, QuantParams, RequantStyle};

    fn fixed(style: RequantStyle, [a, b, y]: [&QuantParams; 3]) -> add::Fixed {
        match add::Int8::new(style, a, b, y, Clamp::INT8).form {
            add::Form::Tflite(form) => form,
            add::Form::Direct(_) => panic!("a style is TFLite's form"),
        }
    }

    #[test]
    fn fixed_point_styles_have_a_formula() {
        let quant = |scale, zero_point| QuantParams { scale, zero_point, codes: CodeType::I8 };
        for style in [RequantStyle::GemmlowpDouble, RequantStyle::Ruy, RequantStyle::Single] {
            for (i, scale) in [0.05, 0.07, 0.049999, 0.004, 0.9, 0.025].into_iter().enumerate() {
                let zero_point = [-128, 127, 0, 3][i % 4];
                let p = fixed(style, [&quant(scale, zero_point), &quant(0.05, 7), &quant(0.06, 1)]);
                for operand in 0..2 {
                    assert!(Addend::find(&p, operand).is_some(), "{style:?} {scale} operand {operand}");
                }
            }
        }
    }

    #[test]
    fn a_formula_that_is_wrong_anywhere_is_not_found() {
        let q = QuantParams { scale: 0.05, zero_point: 0, codes: CodeType::I8 };
        let mut p = fixed(RequantStyle::Single, [&q, &q, &q]);
        assert!(Addend::find(&p, 0).is_some());
        p.inputs[0].shift = 5;
        assert!(Addend::find(&p, 0).is_none(), "a factor that overflows");
    }
}
