//! One tensor of the file: its shape, its coding, its constant data, each checked when asked for.

use super::{names, schema};
use crate::model::{Fault, printable};
use crate::quant::{CodeType, QuantParams};
use crate::tensor::Shape;
use std::fmt;

/// No map or weight of a network that fits a chip comes near; products of dimensions stay far from overflow.
const MAX_ELEMENTS: usize = i32::MAX as usize;

/// A tensor's place in the file and its declaration.
#[derive(Clone, Copy)]
pub struct TensorRef<'a> {
    pub index: u32,
    pub raw: schema::Tensor<'a>,
    /// Constant data; `None` for a map computed at run time.
    pub data: Option<&'a [u8]>,
}

impl fmt::Display for TensorRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tensor {} '{}'", self.index, printable(self.raw.name().unwrap_or("")))
    }
}

impl<'a> TensorRef<'a> {
    /// The element type's name in the schema, e.g. `INT8`.
    pub fn element(&self) -> &'static str {
        names::element(self.raw.kind())
    }

    fn malformed(&self, why: impl Into<String>) -> Fault {
        Fault::malformed(self, why)
    }
    fn unsupported(&self, why: impl Into<String>) -> Fault {
        Fault::unsupported(self, why)
    }

    /// The declared dimensions: one to four, each at least 1.
    pub fn dims(&self) -> Result<Vec<usize>, Fault> {
        let declared = self.raw.shape();
        let rank = declared.map_or(0, |shape| shape.len());
        if !(1..=4).contains(&rank) {
            return Err(self.unsupported(format!("has rank {rank}; ranks 1 to 4 are read")));
        }
        let mut elements = 1usize;
        let mut dims = vec![];
        for dim in declared.into_iter().flatten() {
            let n = usize::try_from(dim).ok().filter(|&n| n > 0);
            let n = n.ok_or_else(|| self.unsupported(format!("has a dimension of {dim}; shapes must be fixed")))?;
            elements = elements.checked_mul(n).filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| {
                self.malformed(format!("its dimensions multiply to more than {MAX_ELEMENTS} elements"))
            })?;
            dims.push(n);
        }
        Ok(dims)
    }

    /// The shape of one image of this map; the leading dimension must be `batch`.
    pub fn map_shape(&self, batch: usize) -> Result<Shape, Fault> {
        let dims = self.dims()?;
        // An unknown batch is the norm in converted models; any other unknown size is not fixed at all.
        let signature = self.raw.shape_signature().into_iter().flatten();
        if let Some((axis, _)) = signature.enumerate().skip(1).find(|&(_, dim)| dim < 0) {
            return Err(self.unsupported(format!("dimension {axis} is dynamic; convert the model with fixed shapes")));
        }
        let (leading, rest) = if dims.len() == 1 { (1, &dims[..]) } else { (dims[0], &dims[1..]) };
        if leading != batch {
            return Err(
                self.unsupported(format!("has shape {dims:?}, whose leading dimension is not the batch of {batch}"))
            );
        }
        Ok(match *rest {
            [h, w, c] => Shape::new(h, w, c),
            [w, c] => Shape::new(1, w, c),
            [c] => Shape::vector(c),
            _ => unreachable!("dims() bounds the rank"),
        })
    }

    /// How this map is coded: one scale and zero point, of 8 bits.
    pub fn coding(&self) -> Result<QuantParams, Fault> {
        let codes = match self.element() {
            "INT8" => CodeType::I8,
            "UINT8" => CodeType::U8,
            "FLOAT32" | "FLOAT16" => {
                return Err(self.unsupported(
                    "is not quantised; convert with full-integer quantisation (int8 inputs, outputs and operators)",
                ));
            }
            other => return Err(self.unsupported(format!("is of type {other}; maps must be INT8 or UINT8"))),
        };
        let (scales, zero_points) = self.scales_and_zero_points()?;
        let ([scale], [zero_point]) = (&scales[..], &zero_points[..]) else {
            return Err(self.malformed(format!("has {} scales; a map has exactly one", scales.len())));
        };
        Ok(QuantParams { scale: *scale, zero_point: zero_point - codes.offset(), codes })
    }

    /// Scales, finite and positive, and as many zero points, in the range of the element type.
    fn scales_and_zero_points(&self) -> Result<(Vec<f32>, Vec<i32>), Fault> {
        let quant = self.raw.quantization().ok_or_else(|| self.malformed("has no quantisation parameters"))?;
        if quant.details_type() != 0 {
            return Err(self.unsupported("has a custom quantisation; only affine is read"));
        }
        let scales: Vec<f32> = quant.scale().into_iter().flatten().collect();
        if let Some(bad) = scales.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(self.malformed(format!("has a scale of {bad}; scales are finite and above 0")));
        }
        if scales.is_empty() {
            return Err(self.malformed("has no scale"));
        }
        let (low, high) = if self.element() == "UINT8" { (0, 255) } else { (-128, 127) };
        let mut zero_points = vec![];
        for zero_point in quant.zero_point().into_iter().flatten() {
            if !(low..=high).contains(&zero_point) {
                return Err(self.malformed(format!("has a zero point of {zero_point}, outside {low}..={high}")));
            }
            zero_points.push(zero_point as i32);
        }
        if zero_points.is_empty() {
            zero_points = vec![0; scales.len()];
        }
        if zero_points.len() != scales.len() {
            return Err(self.malformed(format!("has {} scales but {} zero points", scales.len(), zero_points.len())));
        }
        Ok((scales, zero_points))
    }

    /// Scales (one, or one per channel along `axis`) and zero point of a weight, in the signed view.
    pub fn weight_coding(&self, axis: usize, channels: usize) -> Result<(Vec<f32>, i32), Fault> {
        let (scales, zero_points) = self.scales_and_zero_points()?;
        if scales.len() != 1 && scales.len() != channels {
            let why =
                format!("has {} scales; a weight of {channels} output channels has 1 or {channels}", scales.len());
            return Err(self.malformed(why));
        }
        let declared = self.raw.quantization().map_or(0, |q| q.quantized_dimension());
        if scales.len() > 1 && usize::try_from(declared) != Ok(axis) {
            return Err(self.malformed(format!("is quantised along dimension {declared}, output channels are {axis}")));
        }
        if self.element() == "UINT8" {
            return match zero_points[..] {
                [zero_point] => Ok((scales, zero_point - CodeType::U8.offset())),
                _ => Err(self.unsupported("is UINT8 and quantised per channel; legacy models are per tensor")),
            };
        }
        match zero_points.iter().find(|&&z| z != 0) {
            Some(z) => Err(self.unsupported(format!("is an INT8 weight with zero point {z}; it must be 0"))),
            None => Ok((scales, 0)),
        }
    }

    /// The constant bytes, as many as the shape and the element size ask for.
    fn constant(&self, element_bytes: usize) -> Result<&'a [u8], Fault> {
        if self.raw.sparsity().is_some() {
            return Err(self.unsupported("is stored sparsely; convert without sparsity"));
        }
        let data = self.data.ok_or_else(|| self.unsupported("is computed at run time; it must be a constant"))?;
        let wanted = self.dims()?.iter().product::<usize>() * element_bytes;
        if data.len() != wanted {
            return Err(self.malformed(format!("holds {} bytes, its shape asks for {wanted}", data.len())));
        }
        Ok(data)
    }

    /// Constant 8-bit codes in the signed view.
    pub fn codes(&self) -> Result<Vec<i8>, Fault> {
        match self.element() {
            "INT8" => Ok(self.constant(1)?.iter().map(|&b| b as i8).collect()),
            // u - 128 is the same bits with the top one flipped.
            "UINT8" => Ok(self.constant(1)?.iter().map(|&b| (b ^ 0x80) as i8).collect()),
            other => Err(self.unsupported(format!(
                "is a weight of type {other}; weights must be INT8 or UINT8 (convert with full-integer quantisation)"
            ))),
        }
    }

    /// Constant 32-bit integers: a bias.
    pub fn int32s(&self) -> Result<Vec<i32>, Fault> {
        if self.element() != "INT32" {
            return Err(self.unsupported(format!("is of type {}; it must be INT32", self.element())));
        }
        Ok(self.constant(4)?.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// Constant integers that direct an operator: axes, paddings.
    pub fn integers(&self) -> Result<Vec<i64>, Fault> {
        match self.element() {
            "INT64" => Ok(self
                .constant(8)?
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]))
                .collect()),
            _ => Ok(self.int32s()?.into_iter().map(i64::from).collect()),
        }
    }
}
