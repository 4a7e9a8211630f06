//! The int16 algorithm of the int8 hard-swish (SPEC 5.3).
//!
//! A rounded table of the real function differs from it in a few codes per thousand, so the
//! algorithm is the definition.

use super::Table;
use crate::quant::fixed_point::{mantissa16, rdbp, srdhm16};
use crate::quant::{Clamp, Multiplier, QuantParams, quantize_multiplier};

/// `x · relu6(x + 3) / 6` for every code, or why the scales do not allow it.
pub fn table(x: &QuantParams, y: &QuantParams) -> Result<Table, String> {
    // The input with seven more bits, and what scales it to the output and to relu6's slope.
    let fine = x.scale * (1.0 / 128.0);
    let output = quantize_multiplier(f64::from(fine / y.scale));
    let slope = quantize_multiplier(f64::from(fine / (3.0f32 / 32768.0f32)));
    if output.shift > 0 || slope.shift > 15 {
        return Err(format!("int8 hard-swish cannot bring a scale of {} to {}: it is too large", x.scale, y.scale));
    }
    Ok(Table::build(|q, counts| {
        let v = ((i32::from(q) - x.zero_point) * 128) as i16;
        let scaled = srdhm16(v, mantissa16(output.mantissa));
        let share = relu6_share(v, slope);
        // Truncated towards zero, as an integer division does.
        let product = (i32::from(share) * i32::from(scaled)) / (1 << 15);
        let value = rdbp(product, (-output.shift) as u32) + y.zero_point;
        let (code, saturated) = Clamp::INT8.apply(value);
        counts.saturations += u64::from(saturated);
        code
    }))
}

/// `relu6(x + 3) / 6` in Q0.15.
fn relu6_share(v: i16, slope: Multiplier) -> i16 {
    let mut r = i32::from(v);
    if slope.shift > 0 {
        r = saturate(r << (slope.shift - 1));
    }
    r = i32::from(srdhm16(r as i16, mantissa16(slope.mantissa)));
    if slope.shift > 0 {
        r = saturate(r << 1);
    } else {
        r = rdbp(r, (-slope.shift) as u32);
    }
    ((r + 32768) >> 1) as i16
}

fn saturate(v: i32) -> i32 {
    v.clamp(i32::from(i16::MIN), i32::from(i16::MAX))
}
