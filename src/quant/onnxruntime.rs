//! ONNX Runtime's formulas for integer operations that are no weight layers (CPU, SPEC 5.4).
//!
//! Each step is one f32 rounding, in the order in which the runtime takes it, on the codes as they
//! are presented outside. Where its zero point is added before the last rounding, ties with an odd
//! zero point go the other way than where it is added after. Nothing here saturates to eight bits:
//! values are in the engine's signed view, and the clamp comes after.

use super::QuantParams;

/// The quantisation of one operand, as presented outside.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Coding {
    scale: f32,
    zero_point: i32,
    /// From an engine code to the presented one.
    offset: i32,
}

impl Coding {
    fn of(params: &QuantParams) -> Self {
        let offset = params.codes.offset();
        Self { scale: params.scale, zero_point: params.zero_point + offset, offset }
    }

    fn presented(self, q: i8) -> i32 {
        i32::from(q) + self.offset
    }

    fn centred(self, q: i8) -> i32 {
        self.presented(q) - self.zero_point
    }

    fn real(self, q: i8) -> f32 {
        self.centred(q) as f32 * self.scale
    }

    /// Rounds ties to even; the zero point is in `value` already.
    fn inside(self, value: f32) -> i32 {
        (value.round_ties_even() as i32).saturating_sub(self.offset)
    }

    /// Rounds ties to even, then adds the zero point.
    fn after(self, value: f32) -> i32 {
        (value.round_ties_even() as i32).saturating_add(self.zero_point - self.offset)
    }

    /// QuantizeLinear: a true division, zero point after.
    fn quantise(self, real: f32) -> i32 {
        self.after(real / self.scale)
    }

    fn words(self) -> [i32; 3] {
        [self.scale.to_bits() as i32, self.zero_point, self.offset]
    }
}

/// QuantizeLinear.
pub fn quantize_linear(real: f32, y: &QuantParams) -> i32 {
    Coding::of(y).quantise(real)
}

/// A function of one map: DequantizeLinear, the function in f32, QuantizeLinear. QLinearLeakyRelu and
/// QLinearSigmoid are this for every code, and so is each part of QLinearConcat.
pub fn through_f32(q: i8, x: &QuantParams, y: &QuantParams, f: impl Fn(f32) -> f32) -> i32 {
    quantize_linear(f(Coding::of(x).real(q)), y)
}

/// QLinearAdd: zero point inside, in the constant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Add {
    codings: [Coding; 3],
    ratios: [f32; 2],
    constant: f32,
}

impl Add {
    pub fn new(a: &QuantParams, b: &QuantParams, y: &QuantParams) -> Self {
        let [a, b, y] = [a, b, y].map(Coding::of);
        let ratios = [a.scale / y.scale, b.scale / y.scale];
        let constant = y.zero_point as f32 - (ratios[0] * a.zero_point as f32 + ratios[1] * b.zero_point as f32);
        Self { codings: [a, b, y], ratios, constant }
    }

    #[inline]
    pub fn value(&self, a: i8, b: i8) -> i32 {
        self.codings[2].inside(self.real(a, b))
    }

    /// The value before it is rounded, as codes are presented outside.
    #[inline]
    pub(crate) fn real(&self, a: i8, b: i8) -> f32 {
        let [qa, qb, _] = self.codings;
        let (a, b) = (qa.presented(a) as f32, qb.presented(b) as f32);
        a.mul_add(self.ratios[0], b.mul_add(self.ratios[1], self.constant))
    }

    /// From an engine code to the presented one.
    pub(crate) fn offset(&self) -> i32 {
        self.codings[2].offset
    }

    /// Whether every value is a number.
    pub(crate) fn is_finite(&self) -> bool {
        self.ratios.iter().chain([&self.constant]).all(|v| v.abs() < 2f32.powi(100))
    }

    /// Everything that can change a value.
    pub fn words(&self) -> Vec<i32> {
        self.codings.iter().flat_map(|c| c.words()).collect()
    }
}

/// QLinearMul: zero point inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mul {
    codings: [Coding; 3],
    factor: f32,
}

impl Mul {
    pub fn new(a: &QuantParams, b: &QuantParams, y: &QuantParams) -> Self {
        let [a, b, y] = [a, b, y].map(Coding::of);
        Self { codings: [a, b, y], factor: a.scale * b.scale / y.scale }
    }

