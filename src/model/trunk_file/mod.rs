//! Our own trunk file: a frozen network as codes and registers, in the safetensors format.
//!
//! The JSON document in the metadata (key `trunkline`) holds the graph, its quantisation, the
//! arithmetic profile, where the trunk came from and what calibrated it. The tensors are
//!
//! | tensor | type | what |
//! |---|---|---|
//! | `codes/PARAM` | I8 | weight codes, output channels first |
//! | `scales/PARAM`, `zero_points/PARAM` | F32, I32 | of the codes: one, or one per output channel |
//! | `mantissa/NODE`, `shift/NODE`, `bias/NODE` | I32 | the loadable registers, per channel |
//! | `values/PARAM` | F32 or I32 | batch norm, biases, and weights that the source has as floats |
//! | `contents_sha256` | U8 | of the document and all other tensors |
//!
//! Two hashes guard it: that of the contents finds any changed byte; that of the trunk
//! ([`TrunkFile::trunk_sha256`], checked by `experiment`, which can prepare one) finds a reader whose
//! arithmetic has become another. Refused, with file and place: tensors that nobody asks for or that
//! have another type or shape than their node needs, numbers beyond any sane network, parameters
//! that two nodes share, names that do not print.

use crate::graph::Graph;
use crate::op::Registers;
use crate::quant::Profile;
use crate::quant::weights::WeightCodes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

mod check;
mod document;
mod read;
mod seal;
mod tensors;
mod write;

use super::ModelError;
pub use write::{WriteError, check_place};

/// The metadata key of the document.
const KEY: &str = "trunkline";
/// The tensor that holds the hash of all others.
const SEAL: &str = "contents_sha256";
/// Larger than any trunk that one machine holds.
const MAX_FILE_BYTES: u64 = 1 << 36;

/// A trunk as a file holds it.
#[derive(Clone, Debug)]
pub struct TrunkFile {
    pub name: String,
    pub provenance: Provenance,
    pub notes: Vec<String>,
    pub profile: Profile,
    /// How pixels become input codes, in the words of `experiment`.
    pub preprocess: serde_json::Value,
    /// The checksum of the prepared trunk, in lower-case hexadecimal.
    pub trunk_sha256: String,
    pub graph: Graph,
    /// What is in the silicon and its registers, by node.
    pub layers: BTreeMap<String, Layer>,
}

/// What the chip holds for a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    pub weights: Option<WeightCodes>,
    pub registers: Option<Registers>,
}

/// Where a trunk came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The file's name, or the network of the zoo.
    pub source: String,
    /// Of the source file's bytes, in lower-case hexadecimal.
    pub source_sha256: Option<String>,
    /// Of the weights of a network of the zoo.
    pub seed: Option<u64>,
    /// The command that trained it, where it was trained here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// What fixed the scales; nothing where the source had them.
    pub calibration: Option<Calibrated>,
}

/// How scales were fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrated {
    /// The images, as a data spec.
    pub data: String,
    pub images: usize,
    pub seed: u64,
    /// How the range of a map was chosen.
    pub method: String,
}

impl TrunkFile {
    /// Whether a path is to be read as a trunk file.
    pub fn is_named_by(path: &Path) -> bool {
        path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"))
    }

    /// Reads the file at `path`.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = super::read_file(path, MAX_FILE_BYTES)?;
        Self::from_bytes(&bytes, path)
    }

    /// Reads a file that is already in memory; `path` names it in errors.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self, ModelError> {
        read::read(bytes).map_err(|fault| fault.in_file(path))
    }
}

/// The tensor of one part of a parameter or node.
fn tensor_name(part: &str, of: &str) -> String {
    format!("{part}/{of}")
}
