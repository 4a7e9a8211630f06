//! Numpy archives of images and labels.
//!
//! Arrays are `x_train`, `y_train` (Keras), `train_images`, `train_labels` (MedMNIST), the same
//! with `val` and `test`, or plain `images`, `labels` (`x`, `y`; `data`, `target`). Images are bytes,
//! N × H × W or N × H × W × 1 or 3; labels are whole numbers, N or N × 1. Refused: anything else,
//! negative labels, arrays of different lengths.

use super::catalogue::{Catalogue, Item};
use super::image::MAX_SIDE;
use super::split::Split;
use super::store::Pixels;
use super::{Ask, DataError, Is, Source};
use crate::model::npz::Npz;
use crate::tensor::Shape;
use std::path::Path;
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "npz",
    argument: "FILE",
    about: "a numpy archive with x_train, y_train, x_test, y_test, or train_images, train_labels, …, or images, labels",
    argument_is: Is::Path,
    keys: &[],
    open,
};

/// No data set has more classes.
const MAX_CLASSES: u32 = 100_000;

/// Names of the arrays of images and of labels, and the split that they are.
fn pairs() -> Vec<(Split, String, String)> {
    let mut pairs = vec![];
    for split in Split::ALL {
        pairs.push((split, format!("x_{split}"), format!("y_{split}")));
        pairs.push((split, format!("{split}_images"), format!("{split}_labels")));
    }
    for (images, labels) in [("images", "labels"), ("x", "y"), ("data", "target")] {
        pairs.push((Split::Train, images.into(), labels.into()));
    }
    pairs
}

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let path = Path::new(&ask.argument.path);
    let refused = |why: String| DataError::File { path: path.into(), why };
    let mut npz = Npz::open(path)?;
    let names = npz.names();
    let has = |name: &String| names.contains(name);
    let (mut bytes, mut items, mut shape) = (vec![], [vec![], vec![], vec![]], None);
    for (split, images, labels) in pairs().into_iter().filter(|(_, images, _)| has(images)) {
        if !items[split as usize].is_empty() {
            return Err(refused(format!("has more than one array of {split} images; one is '{images}'")));
        }
        let (this, pixels) = read_images(&mut npz, path, &images)?;
        if shape.is_some_and(|shape| shape != this) {
            return Err(refused(format!("'{images}' has images of {this}, others are of another size")));
        }
        let count = pixels.len() / this.elements();
        let labels = if has(&labels) { Some(read_labels(&mut npz, path, &labels, count)?) } else { None };
        let first = (bytes.len() / this.elements()) as u64;
        let label = |at: usize| labels.as_ref().map(|labels| labels[at]);
        items[split as usize] = (0..count).map(|at| Item { key: first + at as u64, label: label(at) }).collect();
        bytes.extend(pixels);
        shape = Some(this);
    }
    let none = || refused(format!("has no array of images; it has {}", names.join(", ")));
    let shape = shape.ok_or_else(none)?;
    let most = items.iter().flatten().filter_map(|item| item.label).max();
    let classes = (0..most.map_or(0, |most| most + 1)).map(|label| label.to_string()).collect();
    let store = Arc::new(Pixels { path: path.into(), shape, bytes });
    Ok(Catalogue::new(SOURCE.kind, classes, store, items).of_shape(shape))
}

fn read_images(npz: &mut Npz, path: &Path, name: &str) -> Result<(Shape, Vec<u8>), DataError> {
    let array = npz.read_i8(name)?;
    let shape = match array.shape[..] {
        [_, h, w] => Shape::new(h, w, 1),
        [_, h, w, c @ (1 | 3)] => Shape::new(h, w, c),
        _ => Shape::new(0, 0, 0),
    };
    if !array.was_unsigned || !(1..=MAX_SIDE).contains(&shape.h) || !(1..=MAX_SIDE).contains(&shape.w) {
        let why = format!("'{name}' is {:?}; images are uint8, N x H x W or N x H x W x 1 or 3", array.shape);
        return Err(DataError::File { path: path.into(), why });
    }
    // Codes are held minus 128.
    Ok((shape, array.data.into_iter().map(|code| code as u8 ^ 0x80).collect()))
}

fn read_labels(npz: &mut Npz, path: &Path, name: &str, count: usize) -> Result<Vec<u32>, DataError> {
    let refused = |why: String| DataError::File { path: path.into(), why: format!("'{name}' {why}") };
    let (shape, values): (Vec<usize>, Vec<i64>) = if let Ok(array) = npz.read::<i64>(name) {
        (array.shape, array.data)
    } else if let Ok(array) = npz.read::<i32>(name) {
        (array.shape, array.data.into_iter().map(i64::from).collect())
    } else if let Ok(array) = npz.read::<u32>(name) {
        (array.shape, array.data.into_iter().map(i64::from).collect())
    } else if let Ok(array) = npz.read::<i16>(name) {
        (array.shape, array.data.into_iter().map(i64::from).collect())
    } else {
        let array = npz.read_i8(name)?;
        let value = |code: i8| if array.was_unsigned { i64::from(code) + 128 } else { code.into() };
        (array.shape, array.data.into_iter().map(value).collect())
    };
    if !(shape == [count] || shape == [count, 1]) {
        return Err(refused(format!("is {shape:?}; there are {count} images")));
    }
    let label = |value: i64| u32::try_from(value).ok().filter(|&label| label < MAX_CLASSES);
    let read = |value: i64| label(value).ok_or_else(|| refused(format!("has label {value}; they begin at 0")));
    values.into_iter().map(read).collect()
}
