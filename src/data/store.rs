//! Where images are kept: pixels in memory, files in trees, encoded images in memory.

use super::DataError;
use super::catalogue::Store;
use super::image::Image;
use super::tree::Tree;
use crate::tensor::Shape;
use std::path::{Path, PathBuf};

/// No image file is larger.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Images of one shape, uncompressed, one after another.
pub struct Pixels {
    pub path: PathBuf,
    pub shape: Shape,
    pub bytes: Vec<u8>,
}

impl Store for Pixels {
    fn read(&self, key: u64) -> Result<Image, DataError> {
        let (Shape { h: height, w: width, c: channels }, n) = (self.shape, self.shape.elements());
        let start = key as usize * n;
        Ok(Image { width, height, channels, pixels: self.bytes[start..start + n].to_vec() })
    }

    fn fault(&self, key: u64, why: String) -> DataError {
        row_fault(&self.path, key, why)
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

/// Image files in folders or archives.
pub struct Files {
    pub trees: Vec<Tree>,
    /// Tree, and file of it.
    pub files: Vec<(usize, usize)>,
    pub limit_bytes: u64,
    pub decode: fn(&[u8]) -> Result<Image, String>,
    /// The data set's own numbers of the files; their places here if there are none.
    pub ids: Vec<u64>,
}

impl Files {
    /// Files of one tree, of any size and image format.
    pub fn of(tree: Tree, files: Vec<usize>) -> Self {
        Self::of_trees(vec![tree], files.into_iter().map(|file| (0, file)).collect())
    }

    pub fn of_trees(trees: Vec<Tree>, files: Vec<(usize, usize)>) -> Self {
        Self { trees, files, limit_bytes: MAX_FILE_BYTES, decode: Image::decode_any, ids: vec![] }
    }
}

impl Store for Files {
    fn read(&self, key: u64) -> Result<Image, DataError> {
        let (tree, file) = self.files[key as usize];
        let bytes = self.trees[tree].read(file, self.limit_bytes)?;
        (self.decode)(&bytes).map_err(|why| self.fault(key, why))
    }

    fn fault(&self, key: u64, why: String) -> DataError {
        let (tree, file) = self.files[key as usize];
        self.trees[tree].error(file, why)
    }

    fn id(&self, key: u64) -> u64 {
        self.ids.get(key as usize).copied().unwrap_or(key)
    }
}

fn row_fault(path: &Path, key: u64, why: String) -> DataError {
    DataError::Member { archive: path.into(), member: format!("image {key}"), why }
}
