//! Fully connected layer over the flattened map.

use super::product::{self, Join, PackedWeights, Product};
use super::{Conv2d, Counts};
use crate::tensor::{Shape, Tensor};
use crate::units::Macs;
use rayon::prelude::*;

/// Attributes of a linear layer. Weights are `[out][in]`, the input is flattened in NHWC order.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
}

impl Linear {
    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        if input.elements() != self.inputs {
            return Err(format!("expects {} inputs, gets {input} = {}", self.inputs, input.elements()));
        }
        Ok(Shape::vector(self.outputs))
    }

    pub fn macs(&self) -> u64 {
        self.inputs as u64 * self.outputs as u64
    }

    /// The same layer as a convolution of one pixel.
    pub fn as_conv2d(&self) -> Conv2d {
        Conv2d::square(self.inputs, self.outputs, 1, 1, 0)
    }
}

/// Orders weight codes for [`int8`].
pub fn pack(linear: &Linear, codes: &[i8], zero_points: &[i32]) -> PackedWeights {
    assert_eq!(codes.len(), linear.inputs * linear.outputs, "weight codes do not fill the layer");
    PackedWeights { values: PackedWeights::centred(codes, zero_points, linear.outputs), tap_major: false }
}

/// The int8 linear layer: `acc = Σ (q_x - z_x)(q_w - z_w) + b`, joined, requantised per output.
pub fn int8(linear: &Linear, x: &Tensor<i8>, p: &Product, join: Option<Join<'_>>) -> (Tensor<i8>, Counts) {
    let mut y = Tensor::zeros(x.batch, Shape::vector(linear.outputs));
    if y.data.is_empty() {
        return (y, Counts::default());
    }
    let centred = product::centre(&x.data, p.input_zero_point);
    let image = x.shape.elements();
    let counts = y
        .data
        .par_chunks_mut(linear.outputs)
        .enumerate()
        .map(|(n, codes)| {
            let mut counts = Counts::default();
            let x = &centred[n * image..(n + 1) * image];
            for (c, code) in codes.iter_mut().enumerate() {
                let w = &p.weights.values[c * linear.inputs..][..linear.inputs];
                counts.macs += Macs(w.len() as u64);
                let joined = join.map(|j| j.at(n * linear.outputs + c));
                *code = match p.accumulator {
                    None => p.registers.code(c, product::dot(x, w) + joined.unwrap_or(0), &p.output, &mut counts),
                    Some(acc) => p.code_on(acc, c, product::products(x, w), joined, &mut counts),
                };
            }
            counts
        })
        .sum();
    (y, counts)
}
