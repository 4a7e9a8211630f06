//! ONNX Runtime's formulas for integer operations that are no weight layers (CPU, SPEC 5.4).
//!
//! Each step is one f32 rounding, in the order in which the runtime takes it. Where its zero point
//! is added before the last rounding, ties with an odd zero point go the other way than where it
//! is added after.

/// The quantisation of one operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coding {
    pub scale: f32,
    pub zero_point: i32,
}

/// Rounds ties to even and saturates to int8; the zero point is in `value` already.
fn inside(value: f32) -> i8 {
    value.round_ties_even().clamp(-128.0, 127.0) as i8
}

/// Rounds ties to even, then adds the zero point and saturates to int8.
fn after(value: f32, zero_point: i32) -> i8 {
    let bounds = ((-128 - zero_point) as f32, (127 - zero_point) as f32);
    (value.round_ties_even().clamp(bounds.0, bounds.1) as i32 + zero_point) as i8
}

/// QuantizeLinear: a true division, zero point after.
pub fn quantize_linear(value: f32, y: Coding) -> i8 {
    after(value / y.scale, y.zero_point)
}

/// QLinearAdd: zero point inside.
pub fn add(a: i8, b: i8, qa: Coding, qb: Coding, y: Coding) -> i8 {
    let (ra, rb) = (qa.scale / y.scale, qb.scale / y.scale);
    let constant = y.zero_point as f32 - (ra * qa.zero_point as f32 + rb * qb.zero_point as f32);
    inside(f32::from(a).mul_add(ra, f32::from(b).mul_add(rb, constant)))
}

/// QLinearMul: zero point inside.
pub fn mul(a: i8, b: i8, qa: Coding, qb: Coding, y: Coding) -> i8 {
    let product = ((i32::from(a) - qa.zero_point) * (i32::from(b) - qb.zero_point)) as f32;
    inside(product * (qa.scale * qb.scale / y.scale) + y.zero_point as f32)
}

/// QLinearAveragePool of one window: zero point inside. Asserts that the window is not empty.
pub fn average(window: &[i8], x: Coding, y: Coding) -> i8 {
    assert!(!window.is_empty(), "an average of nothing");
    let sum = window.iter().fold(0.0f32, |sum, &q| sum + (i32::from(q) - x.zero_point) as f32 * x.scale);
    inside(sum / window.len() as f32 / y.scale + y.zero_point as f32)
}

/// QLinearGlobalAveragePool: zero point after. Asserts that the map is not empty.
pub fn global_average(map: &[i8], x: Coding, y: Coding) -> i8 {
    assert!(!map.is_empty(), "an average of nothing");
    let sum: i32 = map.iter().map(|&q| i32::from(q) - x.zero_point).sum();
    after(sum as f32 * (x.scale / (y.scale * map.len() as f32)), y.zero_point)
}

/// QLinearLeakyRelu: zero point after.
pub fn leaky_relu(q: i8, slope: f32, x: Coding, y: Coding) -> i8 {
    let real = (i32::from(q) - x.zero_point) as f32 * x.scale;
    let leaked = if real >= 0.0 { real } else { slope * real };
    after(leaked / y.scale, y.zero_point)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn coding(scale: f32, zero_point: i32) -> Coding {
        Coding { scale, zero_point }
    }

    const A: [i8; 7] = [-128, -50, 0, 3, 77, 127, 10];
    const B: [i8; 7] = [127, 20, -7, 0, -90, -128, 11];

    #[test]
    fn sums_and_products() {
        let (qa, qb) = (coding(0.05, 3), coding(0.02, -7));
        let sums: Vec<i8> = A.iter().zip(B).map(|(&a, b)| add(a, b, qa, qb, coding(0.06, -1))).collect();
        assert_eq!(sums, [-66, -36, -4, 1, 33, 62, 11]);
        let products: Vec<i8> = A.iter().zip(B).map(|(&a, b)| mul(a, b, qa, qb, coding(0.04, 5))).collect();
        assert_eq!(products, [-128, -31, 5, 5, -128, -128, 8]);
    }

    #[test]
    fn leaky_relu_rounds_ties_to_even_where_tflite_does_not() {
        let codes = [-128, -77, -11, -10, -9, 0, 50, 127];
        let y = codes.map(|q| leaky_relu(q, 0.1, coding(0.05, -10), coding(0.04, -30)));
        assert_eq!(y, [-45, -38, -30, -30, -29, -18, 45, 127]);
    }

    #[test]
    fn ties_show_on_which_side_the_zero_point_is() {
        // Halves -7/2 … 7/2 as averages of two codes.
        let halves: Vec<[i8; 2]> = [-7i8, -5, -3, -1, 1, 3, 5, 7].iter().map(|&n| [n, 0]).collect();
        let x = coding(1.0, 0);
        let average_of = |z| halves.iter().map(|w| average(w, x, coding(1.0, z))).collect::<Vec<_>>();
        let global_of = |z| halves.iter().map(|w| global_average(w, x, coding(1.0, z))).collect::<Vec<_>>();
        assert_eq!(average_of(0), [-4, -2, -2, 0, 0, 2, 2, 4]);
        assert_eq!(average_of(1), [-2, -2, 0, 0, 2, 2, 4, 4]);
        assert_eq!(global_of(0), [-4, -2, -2, 0, 0, 2, 2, 4]);
        assert_eq!(global_of(1), [-3, -1, -1, 1, 1, 3, 3, 5]);
    }

    #[test]
    fn quantize_linear_divides() {
        let x = [-1e9, -64.6, -1.25, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 1.75, 63.4, 1e9];
        let y = x.map(|v| quantize_linear(v, coding(0.5, 3)));
        assert_eq!(y, [-128, -126, 1, 1, 3, 3, 3, 5, 5, 7, 127, 127]);
    }
}
