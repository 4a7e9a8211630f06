//! Maximum pooling; the padding is never chosen.
//!
//! The first of equal positions in the order `ky, kx` is kept. What a NaN gives is not defined.

use super::window::pixel;
use super::{BufferId, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// The window of an average pool, in every respect.
pub use super::avg_pool::{BINDINGS, Params, input_words, invocations, output_words};

use super::avg_pool::axes;

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::MaxPool, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::CHOSEN
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let map = floats(inputs[0]);
    let (c, out_w) = (p.channels as usize, p.out_w as usize);
    let (rows, columns) = axes(p);
    floats_mut(out).par_chunks_mut(out_w * c).enumerate().for_each(|(i, out)| {
        let (image, y, _) = pixel(i * out_w, p.out_h as usize, out_w);
        for (x, out) in out.chunks_exact_mut(c).enumerate() {
            let mut first = true;
            for iy in (0..p.kernel_h as usize).filter_map(|k| rows.source(y, k)) {
                for ix in (0..p.kernel_w as usize).filter_map(|k| columns.source(x, k)) {
                    let at = ((image * rows.length + iy) * columns.length + ix) * c;
                    let map = &map[at..at + c];
                    match first {
                        true => out.copy_from_slice(map),
                        false => out.iter_mut().zip(map).for_each(|(max, &x)| *max = if x > *max { x } else { *max }),
                    }
                    first = false;
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
    fn padding_is_never_the_maximum() {
        let pool = op::Pool { kernel: [2, 2], stride: [1, 1], pad: [1, 1, 0, 0] };
        let input = Shape::new(2, 2, 1);
        let p = Params::new(1, input, pool.output_shape(input).unwrap(), &pool);
        let map = [-4.0f32, -3.0, -2.0, -1.0];
        let mut out = [0; 4];
        twin(&p, &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!(floats(&out), [-4.0, -3.0, -2.0, -1.0]);
    }
}
