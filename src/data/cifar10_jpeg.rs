//! CIFAR-10's test images as JPEGs in a zip: `test/<class>/NNNN.jpg`.
//!
//! Images come class by class in turn (the first of every class, then the second, …), so that the
//! first N are as balanced as N allows. The files have quality 75 and half-resolution colour,
//! which costs a network trained on the originals about ten points.

use super::catalogue::{Catalogue, Item};
use super::cifar10::{CLASSES, SIDE};
use super::image::Image;
use super::images::in_turn;
use super::split::Split;
use super::store::Files;
use super::tree::Tree;
use super::{Ask, DataError, Is, Source, jpeg};
use crate::tensor::Shape;
use std::path::Path;
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "cifar10-jpeg",
    argument: "DIR_OR_ZIP",
    about: "10,000 CIFAR-10 test images as JPEGs of quality 75: cifar10_test_10000_jpg.zip, test/<class>/NNNN.jpg",
    argument_is: Is::Path,
    keys: &[],
    open,
};

const ARCHIVE: &str = "cifar10_test_10000_jpg.zip";
/// The largest of the files has 1.4 kB.
const MAX_MEMBER_BYTES: u64 = 64 << 10;

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let path = Path::new(&ask.argument.path);
    let path = if path.is_dir() { path.join(ARCHIVE) } else { path.into() };
    let tree = Tree::open(&path)?;
    let turns = in_turn(by_class(&tree)?);
    if turns.is_empty() {
        return Err(DataError::File { path, why: "has no test/<class>/*.jpg".into() });
    }
    let items = turns.iter().zip(0..).map(|((label, _), key)| Item { key, label: Some(*label) }).collect();
    let files = Files::of(tree, turns.into_iter().map(|(_, file)| file).collect());
    let store = Arc::new(Files { limit_bytes: MAX_MEMBER_BYTES, decode, ..files });
    let set = Catalogue::of_one(SOURCE.kind, CLASSES.map(String::from).to_vec(), store, Split::Test, items);
    Ok(set.of_shape(Shape::new(SIDE, SIDE, 3)))
}

/// The archive's files by label, each class's in the order of their names.
fn by_class(tree: &Tree) -> Result<Vec<Vec<usize>>, DataError> {
    let mut by_class = vec![vec![]; CLASSES.len()];
    for (file, name) in tree.names().enumerate().filter(|(_, name)| name.ends_with(".jpg")) {
        let class = match name.split('/').collect::<Vec<_>>()[..] {
            ["test", class, _] => CLASSES.iter().position(|&known| known == class),
            _ => None,
        };
        let strange = || tree.error(file, "is not test/<class>/NNNN.jpg of a CIFAR-10 class".into());
        by_class[class.ok_or_else(strange)?].push(file);
    }
    Ok(by_class)
}

fn decode(bytes: &[u8]) -> Result<Image, String> {
    let image = jpeg::decode(bytes)?;
    if (image.width, image.height, image.channels) != (SIDE, SIDE, 3) {
        return Err(format!("is {} x {} x {}, not 32 x 32 x 3", image.width, image.height, image.channels));
    }
    Ok(image)
}
