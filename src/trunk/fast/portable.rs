//! Plain Rust in the packed layout, for CPUs without a file of their own.

use super::table::{Table, Tile};

pub(super) static TABLE: Table = Table { unsigned_inputs: false, tile, copy: copy_baseline, requantise: None };

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
