//! Convolution of any kernel size, stride, dilation and padding, grouped or not.
//!
//! Weights are `[kh][kw][in_c / groups][out_c]` ([`pack`]): output channels innermost, so that the
//! twin's vectors and the shader's stagings run along them, and a depthwise kernel is `[kh][kw][c]`.
//! Every output is the bias plus its products in the order `ky, kx, c`; taps in the padding add
//! nothing (the tiled forms add a zero product, the same unless a weight is not finite).

use super::gemm::{self, Panels};
use super::window::{Axis, pixel};
use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, WORKGROUP, floats, floats_mut, params, size};
use crate::op;
use crate::tensor::Shape;
use rayon::prelude::*;

params::params! {
    struct Params {
        in_h: u32,
        in_w: u32,
        in_c: u32,
        out_h: u32,
        out_w: u32,
        out_c: u32,
        kernel_h: u32,
        kernel_w: u32,
        stride_h: u32,
        stride_w: u32,
        dilation_h: u32,
        dilation_w: u32,
        pad_top: u32,
        pad_left: u32,
        groups: u32,
        /// 1 if the third input is the bias, 0 if it is to be ignored.
        has_bias: u32,
    }
}

/// Map, packed weights, bias.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32, Cell::F32], output: Cell::F32 };

/// Output channels of a group below which an invocation computes one output instead of a tile.
/// The shader has the same number.
const TILED_FROM: u32 = 8;
/// The tile of a workgroup in the shader: pixels and output channels.
const TILE_PIXELS: usize = 256;
const TILE_CHANNELS: usize = 16;

impl Params {
    pub fn new(batch: u32, input: Shape, output: Shape, conv: &op::Conv2d) -> Self {
        Self {
            batch,
            in_h: size(input.h),
            in_w: size(input.w),
            in_c: size(input.c),
            out_h: size(output.h),
            out_w: size(output.w),
            out_c: size(output.c),
            kernel_h: size(conv.kernel[0]),
            kernel_w: size(conv.kernel[1]),
            stride_h: size(conv.stride[0]),
            stride_w: size(conv.stride[1]),
            dilation_h: size(conv.dilation[0]),
            dilation_w: size(conv.dilation[1]),
            pad_top: size(conv.pad[0]),
            pad_left: size(conv.pad[1]),
            groups: size(conv.groups),
            has_bias: 0,
        }
    }

    pub(super) fn pixels(&self) -> usize {
        self.batch as usize * self.out_h as usize * self.out_w as usize
    }
    pub(super) fn taps(&self) -> usize {
        self.kernel_h as usize * self.kernel_w as usize
    }
    pub(super) fn group_in(&self) -> usize {
        (self.in_c / self.groups) as usize
    }
    pub(super) fn group_out(&self) -> usize {
        (self.out_c / self.groups) as usize
    }
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.group_in() == 1 && self.group_out() == 1
    }
    pub(super) fn depth(&self) -> usize {
        self.taps() * self.group_in()
    }
    pub(super) fn axes(&self) -> (Axis, Axis) {
        let axis = |length, stride, dilation, pad| Axis {
            length: length as usize,
            stride: stride as usize,
            dilation: dilation as usize,
            pad: pad as usize,
        };
        (
            axis(self.in_h, self.stride_h, self.dilation_h, self.pad_top),
            axis(self.in_w, self.stride_w, self.dilation_w, self.pad_left),
        )
    }
}

pub fn call(params: Params, map: BufferId, weight: BufferId, bias: Option<BufferId>, output: BufferId) -> KernelCall {
    let params = Params { has_bias: u32::from(bias.is_some()), ..params };
    let inputs = vec![map, weight, bias.unwrap_or(weight)];
    KernelCall { kernel: Kernel::Conv2d, params: params.words(), inputs, output }
}

