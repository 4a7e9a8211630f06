//! Fully connected layer on each image's flattened map.
//!
//! Weights are `[inputs][outputs]` ([`pack`]). Every output is the bias plus its products in the
//! order of the inputs.

use super::gemm::{self, Panels};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use rayon::prelude::*;

params::params! {
    struct Params {
        inputs: u32,
        outputs: u32,
        /// 1 if the third input is the bias, 0 if it is to be ignored.
        has_bias: u32,
    }
}

/// Maps, packed weights, bias.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32, Cell::F32], output: Cell::F32 };

/// Images that one invocation of the shader computes, which reads each weight once for all of them.
const TILE_IMAGES: usize = 4;

impl Params {
    pub fn new(batch: u32, inputs: usize, outputs: usize) -> Self {
        Self { batch, inputs: size(inputs), outputs: size(outputs), has_bias: 0 }
    }
}

pub fn call(params: Params, map: BufferId, weight: BufferId, bias: Option<BufferId>, output: BufferId) -> KernelCall {
    let params = Params { has_bias: u32::from(bias.is_some()), ..params };
    let inputs = vec![map, weight, bias.unwrap_or(weight)];
    KernelCall { kernel: Kernel::Linear, params: params.words(), inputs, output }
}

/// Weights `[outputs][inputs]` in the kernel's order.
pub fn pack(inputs: usize, outputs: usize, weights: &[f32]) -> Vec<f32> {
    (0..inputs * outputs).map(|i| weights[i % outputs * inputs + i / outputs]).collect()
}

/// Multiply-accumulates.
pub fn macs(p: &Params) -> u64 {
    output_words(p) as u64 * u64::from(p.inputs)
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.inputs as usize + 1)
}

pub fn invocations(p: &Params) -> usize {
    (p.batch as usize).div_ceil(TILE_IMAGES) * p.outputs as usize
}

pub fn input_words(p: &Params) -> [usize; 3] {
    let (inputs, outputs) = (p.inputs as usize, p.outputs as usize);
    [p.batch as usize * inputs, inputs * outputs, if p.has_bias == 1 { outputs } else { 0 }]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.outputs as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (maps, weights) = (floats(inputs[0]), floats(inputs[1]));
    let bias = (p.has_bias == 1).then(|| floats(inputs[2]));
    if (p.batch as usize) < FEW_IMAGES {
        few(p, maps, weights, bias, floats_mut(out));
    } else {
        many(p, maps, weights, bias, floats_mut(out));
    }
}

/// Images below which rearranging the weights costs more than it saves.
const FEW_IMAGES: usize = 4;
/// Outputs that one task of [`few`] sums at a time.
const TASK_OUTPUTS: usize = 256;

/// Reads the weights in place, row by row; the same sums as [`many`].
fn few(p: &Params, maps: &[f32], weights: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let (depth, columns) = (p.inputs as usize, p.outputs as usize);
    for (map, out) in maps.chunks_exact(depth).zip(out.chunks_exact_mut(columns)) {
        out.par_chunks_mut(TASK_OUTPUTS).enumerate().for_each(|(i, sums)| {
            let range = i * TASK_OUTPUTS..i * TASK_OUTPUTS + sums.len();
            match bias {
                Some(bias) => sums.copy_from_slice(&bias[range.clone()]),
                None => sums.fill(0.0),
            }
            for (x, row) in map.iter().zip(weights.chunks_exact(columns)) {
                sums.iter_mut().zip(&row[range.clone()]).for_each(|(sum, w)| *sum += x * w);
            }
        });
    }
}

/// Rearranges the weights first, and multiplies in tiles.
fn many(p: &Params, maps: &[f32], weights: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let (depth, columns) = (p.inputs as usize, p.outputs as usize);
    let panels = Panels::pack(weights, depth, columns, 0, columns);
    let rows = gemm::rows_per_task(depth);
    out.par_chunks_mut(rows * columns).enumerate().for_each(|(i, out)| {
        let from = i * rows * depth;
        panels.multiply(&maps[from..from + out.len() / columns * depth], bias, out, columns, 0);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_product() {
        let p = Params { has_bias: 1, ..Params::new(2, 3, 2) };
        let weights = pack(3, 2, &[1.0, 2.0, 3.0, -1.0, 0.0, 1.0]);
        let (map, bias) = ([1.0f32, 1.0, 1.0, 0.5, 0.0, 2.0], [10.0f32, 20.0]);
        let mut out = [0u32; 4];
        twin(&p, &[bytemuck::cast_slice(&map), bytemuck::cast_slice(&weights), bytemuck::cast_slice(&bias)], &mut out);
        assert_eq!(floats(&out), [16.0, 20.0, 16.5, 21.5]);
    }

    #[test]
    fn bits_do_not_depend_on_the_batch() {
        let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin()).collect::<Vec<_>>();
        let (maps, weights, bias) = (wave(5 * 37, 0.7), wave(37 * 300, 0.3), wave(300, 0.9));
        let run = |batch: usize| {
            let p = Params { has_bias: 1, ..Params::new(batch as u32, 37, 300) };
            let mut out = vec![0; batch * 300];
            twin(&p, &[&maps[..batch * 37], &weights, &bias].map(bytemuck::cast_slice), &mut out);
            out
        };
        assert_eq!(run(5)[..900], run(3));
    }
}
