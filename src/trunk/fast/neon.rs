//! NEON with dot products: 16 products of signed codes per `sdot`.
//!
//! The standard library's name for the instruction is not stable yet, so one line of assembly is.

use super::requant::Style;
use super::table::{Store, Table, Tile};
use std::arch::aarch64::*;
use std::arch::asm;

pub(super) static TABLE: Table = Table { unsigned_inputs: false, tile, copy, requantise: Some(requantise) };

/// Four sums of four products each.
#[inline]
#[target_feature(enable = "neon,dotprod")]
pub(super) fn sdot(mut sums: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
    // SAFETY: registers in, a register out; the CPU has dot products.
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {x:v}.16b, {w:v}.16b",
            sums = inout(vreg) sums, x = in(vreg) x, w = in(vreg) w,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// # Safety
/// The CPU must have dot products; the tile must pass its check.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile(t: &mut Tile<'_>) {
    for first in (0..t.at.len()).step_by(6) {
        for line in 0..t.lines {
            // SAFETY: the same conditions hold for every size; each holds at least the positions left.
            unsafe {
                match t.at.len() - first {
                    4.. => sums::<6>(t, first, line),
                    2.. => sums::<3>(t, first, line),
                    _ => sums::<1>(t, first, line),
                }
            }
        }
    }
}

/// `P` positions from `first` on (the last one repeated where fewer are left) × one line.
///
/// # Safety
/// As [`tile`], with a position and a line that exist.
#[target_feature(enable = "neon,dotprod")]
unsafe fn sums<const P: usize>(t: &mut Tile<'_>, first: usize, line: usize) {
    let at = &t.at[first..t.at.len().min(first + P)];
    debug_assert!(line < t.lines);
    // SAFETY: the check of `Tile` bounds every address: `at + segment + 4 * steps` within the input,
    // a line of weights per segment, step and line, 16 starting values and 16 sums per line.
    unsafe {
        let init = t.init.as_ptr().add(16 * line);
        let start = [0, 4, 8, 12].map(|c| vld1q_s32(init.add(c)));
        let mut acc = [start; P];
        let mut x = [t.input.as_ptr(); P];
        for i in 0..P {
            x[i] = t.input.as_ptr().add(at[i.min(at.len() - 1)]);
        }
        let mut w = t.weights.as_ptr().add(line);
        for &segment in t.segments {
            let end = segment + 4 * t.steps;
            let mut k = segment;
            while k < end {
                let quarters = w.cast::<i8>();
                let quarters = [0, 16, 32, 48].map(|at| vld1q_s8(quarters.add(at)));
                for i in 0..P {
                    let codes = vreinterpretq_s8_s32(vdupq_n_s32(x[i].add(k).cast::<i32>().read_unaligned()));
                    for j in 0..4 {
                        acc[i][j] = sdot(acc[i][j], codes, quarters[j]);
                    }
                }
                // Stays within the weights or one block past their last line, where it is not read.
                w = w.wrapping_add(t.lines);
                k += 4;
            }
        }
        for i in 0..P {
            // A constant range, left early: the sums then never need an address.
            if i >= at.len() {
                break;
            }
            for j in 0..4 {
                vst1q_s32(t.sums.as_mut_ptr().add(((first + i) * t.lines + line) * 16 + 4 * j), acc[i][j]);
            }
        }
    }
}

/// # Safety
/// None beyond NEON, which every such CPU has.
unsafe fn copy(from: &[i8], flip: i8, to: &mut [i8]) {
    super::portable::copy(from, flip, to);
}

/// # Safety
/// The CPU must have NEON, as every such CPU has; the store must pass its check.
#[target_feature(enable = "neon")]
unsafe fn requantise(s: &mut Store<'_>) -> u64 {
    // SAFETY: the same conditions.
    unsafe {
        match s.style {
            Style::Double { away: true, .. } => codes::<0>(s),
            Style::Double { away: false, .. } => codes::<1>(s),
            Style::Single => codes::<2>(s),
            Style::Float => codes::<3>(s),
        }
    }
}

/// The constants of four channels.
#[derive(Clone, Copy)]
struct Lanes {
    factor: int32x4_t,
    /// What shifts left by a negative number.
    right: int32x4_t,
    /// Half a unit, in 32-bit lanes or in 64-bit ones.
    half: int32x4_t,
    wide: [(int64x2_t, int64x2_t); 2],
    /// All ones where ties of negative values go down.
    away: int32x4_t,
}

