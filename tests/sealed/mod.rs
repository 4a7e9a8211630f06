//! Takes a trunk file apart, lets a test change it, and seals it again: what is refused then is
//! refused by what the fields say, not by the hash over them.

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};

const SEAL: &str = "contents_sha256";
const KEY: &str = "trunkline";

/// A tensor: type, shape, bytes.
pub type Tensor = (Dtype, Vec<usize>, Vec<u8>);

/// A trunk file in parts.
pub struct Parts {
    pub document: Value,
    pub tensors: BTreeMap<String, Tensor>,
}

impl Parts {
    pub fn of(bytes: &[u8]) -> Self {
        let (_, metadata) = SafeTensors::read_metadata(bytes).unwrap();
        let document = &metadata.metadata().as_ref().unwrap()[KEY];
        let file = SafeTensors::deserialize(bytes).unwrap();
        let tensor = |(name, view): (&str, TensorView)| {
            (name.to_string(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
        };
        let tensors = file.iter().filter(|(name, _)| *name != SEAL).map(tensor).collect();
        Self { document: serde_json::from_str(document).unwrap(), tensors }
    }

    pub fn sealed(mut self) -> Vec<u8> {
        let document = self.document.to_string();
        let mut hash = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        field(document.as_bytes());
        for (name, (dtype, shape, data)) in &self.tensors {
            field(name.as_bytes());
            field(dtype.to_string().as_bytes());
            field(&shape.iter().flat_map(|&n| (n as u64).to_le_bytes()).collect::<Vec<u8>>());
            field(data);
        }
        let seal: [u8; 32] = hash.finalize().into();
        self.tensors.insert(SEAL.into(), (Dtype::U8, vec![32], seal.to_vec()));
        let views = self
            .tensors
            .iter()
            .map(|(n, (dtype, shape, data))| (n, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        serialize(views.collect::<Vec<_>>(), Some(HashMap::from([(KEY.to_string(), document)]))).unwrap()
    }
}

/// The file after `edit`, sealed again.
pub fn resealed(bytes: &[u8], edit: impl FnOnce(&mut Parts)) -> Vec<u8> {
    let mut parts = Parts::of(bytes);
    edit(&mut parts);
    parts.sealed()
}
