//! Sum over the positions of each image of the product of two maps, by channel: h×w×c to 1×1×c, in
//! the tree of `lanes`.
//!
//! The gradient of a channel vector that a product spread over positions, of an affine scale among
//! them; of one that images share, `sum_rows` adds up the images.

use super::lanes::sum_positions;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Pixels and channels of the maps.
pub use super::channel_sum::{Params, invocations, output_words};

/// Gradient of the product, the other factor.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

pub fn call(params: Params, gradient: BufferId, factor: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::DotPositions, params: params.words(), inputs: vec![gradient, factor], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.pixels as usize)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.maps(); 2]
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let pair = floats(inputs[0]).par_chunks(p.image()).zip(floats(inputs[1]).par_chunks(p.image()));
    floats_mut(out).par_chunks_mut(c).zip(pair).for_each_init(Vec::new, |chains, (out, (a, b))| {
        sum_positions(out, p.pixels as usize, chains, |at, sums| {
            let pixel = at * c..(at + 1) * c;
            let products = a[pixel.clone()].iter().zip(&b[pixel]);
            sums.iter_mut().zip(products).for_each(|(sum, (a, b))| *sum += a * b);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_has_its_product() {
        let (a, b) = ([1.0f32, 2.0, 3.0, 4.0], [10.0f32, 1.0, 0.0, -1.0]);
        let mut out = [9; 2];
        twin(&Params::new(1, 2, 2), &[bytemuck::cast_slice(&a), bytemuck::cast_slice(&b)], &mut out);
        assert_eq!(floats(&out), [10.0, -2.0]);
    }
}
