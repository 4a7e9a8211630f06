//! `trunkline quant-sweep`: what if the chip had other widths, another rounding, other scales.

use super::Failure;
use super::output::Output;
use super::progress::interruption;
use super::values;
use crate::data::{self, OpenOptions};
use crate::experiment::quant_sweep::{Grid, Stage, Watch, sweep};
use crate::experiment::run::CALIBRATION_IMAGES;
use crate::experiment::trunk::{Trunk, Wanted};
use crate::quant::{Granularity, Overflow, Round};
use crate::report;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct QuantSweep {
    /// The float network: a float .onnx file, a trunk file of one, or a network of the zoo; of a
    /// quantised file, the values that its codes stand for
    #[arg(long, value_name = "FILE|ZOO", default_value = "resnet8", long_help = values::trunk_help())]
    trunk: String,
    /// What it looks at: synth:NAME, cifar10:DIR, cifar10-jpeg:DIR
    #[arg(long, value_name = "SPEC", default_value = "synth:shapes", long_help = values::data_help())]
    data: String,
    /// The first so many images of it
    #[arg(long, value_name = "N", default_value = "64", value_parser = values::count)]
    limit: usize,
    /// Bits of a weight, 2 to 8
    #[arg(long, value_name = "N[,N…]", default_value = "4,6,8", value_delimiter = ',', value_parser = values::code_bits)]
    weight_bits: Vec<u8>,
    /// Bits of a map's codes, 2 to 8
    #[arg(long, value_name = "N[,N…]", default_value = "8", value_delimiter = ',', value_parser = values::code_bits)]
    activation_bits: Vec<u8>,
    /// Bits of an accumulator, 16 to 64
    #[arg(long, value_name = "N[,N…]", default_value = "16,20,24,32", value_delimiter = ',', value_parser = values::accumulator_bits)]
    accumulator_bits: Vec<u8>,
    /// What an accumulator does beyond its width: wrap, saturate
    #[arg(long, value_name = "O[,O…]", default_value = "wrap", value_delimiter = ',', value_parser = values::word::<Overflow>)]
    overflow: Vec<Overflow>,
    /// How a requantisation rounds: half-away, half-even, half-up, floor, trunc and others
    #[arg(long, value_name = "R[,R…]", default_value = "half-away", value_delimiter = ',', value_parser = values::word::<Round>)]
    rounding: Vec<Round>,
    /// One weight scale per layer or per output channel: per-tensor, per-channel
    #[arg(long, value_name = "G[,G…]", default_value = "per-channel", value_delimiter = ',', value_parser = values::word::<Granularity>)]
    granularity: Vec<Granularity>,
    /// Also report every layer: signal to quantisation noise, overflows, saturations
    #[arg(long)]
    layers: bool,
    /// Seed of everything random: weights of the zoo, procedural images
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    seed: u64,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H", value_parser = values::count)]
    input: Option<usize>,
    #[command(flatten)]
    output: Output,
}

impl QuantSweep {
    pub fn execute(&self) -> Result<(), Failure> {
        self.output.check()?;
        let grid = self.grid();
        let mut trunk = Trunk::open(&self.trunk, Wanted { input: self.input, classes: None, seed: self.seed })?;
        let shape = trunk.graph.shape(trunk.graph.input);
        let limit = Some(self.limit.max(CALIBRATION_IMAGES));
        let options = OpenOptions { limit, seed: self.seed, size: Some([shape.h, shape.w]) };
        let mut data = data::open(&self.data, &options)?;
        if !trunk.is_calibrated() {
            // Before the set is cut, so that the number of images changes no scale.
            trunk.calibrate_on(&self.data, CALIBRATION_IMAGES, self.seed)?;
        }
        data.truncate(self.limit);
        let stop = interruption();
        let line = progress(data.len(), grid.points().len());
        let mut told = |stage: Stage, images: usize| {
            if let Stage::Point(i) = stage {
                line.set_prefix(format!("arithmetic {}", i + 1));
            }
            line.inc(images as u64);
        };
        let swept = sweep(trunk, &data, &grid, &mut Watch { progress: &mut told, stop: &stop })?;
        line.finish_and_clear();
        let (json, lines) =
            (report::quant_sweep::json(&swept, self.layers)?, report::quant_sweep::lines(&swept, self.layers)?);
        self.output.write(&report::quant_sweep::sections(&swept, self.layers), &json, &lines)?;
        if swept.rows.len() < swept.points {
            let (done, all) = (swept.rows.len(), swept.points);
            return Err(Failure::Failed(format!("interrupted: {done} of {all} arithmetics were finished")));
        }
        Ok(())
    }

    fn grid(&self) -> Grid {
        Grid {
            weight_bits: once(&self.weight_bits),
            activation_bits: once(&self.activation_bits),
            accumulator_bits: once(&self.accumulator_bits),
            overflow: once(&self.overflow),
            rounding: once(&self.rounding),
            granularity: once(&self.granularity),
        }
    }
}

/// The values in their order, a repeated one only once.
fn once<T: Copy + PartialEq>(values: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = vec![];
    for &value in values {
        if !kept.contains(&value) {
            kept.push(value);
        }
    }
    kept
}

/// A live line on a terminal, nothing elsewhere. The float pass counts as one more arithmetic.
fn progress(images: usize, points: usize) -> ProgressBar {
    let all = images as u64 * (points as u64 + 1);
    let bar = ProgressBar::with_draw_target(Some(all), ProgressDrawTarget::stderr_with_hz(5));
    let template = format!("{{prefix}} of {points}  {{pos}}/{{len}} images  {{per_sec}}  {{eta}} left");
    let style = ProgressStyle::with_template(&template);
    bar.with_style(style.expect("a valid template")).with_prefix("float network, then 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_value_is_swept_once() {
        assert_eq!(once(&[8, 4, 8, 6, 4]), [8, 4, 6]);
    }
}
