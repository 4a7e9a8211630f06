//! idx files, plain or gzip: the format of MNIST and its relatives.
//!
//! A folder holds `train-images-idx3-ubyte[.gz]`, `train-labels-idx1-ubyte[.gz]` and the same with
//! `t10k-`; or the file of images is named itself, and its labels lie beside it. Refused: values
//! that are not bytes, images that are not grey, and a header that promises more than the file has.

use super::image::{Image, MAX_SIDE};
use super::spec::Argument;
use super::{DataError, Dataset, OpenOptions, Source, fits_in_memory};
use crate::door::open_file;
use crate::tensor::Shape;
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

pub(super) const SOURCE: Source = Source {
    kind: "idx",
    argument: "DIR_OR_IMAGES[:split=train|test]",
    about: "MNIST's format, plain or .gz: train-images-idx3-ubyte beside train-labels-idx1-ubyte, t10k-… for the test split",
    open,
};

/// What the names of the two splits begin with.
const SPLITS: [(&str, &str); 2] = [("train", "train"), ("test", "t10k")];

fn open(argument: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
    let argument = Argument::parse(SOURCE.kind, argument, &["split"])?;
    let images = images_path(&argument)?;
    let labels = labels_path(&images)?;
    let (images, shape) = read_images(&images, options.limit.unwrap_or(usize::MAX))?;
    let labels = read_labels(&labels, images.len(), options.limit.is_none())?;
    let classes = labels.iter().max().map_or(0, |&most| most + 1).max(10);
    let classes = (0..classes).map(|label| label.to_string()).collect();
    Ok(Dataset { name: name(&argument), classes, images, labels: Some(labels), shape })
}

fn name(argument: &Argument) -> String {
    match argument.get("split") {
        Some(split) => format!("{}:split={split}", SOURCE.kind),
        None => SOURCE.kind.into(),
    }
}

/// The file of images that an argument names.
fn images_path(argument: &Argument) -> Result<PathBuf, DataError> {
    let path = Path::new(&argument.path);
    let split = argument.get("split").unwrap_or("train");
    let Some((_, prefix)) = SPLITS.iter().find(|(name, _)| *name == split) else {
        return Err(argument.refused(format!("there is no split '{split}'; there are train and test")));
    };
    if !path.is_dir() {
        return Ok(path.into());
    }
    plain_or_gz(path, &format!("{prefix}-images-idx3-ubyte"))
}

/// The labels beside a file of images.
fn labels_path(images: &Path) -> Result<PathBuf, DataError> {
    let refused = |why: &str| DataError::File { path: images.into(), why: why.into() };
    let name = images.file_name().and_then(|n| n.to_str()).unwrap_or("");
    let name = name.strip_suffix(".gz").unwrap_or(name);
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    if labels == name {
        return Err(refused("is not named …images-idx3-ubyte, so its labels cannot be found beside it"));
    }
    plain_or_gz(images.parent().unwrap_or(Path::new("")), &labels)
}

/// The file as it is, or compressed.
fn plain_or_gz(dir: &Path, name: &str) -> Result<PathBuf, DataError> {
    let found = [name.to_string(), format!("{name}.gz")].map(|n| dir.join(n));
    let missing = || DataError::File { path: dir.into(), why: format!("holds neither {name} nor {name}.gz") };
    found.iter().find(|path| path.exists()).cloned().ok_or_else(missing)
}

/// An idx file, read as far as it is asked for.
struct Idx {
    path: PathBuf,
    from: Box<dyn Read>,
    dims: Vec<usize>,
}

impl Idx {
    fn open(path: &Path, rank: usize) -> Result<Self, DataError> {
        let io = |source| DataError::Io { path: path.into(), source };
        let (file, _) = open_file(path).map_err(io)?;
        let mut file = BufReader::new(file);
        // By content: what is called .gz may have been unpacked on the way, and the other way round.
        let compressed = file.fill_buf().map_err(io)?.starts_with(&[0x1f, 0x8b]);
        let from: Box<dyn Read> = if compressed { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut idx = Self { path: path.into(), from, dims: vec![] };
        let head = idx.bytes(4)?;
        if head[..3] != [0, 0, 8] || usize::from(head[3]) != rank {
            return Err(idx.refused(format!("does not begin like an idx file of bytes with {rank} dimensions")));
        }
        for _ in 0..rank {
            let bytes = idx.bytes(4)?;
            idx.dims.push(bytes.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)));
        }
        Ok(idx)
    }

    /// The next `count` bytes, all of them.
    fn bytes(&mut self, count: usize) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![];
        let read = (&mut self.from).take(count as u64).read_to_end(&mut bytes);
        match read {
            Ok(n) if n == count => Ok(bytes),
            Ok(_) => Err(self.refused("ends before what its header promises".into())),
            Err(source) => Err(DataError::Io { path: self.path.clone(), source }),
        }
    }

    fn refused(&self, why: String) -> DataError {
        DataError::File { path: self.path.clone(), why }
    }
}

