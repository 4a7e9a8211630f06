//! Mean and variance of a batch from those of its images (Chan, Golub, LeVeque), image by image.
//!
//! The output holds those of the `seen` images before and is updated, so that a batch gives the same
//! bits however it is cut into micro-batches, if these come in order.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};

params::params! {
    struct Params {
        channels: u32,
        /// Images that the output already counts; with none, what it holds is ignored.
        seen: u32,
    }
}

/// Moments of each image.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

impl Params {
    pub fn new(batch: u32, channels: usize, seen: usize) -> Self {
        Self { batch, channels: size(channels), seen: size(seen) }
    }
}

pub fn call(params: Params, moments: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::CombineMoments, params: params.words(), inputs: vec![moments], output }
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.batch as usize + 1)
}

pub fn invocations(p: &Params) -> usize {
    p.channels as usize
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [p.batch as usize * 2 * p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    2 * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let c = p.channels as usize;
    let (mean, variance) = floats_mut(out).split_at_mut(c);
    for (image, moments) in floats(inputs[0]).chunks_exact(2 * c).enumerate() {
        let before = p.seen as usize + image;
        for i in 0..c {
            let (m, v) = (moments[i], moments[c + i]);
            if before == 0 {
                (mean[i], variance[i]) = (m, v);
            } else {
                let step = (m - mean[i]) / (before + 1) as f32;
                mean[i] += step;
                variance[i] = variance[i] + (v - variance[i]) / (before + 1) as f32 + step * step * before as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_combine_to_the_batch_however_it_is_cut() {
        // Two channels of 1, 3 | 5, 7 | 0, 2 and of a constant.
        let moments = [2.0f32, 8.0, 1.0, 0.0, 6.0, 8.0, 1.0, 0.0, 1.0, 8.0, 1.0, 0.0].map(f32::to_bits);
        let (mut whole, mut cut) = ([f32::NAN.to_bits(); 4], [9; 4]);
        twin(&Params::new(3, 2, 0), &[&moments], &mut whole);
        twin(&Params::new(1, 2, 0), &[&moments[..4]], &mut cut);
        twin(&Params::new(2, 2, 1), &[&moments[4..]], &mut cut);
        assert_eq!(whole, cut);
        let expected = [3.0, 8.0, 34.0 / 6.0, 0.0];
        assert!(floats(&whole).iter().zip(expected).all(|(x, e)| (x - e).abs() < 1e-6), "{:?}", floats(&whole));
    }
}
