//! A row-stationary array after Eyeriss: a processing element slides a filter row over a map row.
//!
//! A set of `kernel` rows by one column per output row makes a piece of the output. Outputs beyond
//! the columns are cut into strips; as many sets as fit stand above each other, for strips, channels
//! or filters. An element keeps `p` filters of `q` channels in its scratchpads (`memory.spad_filter`,
//! `spad_input`, `spad_psum`, capacities per element): inputs come from the global buffer once per
//! `p` filters, partial sums go there and back once per group of channels.
//!
//! It counts every element of a set as busy in every cycle: loading and draining are not modelled,
//! so measured layers are slower (Eyeriss v1: by 4 to 17 %). Zeros are not skipped.

use super::shared::Shared;
use super::step::{ArrayCost, StepTime};
use super::{TrunkWork, Window, mul};
use crate::hw::trunk::Trunk;

/// The array and what an element can keep, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pes {
    pub rows: u64,
    pub cols: u64,
    pub filter_words: u64,
    pub input_words: u64,
    pub psum_words: u64,
    pub word_b: u64,
}

/// How a layer lies on the array and what that costs, for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mapping {
    /// Elements at work on average while the array is in use.
    pub active_pes: f64,
    pub cycles: u64,
    pub passes: u64,
    /// Filters and channels that an element interleaves.
    pub filters: u64,
    pub channels: u64,
    /// Words between global buffer and array, inputs and partial sums.
    pub buffer_reads: u64,
    pub buffer_writes: u64,
    /// Words in the elements' scratchpads: input, filter and partial sum of every MAC, the sum back.
    pub scratchpad_accesses: u64,
}

impl Pes {
    /// The mapping of a window; a grouped layer is its groups in a row.
    pub fn map(&self, w: &Window) -> Mapping {
        let groups = w.groups.max(1);
        let (channels, filters) = (w.in_c / groups, w.out_c / groups);
        let set_rows = w.kernel[0].clamp(1, self.rows.max(1));
        // A kernel taller than the array goes over it in parts.
        let parts = w.kernel[0].max(1).div_ceil(set_rows);
        let strips = w.out_h.div_ceil(self.cols.max(1));
        let pieces = mul(&[strips, channels, filters, parts]);
        let sets = (self.rows.max(1) / set_rows).min(pieces).max(1);
        let row_macs = mul(&[w.kernel[1], w.out_w]);
        let cycles = mul(&[pieces.div_ceil(sets), row_macs, groups]);
        let macs = mul(&[w.out_pixels(), w.taps(), channels, filters, groups]);
        let interleave = self.interleave(w, channels, filters);
        let (reads, writes, passes) = self.buffer(w, interleave, sets / strips.min(sets).max(1));
        Mapping {
            active_pes: if cycles == 0 { 0.0 } else { macs as f64 / cycles as f64 },
            cycles,
            passes,
            filters: interleave.0,
            channels: interleave.1,
            buffer_reads: reads,
            buffer_writes: writes,
            scratchpad_accesses: mul(&[macs, 4]),
        }
    }

    /// Filters `p` and channels `q` that fit an element's scratchpads.
    fn interleave(&self, w: &Window, channels: u64, filters: u64) -> (u64, u64) {
        let row = w.kernel[1].max(1);
        let q = (self.input_words / row).clamp(1, channels.max(1));
        let p = (self.filter_words / mul(&[row, q])).min(self.psum_words).clamp(1, filters.max(1));
        // Layers have filters in powers of two: others would leave a rest in the last pass.
        (1 << p.ilog2(), q)
    }

