//! What passes through every map of a float network on the calibration images: its range, then how
//! its values are distributed over that range.
//!
//! Memory is bounded by the network: per map a range and, where a choice needs it, a histogram of
//! [`BINS`] counts. The images run a second time for the histograms, whose bins need the ranges.

use super::QuantiseError;
use crate::device;
use crate::graph::{EdgeId, Graph};
use crate::plan::program::{self, Program};
use crate::tensor::Tensor;
use crate::units::HardwareDomain;
use std::collections::BTreeMap;

/// Eight per code: fine enough for a percentile and for the error of a code.
pub const BINS: usize = 2048;

/// The smallest and largest value of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub min: f32,
    pub max: f32,
}

impl Range {
    /// The range of some values, if all are finite.
    fn of(values: &[f32]) -> Option<Self> {
        let start = Self { min: f32::INFINITY, max: f32::NEG_INFINITY };
        let range = values.iter().fold(start, |r, &v| Self { min: r.min.min(v), max: r.max.max(v) });
        (values.iter().all(|v| v.is_finite()) && !values.is_empty()).then_some(range)
    }
}

/// A map's range and the mean of each of its channels.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub range: Range,
    /// Sums while images still come.
    pub means: Vec<f64>,
}

/// How often values fell where.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    pub range: Range,
    /// Of equal width over the range; zeros are not in them.
    pub bins: Vec<u64>,
    /// Exact zeros: what a ReLU leaves, which every code represents without error.
    pub zeros: u64,
}

impl Histogram {
    pub fn new(range: Range) -> Self {
        Self { range, bins: vec![0; BINS], zeros: 0 }
    }

    pub fn add(&mut self, values: &[f32]) {
        let (min, width) = (f64::from(self.range.min), self.width());
        for &v in values {
            if v == 0.0 {
                self.zeros += 1;
            } else {
                // A range of one value has bins of no width: 0/0 casts to the first.
                let bin = (f64::from(v) - min) / width;
                self.bins[(bin as usize).min(BINS - 1)] += 1;
            }
        }
    }

    pub fn width(&self) -> f64 {
        (f64::from(self.range.max) - f64::from(self.range.min)) / BINS as f64
    }

    /// The lower end of a bin; of the one after the last, the end of the range.
    pub fn edge(&self, bin: usize) -> f64 {
        f64::from(self.range.min) + bin as f64 * self.width()
    }
}

/// The ranges and channel means of all maps.
pub fn ranges(graph: &Graph, images: &Tensor<f32>) -> Result<BTreeMap<EdgeId, Seen>, QuantiseError> {
    let mut seen: BTreeMap<EdgeId, Seen> = BTreeMap::new();
    each_map(graph, images, |edge, image, values| {
        let range =
            Range::of(values).ok_or_else(|| QuantiseError::NotFinite { edge: graph.edge(edge).name.clone(), image })?;
        let channels = graph.shape(edge).c;
        let seen = seen.entry(edge).or_insert_with(|| Seen { range, means: vec![0.0; channels] });
        seen.range = Range { min: seen.range.min.min(range.min), max: seen.range.max.max(range.max) };
        for pixel in values.chunks_exact(channels) {
            seen.means.iter_mut().zip(pixel).for_each(|(sum, &v)| *sum += f64::from(v));
        }
        Ok(())
    })?;
    for (&edge, seen) in &mut seen {
        let values = images.batch * graph.shape(edge).pixels();
        seen.means.iter_mut().for_each(|sum| *sum /= values as f64);
    }
    Ok(seen)
}

/// The histograms of all maps, whose ranges are known.
pub fn histograms(
    graph: &Graph,
    images: &Tensor<f32>,
    seen: &BTreeMap<EdgeId, Seen>,
) -> Result<BTreeMap<EdgeId, Histogram>, QuantiseError> {
    let mut histograms: BTreeMap<_, _> = seen.iter().map(|(&edge, s)| (edge, Histogram::new(s.range))).collect();
    each_map(graph, images, |edge, _, values| {
        if let Some(histogram) = histograms.get_mut(&edge) {
            histogram.add(values);
        }
        Ok(())
    })?;
    Ok(histograms)
}

/// Runs every image through the float graph, on the CPU twins with no bus between, and shows every
/// map of it.
fn each_map(
    graph: &Graph,
    images: &Tensor<f32>,
    mut show: impl FnMut(EdgeId, usize, &[f32]) -> Result<(), QuantiseError>,
) -> Result<(), QuantiseError> {
    let mut float = graph.clone();
    for node in &mut float.nodes {
        node.domain = HardwareDomain::Adapter;
    }
    // The input is written by us: no tap.
    let program: Program = program::lower(&float, 1, &[], &Default::default())?;
    let mut device = device::open("cpu")?;
    device.prepare(&program.buffers, 1)?;
    let calls: Vec<_> = program.steps.iter().flat_map(|s| s.calls.clone()).collect();
    for image in 0..images.batch {
        device.write(0, program.maps[&float.input], bytemuck::cast_slice(images.image(image)))?;
        device.run(0, &calls)?;
        for (&edge, &buffer) in &program.maps {
            let words = device.read(0, buffer, float.shape(edge).elements())?;
            show(edge, image, bytemuck::cast_slice(&words))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_no_number_are_found() {
        assert_eq!(Range::of(&[1.0, f32::NAN]), None);
        assert_eq!(Range::of(&[1.0, -3.0]), Some(Range { min: -3.0, max: 1.0 }));
    }

    #[test]
    fn values_fall_into_bins_of_equal_width() {
        let mut h = Histogram::new(Range { min: -1.0, max: 1.0 });
        h.add(&[-1.0, -0.9999, 0.0, 0.0, 0.0005, 0.9999, 1.0]);
        assert_eq!((h.zeros, h.bins[0], h.bins[BINS / 2], h.bins[BINS - 1]), (2, 2, 1, 2));
        assert_eq!((h.edge(0), h.edge(BINS)), (-1.0, 1.0));
        let mut one = Histogram::new(Range { min: 2.0, max: 2.0 });
        one.add(&[2.0, 2.0]);
        assert_eq!(one.bins.iter().sum::<u64>(), 2);
    }
}
