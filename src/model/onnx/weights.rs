//! Weights and biases of a layer: floats as they are, or the codes that the file has for them.
//!
//! A layer over codes needs coded weights: one scale and zero point, or one per output channel.

use super::importer::{Form, Importer, Map, Step};
use super::tensor::{Coding, Constant, Element, Values};
use crate::graph::ParamValue;
use crate::model::Fault;
use crate::quant::QuantParams;

/// How far the scale of a coded bias may be from input scale × weight scale: exporters round it.
const BIAS_SCALE_TOLERANCE: f64 = 1e-4;

/// A layer's weights in the graph's order.
pub struct Weights {
    pub value: ParamValue,
    /// Of coded weights: one, or one per channel.
    scales: Vec<f32>,
}

/// The weights of `constant`, output channels along `axis`, in the order of the indices `order`.
pub fn read(
    step: &Step,
    input: Map,
    constant: &Constant,
    axis: usize,
    order: impl Iterator<Item = usize>,
) -> Result<Weights, Fault> {
    let what = "its weight";
    if input.form == Form::Real {
        let values = constant.floats().map_err(|refusal| step.refused(what, refusal))?;
        let value = ParamValue::F32(order.map(|i| values[i]).collect());
        return Ok(Weights { value, scales: vec![] });
    }
    let (Values::Integer(codes), Some(coding)) = (&constant.values, &constant.coding) else {
        return Err(step.unsupported("multiplies codes by float weights; quantise its weights too"));
    };
    let offset = match constant.element {
        Element::Int8 => 0,
        Element::Uint8 => 128,
        other => {
            let why = format!("has weight codes of type {}; INT8 and UINT8 are done", other.name());
            return Err(step.unsupported(why));
        }
    };
    check_axis(step, coding, axis)?;
    // In the engine's signed view: codes and zero points alike.
    let codes = order.map(|i| (codes[i] - offset) as i8).collect();
    let mut zero_points: Vec<i32> = coding.zero_points.iter().map(|&z| (z - offset) as i32).collect();
    if zero_points.iter().all(|z| *z == zero_points[0]) {
        zero_points.truncate(1);
    }
    let scales = coding.scales.clone();
    Ok(Weights { value: ParamValue::I8 { codes, scales: scales.clone(), zero_points }, scales })
}

fn check_axis(step: &Step, coding: &Coding, axis: usize) -> Result<(), Fault> {
    if let Some(scale) = coding.scales.iter().find(|s| !(s.is_finite() && **s >= 0.0)) {
        return Err(step.malformed(format!("has a weight scale of {scale}")));
    }
    if coding.scales.len() == 1 || coding.axis == axis {
        return Ok(());
    }
    Err(step.unsupported(format!(
        "has weight scales along axis {}; one for all, or one per output channel (axis {axis}), is done",
        coding.axis
    )))
}

/// The bias, one value per channel (or one for all): floats, or int32 codes at input scale × weight
/// scale.
pub fn read_bias(
    importer: &mut Importer,
    step: &Step,
    input: Map,
    weights: &Weights,
    constant: &Constant,
    channels: usize,
) -> Result<ParamValue, Fault> {
    let what = "its bias";
    let length = constant.values.len();
    if length != channels && length != 1 {
        return Err(step.malformed(format!("{what} has {length} values for {channels} channels")));
    }
    importer.charge(step, channels)?;
    let at = |i: usize| if length == 1 { 0 } else { i };
    match &constant.values {
        Values::Integer(codes) if input.form != Form::Real => {
            let x = importer.coding(step, input)?;
            let scales: Vec<f32> = weights.scales.iter().map(|s| x.scale * s).collect();
            if let Some(coding) = &constant.coding {
                agrees(step, coding, &x, weights)?;
            }
            let code = |i: usize| i32::try_from(codes[at(i)]);
            let codes = (0..channels).map(code).collect::<Result<_, _>>();
            let codes = codes.map_err(|_| step.malformed("has a bias code beyond 32 bits"))?;
            Ok(ParamValue::I32 { codes, scales })
        }
        _ => {
            let values = constant.floats().map_err(|refusal| step.refused(what, refusal))?;
            if input.form != Form::Real {
                importer.notes.push(format!("{}: its float bias is rounded to units of the accumulator", step.place()));
            }
            Ok(ParamValue::F32((0..channels).map(|i| values[at(i)]).collect()))
        }
    }
}

/// Whether a bias is coded in units of the accumulator.
fn agrees(step: &Step, bias: &Coding, x: &QuantParams, weights: &Weights) -> Result<(), Fault> {
    let of = |scales: &[f32], c: usize| f64::from(scales[if scales.len() == 1 { 0 } else { c }]);
    let count = bias.scales.len().max(weights.scales.len());
    let comparable = [bias.scales.len(), weights.scales.len()].iter().all(|&n| n == 1 || n == count);
    let alike = |c: usize| {
        let unit = f64::from(x.scale) * of(&weights.scales, c);
        (of(&bias.scales, c) - unit).abs() <= BIAS_SCALE_TOLERANCE * unit
    };
    if comparable && bias.zero_points.iter().all(|&z| z == 0) && (0..count).all(alike) {
        Ok(())
    } else {
        Err(step.unsupported("has a bias whose scale is not input scale × weight scale; leave the bias unquantised"))
    }
}