    /// Reads and writes of the global buffer, and passes over the array; `spare` sets beyond the
    /// strips split between filters and channels.
    fn buffer(&self, w: &Window, (p, q): (u64, u64), spare: u64) -> (u64, u64, u64) {
        let groups = w.groups.max(1);
        let (channels, filters) = (w.in_c / groups, w.out_c / groups);
        let more_channels = spare.max(1).isqrt().max(1);
        let more_filters = (spare.max(1) / more_channels).max(1);
        let filter_groups = filters.div_ceil(mul(&[p, more_filters]));
        let channel_groups = channels.div_ceil(mul(&[q, more_channels]));
        let inputs = mul(&[w.in_b(), filter_groups]);
        let sums = mul(&[w.out_b(), channel_groups]);
        (inputs.saturating_add(sums), sums, mul(&[filter_groups, channel_groups, groups]))
    }
}

/// A trunk of the kind `spatial`.
#[derive(Clone, Debug)]
pub struct Spatial {
    pub shared: Shared,
    /// None where the array's sides are unknown.
    pub pes: Option<Pes>,
}

impl Spatial {
    pub fn new(trunk: &Trunk) -> Self {
        let compute = &trunk.compute;
        let mut shared = Shared::new(trunk);
        let sides = compute.rows.value().zip(compute.cols.value());
        if sides.is_none() {
            shared.unknown.extend([&compute.rows, &compute.cols].map(|figure| figure.path()));
        }
        let word_b = u64::from(trunk.activation_bits().unwrap_or(8).max(8).div_ceil(8));
        let words = |name: &str| {
            let capacity = trunk.memory.get(name).and_then(|level| level.capacity_b.value());
            (capacity.unwrap_or(0.0) as u64 / word_b).max(1)
        };
        let pes = sides.map(|(rows, cols)| Pes {
            rows: rows as u64,
            cols: cols as u64,
            filter_words: words("spad_filter"),
            input_words: words("spad_input"),
            psum_words: words("spad_psum"),
            word_b,
        });
        Self { shared, pes }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        let Some(pes) = self.pes.filter(|_| work.macs > 0 && work.window.gemm().is_some()) else {
            return self.shared.finish(work, 1, || self.shared.ideal(work));
        };
        let mapping = pes.map(&work.window);
        self.shared.finish(work, mapping.filters, || ArrayCost {
            cycles: mapping.cycles,
            folds: mapping.passes,
            sram_read_b: mul(&[mapping.buffer_reads, pes.word_b]),
            sram_write_b: mul(&[mapping.buffer_writes, pes.word_b]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eyeriss() -> Pes {
        Pes { rows: 12, cols: 14, filter_words: 224, input_words: 12, psum_words: 24, word_b: 2 }
    }

    fn conv(in_c: u64, out_c: u64, kernel: u64, out: u64, groups: u64) -> Window {
        Window {
            in_h: out,
            in_w: out,
            in_c,
            out_h: out,
            out_w: out,
            out_c,
            kernel: [kernel; 2],
            stride: [1; 2],
            groups,
        }
    }

    /// Published active elements of AlexNet's layers 2 to 5: 135, 156, 156, 156.
    #[test]
    fn sets_stand_above_each_other() {
        let active = |window| eyeriss().map(&window).active_pes;
        assert_eq!(active(conv(96, 256, 5, 27, 2)), 135.0);
        assert_eq!(active(conv(256, 384, 3, 13, 1)), 156.0);
        assert_eq!(active(conv(384, 384, 3, 13, 2)), 156.0);
        assert_eq!(active(conv(384, 256, 3, 13, 2)), 156.0);
    }

    #[test]
    fn scratchpads_bound_what_an_element_keeps() {
        let mapping = eyeriss().map(&conv(256, 384, 3, 13, 1));
        assert_eq!((mapping.filters, mapping.channels), (16, 4));
        assert_eq!(mapping.scratchpad_accesses, 4 * 13 * 13 * 9 * 256 * 384);
        let small = eyeriss().map(&conv(1, 1, 3, 2, 1));
        assert_eq!((small.filters, small.channels, small.cycles), (1, 1, 6));
        assert_eq!(eyeriss().map(&Window::default()), Mapping { filters: 1, channels: 1, ..Mapping::default() });
    }
}
