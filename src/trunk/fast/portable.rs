//! Plain Rust in the packed layout, for CPUs without a file of their own. Also the body of the
//! depthwise loops, which compilers vectorise well once they may use wide registers.

use super::table::{Table, Tile, Window};

pub(super) static TABLE: Table =
    Table { unsigned_inputs: false, tile, depthwise: depthwise_baseline, copy: copy_baseline, requantise: None };

/// # Safety
/// None needed; unsafe to fit the table.
unsafe fn tile(t: &mut Tile<'_>) {
    let lanes = t.lines * 16;
    for (sums, &at) in t.sums.chunks_exact_mut(lanes).zip(t.at) {
        sums.copy_from_slice(&t.init[..lanes]);
        let mut weights = t.weights.chunks_exact(t.lines);
        for &segment in t.segments {
            for x in t.input[at + segment..][..4 * t.steps].chunks_exact(4) {
                let x: [i32; 4] = std::array::from_fn(|i| i32::from(x[i]));
                let Some(lines) = weights.next() else { return };
                for (sums, line) in sums.chunks_exact_mut(16).zip(lines) {
                    for (sum, w) in sums.iter_mut().zip(line.0.chunks_exact(4)) {
                        let dot = (0..4).fold(0i32, |dot, i| dot.wrapping_add(x[i].wrapping_mul(i32::from(w[i]))));
                        *sum = sum.wrapping_add(dot);
                    }
                }
            }
        }
    }
}

/// # Safety
/// None needed; unsafe to fit the table.
unsafe fn depthwise_baseline(w: &mut Window<'_>) {
    depthwise(w);
}

/// # Safety
/// None needed; unsafe to fit the table.
unsafe fn copy_baseline(from: &[i8], flip: i8, to: &mut [i8]) {
    copy(from, flip, to);
}

/// `to = from ^ flip`.
#[inline(always)]
pub(super) fn copy(from: &[i8], flip: i8, to: &mut [i8]) {
    for (to, &from) in to.iter_mut().zip(from) {
        *to = from ^ flip;
    }
}

/// Channels in blocks whose sums stay in registers over all taps.
#[inline(always)]
pub(super) fn depthwise(window: &mut Window<'_>) {
    let channels = window.sums.len();
    let mut first = 0;
    while channels - first >= 64 {
        depthwise_block::<64>(window, first, channels);
        first += 64;
    }
    while channels - first >= 8 {
        depthwise_block::<8>(window, first, channels);
        first += 8;
    }
    while first < channels {
        depthwise_block::<1>(window, first, channels);
        first += 1;
    }
}

#[inline(always)]
fn depthwise_block<const N: usize>(window: &mut Window<'_>, first: usize, channels: usize) {
    let mut sums = [0i32; N];
    sums.copy_from_slice(&window.init[first..][..N]);
    for (t, &tap) in window.taps.iter().enumerate() {
        let x: &[i8] = &window.input[tap + first..][..N];
        let w: &[i8] = &window.weights[t * channels + first..][..N];
        for i in 0..N {
            // An i16 product of int8 codes is exact.
            sums[i] = sums[i].wrapping_add(i32::from(i16::from(x[i]) * i16::from(w[i])));
        }
    }
    window.sums[first..][..N].copy_from_slice(&sums);
}
