//! Elementwise functions of one map.
//!
//! In int8 a clamp is two bounds at the end of the step before it; everything else is a table of
//! 256 codes. A gate `2·logistic` has no int8 form and is refused.

use super::{Counts, Output, Table, gate, hard_swish};
use crate::quant::convert::Convert;
use crate::quant::{Clamp, Formula, QuantParams, RequantStyle, Round, onnxruntime, power_of_two};

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "function", rename_all = "kebab-case")]
pub enum Activation {
    Relu,
    Relu6,
    /// Clamp to [-1, 1].
    ReluN1To1,
    LeakyRelu {
        slope: f32,
    },
    /// `gain * logistic(x)`: 1 for the plain gate, 2 for the gate that is the identity at 0.
    Sigmoid {
        gain: f32,
    },
    Tanh,
    HardSwish,
    /// `clamp(slope * x + offset, 0, 1)`: slope 1/6 and offset 1/2 for the gate of MobileNetV3.
    HardSigmoid {
        slope: f32,
        offset: f32,
    },
}

impl Activation {
    /// `relu6(x + 3) / 6`.
    pub const HARD_SIGMOID: Self = Self::HardSigmoid { slope: 1.0 / 6.0, offset: 0.5 };

    pub fn name(self) -> &'static str {
        match self {
            Activation::Relu => "relu",
            Activation::Relu6 => "relu6",
            Activation::ReluN1To1 => "relu-n1-to-1",
            Activation::LeakyRelu { .. } => "leaky-relu",
            Activation::Sigmoid { .. } => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::HardSwish => "hard-swish",
            Activation::HardSigmoid { .. } => "hard-sigmoid",
        }
    }

    /// The real bounds if the function is a clamp, which the trunk fuses into the requantisation.
    pub fn clamp(self) -> Option<(f32, f32)> {
        match self {
            Activation::Relu => Some((0.0, f32::INFINITY)),
            Activation::Relu6 => Some((0.0, 6.0)),
            Activation::ReluN1To1 => Some((-1.0, 1.0)),
            _ => None,
        }
    }

    /// The bounds of a clamp as codes of `y`; `None` if the function is not a clamp.
    pub fn code_clamp(self, y: &QuantParams) -> Option<Clamp> {
        let code = |real: f32| real.is_finite().then(|| y.zero_point.saturating_add((real / y.scale).round() as i32));
        self.clamp().map(|(lo, hi)| Clamp::bounded(code(lo), code(hi)))
    }

    /// The function as a table of codes, or why there is none.
    pub fn table(self, formula: impl Into<Formula>, x: &QuantParams, y: &QuantParams) -> Result<Table, String> {
        match formula.into() {
            Formula::Onnxruntime => self.onnxruntime_table(x, y),
            Formula::Xnnpack => self.xnnpack_table(x, y),
            Formula::PowerOfTwo => self.power_of_two_table(x, y),
            Formula::Micro => self.micro_table(x, y),
            other => self.tflite_table(other.style(), x, y),
        }
    }

    fn tflite_table(self, style: RequantStyle, x: &QuantParams, y: &QuantParams) -> Result<Table, String> {
        match self {
            Activation::Relu | Activation::Relu6 | Activation::ReluN1To1 => {
                let clamp = self.code_clamp(y).unwrap_or(Clamp::INT8);
                Ok(super::requantise::table(style, x, y, clamp))
            }
            Activation::LeakyRelu { slope } => Ok(leaky_relu(style, slope, x, y)),
            Activation::Sigmoid { gain: 1.0 } => Ok(rounded(x, y, |v| 1.0 / (1.0 + (-v).exp()))),
            Activation::Sigmoid { gain } => Err(no_gain(gain)),
            Activation::Tanh => Ok(rounded(x, y, f64::tanh)),
            Activation::HardSwish => hard_swish::table(x, y),
            Activation::HardSigmoid { slope, offset } => {
                Ok(rounded(x, y, |v| (f64::from(slope) * v + f64::from(offset)).clamp(0.0, 1.0)))
            }
        }
    }

    /// Gates in fixed point where their output has the one coding that the kernels write.
    fn micro_table(self, x: &QuantParams, y: &QuantParams) -> Result<Table, String> {
        let fixed = match self {
            Activation::Sigmoid { gain: 1.0 } => gate::LOGISTIC.table(x, y),
            Activation::Tanh => gate::TANH.table(x, y),
            _ => None,
        };
        fixed.map_or_else(|| self.tflite_table(Formula::Micro.style(), x, y), Ok)
    }

    /// The leaky ReLU in factors of 8 fractional bits; other functions run on TensorFlow Lite's kernels.
    fn xnnpack_table(self, x: &QuantParams, y: &QuantParams) -> Result<Table, String> {
        let convert = match self {
            Activation::LeakyRelu { slope } => Convert::leaky_relu(slope, x, y),
            _ => None,
        };
        match convert {
            Some(convert) => Ok(Table::build(|q, counts| clamped(convert.value(q), counts))),
            None => self.tflite_table(RequantStyle::GemmlowpDouble, x, y),
        }
    }

    /// A leaky ReLU has the one slope that the chip has; other functions round their real values.
    fn power_of_two_table(self, x: &QuantParams, y: &QuantParams) -> Result<Table, String> {
        if !matches!(self, Activation::LeakyRelu { .. }) {
            return self.tflite_table(Formula::PowerOfTwo.style(), x, y);
        }
        let style = RequantStyle::MulShift { round: Round::HalfUp, shared: false };
        let slope = power_of_two::LEAKY.0 as f32 / (1u32 << power_of_two::LEAKY.1) as f32;
        Ok(leaky_relu(style, slope, x, y))
    }

    /// The function between DequantizeLinear and QuantizeLinear, at every code.
    fn onnxruntime_table(self, x: &QuantParams, y: &QuantParams) -> Result<Table, String> {
        let through = |f: &dyn Fn(f32) -> f32| {
            Ok(Table::build(|q, counts| clamped(onnxruntime::through_f32(q, x, y, f), counts)))
        };
        match self {
            Activation::Relu | Activation::Relu6 | Activation::ReluN1To1 => {
                let clamp = self.code_clamp(y).unwrap_or(Clamp::INT8);
                Ok(super::requantise::table(Formula::Onnxruntime, x, y, clamp))
            }
            Activation::LeakyRelu { slope } => through(&|v| if v >= 0.0 { v } else { slope * v }),
            Activation::Sigmoid { gain: 1.0 } => through(&|v| (1.0 / (1.0 + (-f64::from(v)).exp())) as f32),
            Activation::Sigmoid { gain } => Err(no_gain(gain)),
            Activation::Tanh => through(&|v| f64::from(v).tanh() as f32),
            Activation::HardSwish => through(&|v| v * (v * (1.0 / 6.0) + 0.5).clamp(0.0, 1.0)),
            Activation::HardSigmoid { slope, offset } => through(&|v| (slope * v + offset).clamp(0.0, 1.0)),
        }
    }
}

