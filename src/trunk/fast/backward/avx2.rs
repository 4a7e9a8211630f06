//! 256-bit registers: half a line at a time, for AVX2 and AVX-VNNI.

use super::tile::Tile;
use std::arch::x86_64::*;

/// A tile function: `$step` adds the products of a broadcast word and half a line to sums.
macro_rules! kernel {
    ($name:ident, $sums:ident, $features:literal, $step:expr) => {
        /// # Safety
        /// The CPU must have the features; the tile must pass its check.
        #[target_feature(enable = $features)]
        pub(super) unsafe fn $name(t: &mut Tile<'_>) {
            for first in (0..t.at.len()).step_by(6) {
                for line in 0..t.lines {
                    // SAFETY: the same conditions hold for every size; each holds the positions left.
                    unsafe {
                        match t.at.len() - first {
                            4.. => $sums::<6>(t, first, line),
                            2.. => $sums::<3>(t, first, line),
                            _ => $sums::<1>(t, first, line),
                        }
                    }
                }
            }
        }

        /// `P` positions from `first` on (the last one repeated where fewer are left) × one line.
        ///
        /// # Safety
        /// As the tile function, with a position and a line that exist.
        #[target_feature(enable = $features)]
        unsafe fn $sums<const P: usize>(t: &mut Tile<'_>, first: usize, line: usize) {
            let at = &t.at[first..t.at.len().min(first + P)];
            debug_assert!(line < t.lines);
            // SAFETY: the check of `Tile` bounds every address: every run of every position within the
            // source, a line of weights per word and line, 16 starting values and sums per line.
            unsafe {
                let mut acc = [[_mm256_setzero_si256(); 2]; P];
                let mut x = [t.source.as_ptr(); P];
                for i in 0..P {
                    x[i] = t.source.as_ptr().add(at[i.min(at.len() - 1)]);
                    for j in 0..2 {
                        acc[i][j] = _mm256_loadu_si256(t.init.as_ptr().add(16 * line + 8 * j).cast());
                    }
                }
                let mut w = t.weights.as_ptr().add(line);
                for run in t.runs {
                    for k in run.at..run.at + run.words {
                        let halves = w.cast::<__m256i>();
                        let halves = [_mm256_load_si256(halves), _mm256_load_si256(halves.add(1))];
                        for i in 0..P {
                            let word = _mm256_set1_epi32(x[i].add(k).cast::<i32>().read());
                            for j in 0..2 {
                                acc[i][j] = $step(acc[i][j], word, halves[j]);
                            }
                        }
                        // Stays within the weights or one block past their last line, where it is not read.
                        w = w.wrapping_add(t.lines);
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
    };
}

kernel!(f32s, sums_f32, "avx2,fma", |sums, x, w| {
    let [sums, x, w] = [sums, x, w].map(|v| _mm256_castsi256_ps(v));
    _mm256_castps_si256(_mm256_fmadd_ps(x, w, sums))
});
kernel!(pairs, sums_pairs, "avx2", |sums, x, w| _mm256_add_epi32(sums, _mm256_madd_epi16(x, w)));
kernel!(pairs_vnni, sums_pairs_vnni, "avx2,avxvnni", |sums, x, w| _mm256_dpwssd_avx_epi32(sums, x, w));
kernel!(quads_vnni, sums_quads_vnni, "avx2,avxvnni", |sums, x, w| _mm256_dpbusd_avx_epi32(sums, x, w));