    #[inline]
    pub fn value(&self, a: i8, b: i8) -> i32 {
        let [qa, qb, y] = self.codings;
        let product = (qa.centred(a) * qb.centred(b)) as f32;
        y.inside(product * self.factor + y.zero_point as f32)
    }

    /// Everything that can change a value.
    pub fn words(&self) -> Vec<i32> {
        self.codings.iter().flat_map(|c| c.words()).collect()
    }
}

/// QLinearAveragePool: sums of real values in f32, zero point inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    x: Coding,
    y: Coding,
}

impl Average {
    pub fn new(x: &QuantParams, y: &QuantParams) -> Self {
        Self { x: Coding::of(x), y: Coding::of(y) }
    }

    /// What one position adds to its window's sum.
    #[inline]
    pub fn real(&self, q: i8) -> f32 {
        self.x.real(q)
    }

    /// The mean of `n` positions.
    #[inline]
    pub fn value(&self, sum: f32, n: usize) -> i32 {
        self.y.inside(sum / n as f32 / self.y.scale + self.y.zero_point as f32)
    }

    /// Everything that can change a value.
    pub fn words(&self) -> Vec<i32> {
        [self.x.words(), self.y.words()].concat()
    }
}

/// QLinearSoftmax over one row: exponentials relative to the largest code come from a table of f32
/// values; the share is scaled by how many whole steps fit 1, zero point after.
#[derive(Clone, Debug, PartialEq)]
pub struct Softmax {
    y: Coding,
    /// `⌊f32(1 / s_y)⌋`: 254, where a scale of 1/255 is a little above that.
    steps: f32,
    /// For differences -255 to 0 to the largest code.
    exponentials: Vec<f32>,
}

impl Softmax {
    pub fn new(beta: f32, x: &QuantParams, y: &QuantParams) -> Self {
        let exponential = |d: i32| (f64::from(d) * f64::from(x.scale) * f64::from(beta)).exp() as f32;
        Self { y: Coding::of(y), steps: (1.0 / y.scale).floor(), exponentials: (-255..=0).map(exponential).collect() }
    }

    /// `exp` of a difference to the largest code.
    #[inline]
    pub fn exponential(&self, difference: i32) -> f32 {
        self.exponentials[(255 + difference) as usize]
    }

    #[inline]
    pub fn value(&self, exponential: f32, sum: f32) -> i32 {
        self.y.after(exponential * self.steps / sum)
    }

    /// Everything that can change a value.
    pub fn words(&self) -> Vec<i32> {
        self.y.words().into_iter().chain(self.exponentials.iter().map(|e| e.to_bits() as i32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::CodeType;

    const fn params(scale: f32, zero_point: i32) -> QuantParams {
        QuantParams { scale, zero_point, codes: CodeType::I8 }
    }

    #[test]
    fn ties_show_on_which_side_the_zero_point_is() {
        // Halves -7/2 … 7/2 as averages of two codes.
        let of = |z, unsigned| {
            let codes = if unsigned { CodeType::U8 } else { CodeType::I8 };
            let average = Average::new(&params(1.0, 0), &QuantParams { codes, ..params(1.0, z) });
            (-7..=7).step_by(2).map(|n| average.value(average.real(n) + average.real(0), 2)).collect::<Vec<_>>()
        };
        assert_eq!(of(0, false), [-4, -2, -2, 0, 0, 2, 2, 4]);
        assert_eq!(of(1, false), [-2, -2, 0, 0, 2, 2, 4, 4]);
        assert_eq!(of(1, true), of(1, false), "an offset of 128 keeps odd zero points odd");
    }

    #[test]
    fn quantize_linear_divides() {
        let x = [-64.6, -1.25, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 1.75, 63.4, 1e9];
        let y = x.map(|v| quantize_linear(v, &params(0.5, 3)));
        assert_eq!(y, [-126, 1, 1, 3, 3, 3, 5, 5, 7, 130, 2_000_000_003]);
        let unsigned = QuantParams { codes: CodeType::U8, ..params(0.5, 3) };
        assert_eq!(x.map(|v| quantize_linear(v, &unsigned)), y, "a code is a code in the engine's view");
    }
}
