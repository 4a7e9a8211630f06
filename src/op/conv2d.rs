//! 2-D convolution, grouped or not (depthwise is `groups == in_c`).

use super::product::{self, Join, PackedWeights, Product};
use super::{Counts, Reads};
use crate::quant::Accumulator;
use crate::tensor::{Shape, Tensor};
use crate::units::Macs;
use rayon::prelude::*;

/// Attributes of a convolution. Weights are `[out_c][kh][kw][in_c / groups]` (OHWI).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Conv2d {
    pub in_c: usize,
    pub out_c: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Zero padding: top, left, bottom, right.
    pub pad: [usize; 4],
    pub groups: usize,
}

impl Conv2d {
    /// A square, undilated, ungrouped convolution padded alike on all sides.
    pub fn square(in_c: usize, out_c: usize, kernel: usize, stride: usize, pad: usize) -> Self {
        Self { in_c, out_c, kernel: [kernel; 2], stride: [stride; 2], dilation: [1; 2], pad: [pad; 4], groups: 1 }
    }

    /// Products per output element.
    pub fn depth(&self) -> usize {
        self.kernel[0] * self.kernel[1] * (self.in_c / self.groups)
    }

    pub fn weights(&self) -> usize {
        self.out_c * self.depth()
    }

    pub fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_c
    }

    pub fn output_shape(&self, input: Shape) -> Result<Shape, String> {
        if input.c != self.in_c {
            return Err(format!("expects {} input channels, gets {}", self.in_c, input.c));
        }
        let zero = |v: &[usize]| v.contains(&0);
        if zero(&self.kernel) || zero(&self.stride) || zero(&self.dilation) || self.groups == 0 {
            return Err("kernel, stride, dilation and groups must be at least 1".into());
        }
        if !self.in_c.is_multiple_of(self.groups) || !self.out_c.is_multiple_of(self.groups) {
            return Err(format!(
                "{} groups divide neither {} inputs nor {} outputs",
                self.groups, self.in_c, self.out_c
            ));
        }
        let span = |n: usize, before: usize, after: usize, i: usize| {
            let reach = (self.kernel[i] - 1).checked_mul(self.dilation[i]).and_then(|r| r.checked_add(1));
            let padded = n.checked_add(before).and_then(|p| p.checked_add(after));
            match (reach, padded) {
                (Some(reach), Some(padded)) if reach <= padded => Ok((padded - reach) / self.stride[i] + 1),
                _ => Err(format!("a kernel reaching over {reach:?} positions does not fit a padded map of {padded:?}")),
            }
        };
        let h = span(input.h, self.pad[0], self.pad[2], 0)?;
        let w = span(input.w, self.pad[1], self.pad[3], 1)?;
        Ok(Shape::new(h, w, self.out_c))
    }

    /// The input position, of `inputs` along `axis`, under tap `tap` at output position `at`; none in the
    /// padding.
    pub fn source(&self, axis: usize, at: usize, tap: usize, inputs: usize) -> Option<usize> {
        let from = at * self.stride[axis] + tap * self.dilation[axis];
        from.checked_sub(self.pad[axis]).filter(|&i| i < inputs)
    }

    pub fn macs(&self, _input: Shape, output: Shape) -> u64 {
        output.elements() as u64 * self.depth() as u64
    }

    pub fn reads(&self) -> Reads {
        if self.kernel == [1, 1] && self.stride != [1, 1] && self.pad == [0; 4] {
            Reads::Strided { h: self.stride[0], w: self.stride[1] }
        } else {
            Reads::All
        }
    }
}

/// Whether the int8 loop may run along channels: one filter per channel, and few enough taps that a
/// sum fits 32 bits.
fn runs_along_channels(conv: &Conv2d) -> bool {
    conv.is_depthwise() && conv.out_c == conv.in_c && conv.depth() <= product::RUN
}

/// Orders weight codes for [`int8`].
pub fn pack(conv: &Conv2d, codes: &[i8], zero_points: &[i32]) -> PackedWeights {
    assert_eq!(codes.len(), conv.weights(), "weight codes do not fill the filters");
    let values = PackedWeights::centred(codes, zero_points, conv.out_c);
    if !runs_along_channels(conv) {
        return PackedWeights { values, tap_major: false };
    }
    let taps = conv.depth();
    let by_tap = (0..taps).flat_map(|t| (0..conv.out_c).map(move |c| (t, c)));
    PackedWeights { values: by_tap.map(|(t, c)| values[c * taps + t]).collect(), tap_major: true }
}

