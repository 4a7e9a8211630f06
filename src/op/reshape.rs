//! The same elements under another shape.

use crate::tensor::Shape;

pub fn output_shape(input: Shape, to: Shape) -> Result<Shape, String> {
    if input.elements() == to.elements() {
        Ok(to)
    } else {
        Err(format!("cannot view {input} ({} elements) as {to} ({})", input.elements(), to.elements()))
    }
}
