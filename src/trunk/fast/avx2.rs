//! AVX2: codes widened to 16 bits and `vpmaddwd`, whose pair sums cannot saturate. (`vpmaddubsw`
//! would be shorter and can.)

use super::portable;
use super::requant::Style;
use super::table::{Store, Table, Tile};
use std::arch::x86_64::*;

pub(super) static TABLE: Table = Table { unsigned_inputs: false, tile, copy, requantise: Some(requantise) };

/// # Safety
/// The CPU must have AVX2; the tile must pass its check.
#[target_feature(enable = "avx2")]
unsafe fn tile(t: &mut Tile<'_>) {
    for first in (0..t.at.len()).step_by(3) {
        for line in 0..t.lines {
            // SAFETY: the same conditions hold for every size; each holds at least the positions left.
            unsafe {
                match t.at.len() - first {
                    2.. => sums::<3>(t, first, line),
                    _ => sums::<1>(t, first, line),
                }
            }
        }
    }
}

/// `P` positions from `first` on (the last one repeated where fewer are left) × one line. A register holds two
/// partial sums of each of four channels.
///
/// # Safety
/// As [`tile`], with a position and a line that exist.
#[target_feature(enable = "avx2")]
unsafe fn sums<const P: usize>(t: &mut Tile<'_>, first: usize, line: usize) {
    let at = &t.at[first..t.at.len().min(first + P)];
    debug_assert!(line < t.lines);
    // SAFETY: the check of `Tile` bounds every address: `at + segment + 4 * steps` within the input,
    // a line of weights per segment, step and line, 16 starting values and 16 sums per line.
    unsafe {
        let mut acc = [[_mm256_setzero_si256(); 4]; P];
        let mut x = [t.input.as_ptr(); P];
        for i in 0..P {
            x[i] = t.input.as_ptr().add(at[i.min(at.len() - 1)]);
        }
        let mut w = t.weights.as_ptr().add(line);
        for &segment in t.segments {
            let end = segment + 4 * t.steps;
            let mut k = segment;
            while k < end {
                let mut codes = [_mm256_setzero_si256(); P];
                for i in 0..P {
                    codes[i] = _mm256_cvtepi8_epi16(_mm_set1_epi32(x[i].add(k).cast::<i32>().read_unaligned()));
                }
                for j in 0..4 {
                    let weights = _mm256_cvtepi8_epi16(_mm_load_si128(w.cast::<__m128i>().add(j)));
                    for i in 0..P {
                        acc[i][j] = _mm256_add_epi32(acc[i][j], _mm256_madd_epi16(codes[i], weights));
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
            for j in 0..2 {
                let pairs = _mm256_hadd_epi32(acc[i][2 * j], acc[i][2 * j + 1]);
                let ordered = _mm256_permute4x64_epi64::<0b11_01_10_00>(pairs);
                let init = _mm256_loadu_si256(t.init.as_ptr().add(16 * line + 8 * j).cast());
                let to = t.sums.as_mut_ptr().add(((first + i) * t.lines + line) * 16 + 8 * j);
                _mm256_storeu_si256(to.cast(), _mm256_add_epi32(ordered, init));
            }
        }
    }
}

/// # Safety
/// The CPU must have AVX2.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn copy(from: &[i8], flip: i8, to: &mut [i8]) {
    portable::copy(from, flip, to);
}

/// # Safety
/// The CPU must have AVX2; the store must pass its check.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn requantise(s: &mut Store<'_>) -> u64 {
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

/// The constants of eight channels.
#[derive(Clone, Copy)]
struct Lanes {
    factor: __m256i,
    /// The factors of the odd lanes, where a 64-bit product wants them.
    odd: __m256i,
    right: __m256i,
    right_odd: __m256i,
    /// Half a unit: 32-bit lanes, or 64-bit ones of the even and the odd lanes.
    half: __m256i,
    half_odd: __m256i,
    /// All ones where ties of negative values go down.
    away: __m256i,
}

/// The arithmetic shift of 64-bit lanes that AVX2 lacks.
#[inline]
#[target_feature(enable = "avx2")]
fn srav_epi64(value: __m256i, right: __m256i) -> __m256i {
    let sign = _mm256_set1_epi64x(i64::MIN);
    let shifted = _mm256_srlv_epi64(_mm256_xor_si256(value, sign), right);
    _mm256_sub_epi64(shifted, _mm256_srlv_epi64(sign, right))
}

impl Lanes {
    #[target_feature(enable = "avx2")]
    fn new<const STYLE: u8>(factor: __m256i, right: __m256i) -> Self {
        let zero = _mm256_setzero_si256();
        let odd = _mm256_srli_epi64::<32>(factor);
        let right_odd = _mm256_srli_epi64::<32>(right);
        if STYLE == 2 {
            let right = _mm256_blend_epi32::<0xaa>(right, zero);
            let one = _mm256_set1_epi64x(1);
            let half = _mm256_sllv_epi64(one, _mm256_sub_epi64(right, one));
            let half_odd = _mm256_sllv_epi64(one, _mm256_sub_epi64(right_odd, one));
            return Self { factor, odd, right, right_odd, half, half_odd, away: zero };
        }
        let one = _mm256_set1_epi32(1);
        // A shift by -1 gives zero: no shift has no half.
        let half = _mm256_sllv_epi32(one, _mm256_sub_epi32(right, one));
        let away = if STYLE == 0 { _mm256_cmpgt_epi32(right, zero) } else { zero };
        Self { factor, odd, right, right_odd, half, half_odd: zero, away }
    }

    /// `sums × factor`, rounded.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn apply<const STYLE: u8>(&self, sums: __m256i) -> __m256i {
        if STYLE == 3 {
            // Converts ties to even: Rust never changes the rounding mode.
            let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_castsi256_ps(self.factor));
            return _mm256_cvtps_epi32(product);
        }
        let even = _mm256_mul_epi32(sums, self.factor);
        let odd = _mm256_mul_epi32(_mm256_srli_epi64::<32>(sums), self.odd);
        if STYLE == 2 {
            let even = srav_epi64(_mm256_add_epi64(even, self.half), self.right);
            let odd = srav_epi64(_mm256_add_epi64(odd, self.half_odd), self.right_odd);
            return _mm256_blend_epi32::<0xaa>(even, _mm256_slli_epi64::<32>(odd));
        }
        let unit = _mm256_set1_epi64x(1 << 30);
        let even = _mm256_srli_epi64::<31>(_mm256_add_epi64(even, unit));
        let odd = _mm256_slli_epi64::<1>(_mm256_add_epi64(odd, unit));
        let high = _mm256_blend_epi32::<0xaa>(even, odd);
        let nudged = _mm256_add_epi32(high, self.half);
        let nudged = if STYLE == 0 {
            _mm256_add_epi32(nudged, _mm256_and_si256(_mm256_srai_epi32::<31>(high), self.away))
        } else {
            nudged
        };
        _mm256_srav_epi32(nudged, self.right)
    }
}

