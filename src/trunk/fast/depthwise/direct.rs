//! Square 3×3 and 5×5 windows without a strip: columns of the map are interleaved in registers, where
//! they stay while they are under a window, and two output rows are formed from the same columns.
//!
//! The upper row's weights sit in the first bytes of each lane; the lower row's are the same, one byte
//! on. Only where the CPU interleaves bytes in one instruction (AVX-512 with VBMI); strides 1 and 2.

use super::Centred;
use super::form::{Form, Taps};
use crate::op::Conv2d;
use crate::trunk::fast::table::InstructionSet;

/// Forms the sums of 16 channels whose weights need so many passes.
type Run = unsafe fn(&mut Rows<'_>, usize);

/// The weights of a convolution in the order in which the loops below read them.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    run: Run,
    /// Output rows at once.
    pub rows: usize,
    /// `[line][pass][row][group][column]`.
    weights: Vec<Taps>,
    /// By line: how many passes its weights need.
    passes: Vec<usize>,
}

/// The most input rows under the output rows that are formed at once, and what is read beside them.
pub(super) const INPUT_ROWS: usize = 8;

/// Some output positions of one or two rows × 16 channels.
pub(super) struct Rows<'a> {
    /// The input rows; those without weights are any rows.
    pub rows: &'a [&'a [i8]; INPUT_ROWS],
    /// Where in a pixel of them the channels start.
    pub first: usize,
    pub width: usize,
    /// Codes from pixel to pixel.
    pub pitch: usize,
    /// 1 to 16.
    pub channels: usize,
    /// The column under the first output's first tap: negative, or beyond the width, in the padding.
    pub start: isize,
    pub padding: i32,
    pub weights: &'a [Taps],
    pub init: &'a [i32],
    pub positions: usize,
    /// `[row][position]`, 16 sums each, `lanes` apart.
    pub lanes: usize,
    pub sums: &'a mut [i32],
}

impl Direct {
    /// None for other windows, strides and CPUs.
    pub fn new(conv: &Conv2d, centred: &Centred, form: &Form, set: InstructionSet) -> Option<Self> {
        let side = conv.kernel[0];
        let usable = conv.kernel == [side; 2] && conv.dilation == [1, 1] && conv.stride == [conv.stride[0]; 2];
        let (run, rows) = run(side, conv.stride[0], set).filter(|_| usable)?;
        let (lines, groups, depth) = (conv.out_c.div_ceil(16), side.div_ceil(form.rows), side * side);
        let per_row = groups * side;
        let per_line = 2 * rows * per_row;
        let mut weights = vec![Taps([0; 16]); lines * per_line];
        let mut passes = vec![1; lines];
        for (c, filter) in centred.values.chunks_exact(depth).enumerate() {
            if filter.iter().any(|&w| i8::try_from(w).is_err()) {
                passes[c / 16] = 2;
            }
        }
        for (c, filter) in centred.values.chunks_exact(depth).enumerate() {
            let line = c / 16;
            for (i, taps) in weights[line * per_line..][..passes[line] * rows * per_row].iter_mut().enumerate() {
                let (pass, row, group, kx) = (i / per_row / rows, i / per_row % rows, i / side % groups, i % side);
                let weight = |ky: usize| match ky.checked_sub(row).filter(|&ky| ky < side) {
                    Some(ky) if passes[line] == 1 => filter[ky * side + kx],
                    Some(ky) => centred.part(filter[ky * side + kx], pass),
                    None => 0,
                };
                taps.0[c % 16] = form.lane((group * form.rows..(group + 1) * form.rows).map(weight));
            }
        }
        Some(Self { run, rows, weights, passes })
    }

    /// The weights of a line.
    pub fn weights(&self, line: usize) -> &[Taps] {
        let per_line = self.weights.len() / self.passes.len();
        &self.weights[line * per_line..][..per_line]
    }

    /// Forms the sums of `work`, whose channels are those of `line`.
    pub fn run(&self, work: &mut Rows<'_>, line: usize) {
        let codes = (work.width - 1) * work.pitch + work.first + work.channels;
        assert!(work.rows.iter().all(|row| row.len() >= codes) && (1..=16).contains(&work.channels));
        assert!(work.init.len() >= 16 && work.positions > 0);
        assert!(work.sums.len() >= (self.rows * work.positions - 1) * work.lanes + 16);
        // SAFETY: the function was chosen for instructions that the CPU has; it reads the weights of its
        // window, `codes` of every row, and writes 16 sums per row and position.
        unsafe { (self.run)(work, self.passes[line]) }
    }
}

