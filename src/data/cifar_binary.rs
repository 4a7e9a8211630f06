//! CIFAR-10 and CIFAR-100 in their authors' binary form: labels, then a red, a green and a blue plane.
//!
//! A folder holds `data_batch_1.bin` … `data_batch_5.bin` and `test_batch.bin`, or CIFAR-100's
//! `train.bin` and `test.bin`; or one such file is named. Of CIFAR-100's two labels the fine one
//! counts. Refused: files that are no whole number of records, and labels beyond the last class.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item};
use super::cifar10::{CLASSES, SIDE};
use super::read::read;
use super::split::Split;
use super::store::Pixels;
use super::{Ask, DataError, Is, Source};
use crate::tensor::Shape;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "cifar-binary",
    argument: "DIR_OR_FILE",
    about: "CIFAR-10's data_batch_N.bin and test_batch.bin, or CIFAR-100's train.bin and test.bin",
    argument_is: Is::Path,
    keys: &[],
    open,
};

const SHAPE: Shape = Shape::new(SIDE, SIDE, 3);
/// CIFAR-100's file for training has 154 MB.
const MAX_FILE_BYTES: u64 = 1 << 28;
const MAX_NAME_BYTES: u64 = 1 << 16;

/// One of the two forms.
struct Form {
    /// Labels before the planes; the last counts.
    labels: usize,
    classes: usize,
    files: &'static [(Split, &'static str)],
    /// The file of class names.
    names: &'static str,
}

const FORMS: [Form; 2] = [
    Form {
        labels: 1,
        classes: 10,
        files: &[
            (Split::Train, "data_batch_1.bin"),
            (Split::Train, "data_batch_2.bin"),
            (Split::Train, "data_batch_3.bin"),
            (Split::Train, "data_batch_4.bin"),
            (Split::Train, "data_batch_5.bin"),
            (Split::Test, "test_batch.bin"),
        ],
        names: "batches.meta.txt",
    },
    Form {
        labels: 2,
        classes: 100,
        files: &[(Split::Train, "train.bin"), (Split::Test, "test.bin")],
        names: "fine_label_names.txt",
    },
];

/// Whether a folder or a file looks like this.
pub(super) fn is_at(path: &Path) -> bool {
    found(path).is_ok()
}

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let path = Path::new(&ask.argument.path);
    let (form, files) = found(path)?;
    let (mut bytes, mut items) = (vec![], [vec![], vec![], vec![]]);
    for (split, file) in files.into_iter().filter(|(split, _)| ask.only.is_none_or(|only| only == *split)) {
        let items: &mut Vec<Item> = &mut items[split as usize];
        if items.len() < ask.most {
            read_records(form, &file, ask.most - items.len(), &mut bytes, items)?;
        }
    }
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let store = Arc::new(Pixels { path: path.into(), shape: SHAPE, bytes });
    let set = Catalogue::new(SOURCE.kind, names(form, &folder.join(form.names))?, store, items);
    Ok(set.of_shape(SHAPE).augmented(Augmentation::PAD_CROP_FLIP))
}

type Files = Vec<(Split, PathBuf)>;

/// Which form is there, and its files.
fn found(path: &Path) -> Result<(&'static Form, Files), DataError> {
    let refused = |why: &str| DataError::File { path: path.into(), why: why.into() };
    if path.is_dir() {
        for form in &FORMS {
            let there = form.files.iter().map(|(split, name)| (*split, path.join(name)));
            let there: Files = there.filter(|(_, file)| file.is_file()).collect();
            if !there.is_empty() {
                return Ok((form, there));
            }
        }
        return Err(refused("holds neither data_batch_1.bin … test_batch.bin nor train.bin, test.bin"));
    }
    let length = std::fs::metadata(path).map_err(|source| DataError::Io { path: path.into(), source })?.len();
    let fits = |form: &&Form| length > 0 && length.is_multiple_of((form.labels + SHAPE.elements()) as u64);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let form = FORMS.iter().find(fits).filter(|_| name.ends_with(".bin"));
    let form = form.ok_or_else(|| refused("is no .bin file of whole records of 3,073 or 3,074 bytes"))?;
    let split = if name.starts_with("test") { Split::Test } else { Split::Train };
    Ok((form, vec![(split, path.into())]))
}

