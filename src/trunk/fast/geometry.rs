//! Where a window's inputs are: in the map itself, or in a padded copy of a few of its rows.
//!
//! A window is a base and a list of offsets that is the same for every window, so a microkernel
//! knows nothing of strides, dilations and borders, and no im2col matrix is ever made.

use super::pack::{Runs, rows_are_contiguous};
use super::table::{POSITIONS, Table};
use crate::op::Conv2d;
use crate::tensor::Shape;
use crate::trunk::Map;
use std::ops::Range;

/// A convolution's addresses on maps of one shape.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    input: Shape,
    pub output: Shape,
    stride: [usize; 2],
    pad: [usize; 4],
    /// Input rows under a window.
    reach: usize,
    /// Elements from one row to the next.
    pitch: usize,
    /// The map is read where it is: no padding, no flipped codes, and no run that ends within a
    /// group of four.
    in_place: bool,
    /// A 1×1 convolution that skips rows: only those that it reads are copied.
    gathers: bool,
    /// What the copy's codes are combined with: their sign bit, or nothing.
    flip: i8,
    /// From a window's base to each run.
    pub segments: Vec<usize>,
}

impl Geometry {
    /// `is_flipped`: whether codes are read with their sign bit flipped.
    pub fn new(conv: &Conv2d, input: Shape, output: Shape, is_flipped: bool) -> Self {
        let flip = if is_flipped { i8::MIN } else { 0 };
        let in_place = flip == 0 && conv.pad == [0; 4] && Runs::of(conv).len.is_multiple_of(4);
        let gathers = !in_place && conv.kernel == [1, 1] && conv.pad == [0; 4] && conv.stride != [1, 1];
        let pitch = (input.w + conv.pad[1] + conv.pad[3]) * input.c;
        let tap = |ky: usize, kx: usize| ky * conv.dilation[0] * pitch + kx * conv.dilation[1] * input.c;
        let [kh, kw] = conv.kernel;
        let taps: Vec<usize> = (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))).map(|(y, x)| tap(y, x)).collect();
        let segments = if rows_are_contiguous(conv) { (0..kh).map(|ky| tap(ky, 0)).collect() } else { taps };
        let reach = (kh - 1) * conv.dilation[0] + 1;
        Self { input, output, stride: conv.stride, pad: conv.pad, reach, pitch, in_place, gathers, flip, segments }
    }

    /// Output positions per task: what keeps a task's inputs in a core's own cache, and every thread busy.
    pub fn positions_per_task(&self, batch: usize) -> usize {
        /// A fraction of the smallest second-level cache there is.
        const BYTES: usize = 96 * 1024;
        let Shape { h, w, .. } = self.output;
        let per_image =
            if self.gathers { h * self.pitch } else { ((h - 1) * self.stride[0] + self.reach) * self.pitch };
        let cached = (BYTES / per_image.div_ceil(h).max(1)).max(1) * w;
        let (threads, positions) = (rayon::current_num_threads(), batch * h * w);
        let tasks = positions.div_ceil(cached.max(POSITIONS)).max(threads);
        // A whole number of rounds, so that threads end together, and none with a short rest.
        let tasks = if threads > 1 { tasks.next_multiple_of(threads) } else { tasks };
        positions.div_ceil(tasks)
    }

    /// Finds the windows of `count` output positions from `first` on, counted over the whole batch.
    pub fn place(&self, table: &Table, x: Map<'_>, zero: i8, first: usize, count: usize, windows: &mut Windows) {
        windows.bases.clear();
        windows.used = 0;
        let Shape { h, w, .. } = self.output;
        let (mut position, end) = (first, first + count);
        while position < end {
            let (image, within) = (position / (h * w), position % (h * w));
            let stop = (within + end - position).min(h * w);
            let (top, bottom) = (within / w, stop.div_ceil(w));
            let map = x.image(image);
            let base = if self.gathers {
                self.gather(table, map, within..stop, windows);
                position += stop - within;
                continue;
            } else if self.in_place {
                image * self.input.elements() + top * self.stride[0] * self.pitch
            } else {
                self.copy(table, map, zero, top, bottom - top, windows)
            };
            for oy in top..bottom {
                let at = base + (oy - top) * self.stride[0] * self.pitch;
                let columns = within.max(oy * w) - oy * w..stop.min((oy + 1) * w) - oy * w;
                windows.bases.extend(columns.map(|ox| at + ox * self.stride[1] * self.input.c));
            }
            position += stop - within;
        }
        // The last run may be read beyond its end, up to a group of four.
        windows.take(4);
    }

    /// Appends the rows under a strided 1×1 convolution, and none between them. What is between two
    /// positions of a row costs less to copy than to leave out.
    fn gather(&self, table: &Table, map: &[i8], positions: Range<usize>, windows: &mut Windows) {
        let (w, c) = (self.output.w, self.input.c);
        let step = self.stride[1] * c;
        let mut position = positions.start;
        while position < positions.end {
            let (oy, ox) = (position / w, position % w);
            let count = (w - ox).min(positions.end - position);
            let from = oy * self.stride[0] * self.input.w * c + ox * step;
            let start = windows.used;
            windows.bases.extend((0..count).map(|i| start + i * step));
            let run = (count - 1) * step + c;
            // SAFETY: a table exists only where the CPU has its instructions.
            unsafe { (table.copy)(&map[from..][..run], self.flip, windows.take(run)) };
            position += count;
        }
    }

    /// What the windows' bases count from.
    pub fn source<'a>(&self, x: Map<'a>, windows: &'a Windows) -> &'a [i8] {
        if self.in_place { x.codes } else { &windows.strip }
    }

    /// Appends the padded input rows of `count` output rows; returns where they start.
    fn copy(&self, table: &Table, image: &[i8], zero: i8, oy: usize, count: usize, windows: &mut Windows) -> usize {
        let start = windows.used;
        let row = self.input.w * self.input.c;
        let (left, right) = (self.pad[1] * self.input.c, self.pad[3] * self.input.c);
        let top = oy * self.stride[0];
        let zero = zero ^ self.flip;
        for padded in top..top + (count - 1) * self.stride[0] + self.reach {
            match padded.checked_sub(self.pad[0]).filter(|&iy| iy < self.input.h) {
                Some(iy) => {
                    windows.take(left).fill(zero);
                    // SAFETY: a table exists only where the CPU has its instructions.
                    unsafe { (table.copy)(&image[iy * row..][..row], self.flip, windows.take(row)) };
                    windows.take(right).fill(zero);
                }
                None => windows.take(self.pitch).fill(zero),
            }
        }
        start
    }
}

/// The windows of one task; reused from task to task.
#[derive(Default)]
pub(super) struct Windows {
    pub bases: Vec<usize>,
    /// As long as it has ever been; `used` is what counts.
    strip: Vec<i8>,
    used: usize,
}

impl Windows {
    /// The next `n` elements of the strip, which hold anything.
    fn take(&mut self, n: usize) -> &mut [i8] {
        let start = self.used;
        self.used += n;
        if self.strip.len() < self.used {
            self.strip.resize(self.used, 0);
        }
        &mut self.strip[start..self.used]
    }
}
