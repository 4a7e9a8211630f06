//! Adapter files: a folder with `adapter_model.safetensors` (every trained parameter, batch-norm
//! state and head included) and `adapter_config.json` (what they belong to).
//!
//! An adapter belongs to the codes of one trunk under one arithmetic. On any other it is refused,
//! naming both, unless forced; so is a model file that is not the one that the configuration was
//! written with.

use super::arrays::{self, Array};
use super::file::{self, FileError, shown};
use crate::data::augment::Augmentation;
use crate::model::trunk_file::Calibrated;
use crate::plan::tap_format::TapFormat;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;

pub const MODEL: &str = "adapter_model.safetensors";
pub const CONFIG: &str = "adapter_config.json";
const VERSION: u32 = 1;
/// Larger than any list of classes and modules.
const MAX_CONFIG_BYTES: u64 = 1 << 26;

/// Why an adapter was not loaded.
#[derive(Debug, Error)]
pub enum AdapterError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "adapter '{}' is of trunk '{name}' with SHA-256 {has}, this trunk has {wants}; \
         `eval --force` loads it all the same", folder.display()
    )]
    OtherTrunk { folder: PathBuf, name: String, has: String, wants: String },
    #[error(
        "adapter '{}' was trained under profile '{has}', this trunk computes under '{wants}'; \
         --profile '{has}' is the other, `eval --force` loads it all the same", folder.display()
    )]
    OtherProfile { folder: PathBuf, has: String, wants: String },
}

/// What an adapter is and what it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterConfig {
    pub format_version: u32,
    /// The scheme's name, with underscores.
    pub adapter_type: String,
    pub base_model: BaseModel,
    /// As written, with its options.
    pub scheme: String,
    pub sites: Option<String>,
    pub batch_norm: String,
    /// Of a sum that enters a trunk accumulator: 8 or 16.
    pub tap_in_bits: TapFormat,
    /// The nodes that the scheme added or moved.
    pub modules: Vec<String>,
    /// Of `adapters`, `bn`, `head`.
    pub trained: Vec<String>,
    /// Class names by label.
    pub classes: Vec<String>,
    pub input: Input,
    pub training: Training,
    /// Of the file beside it; set when it is written.
    pub model_sha256: String,
}

/// The trunk that an adapter was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseModel {
    pub name: String,
    /// Of its codes and registers.
    pub trunk_sha256: String,
    /// The arithmetic.
    pub profile: String,
    /// What fixed its scales; nothing where it came with them.
    pub calibration: Option<Calibrated>,
}

/// How an image becomes the network's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Height, width and channels.
    pub size: [usize; 3],
    /// In the words of `experiment::input`.
    pub normalisation: serde_json::Value,
    pub scale: f32,
    pub zero_point: i32,
}

/// How an adapter came about. Nothing here depends on when, where or in how many sittings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    pub command: String,
    pub seed: u64,
    pub data: String,
    /// What was done to the images on the way, where it was more than a resize.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub augmentation: Option<Augmentation>,
    /// Of the data's name, its classes and the label of every image, in order.
    pub data_sha256: String,
    pub metrics: BTreeMap<String, f64>,
}

impl AdapterConfig {
    /// The version of what this program writes.
    pub const VERSION: u32 = VERSION;

    /// The type of adapter that a scheme spec names.
    pub fn adapter_type(scheme: &str) -> String {
        scheme.split(':').next().unwrap_or_default().replace('-', "_")
    }

    fn check(&self, path: &Path) -> Result<(), FileError> {
        let fault = |place: &str, why: String| Err(FileError::malformed(path, place, why));
        if self.format_version != VERSION {
            let why = format!("is {}; this program reads {VERSION}", self.format_version);
            return fault("format_version", why);
        }
        for (place, hash) in
            [("base_model.trunk_sha256", &self.base_model.trunk_sha256), ("model_sha256", &self.model_sha256)]
        {
            if hash.len() != 64 || !hash.chars().all(|c| c.is_ascii_hexdigit()) {
                return fault(place, format!("'{}' is no SHA-256", shown(hash)));
            }
        }
        if !(self.input.scale.is_finite() && self.input.scale > 0.0) {
            return fault("input.scale", format!("is {}", self.input.scale));
        }
        Ok(())
    }
}

/// An adapter as a folder holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    pub folder: PathBuf,
    pub config: AdapterConfig,
    pub values: BTreeMap<String, Array>,
}

impl Adapter {
    /// Reads the adapter of a folder: its own, or the best of a run's.
    pub fn open(folder: &Path) -> Result<Self, AdapterError> {
        let places = [folder.to_path_buf(), folder.join("checkpoints/best"), folder.join("checkpoints/last")];
        let place = places.iter().find(|place| place.join(CONFIG).exists()).unwrap_or(&places[0]);
        Ok(Self::read(place)?)
    }

