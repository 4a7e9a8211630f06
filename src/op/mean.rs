//! Mean over all positions of a map.

use crate::tensor::Shape;

pub fn output_shape(input: Shape) -> Shape {
    Shape::vector(input.c)
}
