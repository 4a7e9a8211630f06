//! Quantised operators over maps: QuantizeLinear, DequantizeLinear, and the QLinear family.
//!
//! A DequantizeLinear gives the map back whose codes it reads, and a QuantizeLinear gives codes to
//! the map that was computed: what stands between the two becomes the integer operation. A
//! QuantizeLinear from one coding to another is a requantisation. The QLinear operators are the same
//! operations with the codings as inputs.

use super::importer::{Form, Importer, Map, Step, Value, View};
use super::tensor::{Coding, Constant, Element, Values};
use super::{layers, maps};
use crate::model::{Fault, printable};
use crate::op::{Activation, Op};
use crate::quant::{CodeType, QuantParams};
use std::rc::Rc;

impl<'a> Importer<'a> {
    /// The coding of a map.
    pub fn coding(&self, step: &Step, map: Map) -> Result<QuantParams, Fault> {
        let quant = self.graph.edge(map.edge).quant;
        quant.ok_or_else(|| step.unsupported("reads codes whose scale nothing in the file tells"))
    }

    /// The coding that the constants on two inputs say, of codes of type `default` if they do not.
    fn coding_at(
        &mut self,
        step: &Step,
        scale: usize,
        zero_point: usize,
        default: CodeType,
    ) -> Result<QuantParams, Fault> {
        let one = |what: &str, length: usize| match length {
            1 => Ok(()),
            n => Err(step.unsupported(format!("has {n} {what} for one map; only weights may have one per channel"))),
        };
        let constant = self.constant(step, scale)?;
        let scales = self.floats(step, "its scale", &constant)?;
        one("scales", scales.len())?;
        if !scales[0].is_normal() || scales[0] < 0.0 {
            return Err(step.malformed(format!("has a scale of {}", scales[0])));
        }
        let (code, codes) = match self.optional(step, zero_point)? {
            None => (0, default),
            Some(constant) => {
                let codes = code_type(step, constant.element)?;
                let values = self.integers(step, "its zero point", &constant)?;
                one("zero points", values.len())?;
                (values[0] as i32, codes)
            }
        };
        Ok(QuantParams { scale: scales[0], zero_point: code - codes.offset(), codes })
    }

    /// The codes on input `position`, read under the coding on the two inputs after it.
    fn coded(&mut self, step: &Step, position: usize) -> Result<Map, Fault> {
        let map = self.any_map(step, position)?;
        if map.form != Form::Codes {
            let name = printable(step.input(position).unwrap_or(""));
            return Err(step.malformed(format!("reads the real values '{name}' as if they were codes")));
        }
        let known = self.graph.edge(map.edge).quant;
        let default = known.map_or(self.input_codes, |q| q.codes);
        let coding = self.coding_at(step, position + 1, position + 2, default)?;
        match known {
            Some(known) if known != coding => Err(step.unsupported(format!(
                "reads codes made with scale {} and zero point {} as if they had {} and {}",
                known.scale,
                known.zero_point + known.codes.offset(),
                coding.scale,
                coding.zero_point + coding.codes.offset()
            ))),
            Some(_) => Ok(map),
            None if coding.codes != self.input_codes => {
                Err(step.malformed("has a zero point of another type than its codes"))
            }
            None => {
                self.graph.edge_mut(map.edge).quant = Some(coding);
                Ok(map)
            }
        }
    }

    /// Gives the map that a step computed its coding, and the step's output name to its codes.
    fn round(&mut self, step: &Step<'a>, map: Map, coding: QuantParams) -> Result<(), Fault> {
        let edge = self.graph.edge_mut(map.edge);
        edge.quant = Some(coding);
        edge.origin = Some(step.index as u32);
        self.define(step, Value::Map(Map { form: Form::Codes, ..map }))
    }

    /// A constant with its codes' scales and zero points.
    fn coded_constant(&mut self, step: &Step, position: usize) -> Result<Constant, Fault> {
        let constant = self.constant(step, position)?;
        let (scale, zero_point) = (self.constant(step, position + 1)?, self.optional(step, position + 2)?);
        with_coding(step, &constant, &scale, zero_point.as_deref(), step.integer("axis", 0)?)
    }
}

fn code_type(step: &Step, element: Element) -> Result<CodeType, Fault> {
    match element {
        Element::Uint8 => Ok(CodeType::U8),
        Element::Int8 => Ok(CodeType::I8),
        other => Err(step.unsupported(format!("has codes of type {}; UINT8 and INT8 are done", other.name()))),
    }
}

