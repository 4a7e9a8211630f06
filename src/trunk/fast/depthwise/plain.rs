//! Plain Rust in the interleaved layout, for CPUs without a file of their own.

use super::form::{Form, Interleave, Tile};

pub(super) static PLAIN: Form = Form { rows: 4, offset: 0, interleave, tile };

/// # Safety
/// None needed; unsafe to fit the form.
unsafe fn interleave(work: &mut Interleave<'_>) {
    for pixel in 0..work.pixels {
        let rows = work.rows.map(|row| &row[pixel * work.from_pitch..][..work.channels]);
        let to = &mut work.to[pixel * work.to_pitch..][..work.channels];
        for (i, lane) in to.iter_mut().enumerate() {
            *lane = i32::from_le_bytes(rows.map(|row| row[i] as u8));
        }
    }
}

/// # Safety
/// None needed; unsafe to fit the form.
unsafe fn tile(t: &mut Tile<'_>) {
    for i in 0..t.positions {
        let sums = &mut t.sums[i * t.lanes..][..16];
        sums.copy_from_slice(&t.init[..16]);
        for (&offset, weights) in t.offsets.iter().zip(t.weights) {
            let lanes = &t.strip[t.at + i * t.step + offset..][..16];
            for (sum, (x, w)) in sums.iter_mut().zip(lanes.iter().zip(&weights.0)) {
                *sum = sum.wrapping_add(dot(x.to_le_bytes(), w.to_le_bytes()));
            }
        }
    }
}

fn dot(x: [u8; 4], w: [u8; 4]) -> i32 {
    (0..4).map(|i| i32::from(x[i] as i8) * i32::from(w[i] as i8)).sum()
}
