//! AVX-VNNI: the 256-bit `vpdpbusd` of CPUs without AVX-512.
//!
//! Input codes come with their sign bit flipped as in `avx512.rs`; the rest is AVX2.

use super::avx2;
use super::table::{Table, Tile};
use std::arch::x86_64::*;

pub(super) static TABLE: Table =
    Table { unsigned_inputs: true, tile, copy: avx2::copy, requantise: Some(avx2::requantise) };

/// # Safety
/// The CPU must have AVX2 and AVX-VNNI; the tile must pass its check.
#[target_feature(enable = "avx2,avxvnni")]
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
#[target_feature(enable = "avx2,avxvnni")]
unsafe fn sums<const P: usize>(t: &mut Tile<'_>, first: usize, line: usize) {
    let at = &t.at[first..t.at.len().min(first + P)];
    debug_assert!(line < t.lines);
    // SAFETY: the check of `Tile` bounds every address: `at + segment + 4 * steps` within the input,
    // a line of weights per segment, step and line, 16 starting values and 16 sums per line.
    unsafe {
        let mut acc = [[_mm256_setzero_si256(); 2]; P];
        let mut x = [t.input.as_ptr(); P];
        for i in 0..P {
            x[i] = t.input.as_ptr().add(at[i.min(at.len() - 1)]);
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
            if i >= at.len() {
                break;
            }
            for j in 0..2 {
                let to = t.sums.as_mut_ptr().add(((first + i) * t.lines + line) * 16 + 8 * j);
                _mm256_storeu_si256(to.cast(), acc[i][j]);
            }
        }
    }
}
