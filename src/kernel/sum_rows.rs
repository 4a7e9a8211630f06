//! Adds up the parts of a sum, in order: those of the first image, then those of the next.
//!
//! The chain continues from what the output holds, or starts from zero. So a batch gives the same
//! bits however it is cut into micro-batches, if these come in order.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, accumulate, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Parts of one image.
        rows: u32,
        /// Sums, and elements of a part.
        columns: u32,
        /// 1 to continue from what the output holds, 0 to start from zero.
        accumulate: u32,
    }
}

/// Parts, one row each.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

/// Columns that one task sums.
const TASK_COLUMNS: usize = 1024;

impl Params {
    /// Index of `accumulate` among the words; the same in `linear_weight_grad`.
    pub(super) const ACCUMULATE: usize = 3;

    pub fn new(batch: u32, rows: usize, columns: usize, accumulate: bool) -> Self {
        Self { batch, rows: size(rows), columns: size(columns), accumulate: u32::from(accumulate) }
    }

    fn rows(&self) -> usize {
        self.batch as usize * self.rows as usize
    }
}

pub fn call(params: Params, parts: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::SumRows, params: params.words(), inputs: vec![parts], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.rows() + 1)
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.rows() * p.columns as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.columns as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (parts, columns) = (floats(inputs[0]), p.columns as usize);
    floats_mut(out).par_chunks_mut(TASK_COLUMNS).enumerate().for_each(|(i, out)| {
        if p.accumulate == 0 {
            out.fill(0.0);
        }
        for row in parts.chunks_exact(columns) {
            accumulate::add(&row[i * TASK_COLUMNS..], out);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_continues_where_it_was_left() {
        let parts: Vec<u32> = (0..12).map(|i| (1.0 / (i + 3) as f32).to_bits()).collect();
        let (mut whole, mut cut) = ([9; 2], [9; 2]);
        twin(&Params::new(3, 2, 2, false), &[&parts], &mut whole);
        twin(&Params::new(1, 2, 2, false), &[&parts[..4]], &mut cut);
        twin(&Params::new(2, 2, 2, true), &[&parts[4..]], &mut cut);
        assert_eq!(whole, cut);
    }
}