/// Weights `[out][kh][kw][in / groups]` in the kernel's order.
pub fn pack(conv: &op::Conv2d, weights: &[f32]) -> Vec<f32> {
    let depth = conv.depth();
    (0..depth * conv.out_c).map(|i| weights[i % conv.out_c * depth + i / conv.out_c]).collect()
}

/// Multiply-accumulates, those in the padding included.
pub fn macs(p: &Params) -> u64 {
    output_words(p) as u64 * p.depth() as u64
}

pub fn tolerance(p: &Params) -> Tolerance {
    Tolerance::sum(p.depth() + 1)
}

pub fn invocations(p: &Params) -> usize {
    if (p.group_out() as u32) < TILED_FROM {
        return output_words(p);
    }
    let blocks = p.groups as usize * p.group_out().div_ceil(TILE_CHANNELS);
    p.pixels().div_ceil(TILE_PIXELS) * blocks * WORKGROUP
}

pub fn input_words(p: &Params) -> [usize; 3] {
    let map = p.batch as usize * p.in_h as usize * p.in_w as usize * p.in_c as usize;
    [map, p.depth() * p.out_c as usize, if p.has_bias == 1 { p.out_c as usize } else { 0 }]
}

pub fn output_words(p: &Params) -> usize {
    p.pixels() * p.out_c as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (map, weights) = (floats(inputs[0]), floats(inputs[1]));
    let bias = (p.has_bias == 1).then(|| floats(inputs[2]));
    let out = floats_mut(out);
    if p.is_depthwise() {
        depthwise(p, map, weights, bias, out);
    } else {
        grouped(p, map, weights, bias, out);
    }
}

/// One matrix product of gathered patches per group.
fn grouped(p: &Params, map: &[f32], weights: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let (columns, out_c) = (p.group_out(), p.out_c as usize);
    let pack = |g| Panels::pack(weights, p.depth(), out_c, g * columns, columns);
    let panels: Vec<Panels> = (0..p.groups as usize).map(pack).collect();
    let rows = gemm::rows_per_task(p.depth());
    out.par_chunks_mut(rows * out_c).enumerate().for_each_init(Vec::new, |patches, (i, out)| {
        for (g, panels) in panels.iter().enumerate() {
            gather(p, map, g, i * rows..i * rows + out.len() / out_c, patches);
            let bias = bias.map(|b| &b[g * columns..(g + 1) * columns]);
            panels.multiply(patches, bias, out, out_c, g * columns);
        }
    });
}

/// The patches under output pixels `range`, each `[kh][kw][in / groups]`, zeros in the padding.
pub(super) fn gather(p: &Params, map: &[f32], group: usize, range: std::ops::Range<usize>, patches: &mut Vec<f32>) {
    let (rows, columns) = p.axes();
    let width = p.group_in();
    // The taps of a row lie side by side, unless the padding interrupts them.
    let joined = p.groups == 1 && p.dilation_w == 1;
    let last = p.kernel_w as usize - 1;
    patches.clear();
    for index in range {
        let (image, y, x) = pixel(index, p.out_h as usize, p.out_w as usize);
        let whole = columns.source(x, 0).filter(|_| joined && columns.source(x, last).is_some());
        for ky in 0..p.kernel_h as usize {
            let row = rows.source(y, ky).map(|iy| (image * rows.length + iy) * columns.length);
            if let Some((row, ix)) = row.zip(whole) {
                patches.extend_from_slice(&map[(row + ix) * width..][..(last + 1) * width]);
                continue;
            }
            for kx in 0..p.kernel_w as usize {
                match row.zip(columns.source(x, kx)) {
                    Some((row, ix)) => {
                        let at = (row + ix) * p.in_c as usize + group * width;
                        patches.extend_from_slice(&map[at..at + width]);
                    }
                    None => patches.resize(patches.len() + width, 0.0),
                }
            }
        }
    }
}

