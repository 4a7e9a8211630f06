//! Named arrays of f32 in the safetensors format, sorted by name: the same bytes for the same arrays.
//!
//! Refused: other types, two arrays of one name, dimensions that are not those of the values.

use super::file::{FileError, read, shown};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A trained parameter or a running statistic.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub name: String,
    pub dims: Vec<usize>,
    pub values: Vec<f32>,
}

/// Larger than any adapter that one machine trains.
const MAX_FILE_BYTES: u64 = 1 << 36;

/// The bytes of a file that holds these arrays; `path` names it in errors.
pub fn to_bytes(arrays: &[Array], path: &Path) -> Result<Vec<u8>, FileError> {
    let refused = |why: String| FileError::Unwritable { path: path.into(), why };
    let mut sorted: BTreeMap<&str, (&[usize], Vec<u8>)> = BTreeMap::new();
    for array in arrays {
        let bytes = array.values.iter().flat_map(|v| v.to_le_bytes()).collect();
        if sorted.insert(&array.name, (&array.dims, bytes)).is_some() {
            return Err(refused(format!("two arrays are called '{}'", shown(&array.name))));
        }
    }
    let views: Result<Vec<_>, _> = sorted
        .iter()
        .map(|(name, (dims, bytes))| Ok((*name, TensorView::new(Dtype::F32, dims.to_vec(), bytes)?)))
        .collect();
    let fault = |e: safetensors::SafeTensorError| refused(e.to_string());
    // Readers on PyTorch's side want to be told so.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    serialize(views.map_err(fault)?, Some(metadata)).map_err(fault)
}

/// The arrays of a file by name, and the file's bytes.
pub fn open(path: &Path) -> Result<(BTreeMap<String, Array>, Vec<u8>), FileError> {
    let bytes = read(path, MAX_FILE_BYTES)?;
    Ok((from_bytes(&bytes, path)?, bytes))
}

/// The arrays that are in `bytes`.
pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, Array>, FileError> {
    let header = |e: safetensors::SafeTensorError| {
        FileError::malformed(path, "header", format!("is no safetensors header: {}", shown(&e.to_string())))
    };
    // The reader has checked that every tensor lies within the bytes and has those of its shape.
    let file = SafeTensors::deserialize(bytes).map_err(header)?;
    let mut arrays = BTreeMap::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            let place = format!("tensor '{}'", shown(name));
            return Err(FileError::malformed(path, place, format!("is of type {}, not F32", view.dtype())));
        }
        let value = |word: &[u8]| f32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        let values = view.data().chunks_exact(4).map(value).collect();
        arrays.insert(name.into(), Array { name: name.into(), dims: view.shape().to_vec(), values });
    }
    Ok(arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(name: &str, dims: &[usize]) -> Array {
        let count = dims.iter().product();
        Array { name: name.into(), dims: dims.into(), values: (0..count).map(|i| i as f32 - 0.1).collect() }
    }

    #[test]
    fn arrays_come_back_and_their_order_does_not_matter() {
        let path = Path::new("a.safetensors");
        let (a, b) = (array("stem.weight", &[2, 3]), array("bn.0.mean", &[4]));
        let bytes = to_bytes(&[a.clone(), b.clone()], path).unwrap();
        assert_eq!(bytes, to_bytes(&[b.clone(), a.clone()], path).unwrap());
        assert_eq!(from_bytes(&bytes, path).unwrap().into_values().collect::<Vec<_>>(), [b, a]);
        let header = String::from_utf8_lossy(&bytes);
        assert!(header.contains(r#""__metadata__":{"format":"pt"}"#), "{header}");
    }

    #[test]
    fn what_the_format_cannot_hold_is_refused() {
        let path = Path::new("a.safetensors");
        let twice = to_bytes(&[array("w", &[2]), array("w", &[2])], path).unwrap_err().to_string();
        assert!(twice.contains("two arrays are called 'w'"), "{twice}");
        let mut wrong = array("w", &[2]);
        wrong.dims = vec![3];
        assert!(to_bytes(&[wrong], path).is_err());
    }
}
