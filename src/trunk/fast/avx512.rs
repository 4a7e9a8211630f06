//! AVX-512 with VNNI: 64 products per `vpdpbusd`, up to 24 sums in registers.
//!
//! `vpdpbusd` (the wrapping form) takes unsigned inputs, so input codes have their sign bit flipped
//! on the way into a register; the constant that this adds is part of what sums start from.

use super::portable;
use super::requant::Style;
use super::table::{Store, Table, Tile, Window};
use std::arch::x86_64::*;

pub(super) static TABLE: Table =
    Table { input_offset: 128, positions: [16, 12, 8, 6], tile, depthwise, requantise: Some(requantise) };

/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI; the tile must pass its check.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile(t: &mut Tile<'_>) {
    // SAFETY: the same conditions hold for every size; each holds at least the tile's positions.
    unsafe {
        match (t.lines, t.at.len()) {
            (4, 5..) => sums::<6, 4>(t),
            (4, 3..) => sums::<4, 4>(t),
            (4, 2) => sums::<2, 4>(t),
            (4, _) => sums::<1, 4>(t),
            (3, 5..) => sums::<8, 3>(t),
            (3, 2..) => sums::<4, 3>(t),
            (3, _) => sums::<1, 3>(t),
            (2, 9..) => sums::<12, 2>(t),
            (2, 5..) => sums::<8, 2>(t),
            (2, 2..) => sums::<4, 2>(t),
            (2, _) => sums::<1, 2>(t),
            (_, 9..) => sums::<16, 1>(t),
            (_, 5..) => sums::<8, 1>(t),
            (_, 2..) => sums::<4, 1>(t),
            _ => sums::<1, 1>(t),
        }
    }
}

/// `P` positions (the last one repeated where the tile has fewer) × `L` lines.
///
/// # Safety
/// As [`tile`], with at most `P` positions and exactly `L` lines.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sums<const P: usize, const L: usize>(t: &mut Tile<'_>) {
    debug_assert!(t.at.len() <= P && t.lines == L);
    // SAFETY: the check of `Tile` bounds every address: `at + segment + 4 * steps` within the input,
    // a line of weights per segment, step and `L`, `16 * L` starting values, and as many sums per position.
    unsafe {
        let sign = _mm512_set1_epi8(-128);
        let mut acc = [[_mm512_setzero_si512(); L]; P];
        let mut x = [t.input.as_ptr(); P];
        for i in 0..P {
            x[i] = t.input.as_ptr().add(t.at[i.min(t.at.len() - 1)]);
            for j in 0..L {
                acc[i][j] = _mm512_loadu_si512(t.init.as_ptr().add(16 * j).cast());
            }
        }
        let mut w = t.weights.as_ptr().cast::<__m512i>();
        for &segment in t.segments {
            let end = segment + 4 * t.steps;
            let mut k = segment;
            while k < end {
                let mut lines = [_mm512_setzero_si512(); L];
                for j in 0..L {
                    lines[j] = _mm512_load_si512(w.add(j));
                }
                for i in 0..P {
                    let codes = _mm512_set1_epi32(x[i].add(k).cast::<i32>().read_unaligned());
                    let codes = _mm512_xor_si512(codes, sign);
                    for j in 0..L {
                        acc[i][j] = _mm512_dpbusd_epi32(acc[i][j], codes, lines[j]);
                    }
                }
                w = w.add(L);
                k += 4;
            }
        }
        for i in 0..P {
            // A constant range, left early: the sums then never need an address.
            if i >= t.at.len() {
                break;
            }
            for j in 0..L {
                _mm512_storeu_si512(t.sums.as_mut_ptr().add((i * L + j) * 16).cast(), acc[i][j]);
            }
        }
    }
}

/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn depthwise(window: &mut Window<'_>) {
    portable::depthwise(window);
}

/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI; the store must pass its check.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn requantise(s: &mut Store<'_>) -> u64 {
    // SAFETY: the same conditions.
    unsafe {
        match s.style {
            Style::Double { away: true } => codes::<0>(s),
            Style::Double { away: false } => codes::<1>(s),
            Style::Single => codes::<2>(s),
            Style::Float => codes::<3>(s),
        }
    }
}

/// The constants of 16 channels.
#[derive(Clone, Copy)]
struct Lanes {
    factor: __m512i,
    /// The factors of the odd lanes, where a 64-bit product wants them.
    odd: __m512i,
    right: __m512i,
    right_odd: __m512i,
    /// Half a unit: 32-bit lanes, or 64-bit ones of the even and the odd lanes.
    half: __m512i,
    half_odd: __m512i,
    /// All ones where ties of negative values go down.
    away: __m512i,
}