/// Each channel by itself, all channels of a pixel in one vector loop.
fn depthwise(p: &Params, map: &[f32], weights: &[f32], bias: Option<&[f32]>, out: &mut [f32]) {
    let (rows, columns) = p.axes();
    let c = p.out_c as usize;
    let out_w = p.out_w as usize;
    out.par_chunks_mut(out_w * c).enumerate().for_each(|(i, out)| {
        let (image, y, _) = pixel(i * out_w, p.out_h as usize, out_w);
        for (x, out) in out.chunks_exact_mut(c).enumerate() {
            match bias {
                Some(bias) => out.copy_from_slice(bias),
                None => out.fill(0.0),
            }
            for (tap, weights) in weights.chunks_exact(c).enumerate() {
                let (ky, kx) = (tap / p.kernel_w as usize, tap % p.kernel_w as usize);
                if let Some((iy, ix)) = rows.source(y, ky).zip(columns.source(x, kx)) {
                    let at = ((image * rows.length + iy) * columns.length + ix) * c;
                    let map = &map[at..at + c];
                    out.iter_mut().zip(map).zip(weights).for_each(|((o, m), w)| *o += m * w);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition written out, without any blocking.
    fn plain(p: &Params, map: &[f32], weights: &[f32], bias: &[f32]) -> Vec<f32> {
        let (rows, columns) = p.axes();
        let (gi, go, out_c) = (p.group_in(), p.group_out(), p.out_c as usize);
        (0..output_words(p))
            .map(|i| {
                let (image, y, x) = pixel(i / out_c, p.out_h as usize, p.out_w as usize);
                let o = i % out_c;
                let mut sum = bias[o];
                for k in 0..p.depth() {
                    let (tap, c) = (k / gi, k % gi);
                    let (ky, kx) = (tap / p.kernel_w as usize, tap % p.kernel_w as usize);
                    if let Some((iy, ix)) = rows.source(y, ky).zip(columns.source(x, kx)) {
                        let pixel = (image * rows.length + iy) * columns.length + ix;
                        sum += map[pixel * p.in_c as usize + o / go * gi + c] * weights[k * out_c + o];
                    }
                }
                sum
            })
            .collect()
    }

    fn check(conv: op::Conv2d, input: Shape) {
        let output = conv.output_shape(input).unwrap();
        let p = Params { has_bias: 1, ..Params::new(2, input, output, &conv) };
        let wave = |n: usize, f: f32| (0..n).map(|i| (i as f32 * f).sin()).collect::<Vec<_>>();
        let (map, bias) = (wave(2 * input.elements(), 0.7), wave(conv.out_c, 0.3));
        let weights = pack(&conv, &wave(conv.weights(), 0.9));
        let mut out = vec![0u32; output_words(&p)];
        twin(&p, &[&map, &weights, &bias].map(|v| bytemuck::cast_slice(v)), &mut out);
        assert_eq!(floats(&out), plain(&p, &map, &weights, &bias), "{conv:?}");
    }

    #[test]
    fn the_twin_has_the_bits_of_the_plain_loop() {
        check(op::Conv2d::square(5, 18, 3, 1, 1), Shape::new(9, 7, 5));
        check(op::Conv2d::square(3, 7, 7, 2, 3), Shape::new(11, 13, 3));
        check(op::Conv2d { groups: 2, ..op::Conv2d::square(6, 10, 3, 1, 1) }, Shape::new(5, 6, 6));
        check(op::Conv2d { groups: 6, ..op::Conv2d::square(6, 6, 3, 2, 1) }, Shape::new(7, 6, 6));
        check(op::Conv2d { groups: 3, ..op::Conv2d::square(3, 6, 3, 1, 0) }, Shape::new(4, 4, 3));
        let odd = op::Conv2d { dilation: [2, 1], pad: [0, 2, 3, 1], ..op::Conv2d::square(4, 9, 3, 1, 0) };
        check(odd, Shape::new(6, 5, 4));
    }

    #[test]
    fn packing_puts_output_channels_innermost() {
        let conv = op::Conv2d::square(2, 3, 1, 1, 0);
        assert_eq!(pack(&conv, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
    }
}
