//! Gradient of average pooling: every input element gets its share of the windows over it, each divided
//! by the number of its valid positions, in the order `ky, kx` of its place in them.

use super::avg_pool::axes;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::avg_pool::Params;

/// Gradient of the output.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

pub fn call(params: Params, gradient: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::AvgPoolGrad, params: params.words(), inputs: vec![gradient], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.kernel_h as usize * p.kernel_w as usize)
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [super::avg_pool::output_words(p)]
}

pub fn output_words(p: &Params) -> usize {
    super::avg_pool::input_words(p)[0]
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let gradient = floats(inputs[0]);
    let (rows, columns) = axes(p);
    let (out_h, out_w, c) = (p.out_h as usize, p.out_w as usize, p.channels as usize);
    let (kernel_h, kernel_w) = (p.kernel_h as usize, p.kernel_w as usize);
    let high = |y| (0..kernel_h).filter(|&k| rows.source(y, k).is_some()).count();
    let wide = |x| (0..kernel_w).filter(|&k| columns.source(x, k).is_some()).count();
    floats_mut(out).par_chunks_mut(columns.length * c).enumerate().for_each(|(i, out)| {
        let (image, y) = (i / rows.length, i % rows.length);
        for (x, out) in out.chunks_exact_mut(c).enumerate() {
            out.fill(0.0);
            for oy in (0..kernel_h).filter_map(|k| rows.target(y, k, out_h)) {
                for ox in (0..kernel_w).filter_map(|k| columns.target(x, k, out_w)) {
                    let at = ((image * out_h + oy) * out_w + ox) * c;
                    let valid = (high(oy) * wide(ox)) as f32;
                    out.iter_mut().zip(&gradient[at..at + c]).for_each(|(sum, g)| *sum += g / valid);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op;
    use crate::tensor::Shape;

    #[test]
    fn a_window_in_the_padding_gives_more_to_each() {
        let pool = op::Pool { kernel: [2, 2], stride: [1, 1], pad: [1, 1, 0, 0] };
        let input = Shape::new(2, 2, 1);
        let p = Params::new(1, input, pool.output_shape(input).unwrap(), &pool);
        let gradient = [4.0f32; 4];
        let mut out = [9; 4];
        twin(&p, &[bytemuck::cast_slice(&gradient)], &mut out);
        assert_eq!(floats(&out), [9.0, 3.0, 3.0, 1.0]);
    }
}
