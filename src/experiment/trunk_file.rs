//! A trunk to and from its own file. Reading prepares the trunk and compares what comes out with
//! what the file holds: weight codes, registers and checksum. Where they differ, the file was
//! changed, or was written by a program whose arithmetic was another.

use super::input::{self, InputError, Preprocess};
use super::trunk::{Trunk, TrunkError};
use crate::data::image::Image;
use crate::data::{self, DataError, OpenOptions};
use crate::graph::ParamValue;
use crate::model::ModelError;
use crate::model::hex;
use crate::model::trunk_file::{Layer, TrunkFile};
use crate::model::zoo::Pretrained;
use crate::op::{Conv2d, Linear, Op};
use crate::quant::weights::{self, WeightCodes};
use crate::quantise::Calibration;
use crate::seed;
use crate::trunk::{TrunkProgram, prepare};
use rand::Rng;
use std::collections::BTreeMap;
use std::path::Path;
use thiserror::Error;

/// Why a float trunk has no scales from these images.
#[derive(Debug, Error)]
pub enum CalibrateError {
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Trunk(#[from] TrunkError),
}

/// The spec of images of random pixels.
pub const RANDOM: &str = "random";

impl Trunk {
    /// Reads a trunk file, prepares the trunk and checks that it is the one that was written.
    pub(super) fn from_file(path: &Path) -> Result<Self, TrunkError> {
        Self::from_read(TrunkFile::open(path)?, path)
    }

    /// The same of a file that this program has in itself.
    pub(super) fn from_pretrained(known: &Pretrained) -> Result<Self, TrunkError> {
        let path = Path::new(known.name);
        Self::from_read(TrunkFile::from_bytes(known.bytes, path)?, path)
    }

    fn from_read(file: TrunkFile, path: &Path) -> Result<Self, TrunkError> {
        let refused = |place: &str, why: String| {
            TrunkError::Model(ModelError::Malformed { path: path.into(), place: place.into(), why })
        };
        let preprocess: Preprocess = serde_json::from_value(file.preprocess.clone())
            .map_err(|_| refused("preprocess", "is no way of making input codes that this program has".into()))?;
        if let Preprocess::Normalise { mean, std } = preprocess
            && !(mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0))
        {
            return Err(refused("preprocess", format!("normalises by mean {mean:?} and deviation {std:?}")));
        }
        let program = prepare(&file.graph, &file.profile, 8).map_err(|e| refused("graph", e.to_string()))?;
        same_layers(&file.layers, &layers(&program)).map_err(|(node, why)| refused(&format!("node '{node}'"), why))?;
        let checksum = hex(&program.checksum());
        if checksum != file.trunk_sha256 {
            let why = format!(
                "its codes and registers have SHA-256 {checksum}, but {} when they were written: \
                 the file was changed since, or this program computes otherwise; import it anew",
                file.trunk_sha256
            );
            return Err(refused("trunk_sha256", why));
        }
        let TrunkFile { name, graph, profile, provenance, notes, .. } = file;
        Ok(Self { name, graph, profile, preprocess, calibration: Calibration::default(), provenance, notes })
    }

    /// The calibrated trunk as a file holds it: its codes and registers, and the weights as they came.
    pub fn to_file(&self) -> Result<TrunkFile, TrunkError> {
        let program = prepare(&self.graph, &self.profile, 8)?;
        Ok(TrunkFile {
            name: self.name.clone(),
            provenance: self.provenance.clone(),
            notes: self.notes.clone(),
            profile: self.profile.clone(),
            preprocess: serde_json::to_value(self.preprocess).unwrap_or_default(),
            trunk_sha256: hex(&program.checksum()),
            layers: layers(&program),
            graph: self.graph.clone(),
        })
    }

    /// Replaces the weights of an uncalibrated trunk by their codes, so that its file holds them once.
    /// Does nothing where the arithmetic folds batch norms into weights, which only floats allow.
    pub fn freeze_weights(&mut self) {
        if self.profile.folds_norms() {
            return;
        }
        for node in &self.graph.nodes {
            let (Op::Conv2d(Conv2d { out_c: channels, .. }) | Op::Linear(Linear { outputs: channels, .. })) = &node.op
            else {
                continue;
            };
            let Some(param) = node.params.first().map(|p| &mut self.graph.params[p.index()]) else { continue };
            if let ParamValue::F32(values) = &param.value {
                let WeightCodes { codes, scales, zero_points } =
                    weights::quantise(values, *channels, self.profile.weights());
                param.value = ParamValue::I8 { codes, scales, zero_points };
            }
        }
    }

    /// Fixes the scales of a float trunk on the first images of a data set, or on [`RANDOM`] ones.
    pub fn calibrate_on(&mut self, spec: &str, count: usize, seed: u64) -> Result<(), CalibrateError> {
        let shape = self.graph.shape(self.graph.input);
        if spec == RANDOM {
            let images: Vec<Image> = (0..count).map(|i| random_image(shape.h, shape.w, seed, i)).collect();
            return self.calibrate_images(&images, spec, seed);
        }
        let options = OpenOptions { limit: Some(count), seed, size: Some([shape.h, shape.w]) };
        self.calibrate_images(&data::open(spec, &options)?.images, spec, seed)
    }

    /// The same from images all over a set, which is sorted by class more often than not.
    pub fn calibrate_over(&mut self, spec: &str, count: usize, seed: u64) -> Result<(), CalibrateError> {
        let shape = self.graph.shape(self.graph.input);
        let set = data::subset(spec, &OpenOptions { limit: None, seed, size: Some([shape.h, shape.w]) })?;
        let images = set.spread(count, [shape.h, shape.w])?;
        self.calibrate_images(&images, spec, seed)
    }

    fn calibrate_images(&mut self, images: &[Image], spec: &str, seed: u64) -> Result<(), CalibrateError> {
        let shape = self.graph.shape(self.graph.input);
        Ok(self.calibrate_from(&input::reals(images, shape, self.preprocess)?, spec, seed)?)
    }
}

fn random_image(height: usize, width: usize, seed: u64, index: usize) -> Image {
    const CHANNELS: usize = 3;
    let mut pixels = vec![0; height * width * CHANNELS];
    seed::stream(seed, &format!("random image {index}")).fill_bytes(&mut pixels);
    Image { width, height, channels: CHANNELS, pixels }
}

/// What the chip holds, by the node whose step it is.
fn layers(program: &TrunkProgram) -> BTreeMap<String, Layer> {
    let layer = |step: &crate::trunk::TrunkStep| Layer {
        weights: step.weights().cloned(),
        registers: step.registers().cloned(),
    };
    let all = program.steps.iter().map(|step| (step.name.clone(), layer(step)));
    all.filter(|(_, layer)| *layer != Layer::default()).collect()
}

/// The first node whose silicon is not what the file says, and how it differs.
fn same_layers(held: &BTreeMap<String, Layer>, made: &BTreeMap<String, Layer>) -> Result<(), (String, String)> {
    let nothing = Layer::default();
    for node in held.keys().chain(made.keys()) {
        let (held, made) = (held.get(node).unwrap_or(&nothing), made.get(node).unwrap_or(&nothing));
        let fault = |what: &str| Err((node.clone(), format!("its {what} are not those that its parameters give")));
        if held.weights != made.weights {
            return fault("weight codes or scales");
        }
        if held.registers != made.registers {
            return fault("registers");
        }
    }
    Ok(())
}