/// The loop of a window of `side`, and how many output rows it forms.
fn run(side: usize, stride: usize, set: InstructionSet) -> Option<(Run, usize)> {
    #[cfg(target_arch = "x86_64")]
    if set == InstructionSet::Avx512Vnni && is_x86_feature_detected!("avx512vbmi") {
        return match (side, stride) {
            (3, 1) => Some((x86::run::<3, 1, 2, 1>, 2)),
            (3, 2) => Some((x86::run::<3, 1, 1, 2>, 1)),
            (5, 1) => Some((x86::run::<5, 2, 2, 1>, 2)),
            (5, 2) => Some((x86::run::<5, 2, 1, 2>, 1)),
            _ => None,
        };
    }
    _ = (side, stride, set);
    None
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::needless_range_loop, reason = "columns, groups and rows of taps are indexed alike")]
mod x86 {
    use super::{Rows, Taps};
    use std::arch::x86_64::*;

    /// A window `K` wide in `G` groups of four rows, for `R` output rows, at stride `S`.
    ///
    /// # Safety
    /// The CPU must have AVX-512 F, BW, VL, VNNI and VBMI; the work must pass its check.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    pub unsafe fn run<const K: usize, const G: usize, const R: usize, const S: usize>(w: &mut Rows<'_>, passes: usize) {
        assert!(w.weights.len() >= passes * R * G * K);
        // SAFETY: the same conditions.
        unsafe {
            match (passes, w.channels) {
                (1, 16) => sums::<K, G, R, S, 1, true>(w),
                (1, _) => sums::<K, G, R, S, 1, false>(w),
                (_, 16) => sums::<K, G, R, S, 2, true>(w),
                _ => sums::<K, G, R, S, 2, false>(w),
            }
        }
    }

    /// # Safety
    /// As [`run`], with `P` passes of weights; `WHOLE`: with all 16 channels.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    unsafe fn sums<
        const K: usize,
        const G: usize,
        const R: usize,
        const S: usize,
        const P: usize,
        const WHOLE: bool,
    >(
        w: &mut Rows<'_>,
    ) {
        let zero = _mm512_setzero_si512();
        let present = u16::MAX >> (16 - w.channels);
        let sign = _mm512_set1_epi8(-128);
        let outside = _mm512_set1_epi32(w.padding);
        let mut order = [0i8; 64];
        for (i, from) in order.iter_mut().enumerate() {
            *from = (i % 4 * 16 + i / 4) as i8;
        }
        // SAFETY: the check of `Rows` bounds the pixels of every row, 16 starting values and the sums; the
        // caller those of the weights.
        unsafe {
            let order = _mm512_loadu_si512(order.as_ptr().cast());
            let init = _mm512_loadu_si512(w.init.as_ptr().cast());
            let mut taps = [[[[zero; K]; G]; R]; P];
            for p in 0..P {
                for r in 0..R {
                    for g in 0..G {
                        for k in 0..K {
                            let from: *const Taps = w.weights.as_ptr().add(((p * R + r) * G + g) * K + k);
                            taps[p][r][g][k] = _mm512_load_si512(from.cast());
                        }
                    }
                }
            }
            let rows = w.rows.map(|row| row.as_ptr().add(w.first));
            let (pitch, width) = (w.pitch, w.width as isize);
            let four = |g: usize, x: isize| {
                if !(0..width).contains(&x) {
                    return outside;
                }
                let code = |i: usize| {
                    let from = rows[4 * g + i].add(x as usize * pitch);
                    if WHOLE { _mm_loadu_si128(from.cast()) } else { _mm_maskz_loadu_epi8(present, from) }
                };
                let pair = |i: usize| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(code(i)), code(i + 1));
                let all = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(pair(0)), pair(2));
                _mm512_xor_si512(_mm512_permutexvar_epi8(order, all), sign)
            };
            let mut under = [[zero; K]; G];
            for g in 0..G {
                for k in S..K {
                    under[g][k] = four(g, w.start + (k - S) as isize);
                }
            }
            let to = w.sums.as_mut_ptr();
            for i in 0..w.positions {
                let first = w.start + (i * S) as isize;
                for g in 0..G {
                    for k in 0..K - S {
                        under[g][k] = under[g][k + S];
                    }
                    for k in K - S..K {
                        under[g][k] = four(g, first + k as isize);
                    }
                }
                for r in 0..R {
                    let mut sum = init;
                    for p in 0..P {
                        for g in 0..G {
                            for k in 0..K {
                                sum = _mm512_dpbusd_epi32(sum, under[g][k], taps[p][r][g][k]);
                            }
                        }
                    }
                    _mm512_storeu_si512(to.add((r * w.positions + i) * w.lanes).cast(), sum);
                }
            }
        }
    }
}
