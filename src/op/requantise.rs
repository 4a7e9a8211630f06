//! A map under new quantisation parameters.

use super::{Output, Table};
use crate::quant::convert::Convert;
use crate::quant::{Clamp, Formula, QuantParams, RequantStyle, onnxruntime};

/// `(q - z_x) · s_x/s_y + z_y` for every code. With a clamp this is also a ReLU of its own.
pub fn table(formula: impl Into<Formula>, x: &QuantParams, y: &QuantParams, clamp: Clamp) -> Table {
    let formula = formula.into();
    let mut output = Output { style: formula.style(), zero_point: y.zero_point, clamp };
    match formula {
        Formula::Onnxruntime => {
            return Table::build(|q, counts| output.clamped(onnxruntime::through_f32(q, x, y, |v| v), counts));
        }
        Formula::Xnnpack => match Convert::requantise(x, y) {
            Some(convert) => return Table::build(|q, counts| output.clamped(convert.value(q), counts)),
            None => output.style = RequantStyle::GemmlowpDouble,
        },
        _ => {}
    }
    let style = output.style;
    let multiplier = style.multiplier(f64::from(x.scale) / f64::from(y.scale));
    Table::build(|q, counts| output.code(i64::from(q) - i64::from(x.zero_point), multiplier, counts))
}
