//! AVX-512 with VNNI: 64 products per `vpdpbusd`, up to 24 sums in registers.
//!
//! `vpdpbusd` (the wrapping form) takes unsigned inputs: input codes come with their sign bit flipped,
//! and the constant that this adds is part of what sums start from.

use super::portable;
use super::requant::Style;
use super::table::{Store, Table, Tile};
use std::arch::x86_64::*;

pub(super) static TABLE: Table = Table { unsigned_inputs: true, tile, copy, requantise: Some(requantise) };

/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI; the tile must pass its check.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile(t: &mut Tile<'_>) {
    let mut first = 0;
    while first < t.at.len() {
        // SAFETY: the same conditions hold for every size.
        first += unsafe {
            match (t.lines, t.at.len() - first) {
                (4, 5..) => sums::<6, 4>(t, first),
                (4, 3..) => sums::<4, 4>(t, first),
                (4, 2) => sums::<2, 4>(t, first),
                (4, _) => sums::<1, 4>(t, first),
                (3, 5..) => sums::<8, 3>(t, first),
                (3, 2..) => sums::<4, 3>(t, first),
                (3, _) => sums::<1, 3>(t, first),
                (2, 9..) => sums::<12, 2>(t, first),
                (2, 5..) => sums::<8, 2>(t, first),
                (2, 2..) => sums::<4, 2>(t, first),
                (2, _) => sums::<1, 2>(t, first),
                (_, 9..) => sums::<16, 1>(t, first),
                (_, 5..) => sums::<8, 1>(t, first),
                (_, 2..) => sums::<4, 1>(t, first),
                _ => sums::<1, 1>(t, first),
            }
        };
    }
}

/// `P` positions from `first` on (the last one repeated where fewer are left) × `L` lines. Returns how
/// many positions are done.
///
/// # Safety
/// As [`tile`], with exactly `L` lines and a first position that exists.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sums<const P: usize, const L: usize>(t: &mut Tile<'_>, first: usize) -> usize {
    let at = &t.at[first..t.at.len().min(first + P)];
    debug_assert!(t.lines == L);
    // SAFETY: the check of `Tile` bounds every address: `at + segment + 4 * steps` within the input,
    // a line of weights per segment, step and `L`, `16 * L` starting values, and as many sums per position.
    unsafe {
        let mut acc = [[_mm512_setzero_si512(); L]; P];
        let mut x = [t.input.as_ptr(); P];
        for i in 0..P {
            x[i] = t.input.as_ptr().add(at[i.min(at.len() - 1)]);
            for j in 0..L {
                acc[i][j] = _mm512_loadu_si512(t.init.as_ptr().add(16 * j).cast());
            }
        }
        let mut w = t.weights.as_ptr().cast::<__m512i>();
        // Each group of positions fetches its share of what comes next, a line per step.
        let share = t.segments.len() * t.steps;
        let ahead = t.ahead.get(first / P * share..).unwrap_or(&[]);
        let mut ahead = if ahead.len() < share { w.cast::<i8>() } else { ahead.as_ptr().cast::<i8>() };
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
                    for j in 0..L {
                        acc[i][j] = _mm512_dpbusd_epi32(acc[i][j], codes, lines[j]);
                    }
                }
                _mm_prefetch::<_MM_HINT_T1>(ahead);
                ahead = ahead.wrapping_add(64);
                w = w.add(L);
                k += 4;
            }
        }
        for i in 0..P {
            // A constant range, left early: the sums then never need an address.
            if i >= at.len() {
                break;
            }
            for j in 0..L {
                _mm512_storeu_si512(t.sums.as_mut_ptr().add(((first + i) * L + j) * 16).cast(), acc[i][j]);
            }
        }
    }
    at.len()
}

/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn copy(from: &[i8], flip: i8, to: &mut [i8]) {
    portable::copy(from, flip, to);
}