/// # Safety
/// As [`requantise`].
#[target_feature(enable = "avx2")]
unsafe fn codes<const STYLE: u8>(s: &mut Store<'_>) -> u64 {
    let (lo, hi) = (_mm256_set1_epi32(s.lo), _mm256_set1_epi32(s.hi));
    let (least, most) = (_mm256_set1_epi32(s.saturates[0]), _mm256_set1_epi32(s.saturates[1]));
    let index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let mut cut = _mm256_setzero_si256();
    let positions = s.positions();
    for first in (0..s.lanes).step_by(8) {
        let present = s.channels.saturating_sub(first).min(8);
        let exists = _mm256_cmpgt_epi32(_mm256_set1_epi32(present as i32), index);
        // SAFETY: the check of `Store` bounds constants and sums by `lanes`, and codes by `channels`,
        // to which the copy of `present` bytes keeps.
        unsafe {
            let load = |from: &[i32]| _mm256_loadu_si256(from.as_ptr().add(first).cast());
            let lanes = Lanes::new::<STYLE>(load(s.factor), load(s.right));
            let offset = load(s.offset);
            for i in 0..positions {
                let sums = _mm256_loadu_si256(s.sums.as_ptr().add(i * s.lanes + first).cast());
                let value = _mm256_add_epi32(lanes.apply::<STYLE>(sums), offset);
                let outside = _mm256_or_si256(_mm256_cmpgt_epi32(least, value), _mm256_cmpgt_epi32(value, most));
                cut = _mm256_sub_epi32(cut, _mm256_and_si256(outside, exists));
                let bounded = _mm256_min_epi32(_mm256_max_epi32(value, lo), hi);
                let words = _mm_packs_epi32(_mm256_castsi256_si128(bounded), _mm256_extracti128_si256::<1>(bounded));
                let bytes = _mm_cvtsi128_si64(_mm_packs_epi16(words, words)).to_le_bytes();
                if present > 0 {
                    s.codes[i * s.pitch + first..][..present].copy_from_slice(&bytes.map(|b| b as i8)[..present]);
                }
            }
        }
    }
    let mut counts = [0i32; 8];
    // SAFETY: an array of eight.
    unsafe { _mm256_storeu_si256(counts.as_mut_ptr().cast(), cut) };
    counts.iter().map(|&n| n as u64).sum()
}
