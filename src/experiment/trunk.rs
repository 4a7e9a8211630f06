//! A trunk as an experiment takes it: a network from the zoo or a model file, its arithmetic, and
//! how images become its input codes. A float model file may be followed by how its images are
//! normalised: `model.onnx:normalise=imagenet` (the default), `centred`, `signed` or `unit`.

use super::input::{NORMALISATIONS, Preprocess};
use crate::graph::structure::Structure;
use crate::graph::{Graph, GraphError, ParamValue};
use crate::model::trunk_file::{Calibrated, Provenance, TrunkFile};
use crate::model::zoo::{self, ZooError, ZooSpec};
use crate::model::{ModelError, onnx, tflite};
use crate::quant::Profile;
use crate::quantise::{self, Calibration, QuantiseError};
use crate::scheme;
use crate::tensor::Tensor;
use std::path::{Path, PathBuf};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum TrunkError {
    #[error(transparent)]
    Zoo(#[from] ZooError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    #[error(transparent)]
    Prepare(#[from] crate::trunk::TrunkError),
    #[error("trunk '{spec}': no such file, and no network of the zoo, which has {known}")]
    Unknown { spec: String, known: String },
    #[error(
        "trunk '{spec}': a float model takes one option, normalise={}, as in model.onnx:normalise=imagenet",
        NORMALISATIONS.map(|(name, _)| name).join("|")
    )]
    Normalisation { spec: String },
    #[error(
        "trunk '{trunk}': its maps have codes of {has} bits, profile '{profile}' wants {wants}; \
         take the float model, or ask quant-sweep"
    )]
    Widths { trunk: String, profile: String, has: u8, wants: u8 },
    #[error("trunk '{trunk}' has shapes and no weights: it can be accounted, timed and exported, not executed")]
    ShapeOnly { trunk: String },
    #[error(
        "trunk '{file}': its input is {has}; --input {asked} is for networks of the zoo, which can be built for any size"
    )]
    FixedInput { file: PathBuf, has: String, asked: usize },
}

/// A network ready to be placed.
#[derive(Clone, Debug)]
pub struct Trunk {
    pub name: String,
    pub graph: Graph,
    pub profile: Profile,
    pub preprocess: Preprocess,
    /// How the ranges of a float network are chosen.
    pub calibration: Calibration,
    /// Where it came from, and what fixed its scales.
    pub provenance: Provenance,
    /// What a reader of the report should know about it.
    pub notes: Vec<String>,
}

/// What to build a trunk for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Height and width of the input; for the zoo only.
    pub input: Option<usize>,
    pub classes: Option<usize>,
    pub seed: u64,
}

impl Trunk {
    /// Opens a model file or a pre-trained trunk, or builds a network of the zoo.
    pub fn open(spec: &str, wanted: Wanted) -> Result<Self, TrunkError> {
        let name = spec.split(':').next().unwrap_or(spec);
        let trunk = if zoo::find(name).is_some() {
            Self::from_zoo(&ZooSpec::parse(spec, wanted.input, wanted.classes, wanted.seed)?)?
        } else if let Some(known) = zoo::pretrained(spec) {
            Self::from_pretrained(known)?.of_size(spec, wanted.input)?
        } else if Path::new(spec).exists() || spec.contains(['/', '\\', '.']) {
            let trunk = match spec.split_once(".onnx:") {
                Some((stem, option)) => Self::import_float(&PathBuf::from(format!("{stem}.onnx")), option, spec)?,
                None => Self::import(Path::new(spec))?,
            };
            trunk.of_size(spec, wanted.input)?
        } else {
            let trained = zoo::PRETRAINED.iter().map(|p| p.name);
            let names = zoo::NETWORKS.iter().chain(zoo::SHAPES).map(|n| n.name).chain(trained);
            let known = names.collect::<Vec<_>>().join(", ");
            return Err(TrunkError::Unknown { spec: spec.into(), known });
        };
        trunk.with_classes(wanted.classes, wanted.seed)
    }

    /// The trunk, if its input has the size that is asked for.
    fn of_size(self, spec: &str, asked: Option<usize>) -> Result<Self, TrunkError> {
        let shape = self.graph.shape(self.graph.input);
        match asked.filter(|&h| (h, h) != (shape.h, shape.w)) {
            Some(asked) => Err(TrunkError::FixedInput { file: spec.into(), has: shape.to_string(), asked }),
            None => Ok(self),
        }
    }

