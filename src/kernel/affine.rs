//! Per-channel scale and shift: `x * scale[c] + shift[c]`, two roundings in the twin.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        channels: u32,
    }
}

/// Map, scale, shift.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, pixels: usize, channels: usize) -> Self {
        Self { batch, pixels: size(pixels), channels: size(channels) }
    }
}

pub fn call(params: Params, map: BufferId, scale: BufferId, shift: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Affine, params: params.words(), inputs: vec![map, scale, shift], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 3] {
    [output_words(p), p.channels as usize, p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.pixels as usize * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (scale, shift) = (floats(inputs[1]), floats(inputs[2]));
    let c = p.channels as usize;
    let image = p.pixels as usize * c;
    floats_mut(out).par_chunks_mut(image).zip(floats(inputs[0]).par_chunks(image)).for_each(|(out, map)| {
        values(c, map, scale, shift, out);
    });
}

wide! {
    fn values(c: usize, map: &[f32], scale: &[f32], shift: &[f32], out: &mut [f32]) {
        for (out, map) in out.chunks_exact_mut(c).zip(map.chunks_exact(c)) {
            out.iter_mut().zip(map).zip(scale).zip(shift).for_each(|(((y, x), s), t)| *y = x * s + t);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_take_their_own_scale_and_shift() {
        let map = [1.0f32, 2.0, 3.0, 4.0];
        let (scale, shift) = ([2.0f32, -1.0], [0.5f32, 0.0]);
        let mut out = [0; 4];
        let p = Params::new(2, 1, 2);
        twin(&p, &[bytemuck::cast_slice(&map), bytemuck::cast_slice(&scale), bytemuck::cast_slice(&shift)], &mut out);
        assert_eq!(floats(&out), [2.5, -2.0, 6.5, -4.0]);
    }
}