/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI; the store must pass its check.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn requantise(s: &mut Store<'_>) -> u64 {
    // SAFETY: the same conditions.
    unsafe {
        match (s.style, s.halved) {
            (Style::Double { wide: true, .. }, _) => codes::<WIDE_AWAY>(s),
            (Style::Double { away: true, .. }, true) => codes::<HALVED_AWAY>(s),
            (Style::Double { away: true, .. }, false) => codes::<AWAY>(s),
            (Style::Double { away: false, .. }, _) => codes::<UP>(s),
            (Style::Single, _) => codes::<SINGLE>(s),
            (Style::Float, _) => codes::<FLOAT>(s),
        }
    }
}

/// A rounding doubling high product, then a shift with ties away from zero; the same where every
/// shift is by one at least; the same with ties up.
const AWAY: u8 = 0;
const HALVED_AWAY: u8 = 1;
const UP: u8 = 2;
/// A 64-bit product rounded once; an f32 product.
const SINGLE: u8 = 3;
const FLOAT: u8 = 4;
/// [`HALVED_AWAY`] where all factors are 2^30 at least: the common case, in the fewest instructions.
const WIDE_AWAY: u8 = 5;

/// The bounds of a map whose codes its activation alone cuts off: there is nothing to count.
const NEVER: [i32; 2] = [i32::MIN, i32::MAX];

/// The constants of 16 channels.
#[derive(Clone, Copy)]
struct Lanes {
    factor: __m512i,
    /// The factors of the odd lanes, where a 64-bit product wants them.
    odd: __m512i,
    /// By how much to shift right; 64-bit lanes for [`SINGLE`].
    right: __m512i,
    right_odd: __m512i,
    /// Half a unit, added to the 64-bit products of the even and the odd lanes.
    half: __m512i,
    half_odd: __m512i,
}

impl Lanes {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn new<const STYLE: u8>(factor: __m512i, right: __m512i) -> Self {
        let factor = if STYLE == WIDE_AWAY { _mm512_slli_epi32::<1>(factor) } else { factor };
        let odd = _mm512_srli_epi64::<32>(factor);
        let (even, right_odd) = (_mm512_maskz_mov_epi32(0x5555, right), _mm512_srli_epi64::<32>(right));
        let one = _mm512_set1_epi64(1);
        if STYLE == SINGLE {
            let half = _mm512_sllv_epi64(one, _mm512_sub_epi64(even, one));
            let half_odd = _mm512_sllv_epi64(one, _mm512_sub_epi64(right_odd, one));
            return Self { factor, odd, right: even, right_odd, half, half_odd };
        }
        // Twice the product has the high product in its upper half. Half of that half is rounded by
        // 2^31; half of what the shift drops is added at once. Without a shift there is no half: 2^-1 is 0.
        let unit = _mm512_set1_epi64(1 << 31);
        let half = |right| {
            let half = _mm512_sllv_epi32(_mm512_set1_epi64(1), _mm512_sub_epi32(right, _mm512_set1_epi64(1)));
            _mm512_add_epi64(unit, _mm512_slli_epi64::<32>(half))
        };
        Self { factor, odd, right, right_odd, half: half(even), half_odd: half(right_odd) }
    }

