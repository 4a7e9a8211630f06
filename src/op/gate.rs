//! The logistic and the hyperbolic tangent of TensorFlow Lite for Microcontrollers, in fixed point
//! (SPEC 5.3).
//!
//! Other runtimes look up real values rounded half away. The two part where a real value lies at or
//! near a tie, and at steps of 8 and more, where the fixed-point input cannot hold even one code: the
//! kernel then gives the lower bound at zero.

use super::Table;
use crate::quant::fixed_point::{logistic, rdbp, tanh};
use crate::quant::{Clamp, QuantParams, RequantStyle};

/// Integer bits of the input (Q4.27).
const INTEGER_BITS: i32 = 4;

/// A function between two bounds whose output has one coding: `one` codes are the real 1.
pub struct Gate {
    /// From Q4.27 to Q0.31.
    function: fn(i32) -> i32,
    /// Fractional bits of the output's codes.
    bits: u32,
    zero_point: i32,
    /// The value at minus infinity, without the zero point.
    least: i32,
}

pub const LOGISTIC: Gate = Gate { function: logistic, bits: 8, zero_point: -128, least: 0 };
pub const TANH: Gate = Gate { function: tanh, bits: 7, zero_point: 0, least: -128 };

impl Gate {
    /// The table, if the output has the coding that the kernel writes.
    pub fn table(&self, x: &QuantParams, y: &QuantParams) -> Option<Table> {
        let one = 1 << self.bits;
        if (y.scale, y.zero_point) != (1.0 / one as f32, self.zero_point) {
            return None;
        }
        let style = RequantStyle::GemmlowpDouble;
        let multiplier = style.multiplier(f64::from(x.scale) * f64::from(1u32 << (31 - INTEGER_BITS)));
        // Beyond this the fixed-point input would overflow; the function has its bounds there.
        let reach = (f64::from((1 << INTEGER_BITS) - 1) * 2f64.powi(31 - INTEGER_BITS - multiplier.shift)) as i32;
        Some(Table::build(|q, counts| {
            let centred = i32::from(q) - x.zero_point;
            let value = match centred {
                low if low <= -reach => self.least,
                high if high >= reach => one,
                _ => rdbp((self.function)(style.apply(centred, multiplier)), 31 - self.bits),
            };
            let (code, saturated) = Clamp::INT8.apply(value + self.zero_point);
            counts.saturations += u64::from(saturated);
            code
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::CodeType;

    /// tflite-micro 0.dev20261023182759, scales 1/256, 1/1024, 1/16, 3 and 8.
    #[test]
    fn recorded_codes_of_tflite_micro() {
        const CODES: [i8; 17] = [-128, -60, -20, -11, -7, -4, -2, -1, 0, 1, 2, 3, 4, 5, 20, 60, 127];
        let y = QuantParams { scale: 1.0 / 256.0, zero_point: -128, codes: CodeType::I8 };
        for (scale, zero_point, recorded) in [
            (1.0 / 256.0, 0, [-31, -15, -5, -3, -2, -1, -1, 0, 0, 0, 1, 1, 1, 1, 5, 15, 31]),
            (1.0 / 1024.0, -3, [-8, -4, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 4, 8]),
            (1.0 / 16.0, 3, [-128, -123, -79, -53, -39, -28, -20, -16, -12, -8, -4, 0, 4, 8, 62, 121, 127]),
            (3.0, -2, [-128, -128, -128, -128, -128, -127, 0, 116, 127, 127, 127, 127, 127, 127, 127, 127, 127]),
            (8.0, 0, [-128, -128, -128, -128, -128, -128, -128, -128, -128, 127, 127, 127, 127, 127, 127, 127, 127]),
        ] {
            let x = QuantParams { scale, zero_point, codes: CodeType::I8 };
            let table = LOGISTIC.table(&x, &y).unwrap();
            assert_eq!(CODES.map(|q| table.code(q)), recorded, "LOGISTIC at {scale}");
        }
        let y = QuantParams { scale: 1.0 / 128.0, zero_point: 0, codes: CodeType::I8 };
        for (scale, zero_point, recorded) in [
            (1.0 / 256.0, 0, [-59, -29, -10, -5, -3, -2, -1, -1, 0, 1, 1, 1, 2, 2, 10, 29, 59]),
            (1.0 / 1024.0, -3, [-16, -7, -2, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 3, 8, 16]),
            (1.0 / 16.0, 3, [-128, -128, -114, -90, -71, -53, -39, -31, -24, -16, -8, 0, 8, 16, 101, 127, 127]),
            (3.0, -2, [-128, -128, -128, -128, -128, -128, 0, 127, 127, 127, 127, 127, 127, 127, 127, 127, 127]),
            (8.0, 0, [-128, -128, -128, -128, -128, -128, -128, -128, -128, 127, 127, 127, 127, 127, 127, 127, 127]),
        ] {
            let x = QuantParams { scale, zero_point, codes: CodeType::I8 };
            let table = TANH.table(&x, &y).unwrap();
            assert_eq!(CODES.map(|q| table.code(q)), recorded, "TANH at {scale}");
        }
    }

    #[test]
    fn an_output_of_another_coding_has_no_kernel() {
        let params = |scale: f32, zero_point: i32| QuantParams { scale, zero_point, codes: CodeType::I8 };
        let x = params(0.1, 0);
        assert!(LOGISTIC.table(&x, &params(1.0 / 256.0, -127)).is_none());
        assert!(TANH.table(&x, &params(1.0 / 256.0, 0)).is_none());
    }
}
