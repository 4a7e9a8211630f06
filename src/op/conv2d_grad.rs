//! The input gradient of a convolution: what reaches each input from the outputs that read it.
//!
//! A linear layer is the convolution of one pixel ([`Linear::as_conv2d`](super::Linear::as_conv2d)).
//! Padding gets nothing. There is no weight gradient here: a trunk's weights are frozen.

use super::Conv2d;
use crate::tensor::Shape;

/// Adds to `gradient` (one image of `input`, channels innermost) the products `error · weight` of every
/// output that reads an element, in the order ky, kx, output channel. Each product and each sum rounds on
/// its own, so the bits depend on no instruction set and no tile.
///
/// `weights` are `[out][kh][kw][in / groups]`, as the graph has them.
pub fn input_grad_f32(conv: &Conv2d, input: Shape, weights: &[f32], error: &[f32], gradient: &mut [f32]) {
    transposed(conv, input, weights, error, gradient, |sum, e, w| *sum += e * w);
}

/// The same on codes: the exact sums of error mantissas times weights (codes without their zero point).
pub fn input_grad_int(conv: &Conv2d, input: Shape, weights: &[i16], error: &[i16], gradient: &mut [i64]) {
    transposed(conv, input, weights, error, gradient, |sum, e, w| *sum += i64::from(e) * i64::from(w));
}

/// The transposed loop: every input position gathers, so that its sums have one order.
#[inline(always)]
fn transposed<T: Copy, A>(
    conv: &Conv2d,
    input: Shape,
    weights: &[T],
    error: &[T],
    gradient: &mut [A],
    add: impl Fn(&mut A, T, T),
) {
    let output = conv.output_shape(input).expect("the graph has checked this convolution");
    assert_eq!(weights.len(), conv.weights(), "weights do not fill the filters");
    assert_eq!((error.len(), gradient.len()), (output.elements(), input.elements()), "one image each");
    let [kh, kw] = conv.kernel;
    let (inputs, outputs) = (conv.in_c / conv.groups, conv.out_c / conv.groups);
    for (pixel, gradient) in gradient.chunks_exact_mut(conv.in_c.max(1)).enumerate() {
        let (y, x) = (pixel / input.w, pixel % input.w);
        for tap in 0..kh * kw {
            let (oy, ox) = (conv.reader(0, y, tap / kw, output.h), conv.reader(1, x, tap % kw, output.w));
            let Some((oy, ox)) = oy.zip(ox) else { continue };
            let error = &error[(oy * output.w + ox) * conv.out_c..][..conv.out_c];
            for (o, &e) in error.iter().enumerate() {
                let weights = &weights[(o * kh * kw + tap) * inputs..][..inputs];
                let gradient = &mut gradient[o / outputs * inputs..][..inputs];
                gradient.iter_mut().zip(weights).for_each(|(sum, &w)| add(sum, e, w));
            }
        }
    }
}

impl Conv2d {
    /// The output position, of `outputs` along `axis`, whose tap `tap` reads input position `at`.
    pub fn reader(&self, axis: usize, at: usize, tap: usize, outputs: usize) -> Option<usize> {
        let from = (at + self.pad[axis]).checked_sub(tap * self.dilation[axis])?;
        let stride = self.stride[axis];
        Some(from / stride).filter(|&o| from.is_multiple_of(stride) && o < outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn random(seed: u64, n: usize, most: i64) -> Vec<i16> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as i64 % (2 * most + 1) - most) as i16
        };
        (0..n).map(|_| next()).collect()
    }

    /// The convolution as its formula stands, on exact integers.
    fn forward(conv: &Conv2d, input: Shape, weights: &[i16], x: &[i16]) -> Vec<i64> {
        let output = conv.output_shape(input).unwrap();
        let (inputs, outputs) = (conv.in_c / conv.groups, conv.out_c / conv.groups);
        let mut y = vec![0; output.elements()];
        for (i, y) in y.iter_mut().enumerate() {
            let (oy, ox, o) = (i / output.c / output.w, i / output.c % output.w, i % output.c);
            for (k, &w) in weights[o * conv.depth()..][..conv.depth()].iter().enumerate() {
                let (ky, kx, c) = (k / inputs / conv.kernel[1], k / inputs % conv.kernel[1], k % inputs);
                let iy = (oy * conv.stride[0] + ky * conv.dilation[0]) as isize - conv.pad[0] as isize;
                let ix = (ox * conv.stride[1] + kx * conv.dilation[1]) as isize - conv.pad[1] as isize;
                if (0..input.h as isize).contains(&iy) && (0..input.w as isize).contains(&ix) {
                    let at = (iy as usize * input.w + ix as usize) * input.c + o / outputs * inputs + c;
                    *y += i64::from(w) * i64::from(x[at]);
                }
            }
        }
        y
    }

    fn dot(a: &[i16], b: &[i64]) -> i64 {
        a.iter().zip(b).map(|(&a, &b)| i64::from(a) * b).sum()
    }

    proptest! {
        /// A linear map and its transpose: `⟨e, f(x)⟩ = ⟨fᵀ(e), x⟩` for all x and e, exactly.
        #[test]
        fn the_gradient_is_the_transpose_of_the_convolution(
            seed in any::<u64>(), (h, w) in (4usize..8, 4usize..8), groups in 1usize..4,
            (per_in, per_out) in (1usize..4, 1usize..4), kernel in [1usize..4, 1..4], stride in [1usize..4, 1..4],
            dilation in [1usize..3, 1..3], pad in [0usize..3, 0..3, 0..3, 0..3],
        ) {
            let (in_c, out_c) = (groups * per_in, groups * per_out);
            let conv = Conv2d { in_c, out_c, kernel, stride, dilation, pad, groups };
            let input = Shape::new(h, w, in_c);
            let Ok(output) = conv.output_shape(input) else { return Ok(()) };
            let weights = random(seed, conv.weights(), 255);
            let (x, e) = (random(seed ^ 1, input.elements(), 255), random(seed ^ 2, output.elements(), 32767));
            let mut gradient = vec![0; input.elements()];
            input_grad_int(&conv, input, &weights, &e, &mut gradient);
            prop_assert_eq!(dot(&x, &gradient), dot(&e, &forward(&conv, input, &weights, &x)));
            // Few enough bits that floats are exact too.
            let small: Vec<f32> = e.iter().map(|&e| f32::from(e / 1024)).collect();
            let whole: Vec<i16> = e.iter().map(|&e| e / 1024).collect();
            let (mut ints, mut floats) = (vec![0; input.elements()], vec![0.0; input.elements()]);
            input_grad_int(&conv, input, &weights, &whole, &mut ints);
            let weights: Vec<f32> = weights.iter().map(|&w| f32::from(w)).collect();
            input_grad_f32(&conv, input, &weights, &small, &mut floats);
            prop_assert!(ints.iter().zip(&floats).all(|(&i, &f)| i as f32 == f));
        }
    }
}
