//! Elementwise product; the second operand may be a mask (h×w×1) or a channel vector (1×1×c).

use crate::tensor::Shape;

pub fn output_shape(inputs: &[Shape]) -> Result<Shape, String> {
    match inputs {
        [a, b] if broadcasts(*a, *b) => Ok(*a),
        [a, b] => Err(format!(
            "multiplies {a} by a map of its shape, a mask {0}x{1}x1 or a vector 1x1x{2}; gets {b}",
            a.h, a.w, a.c
        )),
        _ => Err(format!("takes two inputs, has {}", inputs.len())),
    }
}

/// Whether `b` spreads over `a`.
pub fn broadcasts(a: Shape, b: Shape) -> bool {
    let same_map = (b.h, b.w) == (a.h, a.w);
    let one_pixel = (b.h, b.w) == (1, 1);
    (same_map && (b.c == a.c || b.c == 1)) || (one_pixel && (b.c == a.c || b.c == 1))
}

/// How far the index into `b` moves per pixel and per channel of `a`.
pub fn steps(a: Shape, b: Shape) -> (usize, usize) {
    let channel = usize::from(b.c == a.c);
    let pixel = if (b.h, b.w) == (a.h, a.w) { b.c } else { 0 };
    (pixel, channel)
}
