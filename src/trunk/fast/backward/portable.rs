//! Plain Rust in the packed layout, for CPUs without a file of their own.
//!
//! Floats are multiplied and added in one rounding like everywhere else in this folder: without such an
//! instruction that is slow, and still the same bits.

use super::tile::Tile;

/// # Safety
/// None needed; unsafe to fit the type.
pub(super) unsafe fn f32s(t: &mut Tile<'_>) {
    sums(t, |sum, x, w| f32::from_bits(x).mul_add(f32::from_bits(w), f32::from_bits(sum)).to_bits());
}

/// # Safety
/// None needed; unsafe to fit the type.
pub(super) unsafe fn pairs(t: &mut Tile<'_>) {
    sums(t, |sum, x, w| {
        let half = |word: u32, i: u32| i32::from((word >> (16 * i)) as i16);
        (0..2).fold(sum, |sum, i| sum.wrapping_add((half(x, i) * half(w, i)) as u32))
    });
}

/// # Safety
/// None needed; unsafe to fit the type.
pub(super) unsafe fn quads(t: &mut Tile<'_>) {
    sums(t, |sum, x, w| {
        let product = |i: u32| i32::from((x >> (8 * i)) as u8) * i32::from((w >> (8 * i)) as i8);
        (0..4).fold(sum, |sum, i| sum.wrapping_add(product(i) as u32))
    });
}

#[inline(always)]
fn sums(t: &mut Tile<'_>, add: impl Fn(u32, u32, u32) -> u32) {
    let lanes = 16 * t.lines;
    for (sums, &at) in t.sums.chunks_exact_mut(lanes).zip(t.at) {
        sums.copy_from_slice(&t.init[..lanes]);
        let mut weights = t.weights.chunks_exact(t.lines);
        for run in t.runs {
            for (&x, lines) in t.source[at + run.at..][..run.words].iter().zip(&mut weights) {
                for (sums, line) in sums.chunks_exact_mut(16).zip(lines) {
                    sums.iter_mut().zip(&line.0).for_each(|(sum, &w)| *sum = add(*sum, x, w));
                }
            }
        }
    }
}
