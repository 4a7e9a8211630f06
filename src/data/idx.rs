//! idx files, plain or gzip: the format of MNIST and its relatives.
//!
//! A folder holds `train-images-idx3-ubyte[.gz]`, `train-labels-idx1-ubyte[.gz]` and the same with
//! `t10k-`; or the file of images is named itself, and its labels lie beside it. Refused: values
//! that are not bytes, images that are not grey, and a header that promises more than the file has.

use super::catalogue::{Catalogue, Item};
use super::dataset::fits_in_memory;
use super::image::MAX_SIDE;
use super::split::Split;
use super::store::Pixels;
use super::{Ask, DataError, Is, Source};
use crate::door::open_file;
use crate::tensor::Shape;
use flate2::read::MultiGzDecoder;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "idx",
    argument: "DIR_OR_IMAGES",
    about: "MNIST's format, plain or .gz: train-images-idx3-ubyte beside train-labels-idx1-ubyte, t10k-… for the test split",
    argument_is: Is::Path,
    keys: &[],
    open,
};

/// What the names of the two splits begin with.
const SPLITS: [(Split, &str); 2] = [(Split::Train, "train"), (Split::Test, "t10k")];

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let path = Path::new(&ask.argument.path);
    let (mut bytes, mut items, mut shape) = (vec![], [vec![], vec![], vec![]], None);
    for (split, path) in files(path, ask)? {
        let (pixels, this) = read_images(&path, ask.most)?;
        if shape.is_some_and(|shape| shape != this) {
            return Err(DataError::File { path, why: format!("has images of {this}, the other split has not") });
        }
        let first = bytes.len() / this.elements();
        let images = pixels.len() / this.elements();
        bytes.extend(pixels);
        let labels = read_labels(&labels_path(&path)?, images, ask.most == usize::MAX)?;
        items[split as usize] = (first as u64..).zip(labels).map(|(key, l)| Item { key, label: Some(l) }).collect();
        shape = Some(this);
    }
    let shape = shape.expect("a split has a file");
    let most = items.iter().flatten().filter_map(|item| item.label).max();
    let classes = most.map_or(0, |most| most + 1).max(10);
    let classes = (0..classes).map(|label| label.to_string()).collect();
    let store = Arc::new(Pixels { path: path.into(), shape, bytes });
    Ok(Catalogue::new(SOURCE.kind, classes, store, items).of_shape(shape))
}

/// The files of images that an argument names, at least one.
fn files(path: &Path, ask: &Ask) -> Result<Vec<(Split, PathBuf)>, DataError> {
    if !path.is_dir() {
        let is_test = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("t10k"));
        let own = if is_test { Split::Test } else { Split::Train };
        return Ok(vec![(ask.only.unwrap_or(own), path.into())]);
    }
    if ask.only == Some(Split::Val) {
        return Err(ask.argument.refused("there is no split 'val'; there are train and test".into()));
    }
    let find = |prefix: &str| plain_or_gz(path, &format!("{prefix}-images-idx3-ubyte"));
    let wanted = SPLITS.iter().filter(|(split, _)| ask.only.is_none_or(|only| only == *split));
    let found: Vec<_> = wanted.map(|(split, prefix)| find(prefix).map(|path| (*split, path))).collect();
    match found.iter().any(Result::is_ok) {
        true => Ok(found.into_iter().flatten().collect()),
        false => found.into_iter().collect(),
    }
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

/// The pixels of the first images, one after another, and the shape of each.
fn read_images(path: &Path, limit: usize) -> Result<(Vec<u8>, Shape), DataError> {
    let mut idx = Idx::open(path, 3)?;
    let (count, height, width) = (idx.dims[0].min(limit), idx.dims[1], idx.dims[2]);
    let sides = 1..=MAX_SIDE;
    if count == 0 || !sides.contains(&height) || !sides.contains(&width) {
        return Err(idx.refused(format!("has {count} images of {height} x {width}; sides are 1 to {MAX_SIDE}")));
    }
    fits_in_memory(count, height, width, 1).map_err(|why| idx.refused(why))?;
    Ok((idx.bytes(count * height * width)?, Shape::new(height, width, 1)))
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
    use crate::data::OpenOptions;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn open(argument: &str, options: &OpenOptions) -> Result<crate::data::Dataset, DataError> {
        crate::data::open(&format!("idx:{argument}"), options)
    }

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
