//! Data sets: 8-bit images and their labels, through a closed list of doors.
//!
//! A set is named by a spec, `KIND:PATH` or `synth:NAME[:key=value,…]`. Images come out exactly as
//! stored, or resized where a size is asked for; how a model wants its input coded is not known
//! here. Order is fixed by the source, never by the machine. Refused, with archive, member and
//! reason: broken images, images of another size than the set's, members outside the archive, and
//! sizes that the bytes do not justify.

use crate::tensor::Shape;
use image::Image;
use rayon::prelude::*;
use std::path::PathBuf;
use thiserror::Error;

mod archive;
mod cifar10;
mod cifar10_jpeg;
mod idx;
pub mod image;
mod images;
pub mod jpeg;
mod omniglot;
mod spec;
pub mod synth;
mod tree;

/// A set of images of one shape.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub name: String,
    /// Class names by label.
    pub classes: Vec<String>,
    pub images: Vec<Image>,
    /// The class of every image, where the source knows it.
    pub labels: Option<Vec<u32>>,
    pub shape: Shape,
}

/// What to take of a source.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The first so many images; all of them if absent.
    pub limit: Option<usize>,
    /// The seed of a procedural set whose spec has none.
    pub seed: u64,
    /// Height and width that every image comes out with: procedural images are drawn so unless
    /// their spec has a size, all others are resized (bilinear).
    pub size: Option<[usize; 2]>,
}

/// Why a data set did not open.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("data '{spec}': {why}")]
    Spec { spec: String, why: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("{}: member '{member}': {why}", archive.display())]
    Member { archive: PathBuf, member: String, why: String },
}

/// A kind of source.
pub struct Source {
    pub kind: &'static str,
    /// What follows `KIND:`.
    pub argument: &'static str,
    pub about: &'static str,
    open: fn(&str, &OpenOptions) -> Result<Dataset, DataError>,
}

/// Every door, in the order in which help lists them.
pub const SOURCES: &[Source] =
    &[cifar10::SOURCE, cifar10_jpeg::SOURCE, idx::SOURCE, omniglot::SOURCE, images::SOURCE, synth::SOURCE];

/// Opens the data set that `spec` names.
pub fn open(spec: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
    let refused = |why: String| DataError::Spec { spec: spec.into(), why };
    if options.limit == Some(0) {
        return Err(refused("a limit of 0 images leaves nothing; give at least 1".into()));
    }
    if let Some(size) = options.size.filter(|size| size.iter().any(|n| !(1..=image::MAX_SIDE).contains(n))) {
        return Err(refused(format!("images of {} x {}; sides are 1 to {}", size[0], size[1], image::MAX_SIDE)));
    }
    let (kind, argument) = spec.split_once(':').unwrap_or((spec, ""));
    let Some(source) = SOURCES.iter().find(|source| source.kind == kind) else {
        let known: Vec<String> = SOURCES.iter().map(|s| format!("{}:{}", s.kind, s.argument)).collect();
        return Err(refused(format!("'{kind}' is no kind of data; there are {}", known.join(", "))));
    };
    if argument.is_empty() {
        return Err(refused(format!("say what to open: {}:{}", source.kind, source.argument)));
    }
    let set = (source.open)(argument, options)?;
    match options.size {
        Some([h, w]) if (h, w) != (set.shape.h, set.shape.w) => {
            fits_in_memory(set.len(), h, w, set.shape.c).map_err(refused)?;
            Ok(set.resized(h, w))
        }
        _ => Ok(set),
    }
}

/// All images of a set are held at once.
fn fits_in_memory(count: usize, height: usize, width: usize, channels: usize) -> Result<(), String> {
    const MAX_SET_BYTES: u64 = 4 << 30;
    let bytes = [count, height, width, channels].iter().fold(1u64, |n, &factor| n.saturating_mul(factor as u64));
    if bytes <= MAX_SET_BYTES {
        return Ok(());
    }
    Err(format!("{count} images of {height} x {width} take more than 4 GiB; lower the count or the size"))
}

impl Dataset {
    pub fn len(&self) -> usize {
        self.images.len()
    }
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Keeps the first `count` images.
    pub fn truncate(&mut self, count: usize) {
        self.images.truncate(count);
        if let Some(labels) = &mut self.labels {
            labels.truncate(count);
        }
    }

    /// The same set with every image brought to `height` × `width`.
    fn resized(&self, height: usize, width: usize) -> Self {
        let images = self.images.par_iter().map(|image| image.resized(height, width)).collect();
        Self { images, shape: Shape::new(height, width, self.shape.c), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(spec: &str, options: &OpenOptions) -> String {
        open(spec, options).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_spec_says_what_there_is() {
        let options = OpenOptions::default();
        assert!(refusal("imagenet:/x", &options).contains("cifar10:DIR"));
        assert!(refusal("cifar10", &options).contains("say what to open"));
        assert!(refusal("cifar10:/nowhere", &options).contains("/nowhere"));
        assert!(refusal("synth:shapes", &OpenOptions { limit: Some(0), ..options.clone() }).contains("at least 1"));
        assert!(refusal("synth:shapes", &OpenOptions { size: Some([0, 8]), ..options }).contains("sides are 1"));
    }
}