    /// `sums × factor`, rounded.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn apply<const STYLE: u8>(&self, sums: __m512i) -> __m512i {
        const EVEN: u16 = 0x5555;
        if STYLE == FLOAT {
            // Converts ties to even: Rust never changes the rounding mode.
            let product = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_castsi512_ps(self.factor));
            return _mm512_cvtps_epi32(product);
        }
        if STYLE == SINGLE {
            let even = _mm512_mul_epi32(sums, self.factor);
            let odd = _mm512_mul_epi32(_mm512_srli_epi64::<32>(sums), self.odd);
            let even = _mm512_srav_epi64(_mm512_add_epi64(even, self.half), self.right);
            let odd = _mm512_srav_epi64(_mm512_add_epi64(odd, self.half_odd), self.right_odd);
            return _mm512_mask_blend_epi32(EVEN, _mm512_slli_epi64::<32>(odd), even);
        }
        if STYLE == WIDE_AWAY {
            // Twice the factor has wrapped to itself less 2^32: what the upper half lacks is the sum.
            let float = _mm512_castsi512_ps;
            let odd = _mm512_castps_si512(_mm512_movehdup_ps(float(sums)));
            let even = _mm512_add_epi64(_mm512_mul_epi32(sums, self.factor), self.half);
            let odd = _mm512_add_epi64(_mm512_mul_epi32(odd, self.odd), self.half_odd);
            let upper = _mm512_castps_si512(_mm512_mask_movehdup_ps(float(odd), EVEN, float(even)));
            let negative = _mm512_srai_epi32::<31>(sums);
            return _mm512_srav_epi32(_mm512_add_epi32(_mm512_add_epi32(upper, sums), negative), self.right);
        }
        let twice = _mm512_slli_epi32::<1>(sums);
        let even = _mm512_add_epi64(_mm512_mul_epi32(twice, self.factor), self.half);
        let odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64::<32>(twice), self.odd), self.half_odd);
        let upper = _mm512_mask_blend_epi32(EVEN, odd, _mm512_srli_epi64::<32>(even));
        // Ties of negative values go down: one is taken from them. A value that is no tie, and a
        // product that rounds to zero, do not notice as long as there is a half to take it from.
        let negative = _mm512_srai_epi32::<31>(_mm512_xor_si512(sums, self.factor));
        let nudged = match STYLE {
            HALVED_AWAY => _mm512_add_epi32(upper, negative),
            AWAY => {
                let shifts = _mm512_test_epi32_mask(self.right, self.right);
                _mm512_mask_add_epi32(upper, shifts, upper, negative)
            }
            _ => upper,
        };
        _mm512_srav_epi32(nudged, self.right)
    }
}

/// # Safety
/// As [`requantise`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
unsafe fn codes<const STYLE: u8>(s: &mut Store<'_>) -> u64 {
    let mut cut = 0;
    for first in (0..s.lanes).step_by(64) {
        let channels = (s.channels - first).min(64);
        // SAFETY: the same conditions, and a group holds the lines that are left.
        cut += unsafe {
            match (s.lanes - first) / 16 {
                1 => group::<STYLE, 1>(s, first, channels),
                2 => group::<STYLE, 2>(s, first, channels),
                3 => group::<STYLE, 3>(s, first, channels),
                _ => group::<STYLE, 4>(s, first, channels),
            }
        };
    }
    cut
}

