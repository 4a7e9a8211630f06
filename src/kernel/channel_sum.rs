//! Sum over the positions of each image, by channel: h×w×c to 1×1×c, in the tree of `lanes`.
//!
//! The bias gradient of an image, which `sum_rows` then adds up over the images.

use super::lanes::sum_positions;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        channels: u32,
    }
}

/// A map.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, pixels: usize, channels: usize) -> Self {
        Self { batch, pixels: size(pixels), channels: size(channels) }
    }

    /// Elements of one image.
    pub(super) fn image(&self) -> usize {
        self.pixels as usize * self.channels as usize
    }

    pub(super) fn maps(&self) -> usize {
        self.batch as usize * self.image()
    }
}

pub fn call(params: Params, map: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::ChannelSum, params: params.words(), inputs: vec![map], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.pixels as usize)
}

/// A workgroup sums eight channels in eight chains.
pub fn invocations(p: &Params) -> usize {
    p.batch as usize * (p.channels as usize).div_ceil(8) * WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.maps()]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let maps = floats(inputs[0]).par_chunks(p.image());
    floats_mut(out).par_chunks_mut(c).zip(maps).for_each_init(Vec::new, |chains, (out, map)| {
        sum_positions(out, p.pixels as usize, chains, |at, sums| {
            sums.iter_mut().zip(&map[at * c..(at + 1) * c]).for_each(|(sum, x)| *sum += x);
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_and_channel_has_its_sum() {
        let map: Vec<f32> = (0..36).map(|i| i as f32).collect();
        let mut out = [0; 4];
        twin(&Params::new(2, 9, 2), &[bytemuck::cast_slice(&map)], &mut out);
        assert_eq!(floats(&out), [72.0, 81.0, 234.0, 243.0]);
    }
}
