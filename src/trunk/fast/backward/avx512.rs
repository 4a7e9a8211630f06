//! AVX-512: up to 14 positions × 32 channels of sums in registers, for each format one instruction that
//! multiplies a word by a line and adds.

use super::tile::Tile;
use std::arch::x86_64::*;

/// A tile function: `$step` adds the products of a broadcast word and a line to sums.
macro_rules! kernel {
    ($name:ident, $sums:ident, $step:expr) => {
        /// # Safety
        /// The CPU must have AVX-512 F and VNNI; the tile must pass its check.
        #[target_feature(enable = "avx512f,avx512vnni")]
        pub(super) unsafe fn $name(t: &mut Tile<'_>) {
            let mut first = 0;
            while first < t.at.len() {
                // SAFETY: the same conditions hold for every size.
                first += unsafe {
                    match (t.lines, t.at.len() - first) {
                        (2, 13..) => $sums::<14, 2>(t, first),
                        (2, 9..) => $sums::<12, 2>(t, first),
                        (2, 5..) => $sums::<8, 2>(t, first),
                        (2, 2..) => $sums::<4, 2>(t, first),
                        (2, _) => $sums::<1, 2>(t, first),
                        (_, 9..) => $sums::<14, 1>(t, first),
                        (_, 5..) => $sums::<8, 1>(t, first),
                        (_, 2..) => $sums::<4, 1>(t, first),
                        _ => $sums::<1, 1>(t, first),
                    }
                };
            }
        }

        /// `P` positions from `first` on (the last one repeated where fewer are left) × `L` lines.
        /// Returns how many positions are done.
        ///
        /// # Safety
        /// As the tile function, with exactly `L` lines and a first position that exists.
        #[target_feature(enable = "avx512f,avx512vnni")]
        unsafe fn $sums<const P: usize, const L: usize>(t: &mut Tile<'_>, first: usize) -> usize {
            let at = &t.at[first..t.at.len().min(first + P)];
            debug_assert!(t.lines == L);
            // SAFETY: the check of `Tile` bounds every address: every run of every position within the
            // source, a line of weights per word and `L`, `16 * L` starting values and sums per position.
            unsafe {
                let mut acc = [[_mm512_setzero_si512(); L]; P];
                let mut x = [t.source.as_ptr(); P];
                for i in 0..P {
                    x[i] = t.source.as_ptr().add(at[i.min(at.len() - 1)]);
                    for j in 0..L {
                        acc[i][j] = _mm512_loadu_si512(t.init.as_ptr().add(16 * j).cast());
                    }
                }
                let mut w = t.weights.as_ptr().cast::<__m512i>();
                for run in t.runs {
                    for k in run.at..run.at + run.words {
                        let mut lines = [_mm512_setzero_si512(); L];
                        for j in 0..L {
                            lines[j] = _mm512_load_si512(w.add(j));
                        }
                        for i in 0..P {
                            let word = _mm512_set1_epi32(x[i].add(k).cast::<i32>().read());
                            for j in 0..L {
                                acc[i][j] = $step(acc[i][j], word, lines[j]);
                            }
                        }
                        w = w.add(L);
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
    };
}

kernel!(f32s, sums_f32, |sums, x, w| {
    let [sums, x, w] = [sums, x, w].map(|v| _mm512_castsi512_ps(v));
    _mm512_castps_si512(_mm512_fmadd_ps(x, w, sums))
});
kernel!(pairs, sums_pairs, |sums, x, w| _mm512_dpwssd_epi32(sums, x, w));
kernel!(quads, sums_quads, |sums, x, w| _mm512_dpbusd_epi32(sums, x, w));