    /// Imports a model file: a quantised one as it is, a float one (`.onnx`) uncalibrated; where the
    /// input is floats, images are normalised like ImageNet's.
    pub fn import(path: &Path) -> Result<Self, TrunkError> {
        if TrunkFile::is_named_by(path) {
            return Self::from_file(path);
        }
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
            return Self::import_float(path, "normalise=imagenet", &path.to_string_lossy());
        }
        let imported = tflite::import(path)?;
        let name = path.file_stem().map_or("model".into(), |s| s.to_string_lossy().into_owned());
        let mut notes = imported.notes;
        notes.push("pixels enter as the model's input codes, unchanged".into());
        let profile = imported.default_profile.parse().expect("an importer names a known profile");
        let provenance = of_file(path, imported.source_sha256);
        Ok(Self {
            name,
            graph: imported.graph,
            profile,
            preprocess: Preprocess::Codes,
            calibration: Calibration::default(),
            provenance,
            notes,
        })
    }

    /// Imports an ONNX model. No file says how its images were normalised, so the option does.
    fn import_float(path: &Path, option: &str, spec: &str) -> Result<Self, TrunkError> {
        let asked = option.strip_prefix("normalise=");
        let known = NORMALISATIONS.iter().find(|(name, _)| asked == Some(name));
        let &(how, preprocess) = known.ok_or_else(|| TrunkError::Normalisation { spec: spec.into() })?;
        let imported = onnx::import(path)?;
        let (mut notes, mut preprocess) = (imported.notes, preprocess);
        let input = imported.graph.edge(imported.graph.input);
        // Codes that no QuantizeLinear of the file makes are what the file's input is.
        if input.quant.is_some() && input.origin.is_none() {
            preprocess = Preprocess::Codes;
            notes.push("pixels enter as the model's input codes, unchanged".into());
        } else {
            notes.push(format!("pixels are normalised as '{how}'; the file does not say how it was trained"));
        }
        let profile = imported.default_profile.parse().expect("an importer names a known profile");
        let provenance = of_file(path, imported.source_sha256);
        Ok(Self {
            name: imported.graph.name.clone(),
            graph: imported.graph,
            profile,
            preprocess,
            calibration: Calibration::default(),
            provenance,
            notes,
        })
    }

    fn from_zoo(spec: &ZooSpec) -> Result<Self, TrunkError> {
        let graph = spec.build()?;
        let notes = vec![if zoo::is_shape_only(&spec.name) {
            "the network has shapes and no weights: it serves to validate hardware models".into()
        } else {
            format!("weights are random (seed {}): accuracy is chance until they are trained", spec.seed)
        }];
        let mut name = spec.name.clone();
        if spec.width != 1.0 {
            name += &format!(":width={}", spec.width);
        }
        let provenance = Provenance { source: name.clone(), seed: Some(spec.seed), ..Provenance::default() };
        Ok(Self {
            name,
            graph,
            profile: Profile::default(),
            preprocess: Preprocess::CENTRED,
            calibration: Calibration::default(),
            provenance,
            notes,
        })
    }

    /// The trunk under another arithmetic; to be chosen before it is calibrated.
    pub fn with_profile(mut self, profile: Option<Profile>) -> Result<Self, TrunkError> {
        let Some(profile) = profile else { return Ok(self) };
        let (has, wants) = (self.profile.maps().bits, profile.maps().bits);
        if self.is_calibrated() && has != wants {
            return Err(TrunkError::Widths { trunk: self.name, profile: profile.to_string(), has, wants });
        }
        self.profile = profile;
        Ok(self)
    }

    /// The trunk with a fresh head for a new task, if it has one at all.
    pub fn with_fresh_head(mut self, classes: usize, seed: u64) -> Result<Self, TrunkError> {
        if Structure::find(&self.graph)?.head.is_empty() {
            return self.with_classes(Some(classes), seed);
        }
        self.graph = scheme::with_fresh_head(&self.graph, classes, seed)?;
        self.notes.push(format!("the classifier was replaced by a fresh one for {classes} classes"));
        Ok(self)
    }

    /// The trunk with a fresh head if its own does not give that many classes.
    fn with_classes(mut self, classes: Option<usize>, seed: u64) -> Result<Self, TrunkError> {
        let has_head = !Structure::find(&self.graph)?.head.is_empty();
        if classes.is_some() && !has_head {
            self.notes.push("the network has no classifier: its output is read as it is".into());
        }
        if let Some(classes) = classes.filter(|_| has_head) {
            let (graph, fresh) = scheme::with_classes(&self.graph, classes, seed)?;
            self.graph = graph;
            if fresh {
                self.notes.push(format!("the classifier was replaced by a fresh one for {classes} classes"));
            }
        }
        Ok(self)
    }

    /// Whether every map has codes, so that the trunk can run.
    pub fn is_calibrated(&self) -> bool {
        self.graph.edge(self.graph.input).quant.is_some()
    }

    /// Fixes the scales of a float network from preprocessed images.
    pub fn calibrate(&mut self, images: &Tensor<f32>) -> Result<(), TrunkError> {
        self.calibrate_from(images, "images that the caller gave", 0)
    }

    /// The same, and remembers what the images are.
    pub fn calibrate_from(&mut self, images: &Tensor<f32>, data: &str, seed: u64) -> Result<(), TrunkError> {
        if self.graph.params.iter().any(|p| matches!(p.value, ParamValue::ShapeOnly(_))) {
            return Err(TrunkError::ShapeOnly { trunk: self.name.clone() });
        }
        quantise::calibrate(&mut self.graph, images, self.calibration, self.profile.maps())?;
        let (data, method) = (data.to_string(), self.calibration.to_string());
        self.provenance.calibration = Some(Calibrated { data, images: images.batch, seed, method });
        self.notes.push(format!("int8 scales from {} images by {}", images.batch, self.calibration));
        Ok(())
    }
}

fn of_file(path: &Path, sha256: String) -> Provenance {
    let source = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    Provenance { source, source_sha256: Some(sha256), ..Provenance::default() }
}
