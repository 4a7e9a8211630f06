//! x86: `vpdpbusd` on four rows of bytes, or `vpmaddwd` on two rows of words. Input codes of the
//! former have their sign bit flipped on the way into the strip.

use super::form::{Form, Interleave, Tile};
use std::arch::x86_64::*;

pub(super) static AVX512: Form = Form { rows: 4, offset: 128, interleave: bytes_512, tile: tile_512 };
pub(super) static AVX_VNNI: Form = Form { rows: 4, offset: 128, interleave: bytes_256, tile: tile_vnni };
pub(super) static AVX2: Form = Form { rows: 2, offset: 0, interleave: words_256, tile: tile_words };

/// `$lines(rows, to)` interleaves 16 codes of each row; the rest of a pixel goes through a copy.
macro_rules! interleave {
    ($name:ident, $features:literal, $sixteen:ident) => {
        /// # Safety
        /// The CPU must have the features; the work must pass its check.
        #[target_feature(enable = $features)]
        unsafe fn $name(work: &mut Interleave<'_>) {
            let (whole, rest) = (work.channels / 16 * 16, work.channels % 16);
            for pixel in 0..work.pixels {
                // SAFETY: the check of `Interleave` bounds `channels` codes and lanes of every pixel.
                unsafe {
                    let rows = work.rows.map(|row| row.as_ptr().add(pixel * work.from_pitch));
                    let to = work.to.as_mut_ptr().add(pixel * work.to_pitch);
                    let mut i = 0;
                    while i < whole {
                        $sixteen(rows.map(|row| row.add(i)), to.add(i));
                        i += 16;
                    }
                    if rest > 0 {
                        let (mut ends, mut lanes) = ([[0i8; 16]; 4], [0i32; 16]);
                        for (end, row) in ends.iter_mut().zip(rows) {
                            end.as_mut_ptr().copy_from_nonoverlapping(row.add(whole), rest);
                        }
                        $sixteen([0, 1, 2, 3].map(|r| ends[r].as_ptr()), lanes.as_mut_ptr());
                        to.add(whole).copy_from_nonoverlapping(lanes.as_ptr(), rest);
                    }
                }
            }
        }
    };
}

interleave!(bytes_512, "avx512f,avx512bw,avx512vl,avx512vnni", sixteen_512);
interleave!(bytes_256, "avx2,avxvnni", sixteen_256);
interleave!(words_256, "avx2", sixteen_words);

/// # Safety
/// The CPU must have AVX-512 F and BW; 16 codes of every row and 16 lanes must exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sixteen_512(rows: [*const i8; 4], to: *mut i32) {
    // SAFETY: as above.
    unsafe {
        let row = |i: usize| _mm_loadu_si128(rows[i].cast());
        let pairs = |a, b| _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(a), b);
        let low = _mm512_castsi256_si512(pairs(row(0), row(1)));
        let all = _mm512_inserti64x4::<1>(low, pairs(row(2), row(3)));
        // Each 128 bits get the rows' codes of four channels, then each 32 bits those of one.
        let by_four = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
        let by_one = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
        let lanes = _mm512_shuffle_epi8(_mm512_permutexvar_epi32(by_four, all), by_one);
        _mm512_storeu_si512(to.cast(), _mm512_xor_si512(lanes, _mm512_set1_epi8(-128)));
    }
}

/// # Safety
/// The CPU must have AVX2; 16 codes of every row and 16 lanes must exist.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sixteen_256(rows: [*const i8; 4], to: *mut i32) {
    // SAFETY: as above.
    unsafe {
        let sign = _mm_set1_epi8(-128);
        let row = |i: usize| _mm_xor_si128(_mm_loadu_si128(rows[i].cast()), sign);
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
        let to = to.cast::<__m128i>();
        _mm_storeu_si128(to, _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to.add(1), _mm_unpackhi_epi16(ab, cd));
        let (ab, cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
        _mm_storeu_si128(to.add(2), _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to.add(3), _mm_unpackhi_epi16(ab, cd));
    }
}