/// Adds the first `most` images of a file.
fn read_records(
    form: &Form,
    path: &Path,
    most: usize,
    bytes: &mut Vec<u8>,
    items: &mut Vec<Item>,
) -> Result<(), DataError> {
    let refused = |why: String| DataError::File { path: path.into(), why };
    let record = form.labels + SHAPE.elements();
    let file = read(path, MAX_FILE_BYTES)?;
    if file.is_empty() || !file.len().is_multiple_of(record) {
        return Err(refused(format!("has {} bytes, which are no whole number of {record}", file.len())));
    }
    for (at, record) in file.chunks_exact(record).take(most).enumerate() {
        let (labels, planes) = record.split_at(form.labels);
        let label = labels[form.labels - 1];
        if usize::from(label) >= form.classes {
            return Err(refused(format!("image {at} has label {label}; there are {} classes", form.classes)));
        }
        items.push(Item { key: (bytes.len() / SHAPE.elements()) as u64, label: Some(label.into()) });
        let pixels = SHAPE.pixels();
        bytes.extend((0..pixels).flat_map(|i| [planes[i], planes[pixels + i], planes[2 * pixels + i]]));
    }
    Ok(())
}

/// The class names beside the files; CIFAR-10's are known, CIFAR-100's are numbers without the file.
fn names(form: &Form, path: &Path) -> Result<Vec<String>, DataError> {
    if !path.is_file() {
        return Ok(match form.classes {
            10 => CLASSES.map(String::from).to_vec(),
            n => (0..n).map(|label| label.to_string()).collect(),
        });
    }
    let text = read(path, MAX_NAME_BYTES)?;
    let text = String::from_utf8_lossy(&text);
    let names: Vec<String> = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect();
    if names.len() != form.classes {
        let why = format!("has {} names; there are {} classes", names.len(), form.classes);
        return Err(DataError::File { path: path.into(), why });
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, catalogue};

    fn record(labels: &[u8], first: u8) -> Vec<u8> {
        let planes = (0..3072u32).map(|i| first.wrapping_add((i / 1024) as u8));
        labels.iter().copied().chain(planes).collect()
    }

    #[test]
    fn both_forms_are_told_apart_and_planes_become_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        write("data_batch_1.bin", &[record(&[3], 10), record(&[9], 20)].concat());
        write("test_batch.bin", &record(&[0], 30));
        let spec = format!("cifar-binary:{}", folder.path().display());
        let set = catalogue(&spec, &OpenOptions::default()).unwrap();
        assert_eq!((set[Split::Train].labels(), set[Split::Test].labels()), (Some(vec![3, 9]), Some(vec![0])));
        assert_eq!(set[Split::Train].image(1).unwrap().pixels[..6], [20, 21, 22, 20, 21, 22]);
        assert_eq!(set.classes[9], "truck");
        std::fs::remove_file(folder.path().join("data_batch_1.bin")).unwrap();
        std::fs::remove_file(folder.path().join("test_batch.bin")).unwrap();
        write("train.bin", &record(&[1, 99], 10));
        let set = catalogue(&spec, &OpenOptions::default()).unwrap();
        assert_eq!((set[Split::Train].labels(), set.classes.len()), (Some(vec![99]), 100));
        write("train.bin", &record(&[1, 100], 10));
        assert!(catalogue(&spec, &OpenOptions::default()).err().unwrap().to_string().contains("label 100"));
        write("train.bin", &record(&[1, 99], 10)[1..]);
        assert!(catalogue(&spec, &OpenOptions::default()).err().unwrap().to_string().contains("no whole number"));
    }
}
