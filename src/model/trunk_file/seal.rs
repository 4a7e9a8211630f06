//! The hash over everything that a trunk file holds.

use sha2::{Digest, Sha256};

/// A tensor as it is hashed: name, type, shape, bytes.
pub struct Hashed<'a> {
    pub name: &'a str,
    pub dtype: String,
    pub shape: &'a [usize],
    pub data: &'a [u8],
}

/// SHA-256 over the document and the tensors in order of their names. Lengths go in first, so that
/// nothing can move from one field to the next.
pub fn seal(document: &str, mut tensors: Vec<Hashed>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(document.as_bytes());
    tensors.sort_by(|a, b| a.name.cmp(b.name));
    for tensor in &tensors {
        field(tensor.name.as_bytes());
        field(tensor.dtype.as_bytes());
        let shape: Vec<u8> = tensor.shape.iter().flat_map(|&n| (n as u64).to_le_bytes()).collect();
        field(&shape);
        field(tensor.data);
    }
    hash.finalize().into()
}
