//! NEON: `sdot` on four rows of bytes, which a store interleaves by itself.

use super::super::neon::sdot;
use super::form::{Form, Interleave, Tile};
use std::arch::aarch64::*;

pub(super) static NEON: Form = Form { rows: 4, offset: 0, interleave, tile };

/// # Safety
/// None beyond NEON, which every such CPU has; the work must pass its check.
#[target_feature(enable = "neon")]
unsafe fn interleave(work: &mut Interleave<'_>) {
    let whole = work.channels / 16 * 16;
    for pixel in 0..work.pixels {
        // SAFETY: the check of `Interleave` bounds `channels` codes and lanes of every pixel.
        unsafe {
            let rows = work.rows.map(|row| row.as_ptr().add(pixel * work.from_pitch));
            let to = work.to.as_mut_ptr().add(pixel * work.to_pitch);
            for i in (0..whole).step_by(16) {
                let [a, b, c, d] = rows.map(|row| vld1q_s8(row.add(i)));
                vst4q_s8(to.add(i).cast(), int8x16x4_t(a, b, c, d));
            }
            for i in whole..work.channels {
                to.add(i).write(i32::from_le_bytes(rows.map(|row| row.add(i).read() as u8)));
            }
        }
    }
}

/// # Safety
/// The CPU must have dot products; the tile must pass its check.
#[target_feature(enable = "neon,dotprod")]
unsafe fn tile(t: &mut Tile<'_>) {
    let mut first = 0;
    // SAFETY: the same conditions, and positions that exist.
    unsafe {
        while t.positions - first >= 4 {
            sums::<4>(t, first);
            first += 4;
        }
        while t.positions > first {
            sums::<1>(t, first);
            first += 1;
        }
    }
}

/// # Safety
/// As [`tile`]; `P` positions from `first` on must exist.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn sums<const P: usize>(t: &mut Tile<'_>, first: usize) {
    // SAFETY: the check of `Tile` bounds 16 lanes at every position and offset, and the sums.
    unsafe {
        let x = t.strip.as_ptr().add(t.at + first * t.step);
        let mut acc = [[0, 4, 8, 12].map(|c| vld1q_s32(t.init.as_ptr().add(c))); P];
        for (w, &offset) in t.weights.iter().zip(t.offsets) {
            let w = [0, 4, 8, 12].map(|c| vreinterpretq_s8_s32(vld1q_s32(w.0.as_ptr().add(c))));
            for i in 0..P {
                for j in 0..4 {
                    let x = vld1q_s32(x.add(offset + i * t.step + 4 * j));
                    acc[i][j] = sdot(acc[i][j], vreinterpretq_s8_s32(x), w[j]);
                }
            }
        }
        let to = t.sums.as_mut_ptr().add(first * t.lanes);
        for i in 0..P {
            for j in 0..4 {
                vst1q_s32(to.add(i * t.lanes + 4 * j), acc[i][j]);
            }
        }
    }
}