/// `L` lines of `channels` from `first` on, for all positions. Four vectors at a time become 64 codes:
/// of one position where there are more than two lines, else of two or four.
///
/// # Safety
/// As [`requantise`], with at least `L` lines from `first` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,popcnt")]
unsafe fn group<const STYLE: u8, const L: usize>(s: &mut Store<'_>, first: usize, channels: usize) -> u64 {
    let word = |value: i32| value.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
    let (lo, hi) = (_mm512_set1_epi8(s.lo as i8), _mm512_set1_epi8(s.hi as i8));
    let [least, most] = s.saturates.map(word);
    let range = _mm512_set1_epi16(most.wrapping_sub(least));
    let (least, most) = (_mm512_set1_epi16(least), _mm512_set1_epi16(most));
    // Packing goes by quarters of a register; this puts vector after vector.
    let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    let zero = _mm512_setzero_si512();
    let (together, used) = if L == 3 { (1, 3) } else { (4 / L, 4) };
    let all = present::<L>(channels, together);
    let positions = s.positions();
    let mut cut = 0;
    // SAFETY: the check of `Store` bounds constants and sums by `lanes`, and codes by `channels`,
    // to which masked stores keep.
    unsafe {
        let load = |from: &[i32], j: usize| _mm512_loadu_si512(from.as_ptr().add(first + 16 * j).cast());
        let mut lanes = [Lanes::new::<STYLE>(zero, _mm512_set1_epi32(1)); L];
        for j in 0..L {
            lanes[j] = Lanes::new::<STYLE>(load(s.factor, j), load(s.right, j));
        }
        let mut offsets = [zero; 4];
        for t in 0..used {
            offsets[t] = load(s.offset, t % L);
        }
        let offsets = [_mm512_packs_epi32(offsets[0], offsets[1]), _mm512_packs_epi32(offsets[2], offsets[3])];
        let mut i = 0;
        while i < positions {
            let here = (positions - i).min(together);
            let mut values = [zero; 4];
            for t in 0..used {
                // Positions that are not there repeat the last one.
                let at = (i + (t / L).min(here - 1)) * s.lanes + first + t % L * 16;
                values[t] = lanes[t % L].apply::<STYLE>(_mm512_loadu_si512(s.sums.as_ptr().add(at).cast()));
            }
            let low = _mm512_adds_epi16(_mm512_packs_epi32(values[0], values[1]), offsets[0]);
            let high = _mm512_adds_epi16(_mm512_packs_epi32(values[2], values[3]), offsets[1]);
            let bytes = _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(low, high), lo), hi);
            let bytes = _mm512_permutexvar_epi32(order, bytes);
            if s.saturates != NEVER {
                // Behind a ReLU only the upper bound is the code's own.
                let outside = |values| match s.saturates[0] {
                    i32::MIN => _mm512_cmpgt_epi16_mask(values, most),
                    _ => _mm512_cmpgt_epu16_mask(_mm512_sub_epi16(values, least), range),
                };
                let present = if here == together { all } else { present::<L>(channels, here) };
                let bits = u64::from(outside(high)) << 32 | u64::from(outside(low));
                cut += u64::from((bits & present).count_ones());
            }
            let to = s.codes.as_mut_ptr().add(i * s.pitch + first);
            if channels == 64 {
                _mm512_storeu_si512(to.cast(), bytes);
            } else {
                store::<L>(bytes, to, s.pitch, channels, here);
            }
            i += together;
        }
    }
    cut
}

/// Which of 64 packed words are values: packing takes four words of each vector in turn, two vectors
/// after the other two.
fn present<const L: usize>(channels: usize, positions: usize) -> u64 {
    let mut bits = 0;
    for vector in 0..(positions * L).min(4) {
        let lanes = channels.saturating_sub(vector % L * 16).min(16);
        let (fours, rest) = (lanes / 4 * 8, lanes % 4);
        let own = 0x0f0f_0f0f & ((1u64 << fours) - 1) | ((1u64 << rest) - 1) << fours;
        bits |= own << (vector / 2 * 32 + vector % 2 * 4);
    }
    bits
}

/// Stores the codes of up to four vectors, `L` to a position.
///
/// # Safety
/// The CPU must have AVX-512 F, BW and VL; `channels` codes must exist at every position.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn store<const L: usize>(bytes: __m512i, to: *mut i8, pitch: usize, channels: usize, positions: usize) {
    let vectors = [
        _mm512_castsi512_si128(bytes),
        _mm512_extracti32x4_epi32::<1>(bytes),
        _mm512_extracti32x4_epi32::<2>(bytes),
        _mm512_extracti32x4_epi32::<3>(bytes),
    ];
    for p in 0..if L == 3 { 1 } else { 4 / L } {
        // A constant range, left early: the vectors then never need an address.
        if p >= positions {
            break;
        }
        for j in 0..L {
            let (vector, left) = (vectors[p * L + j], channels - 16 * j);
            // SAFETY: the caller's promise; a vector is stored as far as there are channels.
            unsafe {
                let to = to.add(p * pitch + 16 * j);
                match left {
                    16.. => _mm_storeu_si128(to.cast(), vector),
                    8 => _mm_storel_epi64(to.cast(), vector),
                    _ => _mm_mask_storeu_epi8(to, u16::MAX >> (16 - left), vector),
                }
            }
        }
    }
}
