//! Fully connected layer over the flattened map.

use crate::tensor::Shape;

/// Attributes of a linear layer. Weights are `[out][in]`, the input is flattened in NHWC order.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
