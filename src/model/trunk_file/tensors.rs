//! The tensors of a trunk file by name, with type and shape checked against what is wanted.

use super::{KEY, SEAL, check, seal};
use crate::model::{Fault, printable};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeSet;

/// An open file, and which of its tensors are still unread.
pub struct Tensors<'a> {
    file: SafeTensors<'a>,
    document: String,
    unread: BTreeSet<String>,
}

fn place(name: &str) -> String {
    format!("tensor '{}'", printable(name))
}

impl<'a> Tensors<'a> {
    /// Opens the bytes of a file and checks that they are what was sealed.
    pub fn open(bytes: &'a [u8]) -> Result<Self, Fault> {
        let header = |why: String| Fault::malformed("header", why);
        let (_, metadata) = SafeTensors::read_metadata(bytes)
            .map_err(|e| header(format!("is no safetensors header: {}", check::shown(e))))?;
        let document = metadata.metadata().as_ref().and_then(|m| m.get(KEY));
        let document = document.ok_or_else(|| {
            header(format!("has no metadata '{KEY}': a safetensors file, but none that `trunkline import` wrote"))
        })?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| header(check::shown(e)))?;
        let unread = file.names().into_iter().map(String::from).collect();
        let mut tensors = Self { document: document.clone(), file, unread };
        tensors.check_seal()?;
        Ok(tensors)
    }

    pub fn document(&self) -> &str {
        &self.document
    }

    fn check_seal(&mut self) -> Result<(), Fault> {
        let sealed = self.view(SEAL, Dtype::U8)?.data();
        let views: Vec<(&str, TensorView)> = self.file.iter().filter(|(name, _)| *name != SEAL).collect();
        let tensors = views.iter().map(|(name, view)| seal::Hashed {
            name,
            dtype: view.dtype().to_string(),
            shape: view.shape(),
            data: view.data(),
        });
        let found = seal::seal(&self.document, tensors.collect());
        if found == sealed {
            return Ok(());
        }
        let why = format!(
            "have SHA-256 {}, but {} when they were written: the file was changed since; import it anew",
            crate::model::hex(&found),
            crate::model::hex(sealed.get(..32).unwrap_or(sealed))
        );
        Err(Fault::malformed("contents", why))
    }

    pub fn has(&self, name: &str) -> bool {
        self.unread.contains(name)
    }

    /// Refuses a file with tensors that nothing asked for.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.unread.first() {
            None => Ok(()),
            Some(name) => Err(Fault::malformed(place(name), "belongs to no node of the graph")),
        }
    }

    fn view(&mut self, name: &str, wanted: Dtype) -> Result<TensorView<'a>, Fault> {
        let view = self.file.tensor(name).map_err(|_| Fault::malformed(place(name), "is missing"))?;
        if !self.unread.remove(name) {
            return Err(Fault::malformed(place(name), "is used twice; every parameter belongs to one node"));
        }
        if view.dtype() != wanted {
            return Err(Fault::malformed(place(name), format!("is of type {}, not {wanted}", view.dtype())));
        }
        Ok(view)
    }

    /// The values and the dimensions of a tensor of words.
    fn words<T>(&mut self, name: &str, wanted: Dtype, decode: fn([u8; 4]) -> T) -> Result<(Vec<T>, Vec<usize>), Fault> {
        let view = self.view(name, wanted)?;
        let word = |bytes: &[u8]| decode([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok((view.data().chunks_exact(4).map(word).collect(), view.shape().to_vec()))
    }

    pub fn f32s(&mut self, name: &str) -> Result<(Vec<f32>, Vec<usize>), Fault> {
        let (values, dims) = self.words(name, Dtype::F32, f32::from_le_bytes)?;
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok((values, dims)),
            Some(i) => Err(Fault::malformed(place(name), format!("holds {} at {i}", values[i]))),
        }
    }

    pub fn i32s(&mut self, name: &str) -> Result<(Vec<i32>, Vec<usize>), Fault> {
        self.words(name, Dtype::I32, i32::from_le_bytes)
    }

    pub fn i8s(&mut self, name: &str) -> Result<(Vec<i8>, Vec<usize>), Fault> {
        let view = self.view(name, Dtype::I8)?;
        Ok((view.data().iter().map(|&byte| byte as i8).collect(), view.shape().to_vec()))
    }
}
