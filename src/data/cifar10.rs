//! CIFAR-10 without loss: sprite sheets of 1,000 images, and a file of labels.
//!
//! `cifar10_train_batch_0.png` to `_3.png` are 1024 × 1000 pixels; row *i* is image *i*, its
//! 32 × 32 pixels one after another. These are *training* images: accuracies on them flatter.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item};
use super::image::Image;
use super::read::read;
use super::split::Split;
use super::store::Pixels;
use super::{Ask, DataError, Is, Source};
use crate::tensor::Shape;
use ::image::ImageFormat;
use std::path::Path;
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "cifar10",
    argument: "DIR",
    about: "4,000 lossless CIFAR-10 training images: cifar10_train_batch_{0..3}.png and cifar10_train_batch_labels.txt",
    argument_is: Is::Path,
    keys: &[],
    open,
};

/// CIFAR-10's classes by label.
pub(super) const CLASSES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

pub(super) const SIDE: usize = 32;
const SHAPE: Shape = Shape::new(SIDE, SIDE, 3);
const SHEETS: usize = 4;
const PER_SHEET: usize = 1000;
const LABELS: &str = "cifar10_train_batch_labels.txt";
/// A sheet that deflate could not shrink at all has 3 MB.
const MAX_SHEET_BYTES: u64 = 8 << 20;
const MAX_LABEL_BYTES: u64 = 1 << 16;

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let dir = Path::new(&ask.argument.path);
    let mut labels = read_labels(&dir.join(LABELS))?;
    labels.truncate(ask.most);
    let mut bytes = Vec::new();
    for sheet in 0..labels.len().div_ceil(PER_SHEET) {
        bytes.extend(read_sheet(&dir.join(format!("cifar10_train_batch_{sheet}.png")))?);
    }
    let items = labels.into_iter().zip(0..).map(|(label, key)| Item { key, label: Some(label) }).collect();
    let store = Arc::new(Pixels { path: dir.into(), shape: SHAPE, bytes });
    let classes = CLASSES.map(String::from).to_vec();
    Ok(Catalogue::of_one(SOURCE.kind, classes, store, Split::Train, items)
        .of_shape(SHAPE)
        .augmented(Augmentation::PAD_CROP_FLIP))
}

/// The pixels of a sheet's images, one after another.
fn read_sheet(path: &Path) -> Result<Vec<u8>, DataError> {
    let refused = |why: String| DataError::File { path: path.into(), why };
    let sheet = Image::decode(&read(path, MAX_SHEET_BYTES)?, ImageFormat::Png).map_err(refused)?;
    if (sheet.width, sheet.height, sheet.channels) != (SHAPE.pixels(), PER_SHEET, SHAPE.c) {
        let why = format!("is {} x {} x {}, a sheet is 1024 x 1000 x 3", sheet.width, sheet.height, sheet.channels);
        return Err(refused(why));
    }
    Ok(sheet.pixels)
}

/// One label per line, as many as the sheets have images.
fn read_labels(path: &Path) -> Result<Vec<u32>, DataError> {
    let refused = |why: String| DataError::File { path: path.into(), why };
    let bytes = read(path, MAX_LABEL_BYTES)?;
    let text = str::from_utf8(&bytes).map_err(|_| refused("is not text".into()))?;
    let mut labels = vec![];
    for (line, label) in text.lines().enumerate() {
        let label = label.trim().parse().ok().filter(|&l: &u32| (l as usize) < CLASSES.len());
        labels.push(label.ok_or_else(|| refused(format!("line {} is not a label from 0 to 9", line + 1)))?);
    }
    if labels.len() != SHEETS * PER_SHEET {
        return Err(refused(format!("has {} labels, {SHEETS} sheets have {}", labels.len(), SHEETS * PER_SHEET)));
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, open};
    use sha2::{Digest, Sha256};

    /// The pixels as Pillow reads the sheets, and the classes as they are spread.
    #[test]
    fn the_shared_sheets_come_back_exactly() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/cifar10");
        if !Path::new(folder).exists() {
            assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").is_err(), "{folder} is required");
            println!("SKIPPED: {folder} is absent");
            return;
        }
        let set = open(&format!("cifar10:{folder}"), &OpenOptions::default()).unwrap();
        let mut sha = Sha256::new();
        set.images.iter().for_each(|image| sha.update(&image.pixels));
        let digest: String = sha.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!((set.len(), digest.as_str()), (4000, "bac45b45504ed128"));
        let labels = set.labels.unwrap();
        let per_class: Vec<usize> = (0..10).map(|class| labels.iter().filter(|&&l| l == class).count()).collect();
        assert_eq!(per_class, [396, 366, 420, 384, 422, 393, 414, 385, 407, 413]);
        let few =
            open(&format!("cifar10:{folder}"), &OpenOptions { limit: Some(1001), ..OpenOptions::default() }).unwrap();
        assert_eq!((few.len(), &few.images[1000]), (1001, &set.images[1000]));
    }

    #[test]
    fn a_sheet_of_another_size_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(LABELS), "3\n".repeat(4000)).unwrap();
        let sheet = folder.path().join("cifar10_train_batch_0.png");
        ::image::RgbImage::new(1024, 10).save(&sheet).unwrap();
        let error =
            open(&format!("cifar10:{}", folder.path().display()), &OpenOptions::default()).unwrap_err().to_string();
        assert!(error.contains("batch_0.png: is 1024 x 10 x 3"), "{error}");
    }
}
