//! A map under new quantisation parameters.

use super::{Output, Table};
use crate::quant::{Clamp, QuantParams, RequantStyle};

/// `(q - z_x) · s_x/s_y + z_y` for every code. With a clamp this is also a ReLU of its own.
pub fn table(style: RequantStyle, x: &QuantParams, y: &QuantParams, clamp: Clamp) -> Table {
    let multiplier = style.multiplier(f64::from(x.scale) / f64::from(y.scale));
    let output = Output { style, zero_point: y.zero_point, clamp };
    Table::build(|q, counts| output.code(i64::from(q) - i64::from(x.zero_point), multiplier, counts))
}
