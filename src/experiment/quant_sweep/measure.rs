//! What a quantised trunk did on the images of a sweep, layer by layer.

use super::float::FloatPass;
use crate::graph::Graph;
use crate::op::Counts;
use crate::quant::{QuantParams, boundary};
use crate::tensor::Tensor;
use crate::trunk::TrunkProgram;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::HashMap;

/// One layer under one arithmetic, over all images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerRow {
    pub layer: String,
    pub op: String,
    /// `10 log10(Σ float² / Σ (float - dequantised)²)`; `None` if one of the sums is zero.
    pub sqnr_db: Option<f64>,
    /// Outputs whose accumulator left its width.
    pub overflows: u64,
    /// Outputs that the code's width cut off, and no activation.
    pub saturations: u64,
}

/// Sums over images.
pub struct Tally<'a> {
    float: &'a FloatPass,
    quants: Vec<QuantParams>,
    counts: Vec<Counts>,
    signal: Vec<f64>,
    noise: Vec<f64>,
    /// By step: the steps that read its map; the last of them is the last to need it.
    last_reader: HashMap<crate::graph::EdgeId, usize>,
    output: crate::graph::EdgeId,
    answers: Vec<u32>,
}

impl<'a> Tally<'a> {
    pub fn new(program: &TrunkProgram, graph: &Graph, float: &'a FloatPass) -> Self {
        let steps = program.steps.len();
        let mut last_reader = HashMap::new();
        for (i, step) in program.steps.iter().enumerate() {
            last_reader.extend(step.inputs.iter().map(|&edge| (edge, i)));
        }
        Self {
            float,
            quants: program.steps.iter().map(|s| s.output_quant).collect(),
            counts: vec![Counts::default(); steps],
            signal: vec![0.0; steps],
            noise: vec![0.0; steps],
            last_reader,
            output: graph.output,
            answers: vec![],
        }
    }

    /// Runs a batch of images, of which the first is image `first` of the sweep.
    pub fn run(&mut self, program: &TrunkProgram, codes: Tensor<i8>, first: usize) {
        let mut maps = HashMap::from([(program.input, codes)]);
        for (i, step) in program.steps.iter().enumerate() {
            let inputs: Vec<&Tensor<i8>> = step.inputs.iter().map(|edge| &maps[edge]).collect();
            let (map, counts) = step.run(&inputs, None);
            self.counts[i] += counts;
            self.compare(i, step.output, &map, first);
            if step.output == self.output {
                let answers = (0..map.batch).map(|n| arg_max(map.image(n), i8::cmp));
                self.answers.extend(answers);
            }
            maps.insert(step.output, map);
            maps.retain(|edge, _| self.last_reader.get(edge).is_some_and(|&last| last > i));
        }
    }

    /// Adds a step's signal and noise, image by image in order.
    fn compare(&mut self, step: usize, edge: crate::graph::EdgeId, map: &Tensor<i8>, first: usize) {
        let Some(float) = self.float.maps.get(&edge) else { return };
        let q = self.quants[step];
        let size = map.shape.elements();
        for n in (0..map.batch).take_while(|n| first + n < self.float.compared) {
            let wanted = &float[(first + n) * size..][..size];
            let (mut signal, mut noise) = (0.0, 0.0);
            for (&code, &real) in map.image(n).iter().zip(wanted) {
                let got = boundary::dequantise(i32::from(code), q.scale, q.zero_point);
                let (real, error) = (f64::from(real), f64::from(real) - f64::from(got));
                signal += real * real;
                noise += error * error;
            }
            self.signal[step] += signal;
            self.noise[step] += noise;
        }
    }

    /// The class of every image.
    pub fn answers(&self) -> Vec<u32> {
        self.answers.clone()
    }

    pub fn layers(&self, program: &TrunkProgram) -> Vec<LayerRow> {
        let row = |(i, step): (usize, &crate::trunk::TrunkStep)| LayerRow {
            layer: step.name.clone(),
            op: step.op.into(),
            sqnr_db: decibel(self.signal[i], self.noise[i]),
            overflows: self.counts[i].overflows,
            saturations: self.counts[i].saturations,
        };
        program.steps.iter().enumerate().map(row).collect()
    }
}

fn decibel(signal: f64, noise: f64) -> Option<f64> {
    (signal > 0.0 && noise > 0.0).then(|| 10.0 * (signal / noise).log10())
}

/// The place of the largest value; of equal ones the first, as numpy has it.
pub fn arg_max<T: Copy>(values: &[T], compare: impl Fn(&T, &T) -> Ordering) -> u32 {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if compare(value, &values[best]).is_gt() {
            best = i;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_ones_is_the_answer() {
        assert_eq!(arg_max(&[1i8, 5, 5, -3], i8::cmp), 1);
        assert_eq!(arg_max(&[f32::NEG_INFINITY, -1.0], f32::total_cmp), 1);
    }

    #[test]
    fn a_tenth_of_the_amplitude_is_twenty_decibel_away() {
        assert_eq!(decibel(100.0, 1.0), Some(20.0));
        assert_eq!((decibel(1.0, 0.0), decibel(0.0, 1.0)), (None, None));
    }
}