    pub(super) fn read(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join(CONFIG);
        let config: AdapterConfig = file::from_json(&file::read(&path, MAX_CONFIG_BYTES)?, &path)?;
        config.check(&path)?;
        let model = folder.join(MODEL);
        let (values, bytes) = arrays::open(&model)?;
        let found = file::sha256(&bytes);
        if found != config.model_sha256 {
            let why = format!("has SHA-256 {found}, but '{}' was written with {}", path.display(), config.model_sha256);
            return Err(FileError::malformed(&model, "contents", why));
        }
        Ok(Self { folder: folder.into(), config, values })
    }

    /// Whether the adapter belongs to a trunk.
    pub fn check_trunk(&self, trunk_sha256: &str, profile: &str, force: bool) -> Result<(), AdapterError> {
        let BaseModel { name, trunk_sha256: has, profile: trained_under, .. } = &self.config.base_model;
        let folder = self.folder.clone();
        if !force && trained_under != profile {
            return Err(AdapterError::OtherProfile { folder, has: shown(trained_under), wants: profile.into() });
        }
        if !force && has != trunk_sha256 {
            let (name, has, wants) = (shown(name), has.clone(), trunk_sha256.to_string());
            return Err(AdapterError::OtherTrunk { folder, name, has, wants });
        }
        Ok(())
    }
}

/// Writes both files of an adapter into a folder that has neither, and gives their SHA-256.
pub fn write(
    folder: &Path,
    config: &AdapterConfig,
    values: &[Array],
) -> Result<[(&'static str, String); 2], FileError> {
    let (model, path) = (folder.join(MODEL), folder.join(CONFIG));
    let bytes = arrays::to_bytes(values, &model)?;
    let model_sha256 = file::sha256(&bytes);
    file::write(&model, &bytes)?;
    let text = file::json(&AdapterConfig { model_sha256: model_sha256.clone(), ..config.clone() }, &path)?;
    file::write(&path, text.as_bytes())?;
    Ok([(MODEL, model_sha256), (CONFIG, file::sha256(text.as_bytes()))])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn config() -> AdapterConfig {
        AdapterConfig {
            format_version: VERSION,
            adapter_type: AdapterConfig::adapter_type("adaptive-attention:m=2"),
            base_model: BaseModel {
                name: "resnet8".into(),
                trunk_sha256: "0".repeat(64),
                profile: "tflite-ref".into(),
                calibration: None,
            },
            scheme: "adaptive-attention:m=2".into(),
            sites: Some("all".into()),
            batch_norm: "frozen".into(),
            tap_in_bits: TapFormat::Int16,
            modules: vec!["stem.adapter".into()],
            trained: vec!["adapters".into(), "head".into()],
            classes: vec!["cat".into(), "dog".into()],
            input: Input { size: [32, 32, 3], normalisation: serde_json::json!("codes"), scale: 0.1, zero_point: -3 },
            training: Training { command: "trunkline train".into(), ..Training::default() },
            model_sha256: String::new(),
        }
    }

    fn written() -> (tempfile::TempDir, Vec<Array>) {
        let folder = tempfile::tempdir().unwrap();
        let values = vec![Array { name: "head.weight".into(), dims: vec![2, 1], values: vec![0.5, -1.0] }];
        write(folder.path(), &config(), &values).unwrap();
        (folder, values)
    }

    #[test]
    fn an_adapter_comes_back() {
        let (folder, values) = written();
        let adapter = Adapter::open(folder.path()).unwrap();
        assert_eq!(adapter.values.into_values().collect::<Vec<_>>(), values);
        assert_eq!(adapter.config, AdapterConfig { model_sha256: adapter.config.model_sha256.clone(), ..config() });
        assert_eq!(adapter.config.adapter_type, "adaptive_attention");
    }

    #[test]
    fn another_trunk_or_profile_is_refused_unless_forced() {
        let (folder, _) = written();
        let adapter = Adapter::open(folder.path()).unwrap();
        let (same, other) = ("0".repeat(64), "1".repeat(64));
        adapter.check_trunk(&same, "tflite-ref", false).unwrap();
        let refusal = adapter.check_trunk(&other, "tflite-ref", false).unwrap_err().to_string();
        assert!(refusal.contains(&same) && refusal.contains(&other) && refusal.contains("--force"), "{refusal}");
        let refusal = adapter.check_trunk(&same, "gemmini", false).unwrap_err().to_string();
        assert!(refusal.contains("'tflite-ref'") && refusal.contains("'gemmini'"), "{refusal}");
        adapter.check_trunk(&other, "gemmini", true).unwrap();
    }

    #[test]
    fn a_folder_without_an_adapter_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = Adapter::open(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains(CONFIG) && refusal.contains("cannot read"), "{refusal}");
    }

    #[test]
    fn a_changed_model_is_refused() {
        let (folder, _) = written();
        let path = folder.path().join(MODEL);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let refusal = Adapter::open(folder.path()).unwrap_err().to_string();
        assert!(refusal.contains(MODEL) && refusal.contains("SHA-256"), "{refusal}");
    }
}
