//! AVX-VNNI: the 256-bit `vpdpbusd` of CPUs without AVX-512.
//!
//! Input codes have their sign bit flipped as in `avx512.rs`; the rest is AVX2.

use super::avx2;
use super::table::{Table, Tile};
use std::arch::x86_64::*;

pub(super) static TABLE: Table = Table {
    input_offset: 128,
    positions: [6, 6, 6, 6],
    tile,
    depthwise: avx2::depthwise,
    requantise: Some(avx2::requantise),
};

/// # Safety
/// The CPU must have AVX2 and AVX-VNNI; the tile must pass its check.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn tile(t: &mut Tile<'_>) {
    for line in 0..t.lines {
        // SAFETY: the same conditions hold for every size; each holds at least the tile's positions.
        unsafe {
            match t.at.len() {
                4.. => sums::<6>(t, line),
                2.. => sums::<3>(t, line),
                _ => sums::<1>(t, line),
            }
        }
    }
}

/// `P` positions (the last one repeated where the tile has fewer) × one line.
///
/// # Safety
/// As [`tile`], with at most `P` positions.
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn sums<const P: usize>(t: &mut Tile<'_>, line: usize) {
    debug_assert!(t.at.len() <= P && line < t.lines);
    // SAFETY: the check of `Tile` bounds every address: `at + segment + 4 * steps` within the input,
    // a line of weights per segment, step and line, 16 starting values and 16 sums per line.
    unsafe {
        let sign = _mm256_set1_epi8(-128);
        let mut acc = [[_mm256_setzero_si256(); 2]; P];
        let mut x = [t.input.as_ptr(); P];
        for i in 0..P {
            x[i] = t.input.as_ptr().add(t.at[i.min(t.at.len() - 1)]);
            for j in 0..2 {
                acc[i][j] = _mm256_loadu_si256(t.init.as_ptr().add(16 * line + 8 * j).cast());
            }
        }
        let mut w = t.weights.as_ptr().add(line);
        for &segment in t.segments {
            let end = segment + 4 * t.steps;
            let mut k = segment;
            while k < end {
                let halves = w.cast::<__m256i>();
                let halves = [_mm256_load_si256(halves), _mm256_load_si256(halves.add(1))];
                for i in 0..P {
                    let codes = _mm256_set1_epi32(x[i].add(k).cast::<i32>().read_unaligned());
                    let codes = _mm256_xor_si256(codes, sign);
                    for j in 0..2 {
                        acc[i][j] = _mm256_dpbusd_avx_epi32(acc[i][j], codes, halves[j]);
                    }
                }
                // Stays within the weights or one block past their last line, where it is not read.
                w = w.wrapping_add(t.lines);
                k += 4;
            }
        }
        for i in 0..P {
            // A constant range, left early: the sums then never need an address.
            if i >= t.at.len() {
                break;
            }
            for j in 0..2 {
                let to = t.sums.as_mut_ptr().add((i * t.lines + line) * 16 + 8 * j);
                _mm256_storeu_si256(to.cast(), acc[i][j]);
            }
        }
    }
}
