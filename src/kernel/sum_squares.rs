//! Sums of squares of a buffer, one for every 4096 elements, written from `first` on: the parts of a norm
//! over several buffers. `clip_factor` adds them up.
//!
//! Each is taken in 64 interleaved chains and a tree of pairs, 32, 16, … and 1 apart.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        elements: u32,
        /// Where the buffer's sums begin in the output; what lies elsewhere is left as it is.
        first: u32,
    }
}

/// Any values.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

/// Elements of a sum. The shader has the same number.
const BLOCK: usize = 4096;

impl Params {
    pub fn new(elements: usize, first: usize) -> Self {
        Self { batch: 1, elements: size(elements), first: size(first) }
    }

    /// Sums that the buffer has: the next buffer's begin after them.
    pub fn sums(&self) -> usize {
        (self.elements as usize).div_ceil(BLOCK)
    }
}

pub fn call(params: Params, values: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::SumSquares, params: params.words(), inputs: vec![values], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::sum(BLOCK)
}

pub fn invocations(p: &Params) -> usize {
    p.sums() * WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.elements as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.first as usize + p.sums()
}

/// The sum of `terms` in as many chains as a workgroup has invocations.
pub(super) fn workgroup_sum(terms: impl Iterator<Item = f32>) -> f32 {
    let mut chains = [0.0f32; WORKGROUP];
    terms.enumerate().for_each(|(i, term)| chains[i % WORKGROUP] += term);
    let mut step = WORKGROUP / 2;
    while step > 0 {
        for i in 0..step {
            chains[i] += chains[i + step];
        }
        step /= 2;
    }
    chains[0]
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let out = &mut floats_mut(out)[p.first as usize..];
    out.par_iter_mut().zip(floats(inputs[0]).par_chunks(BLOCK)).for_each(|(sum, values)| {
        *sum = workgroup_sum(values.iter().map(|x| x * x));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_from_the_first_place() {
        let values = vec![2f32.to_bits(); BLOCK + 3];
        let p = Params::new(values.len(), 1);
        let mut out = [5f32.to_bits(); 3];
        twin(&p, &[&values], &mut out);
        assert_eq!((floats(&out), p.sums()), (&[5.0, 16384.0, 12.0][..], 2));
    }
}