/// Codes with what a DequantizeLinear says of them; `axis` counts where there are several scales.
pub fn with_coding(
    step: &Step,
    codes: &Constant,
    scale: &Constant,
    zero_point: Option<&Constant>,
    axis: i64,
) -> Result<Constant, Fault> {
    let Values::Integer(values) = &codes.values else {
        return Err(step.malformed("dequantises floats"));
    };
    if step.integer("block_size", 0)? != 0 {
        return Err(step.unsupported("has blocks of weights with one scale each; one scale per channel is done"));
    }
    let scales = scale.floats().map_err(|refusal| step.refused("its scale", refusal))?.into_owned();
    let zero_points = match zero_point {
        None => vec![0; scales.len()],
        Some(z) => z.integers().map_err(|refusal| step.refused("its zero point", refusal))?.to_vec(),
    };
    if zero_points.len() != scales.len() || scales.is_empty() {
        return Err(step.malformed(format!("has {} scales but {} zero points", scales.len(), zero_points.len())));
    }
    let rank = codes.dims.len() as i64;
    let axis = if axis < 0 { axis + rank } else { axis };
    let extent = usize::try_from(axis).ok().and_then(|a| codes.dims.get(a));
    if scales.len() > 1 && extent != Some(&scales.len()) {
        let why = format!("has {} scales along axis {axis} of a constant of {:?}", scales.len(), codes.dims);
        return Err(step.malformed(why));
    }
    let coding = Coding { scales, zero_points, axis: axis.max(0) as usize };
    let values = Values::Integer(values.clone());
    Ok(Constant { coding: Some(coding), ..Constant::new(codes.dims.clone(), codes.element, values) })
}

pub fn quantize<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.any_map(step, 0)?;
    let default = match step.integer("output_dtype", 0)? {
        0 => CodeType::U8,
        number => code_type(step, Element::from_number(number as i32).unwrap_or(Element::Float))?,
    };
    let coding = importer.coding_at(step, 1, 2, default)?;
    let held = importer.graph.edge(map.edge).quant;
    match (map.form, held) {
        (Form::Codes, _) => Err(step.malformed("quantises what is quantised already")),
        (_, Some(held)) if held == coding => {
            let edge = importer.graph.edge_mut(map.edge);
            edge.origin = edge.origin.or(Some(step.index as u32));
            importer.define(step, Value::Map(Map { form: Form::Codes, ..map }))
        }
        (Form::Dequantised, _) => {
            let requantised = importer.apply(step, Op::Requantise, &[map], map.view)?;
            importer.round(step, requantised, coding)
        }
        (Form::Real, Some(_)) => Err(step.unsupported("rounds a map that another QuantizeLinear rounds otherwise")),
        (Form::Real, None) if importer.is_read(map.edge) => {
            Err(step.unsupported("rounds a map that is read before it is rounded; quantise every reader of the map"))
        }
        (Form::Real, None) => {
            if map.edge == importer.graph.input {
                let name = printable(step.node.output.first().map_or("", String::as_str));
                importer.notes.push(format!("the QuantizeLinear at the input is left out; the input is '{name}'"));
            }
            importer.round(step, map, coding)
        }
    }
}

pub fn dequantize<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let map = importer.coded(step, 0)?;
    importer.define(step, Value::Map(Map { form: Form::Dequantised, ..map }))
}

/// QLinearConv: x, its coding, w, its coding, y's coding, bias.
pub fn conv<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let input = importer.coded(step, 0)?;
    let weight = importer.coded_constant(step, 3)?;
    let coding = importer.output_coding(step, input, 6)?;
    let bias = importer.optional(step, 8)?;
    let map = layers::conv_map(importer, step, input, &weight, bias.as_deref())?;
    importer.round(step, map, coding)
}

/// QLinearMatMul: a, its coding, b, its coding, y's coding.
pub fn matmul<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let input = importer.coded(step, 0)?;
    let weight = by_column(importer, step, 3)?;
    let coding = importer.output_coding(step, input, 6)?;
    let map = layers::linear_map(importer, step, input, false, &weight, None)?;
    importer.round(step, map, coding)
}

/// QGemm: a, its coding, b, its coding, bias, y's coding.
pub fn gemm<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    layers::check_gemm(step)?;
    let by_output = step.integer("transB", 0)? != 0;
    let input = importer.coded(step, 0)?;
    let weight = if by_output { importer.coded_constant(step, 3)? } else { by_column(importer, step, 3)? };
    if step.input(7).is_none() {
        return Err(step.unsupported("gives floats; quantise its output too"));
    }
    let coding = importer.output_coding(step, input, 7)?;
    let bias = importer.optional(step, 6)?;
    let map = layers::linear_map(importer, step, input, by_output, &weight, bias.as_deref())?;
    importer.round(step, map, coding)
}

