//! Which position of its window a maximum pooling chose, packed: all that its gradient needs.
//!
//! The index is `ky * kernel_w + kx` of the first largest valid position. Indices take 1, 2, 4, 8 or
//! 16 bits, the fewest that hold them, the first in the lowest bits of a word.

use super::avg_pool::axes;
use super::window::pixel;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::avg_pool::Params;

/// The forward kernel's input.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::U32 };

/// Words that one task packs.
const TASK_WORDS: usize = 256;

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::MaxPoolIndex, params: params.words(), inputs: vec![map], output }
}

/// Bits of an index.
pub fn bits(p: &Params) -> u32 {
    index_bits(p.kernel_h as usize * p.kernel_w as usize)
}

/// The fewest bits of 1, 2, 4, 8 and 16 that hold an index into `positions` positions.
pub fn index_bits(positions: usize) -> u32 {
    assert!(positions <= 1 << 16, "an index into {positions} positions");
    positions.next_power_of_two().trailing_zeros().next_power_of_two()
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    super::avg_pool::input_words(p)
}

pub fn output_words(p: &Params) -> usize {
    super::avg_pool::output_words(p).div_ceil((32 / bits(p)) as usize)
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (map, bits) = (floats(inputs[0]), bits(p));
    let per_word = (32 / bits) as usize;
    let total = super::avg_pool::output_words(p);
    out.par_chunks_mut(TASK_WORDS).enumerate().for_each(|(task, out)| {
        for (word, out) in out.iter_mut().enumerate() {
            let first = (task * TASK_WORDS + word) * per_word;
            let index = |i: usize| chosen(p, map, i) << ((i - first) as u32 * bits);
            *out = (first..(first + per_word).min(total)).map(index).fold(0, |w, i| w | i);
        }
    });
}

/// The index for one output element.
fn chosen(p: &Params, map: &[f32], element: usize) -> u32 {
    let c = p.channels as usize;
    let (rows, columns) = axes(p);
    let (image, y, x) = pixel(element / c, p.out_h as usize, p.out_w as usize);
    let mut best: Option<(f32, u32)> = None;
    for ky in 0..p.kernel_h as usize {
        for kx in 0..p.kernel_w as usize {
            if let Some((iy, ix)) = rows.source(y, ky).zip(columns.source(x, kx)) {
                let value = map[((image * rows.length + iy) * columns.length + ix) * c + element % c];
                if best.is_none_or(|(largest, _)| value > largest) {
                    best = Some((value, (ky * p.kernel_w as usize + kx) as u32));
                }
            }
        }
    }
    best.map_or(0, |(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op;
    use crate::tensor::Shape;

    #[test]
    fn the_first_of_equal_positions_is_chosen() {
        let pool = op::Pool { kernel: [2, 2], stride: [1, 1], pad: [1, 1, 0, 0] };
        let input = Shape::new(2, 2, 1);
        let p = Params::new(1, input, pool.output_shape(input).unwrap(), &pool);
        let map = [-1.0f32, -1.0, -2.0, 5.0];
        let mut out = [9];
        twin(&p, &[bytemuck::cast_slice(&map)], &mut out);
        // The windows begin in the padding: their last position, then the first that is not padding.
        assert_eq!(out, [0b11_01_10_11]);
        let sizes = [[1, 1], [2, 1], [2, 2], [3, 3], [5, 4], [17, 17]];
        assert_eq!(sizes.map(|[h, w]| bits(&Params { kernel_h: h, kernel_w: w, ..p })), [1, 1, 2, 4, 8, 16]);
    }
}
