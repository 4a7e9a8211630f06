//! Mean over all positions: h×w×c to 1×1×c.
//!
//! A fixed tree: each row is summed from left to right, then the row sums from top to bottom, and
//! the total is divided once.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use crate::tensor::Shape;
use rayon::prelude::*;

params::params! {
    struct Params {
        in_h: u32,
        in_w: u32,
        channels: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, input: Shape) -> Self {
        Self { batch, in_h: size(input.h), in_w: size(input.w), channels: size(input.c) }
    }

    fn pixels(&self) -> usize {
        self.in_h as usize * self.in_w as usize
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::GlobalMean, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.pixels())
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.batch as usize * p.pixels() * p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let maps = floats(inputs[0]).par_chunks(p.pixels() * c);
    floats_mut(out).par_chunks_mut(c).zip(maps).for_each(|(total, map)| {
        total.fill(0.0);
        let mut row_sum = vec![0.0f32; c];
        for row in map.chunks_exact(p.in_w as usize * c) {
            row_sum.fill(0.0);
            for pixel in row.chunks_exact(c) {
                row_sum.iter_mut().zip(pixel).for_each(|(s, x)| *s += x);
            }
            total.iter_mut().zip(&row_sum).for_each(|(t, s)| *t += s);
        }
        total.iter_mut().for_each(|t| *t /= p.pixels() as f32);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_and_channel_has_its_mean() {
        let map: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let mut out = [0; 4];
        twin(&Params::new(2, Shape::new(2, 2, 2)), &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!(floats(&out), [3.0, 4.0, 11.0, 12.0]);
    }
}