/// The int8 convolution: `acc = Σ (q_x - z_x)(q_w - z_w) + b`, joined, requantised per channel.
///
/// Padding is the code of real zero, so it adds nothing; the array multiplies it all the same.
pub fn int8(conv: &Conv2d, x: &Tensor<i8>, p: &Product, join: Option<Join<'_>>) -> (Tensor<i8>, Counts) {
    let shape = conv.output_shape(x.shape).expect("the graph has checked this convolution");
    let mut y = Tensor::zeros(x.batch, shape);
    if y.data.is_empty() {
        return (y, Counts::default());
    }
    let centred = product::centre(&x.data, p.input_zero_point);
    let image = x.shape.elements();
    let row = shape.w * shape.c;
    let counts = y
        .data
        .par_chunks_mut(row)
        .enumerate()
        .map_init(
            || Scratch::new(conv),
            |scratch, (i, codes)| {
                let (n, oy) = (i / shape.h, i % shape.h);
                let x = Map { values: &centred[n * image..(n + 1) * image], shape: x.shape };
                let mut counts = Counts::default();
                for (ox, codes) in codes.chunks_mut(shape.c).enumerate() {
                    scratch.gather(conv, x, oy, ox);
                    counts.macs += scratch.multiply(conv, &p.weights);
                    let first = i * row + ox * shape.c;
                    for (c, (code, &sum)) in codes.iter_mut().zip(&scratch.sums).enumerate() {
                        let joined = join.map(|j| j.at(first + c));
                        *code = match p.accumulator {
                            None => p.registers.code(c, sum + joined.unwrap_or(0), &p.output, &mut counts),
                            Some(acc) => scratch.code_on(conv, p, acc, c, joined, &mut counts),
                        };
                    }
                }
                counts
            },
        )
        .sum();
    (y, counts)
}

/// One image's centred codes.
#[derive(Clone, Copy)]
struct Map<'a> {
    values: &'a [i16],
    shape: Shape,
}

/// The buffers of one thread: the inputs of one output position, and its sums.
struct Scratch {
    /// `[group][ky][kx][channel of the group]`; `[ky][kx][channel]` where groups are channels.
    patch: Vec<i16>,
    sums: Vec<i64>,
    run: Vec<i32>,
}

impl Scratch {
    fn new(conv: &Conv2d) -> Self {
        let patch = vec![0; conv.kernel[0] * conv.kernel[1] * conv.in_c];
        Self { patch, sums: vec![0; conv.out_c], run: vec![0; conv.out_c] }
    }

    /// Collects the inputs under the kernel at an output position; padding stays zero.
    fn gather(&mut self, conv: &Conv2d, x: Map<'_>, oy: usize, ox: usize) {
        let [kh, kw] = conv.kernel;
        let (per_group, groups) =
            if runs_along_channels(conv) { (conv.in_c, 1) } else { (conv.in_c / conv.groups, conv.groups) };
        self.patch.fill(0);
        for ky in 0..kh {
            let Some(iy) = conv.source(0, oy, ky, x.shape.h) else { continue };
            for kx in 0..kw {
                let Some(ix) = conv.source(1, ox, kx, x.shape.w) else { continue };
                let pixel = &x.values[(iy * x.shape.w + ix) * x.shape.c..][..x.shape.c];
                for (g, channels) in pixel.chunks_exact(per_group).enumerate().take(groups) {
                    self.patch[((g * kh + ky) * kw + kx) * per_group..][..per_group].copy_from_slice(channels);
                }
            }
        }
    }

    /// The code of channel `c` on an accumulator that sees every product.
    fn code_on(
        &self,
        conv: &Conv2d,
        p: &Product,
        accumulator: Accumulator,
        c: usize,
        joined: Option<i64>,
        counts: &mut Counts,
    ) -> i8 {
        let weights = &p.weights.values;
        if p.weights.tap_major {
            let taps = self.patch[c..].iter().step_by(conv.in_c).zip(weights[c..].iter().step_by(conv.out_c));
            let products = taps.map(|(&x, &w)| i64::from(x) * i64::from(w));
            return p.code_on(accumulator, c, products, joined, counts);
        }
        let (depth, filters) = (conv.depth(), conv.out_c / conv.groups);
        let (x, w) = (&self.patch[c / filters * depth..][..depth], &weights[c * depth..][..depth]);
        p.code_on(accumulator, c, product::products(x, w), joined, counts)
    }

    /// Fills `sums` with the exact sums of products; returns how many products.
    fn multiply(&mut self, conv: &Conv2d, weights: &PackedWeights) -> Macs {
        let mut macs = 0;
        if weights.tap_major {
            self.run.fill(0);
            for (x, w) in self.patch.chunks_exact(conv.in_c).zip(weights.values.chunks_exact(conv.out_c)) {
                for ((sum, &x), &w) in self.run.iter_mut().zip(x).zip(w) {
                    *sum = sum.wrapping_add(i32::from(x).wrapping_mul(i32::from(w)));
                }
                macs += w.len() as u64;
            }
            self.sums.iter_mut().zip(&self.run).for_each(|(sum, &run)| *sum = i64::from(run));
        } else {
            let (depth, filters) = (conv.depth(), conv.out_c / conv.groups);
            for (c, (sum, w)) in self.sums.iter_mut().zip(weights.values.chunks_exact(depth)).enumerate() {
                let x = &self.patch[c / filters * depth..][..depth];
                *sum = product::dot(x, w);
                macs += x.len() as u64;
            }
        }
        Macs(macs)
    }
}
