//! Input gradient of a convolution of any kernel, grouped or not.
//!
//! Every input element gets its products `g[o] * w` in the order `ky, kx, o`, from the output
//! positions that read it. Writes the whole map.

use super::gemm::{self, Panels};
use super::window::pixel;
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut};
use rayon::prelude::*;

/// Those of the forward kernel.
pub use super::conv2d::Params;

/// Gradient of the output, the forward kernel's weights.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

pub fn call(params: Params, gradient: BufferId, weight: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Conv2dInputGrad, params: params.words(), inputs: vec![gradient, weight], output }
}

/// Products of one input element.
fn depth(p: &Params) -> usize {
    p.taps() * p.group_out()
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(depth(p))
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [p.pixels() * p.out_c as usize, p.depth() * p.out_c as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.in_h as usize * p.in_w as usize * p.in_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (gradient, weights, out) = (floats(inputs[0]), floats(inputs[1]), floats_mut(out));
    if p.is_depthwise() {
        depthwise(p, gradient, weights, out);
    } else {
        grouped(p, gradient, weights, out);
    }
}

/// The weights of a group as `[taps * group_out][group_in]`.
fn transposed(p: &Params, weights: &[f32], group: usize) -> Panels {
    let (inputs, outputs, out_c) = (p.group_in(), p.group_out(), p.out_c as usize);
    let weight = |i: usize| {
        let (tap, o, c) = (i / inputs / outputs, i / inputs % outputs, i % inputs);
        weights[(tap * inputs + c) * out_c + group * outputs + o]
    };
    let matrix: Vec<f32> = (0..depth(p) * inputs).map(weight).collect();
    Panels::pack(&matrix, depth(p), inputs, 0, inputs)
}

/// One matrix product of gathered gradients per group.
fn grouped(p: &Params, gradient: &[f32], weights: &[f32], out: &mut [f32]) {
    let panels: Vec<Panels> = (0..p.groups as usize).map(|g| transposed(p, weights, g)).collect();
    let in_c = p.in_c as usize;
    let rows = gemm::rows_per_task(depth(p));
    out.par_chunks_mut(rows * in_c).enumerate().for_each_init(Vec::new, |patches, (i, out)| {
        for (g, panels) in panels.iter().enumerate() {
            gather(p, gradient, g, i * rows..i * rows + out.len() / in_c, patches);
            panels.multiply(patches, None, out, in_c, g * p.group_in());
        }
    });
}

/// What reaches the input pixels `range`: each `[kh][kw][out / groups]`, zeros where no output reads.
fn gather(p: &Params, gradient: &[f32], group: usize, range: std::ops::Range<usize>, patches: &mut Vec<f32>) {
    let (rows, columns) = p.axes();
    let (out_h, out_w, width) = (p.out_h as usize, p.out_w as usize, p.group_out());
    // The taps of a row lie side by side in reverse, unless the border interrupts them.
    let joined = p.groups == 1 && p.dilation_w == 1 && p.stride_w == 1;
    let last = p.kernel_w as usize - 1;
    patches.clear();
    for index in range {
        let (image, y, x) = pixel(index, rows.length, columns.length);
        let whole = columns.target(x, last, out_w).filter(|_| joined && columns.target(x, 0, out_w).is_some());
        for ky in 0..p.kernel_h as usize {
            let row = rows.target(y, ky, out_h).map(|oy| (image * out_h + oy) * out_w);
            if let Some((row, ox)) = row.zip(whole) {
                let taps = gradient[(row + ox) * width..][..(last + 1) * width].rchunks_exact(width);
                taps.for_each(|tap| patches.extend_from_slice(tap));
                continue;
            }
            for kx in 0..p.kernel_w as usize {
                match row.zip(columns.target(x, kx, out_w)) {
                    Some((row, ox)) => {
                        let at = (row + ox) * p.out_c as usize + group * width;
                        patches.extend_from_slice(&gradient[at..at + width]);
                    }
                    None => patches.resize(patches.len() + width, 0.0),
                }
            }
        }
    }
}

/// Each channel by itself, all channels of a pixel in one vector loop.
fn depthwise(p: &Params, gradient: &[f32], weights: &[f32], out: &mut [f32]) {
    let (rows, columns) = p.axes();
    let (out_h, out_w, c) = (p.out_h as usize, p.out_w as usize, p.in_c as usize);
    out.par_chunks_mut(columns.length * c).enumerate().for_each(|(i, out)| {
        let (image, y) = (i / rows.length, i % rows.length);
        for (x, out) in out.chunks_exact_mut(c).enumerate() {
            out.fill(0.0);
            for (tap, weights) in weights.chunks_exact(c).enumerate() {
                let (ky, kx) = (tap / p.kernel_w as usize, tap % p.kernel_w as usize);
                if let Some((oy, ox)) = rows.target(y, ky, out_h).zip(columns.target(x, kx, out_w)) {
                    let at = ((image * out_h + oy) * out_w + ox) * c;
                    let gradient = &gradient[at..at + c];
                    out.iter_mut().zip(gradient).zip(weights).for_each(|((o, g), w)| *o += g * w);
                }
            }
        }
    });
}
