//! Concatenation along channels.

use crate::tensor::Shape;

pub fn output_shape(inputs: &[Shape]) -> Result<Shape, String> {
    let Some(first) = inputs.first() else {
        return Err("takes at least one input, has none".into());
    };
    if let Some(other) = inputs.iter().find(|s| (s.h, s.w) != (first.h, first.w)) {
        return Err(format!("joins maps of one height and width, gets {first} and {other}"));
    }
    Ok(Shape::new(first.h, first.w, inputs.iter().map(|s| s.c).sum()))
}
