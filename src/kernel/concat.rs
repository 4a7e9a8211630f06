//! One part of a concatenation along channels: copies its input into a channel range of the output
//! and leaves the other channels as they are. A concatenation is one call per part; see [`calls`].

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        in_c: u32,
        out_c: u32,
        /// The output channel of the input's first.
        first: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::U32], output: Cell::U32 };

/// Pixels that one task copies.
const TASK_PIXELS: usize = 1024;

impl Params {
    pub fn new(batch: u32, pixels: usize, in_c: usize, out_c: usize, first: usize) -> Self {
        assert!(first + in_c <= out_c, "{in_c} channels from {first} on do not fit {out_c}");
        Self { batch, pixels: size(pixels), in_c: size(in_c), out_c: size(out_c), first: size(first) }
    }
}

pub fn call(params: Params, part: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Concat, params: params.words(), inputs: vec![part], output }
}

/// The calls that join `parts` (buffer, channels), each with `pixels` pixels per image.
pub fn calls(batch: u32, pixels: usize, parts: &[(BufferId, usize)], output: BufferId) -> Vec<KernelCall> {
    let out_c = parts.iter().map(|(_, c)| c).sum();
    let mut first = 0;
    let part = |&(part, in_c): &(BufferId, usize)| {
        let params = Params::new(batch, pixels, in_c, out_c, first);
        first += in_c;
        call(params, part, output)
    };
    parts.iter().map(part).collect()
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

pub fn invocations(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize * p.in_c as usize
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [invocations(p)]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize * p.out_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (in_c, out_c, first) = (p.in_c as usize, p.out_c as usize, p.first as usize);
    let parts = inputs[0].par_chunks(TASK_PIXELS * in_c);
    out.par_chunks_mut(TASK_PIXELS * out_c).zip(parts).for_each(|(out, part)| {
        for (out, part) in out.chunks_exact_mut(out_c).zip(part.chunks_exact(in_c)) {
            out[first..first + in_c].copy_from_slice(part);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_of_a_concatenation_fill_the_output() {
        let parts: [&[u32]; 2] = [&[1, 2], &[10, 11, 20, 21]];
        let mut out = [0; 6];
        for (call, part) in calls(1, 2, &[(BufferId(0), 1), (BufferId(1), 2)], BufferId(2)).iter().zip(parts) {
            call.kernel.twin(&call.params, &[part], &mut out);
        }
        assert_eq!(out, [1, 10, 11, 2, 20, 21]);
    }
}