fn no_gain(gain: f32) -> String {
    format!("int8 has a sigmoid of gain 1 only, not {gain}; a gain belongs to an adapter's gate")
}

/// A function of real values rounded half away at every code.
fn rounded(x: &QuantParams, y: &QuantParams, f: impl Fn(f64) -> f64) -> Table {
    Table::build(|q, counts| {
        let real = f64::from(x.scale) * f64::from(i32::from(q) - x.zero_point);
        let value = (f(real) / f64::from(y.scale)).round() as i32;
        clamped(value.saturating_add(y.zero_point), counts)
    })
}

fn clamped(value: i32, counts: &mut Counts) -> i8 {
    let (code, saturated) = Clamp::INT8.apply(value);
    counts.saturations += u64::from(saturated);
    code
}

/// Two requantisations, one per side of zero.
fn leaky_relu(style: RequantStyle, slope: f32, x: &QuantParams, y: &QuantParams) -> Table {
    let above = style.multiplier(f64::from(x.scale) / f64::from(y.scale));
    let below = style.product_multiplier(slope, x.scale, 1.0, y.scale);
    let output = Output { style, zero_point: y.zero_point, clamp: Clamp::INT8 };
    Table::build(|q, counts| {
        let centred = i64::from(q) - i64::from(x.zero_point);
        output.code(centred, if centred >= 0 { above } else { below }, counts)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::CodeType;

    /// At scale 1/16 one code of the input is 1/96, or 2.67 codes, of the output.
    #[test]
    fn a_hard_sigmoid_is_a_table_between_0_and_1() {
        let x = QuantParams { scale: 1.0 / 16.0, zero_point: 3, codes: CodeType::I8 };
        let y = QuantParams { scale: 1.0 / 256.0, zero_point: -128, codes: CodeType::I8 };
        let table = Activation::HARD_SIGMOID.table(RequantStyle::GemmlowpDouble, &x, &y).unwrap();
        // 3 is the input's zero, 48 codes are the real 3.
        for (q, code) in [(-128, -128), (-46, -128), (-45, -128), (-44, -125), (3, 0), (50, 125), (51, 127), (127, 127)]
        {
            assert_eq!(table.code(q), code, "at {q}");
        }
    }
}