/// # Safety
/// The CPU must have AVX2; 16 codes of two rows and 16 lanes must exist.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn sixteen_words(rows: [*const i8; 4], to: *mut i32) {
    // SAFETY: as above.
    unsafe {
        let (a, b) = (_mm_loadu_si128(rows[0].cast()), _mm_loadu_si128(rows[1].cast()));
        let to = to.cast::<__m256i>();
        _mm256_storeu_si256(to, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(a, b)));
        _mm256_storeu_si256(to.add(1), _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(a, b)));
    }
}

/// # Safety
/// The CPU must have AVX-512 F, BW, VL and VNNI; the tile must pass its check.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile_512(t: &mut Tile<'_>) {
    let mut first = 0;
    // SAFETY: the same conditions, and positions that exist.
    unsafe {
        while t.positions - first >= 8 {
            sums_512::<8>(t, first);
            first += 8;
        }
        while t.positions - first >= 3 {
            sums_512::<3>(t, first);
            first += 3;
        }
        while t.positions > first {
            sums_512::<1>(t, first);
            first += 1;
        }
    }
}

/// # Safety
/// As [`tile_512`]; `P` positions from `first` on must exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn sums_512<const P: usize>(t: &mut Tile<'_>, first: usize) {
    // SAFETY: the check of `Tile` bounds 16 lanes at every position and offset, and the sums.
    unsafe {
        let x = t.strip.as_ptr().add(t.at + first * t.step);
        let mut acc = [_mm512_loadu_si512(t.init.as_ptr().cast()); P];
        for (w, &offset) in t.weights.iter().zip(t.offsets) {
            let w = _mm512_load_si512(std::ptr::from_ref(w).cast());
            for i in 0..P {
                acc[i] = _mm512_dpbusd_epi32(acc[i], _mm512_loadu_si512(x.add(offset + i * t.step).cast()), w);
            }
        }
        let to = t.sums.as_mut_ptr().add(first * t.lanes);
        for i in 0..P {
            _mm512_storeu_si512(to.add(i * t.lanes).cast(), acc[i]);
        }
    }
}

/// The 256-bit loops, which differ in one instruction.
macro_rules! tile_256 {
    ($name:ident, $sums:ident, $features:literal, $multiply:expr) => {
        /// # Safety
        /// The CPU must have the features; the tile must pass its check.
        #[target_feature(enable = $features)]
        unsafe fn $name(t: &mut Tile<'_>) {
            let mut first = 0;
            // SAFETY: the same conditions, and positions that exist.
            unsafe {
                while t.positions - first >= 4 {
                    $sums::<4>(t, first);
                    first += 4;
                }
                while t.positions > first {
                    $sums::<1>(t, first);
                    first += 1;
                }
            }
        }

        /// # Safety
        /// As the tile; `P` positions from `first` on must exist.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $sums<const P: usize>(t: &mut Tile<'_>, first: usize) {
            // SAFETY: the check of `Tile` bounds 16 lanes at every position and offset, and the sums.
            unsafe {
                let x = t.strip.as_ptr().add(t.at + first * t.step);
                let init = t.init.as_ptr().cast::<__m256i>();
                let mut acc = [[_mm256_loadu_si256(init), _mm256_loadu_si256(init.add(1))]; P];
                for (w, &offset) in t.weights.iter().zip(t.offsets) {
                    let w = std::ptr::from_ref(w).cast::<__m256i>();
                    let w = [_mm256_load_si256(w), _mm256_load_si256(w.add(1))];
                    for i in 0..P {
                        let x = x.add(offset + i * t.step).cast::<__m256i>();
                        for j in 0..2 {
                            acc[i][j] = $multiply(acc[i][j], _mm256_loadu_si256(x.add(j)), w[j]);
                        }
                    }
                }
                let to = t.sums.as_mut_ptr().add(first * t.lanes);
                for i in 0..P {
                    for j in 0..2 {
                        _mm256_storeu_si256(to.add(i * t.lanes + 8 * j).cast(), acc[i][j]);
                    }
                }
            }
        }
    };
}

tile_256!(tile_vnni, sums_vnni, "avx2,avxvnni", |acc, x, w| _mm256_dpbusd_avx_epi32(acc, x, w));
tile_256!(tile_words, sums_words, "avx2", |acc, x, w| _mm256_add_epi32(acc, _mm256_madd_epi16(x, w)));
