//! Running statistics of a batch norm, moved towards those of a batch: `old + momentum * (new - old)`.
//!
//! The variance of the batch enters without bias, times n / (n - 1) for its n values per channel.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};

params::params! {
    struct Params {
        channels: u32,
        momentum: f32,
        /// n / (n - 1).
        correction: f32,
    }
}

/// Moments of the batch.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32], output: Cell::F32 };

impl Params {
    /// `values` per channel in the batch; a single one has no variance, and its 0 stays 0.
    pub fn new(channels: usize, momentum: f32, values: usize) -> Self {
        let correction = if values > 1 { (values as f64 / (values - 1) as f64) as f32 } else { 1.0 };
        Self { batch: 1, channels: size(channels), momentum, correction }
    }
}

pub fn call(params: Params, moments: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::RunningStats, params: params.words(), inputs: vec![moments], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::EXPRESSION
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 1] {
    [output_words(p)]
}

pub fn output_words(p: &Params) -> usize {
    2 * p.channels as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    for (i, (old, new)) in floats_mut(out).iter_mut().zip(floats(inputs[0])).enumerate() {
        let new = if i < p.channels as usize { *new } else { new * p.correction };
        *old += p.momentum * (new - *old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variance_loses_its_bias() {
        let mut running = [0.0f32, 1.0].map(f32::to_bits);
        let batch = [4.0f32, 3.0].map(f32::to_bits);
        twin(&Params::new(1, 0.5, 4), &[&batch], &mut running);
        assert_eq!(floats(&running), [2.0, 2.5]);
    }
}