impl Lanes {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn new<const STYLE: u8>(factor: __m512i, right: __m512i) -> Self {
        let odd = _mm512_srli_epi64::<32>(factor);
        let (right_even, right_odd) = (_mm512_maskz_mov_epi32(0x5555, right), _mm512_srli_epi64::<32>(right));
        let zero = _mm512_setzero_si512();
        if STYLE == 2 {
            let one = _mm512_set1_epi64(1);
            let half = _mm512_sllv_epi64(one, _mm512_sub_epi64(right_even, one));
            let half_odd = _mm512_sllv_epi64(one, _mm512_sub_epi64(right_odd, one));
            return Self { factor, odd, right: right_even, right_odd, half, half_odd, away: zero };
        }
        let one = _mm512_set1_epi32(1);
        let shifts = _mm512_test_epi32_mask(right, right);
        let half = _mm512_maskz_sllv_epi32(shifts, one, _mm512_sub_epi32(right, one));
        let away = if STYLE == 0 { _mm512_maskz_set1_epi32(shifts, -1) } else { zero };
        Self { factor, odd, right, right_odd, half, half_odd: zero, away }
    }

    /// `sums × factor`, rounded.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn apply<const STYLE: u8>(&self, sums: __m512i) -> __m512i {
        const ODD: u16 = 0xaaaa;
        if STYLE == 3 {
            // Converts ties to even: Rust never changes the rounding mode.
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_castsi512_ps(self.factor));
            return _mm512_cvtps_epi32(product);
        }
        let even = _mm512_mul_epi32(sums, self.factor);
        let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), self.odd);
        if STYLE == 2 {
            let even = _mm512_srav_epi64(_mm512_add_epi64(even, self.half), self.right);
            let odd = _mm512_srav_epi64(_mm512_add_epi64(odd, self.half_odd), self.right_odd);
            return _mm512_mask_blend_epi32(ODD, even, _mm512_slli_epi64::<32>(odd));
        }
        let unit = _mm512_set1_epi64(1 << 30);
        let even = _mm512_srli_epi64::<31>(_mm512_add_epi64(even, unit));
        let odd = _mm512_slli_epi64::<1>(_mm512_add_epi64(odd, unit));
        let high = _mm512_mask_blend_epi32(ODD, even, odd);
        let nudged = _mm512_add_epi32(high, self.half);
        let nudged = if STYLE == 0 {
            _mm512_add_epi32(nudged, _mm512_and_si512(_mm512_srai_epi32::<31>(high), self.away))
        } else {
            nudged
        };
        _mm512_srav_epi32(nudged, self.right)
    }
}

/// # Safety
/// As [`requantise`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn codes<const STYLE: u8>(s: &mut Store<'_>) -> u64 {
    let (lo, hi) = (_mm512_set1_epi32(s.lo), _mm512_set1_epi32(s.hi));
    let [least, most] = s.saturates;
    let (least, range) = (_mm512_set1_epi32(least), _mm512_set1_epi32(most.wrapping_sub(least)));
    let one = _mm512_set1_epi32(1);
    let mut cut = _mm512_setzero_si512();
    let positions = s.positions();
    for first in (0..s.lanes).step_by(16) {
        let present = (s.channels - first).min(16);
        let mask = (0xffffu32 >> (16 - present)) as u16;
        // SAFETY: the check of `Store` bounds constants and sums by `lanes`, and codes by `channels`,
        // to which the masked store keeps.
        unsafe {
            let load = |from: &[i32]| _mm512_loadu_si512(from.as_ptr().add(first).cast());
            let lanes = Lanes::new::<STYLE>(load(s.factor), load(s.right));
            let offset = load(s.offset);
            for i in 0..positions {
                let sums = _mm512_loadu_si512(s.sums.as_ptr().add(i * s.lanes + first).cast());
                let value = _mm512_add_epi32(lanes.apply::<STYLE>(sums), offset);
                let outside = _mm512_mask_cmpgt_epu32_mask(mask, _mm512_sub_epi32(value, least), range);
                cut = _mm512_mask_add_epi32(cut, outside, cut, one);
                let bytes = _mm512_cvtepi32_epi8(_mm512_min_epi32(_mm512_max_epi32(value, lo), hi));
                let to = s.codes.as_mut_ptr().add(i * s.pitch + first);
                if present == 16 {
                    _mm_storeu_si128(to.cast(), bytes);
                } else {
                    _mm_mask_storeu_epi8(to, mask, bytes);
                }
            }
        }
    }
    _mm512_reduce_add_epi32(cut) as u32 as u64
}