impl Lanes {
    #[inline]
    #[target_feature(enable = "neon")]
    fn new<const STYLE: u8>(factor: int32x4_t, right: int32x4_t) -> Self {
        let one = vdupq_n_s32(1);
        let shifts = vcgtq_s32(right, vdupq_n_s32(0));
        let half = vandq_s32(vshlq_s32(one, vsubq_s32(right, one)), vreinterpretq_s32_u32(shifts));
        let away = if STYLE == 0 { vreinterpretq_s32_u32(shifts) } else { vdupq_n_s32(0) };
        let wide = |right: int64x2_t| {
            let one = vdupq_n_s64(1);
            (vnegq_s64(right), vshlq_s64(one, vsubq_s64(right, one)))
        };
        let wide = [wide(vmovl_s32(vget_low_s32(right))), wide(vmovl_high_s32(right))];
        Self { factor, right: vnegq_s32(right), half, wide, away }
    }

    /// `sums × factor`, rounded.
    #[inline]
    #[target_feature(enable = "neon")]
    fn apply<const STYLE: u8>(&self, sums: int32x4_t) -> int32x4_t {
        if STYLE == 3 {
            let product = vmulq_f32(vcvtq_f32_s32(sums), vreinterpretq_f32_s32(self.factor));
            return vcvtnq_s32_f32(product);
        }
        if STYLE == 2 {
            let round = |product, (right, half): (int64x2_t, int64x2_t)| vshlq_s64(vaddq_s64(product, half), right);
            let low = round(vmull_s32(vget_low_s32(sums), vget_low_s32(self.factor)), self.wide[0]);
            let high = round(vmull_high_s32(sums, self.factor), self.wide[1]);
            return vcombine_s32(vmovn_s64(low), vmovn_s64(high));
        }
        // The doubling high product with its half added: what the definition calls `srdhm`.
        let high = vqrdmulhq_s32(sums, self.factor);
        let down = vandq_s32(vshrq_n_s32::<31>(high), self.away);
        vshlq_s32(vaddq_s32(vaddq_s32(high, self.half), down), self.right)
    }
}

/// # Safety
/// As [`requantise`].
#[target_feature(enable = "neon")]
unsafe fn codes<const STYLE: u8>(s: &mut Store<'_>) -> u64 {
    let (lo, hi) = (vdupq_n_s32(s.lo), vdupq_n_s32(s.hi));
    let (least, most) = (vdupq_n_s32(s.saturates[0]), vdupq_n_s32(s.saturates[1]));
    let mut cut = vdupq_n_u32(0);
    let positions = s.positions();
    for first in (0..s.lanes).step_by(4) {
        let present = s.channels.saturating_sub(first).min(4);
        // SAFETY: the check of `Store` bounds constants and sums by `lanes`, and codes by `channels`,
        // to which the copy of `present` bytes keeps.
        unsafe {
            let load = |from: &[i32]| vld1q_s32(from.as_ptr().add(first));
            let exists = vcgtq_s32(vdupq_n_s32(present as i32), vld1q_s32([0, 1, 2, 3].as_ptr()));
            let lanes = Lanes::new::<STYLE>(load(s.factor), load(s.right));
            let offset = load(s.offset);
            for i in 0..positions {
                let sums = vld1q_s32(s.sums.as_ptr().add(i * s.lanes + first));
                let value = vaddq_s32(lanes.apply::<STYLE>(sums), offset);
                let outside = vorrq_u32(vcgtq_s32(least, value), vcgtq_s32(value, most));
                cut = vsubq_u32(cut, vandq_u32(outside, exists));
                let bounded = vmovn_s32(vminq_s32(vmaxq_s32(value, lo), hi));
                let bytes = vreinterpret_s32_s8(vmovn_s16(vcombine_s16(bounded, bounded)));
                let bytes = vget_lane_s32::<0>(bytes).to_le_bytes().map(|b| b as i8);
                if present > 0 {
                    s.codes[i * s.pitch + first..][..present].copy_from_slice(&bytes[..present]);
                }
            }
        }
    }
    u64::from(vaddvq_u32(cut))
}
