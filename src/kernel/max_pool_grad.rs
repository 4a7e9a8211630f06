//! Gradient of maximum pooling: every input element gets that of the windows that chose it, in the order
//! `ky, kx` of its place in them.

use super::avg_pool::axes;
use super::max_pool_index::bits;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::avg_pool::Params;

/// Gradient of the output, indices by `max_pool_index`.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::U32], output: Cell::F32 };

pub fn call(params: Params, gradient: BufferId, indices: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::MaxPoolGrad, params: params.words(), inputs: vec![gradient, indices], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.kernel_h as usize * p.kernel_w as usize)
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [super::avg_pool::output_words(p), super::max_pool_index::output_words(p)]
}

pub fn output_words(p: &Params) -> usize {
    super::avg_pool::input_words(p)[0]
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (gradient, bits) = (floats(inputs[0]), bits(p));
    let (rows, columns) = axes(p);
    let (out_h, out_w, c) = (p.out_h as usize, p.out_w as usize, p.channels as usize);
    let per_word = (32 / bits) as usize;
    let index = |at: usize| (inputs[1][at / per_word] >> ((at % per_word) as u32 * bits)) & ((1 << bits) - 1);
    floats_mut(out).par_chunks_mut(columns.length * c).enumerate().for_each(|(i, out)| {
        let (image, y) = (i / rows.length, i % rows.length);
        for (x, out) in out.chunks_exact_mut(c).enumerate() {
            out.fill(0.0);
            for tap in 0..p.kernel_h * p.kernel_w {
                let (ky, kx) = ((tap / p.kernel_w) as usize, (tap % p.kernel_w) as usize);
                if let Some((oy, ox)) = rows.target(y, ky, out_h).zip(columns.target(x, kx, out_w)) {
                    let at = ((image * out_h + oy) * out_w + ox) * c;
                    let chosen = |(k, _): &(usize, &mut f32)| index(at + k) == tap;
                    out.iter_mut().enumerate().filter(chosen).for_each(|(k, sum)| *sum += gradient[at + k]);
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
    fn overlapping_windows_add_up_where_both_chose() {
        let pool = op::Pool { kernel: [1, 2], stride: [1, 1], pad: [0; 4] };
        let input = Shape::new(1, 3, 1);
        let p = Params::new(1, input, pool.output_shape(input).unwrap(), &pool);
        let gradient = [3.0f32, 4.0];
        let mut out = [9; 3];
        // Both windows chose the middle.
        twin(&p, &[bytemuck::cast_slice(&gradient), &[0b01]], &mut out);
        assert_eq!(floats(&out), [0.0, 7.0, 0.0]);
    }
}