fn read_images(path: &Path, limit: usize) -> Result<(Vec<Image>, Shape), DataError> {
    let mut idx = Idx::open(path, 3)?;
    let (count, height, width) = (idx.dims[0].min(limit), idx.dims[1], idx.dims[2]);
    let sides = 1..=MAX_SIDE;
    if count == 0 || !sides.contains(&height) || !sides.contains(&width) {
        return Err(idx.refused(format!("has {count} images of {height} x {width}; sides are 1 to {MAX_SIDE}")));
    }
    fits_in_memory(count, height, width, 1).map_err(|why| idx.refused(why))?;
    let mut images = vec![];
    for _ in 0..count {
        images.push(Image { width, height, channels: 1, pixels: idx.bytes(height * width)? });
    }
    Ok((images, Shape::new(height, width, 1)))
}

/// As many labels as there are images; the file has as many if all images were read.
fn read_labels(path: &Path, images: usize, all: bool) -> Result<Vec<u32>, DataError> {
    let mut idx = Idx::open(path, 1)?;
    if idx.dims[0] < images || (all && idx.dims[0] != images) {
        return Err(idx.refused(format!("has {} labels for {images} images", idx.dims[0])));
    }
    Ok(idx.bytes(images)?.into_iter().map(u32::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn write(dir: &Path, name: &str, head: &[u8], dims: &[u32], data: &[u8], gz: bool) {
        let mut bytes = head.to_vec();
        dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend(data);
        if gz {
            let mut encoder = GzEncoder::new(vec![], Compression::fast());
            encoder.write_all(&bytes).unwrap();
            bytes = encoder.finish().unwrap();
        }
        std::fs::write(dir.join(name), bytes).unwrap();
    }

    fn folder(gz: bool) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let ending = if gz { ".gz" } else { "" };
        let name = |n: &str| format!("{n}{ending}");
        write(
            dir.path(),
            &name("train-images-idx3-ubyte"),
            &[0, 0, 8, 3],
            &[3, 2, 2],
            &(0..12).collect::<Vec<_>>(),
            gz,
        );
        write(dir.path(), &name("train-labels-idx1-ubyte"), &[0, 0, 8, 1], &[3], &[7, 11, 2], gz);
        dir
    }

    #[test]
    fn plain_and_compressed_files_give_the_same_set() {
        for gz in [false, true] {
            let dir = folder(gz);
            let path = dir.path().to_string_lossy();
            let set = open(&path, &OpenOptions::default()).unwrap();
            assert_eq!((set.len(), set.shape, set.labels.unwrap()), (3, Shape::new(2, 2, 1), vec![7, 11, 2]));
            assert_eq!(set.images[2].pixels, [8, 9, 10, 11]);
            assert_eq!(set.classes.len(), 12, "a label beyond 9 has a class too");
            let few = open(&path, &OpenOptions { limit: Some(2), ..OpenOptions::default() }).unwrap();
            assert_eq!((few.len(), few.labels.unwrap()), (2, vec![7, 11]));
            let error = open(&format!("{path}:split=test"), &OpenOptions::default()).unwrap_err().to_string();
            assert!(error.contains("t10k-images-idx3-ubyte.gz"), "{error}");
        }
    }

    #[test]
    fn a_header_that_promises_too_much_is_refused() {
        let dir = folder(false);
        let refused = || open(&dir.path().to_string_lossy(), &OpenOptions::default()).unwrap_err().to_string();
        write(dir.path(), "train-images-idx3-ubyte", &[0, 0, 8, 3], &[4, 2, 2], &[0; 12], false);
        assert!(refused().contains("ends before"), "{}", refused());
        write(dir.path(), "train-images-idx3-ubyte", &[0, 0, 8, 3], &[u32::MAX, 8192, 8192], &[0; 12], false);
        assert!(refused().contains("4 GiB"), "{}", refused());
        write(dir.path(), "train-images-idx3-ubyte", &[0, 0, 13, 3], &[3, 2, 2], &[0; 12], false);
        assert!(refused().contains("does not begin like"), "{}", refused());
        write(dir.path(), "train-images-idx3-ubyte", &[0, 0, 8, 3], &[2, 2, 2], &[0; 8], false);
        assert!(refused().contains("3 labels for 2 images"), "{}", refused());
    }

    #[test]
    fn the_shared_files_are_the_published_ones() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/mnist");
        if !Path::new(folder).exists() {
            assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").is_err(), "{folder} is required");
            println!("SKIPPED: {folder} is absent");
            return;
        }
        let test = open(&format!("{folder}:split=test"), &OpenOptions::default()).unwrap();
        let count = |label: u32| test.labels.as_ref().unwrap().iter().filter(|&&l| l == label).count();
        assert_eq!(
            (test.len(), test.shape, count(0), count(1), count(9)),
            (10_000, Shape::new(28, 28, 1), 980, 1135, 1009)
        );
        let few = OpenOptions { limit: Some(5), ..OpenOptions::default() };
        assert_eq!(open(folder, &few).unwrap().labels.unwrap(), [5, 0, 4, 1, 9]);
        assert_eq!(open(folder, &OpenOptions::default()).unwrap().len(), 60_000);
    }
}