/// Weights with one scale per column.
fn by_column(importer: &mut Importer, step: &Step, position: usize) -> Result<Constant, Fault> {
    let constant = importer.constant(step, position)?;
    let (scale, zero_point) = (importer.constant(step, position + 1)?, importer.optional(step, position + 2)?);
    with_coding(step, &constant, &scale, zero_point.as_deref(), 1)
}

impl Importer<'_> {
    /// The coding of a QLinear operator's output, by default of its input's type.
    fn output_coding(&mut self, step: &Step, input: Map, position: usize) -> Result<QuantParams, Fault> {
        let codes = self.coding(step, input)?.codes;
        self.coding_at(step, position, position + 1, codes)
    }
}

/// QLinearAdd and QLinearMul: a, its coding, b, its coding, y's coding.
pub fn binary<'a>(importer: &mut Importer<'a>, step: &Step<'a>, op: Op) -> Result<(), Fault> {
    let operands = [importer.coded(step, 0)?, importer.coded(step, 3)?];
    let coding = importer.output_coding(step, operands[0], 6)?;
    let operands = maps::alike(importer, step, operands, &op)?;
    let map = importer.apply(step, op, &operands, operands[0].view)?;
    importer.round(step, map, coding)
}

/// An operator of one map: x, its coding, y's coding.
fn unary<'a>(
    importer: &mut Importer<'a>,
    step: &Step<'a>,
    apply: impl FnOnce(&mut Importer<'a>, Map) -> Result<Map, Fault>,
) -> Result<(), Fault> {
    if step.integer("channels_last", 0)? != 0 {
        return Err(step.unsupported("has its channels last; only N×C×H×W is done"));
    }
    let input = importer.coded(step, 0)?;
    let coding = importer.output_coding(step, input, 3)?;
    let map = apply(importer, input)?;
    importer.round(step, map, coding)
}

pub fn average_pool<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    unary(importer, step, |importer, input| maps::average_pool_map(importer, step, maps::map4(step, input)?))
}

pub fn global_average_pool<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    unary(importer, step, |importer, input| importer.apply(step, Op::Mean, &[maps::map4(step, input)?], View::Map))
}

pub fn activation<'a>(importer: &mut Importer<'a>, step: &Step<'a>, activation: Activation) -> Result<(), Fault> {
    unary(importer, step, |importer, input| importer.apply(step, Op::Activation(activation), &[input], input.view))
}

pub fn leaky_relu<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    activation(importer, step, Activation::LeakyRelu { slope: step.float("alpha", 0.01)? })
}

/// QLinearSoftmax; its attribute `opset` says which operator set's axis rule is meant.
pub fn softmax<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let opset = step.integer("opset", step.opset)?;
    unary(importer, step, |importer, input| maps::softmax_map(importer, step, input, opset))
}

/// QLinearConcat: y's coding, then every part with its coding.
pub fn concat<'a>(importer: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    let parts = (2..step.node.input.len()).step_by(3).map(|i| importer.coded(step, i)).collect::<Result<Vec<_>, _>>()?;
    let &first = parts.first().ok_or_else(|| step.malformed("joins nothing"))?;
    let coding = importer.output_coding(step, first, 0)?;
    let map = maps::concat_map(importer, step, &parts)?;
    importer.round(step, map, coding)
}

/// What a frozen trunk cannot do with a map, and why.
pub fn dynamic<'a>(_: &mut Importer<'a>, step: &Step<'a>) -> Result<(), Fault> {
    Err(step.unsupported(
        "computes with a scale that depends on each image, or gives bare accumulators; a frozen trunk has fixed scales: \
         quantise statically (onnxruntime.quantization.quantize_static)",
    ))
}

/// A constant behind a DequantizeLinear, with its codes.
pub fn dequantized_constant(step: &Step, inputs: &[Option<Rc<Constant>>]) -> Result<Constant, Fault> {
    let [Some(codes), Some(scale), rest @ ..] = inputs else {
        return Err(step.malformed("has no codes or no scale"));
    };
    let zero_point = rest.first().and_then(Option::as_deref);
    with_coding(step, codes, scale, zero_point, step.integer("axis", 1)?)
}
