//! One split of a data set: what is learnt from or measured on, its images not yet read.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item, Samples, Store};
use super::image::Image;
use super::split::Split;
use super::{DataError, Dataset};
use crate::tensor::Shape;
use std::sync::Arc;

/// Images of one split, with what their labels mean and what is done to them on the way.
#[derive(Clone)]
pub struct Subset {
    pub name: String,
    /// Class names by label.
    pub classes: Vec<String>,
    pub samples: Samples,
    pub augmentation: Augmentation,
    /// The shape of every image, where the source knows it before it decodes them.
    pub shape: Option<Shape>,
    /// The numbers that the data set's own files give its classes, by label.
    pub category_ids: Option<Vec<u64>>,
}

impl Subset {
    /// The first `most` images of a split, augmented as is usual for the set.
    pub fn of(set: &Catalogue, split: Split, most: usize) -> Self {
        let mut samples = set[split].clone();
        samples.truncate(most);
        let (name, classes) = (set.name.clone(), set.classes.clone());
        let category_ids = set.category_ids.clone();
        Self { name, classes, samples, augmentation: set.augmentation, shape: set.shape, category_ids }
    }

    /// Decodes all of it, at a size or as it is stored: all images must then have one size.
    pub fn load(&self, size: Option<[usize; 2]>) -> Result<Dataset, DataError> {
        Dataset::load(self, size)
    }

    pub fn len(&self) -> usize {
        self.samples.len()
    }
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Images from all over the set, resized: a sample, so that the next one stands in for one that does
    /// not decode. As many come as are asked for or as there are: who asks for that number again gets
    /// the same ones. It is an error if none decodes.
    pub fn spread(&self, count: usize, [height, width]: [usize; 2]) -> Result<Vec<Image>, DataError> {
        let count = count.min(self.len());
        let sound = |from: usize| -> Result<Image, DataError> {
            let mut tried = (from..self.len()).chain(0..from).map(|at| self.samples.image(at));
            let first = tried.next().expect("the image itself");
            first.or_else(|why| tried.find_map(Result::ok).ok_or(why))
        };
        (0..count).map(|i| Ok(sound(i * self.len() / count)?.resized(height, width))).collect()
    }

    /// Whether every image has a label.
    pub fn is_labelled(&self) -> bool {
        self.samples.items().iter().all(|item| item.label.is_some())
    }
}

/// Images that are held decoded already; nothing random is done to them.
impl From<Dataset> for Subset {
    fn from(set: Dataset) -> Self {
        let label = |at: usize| set.labels.as_ref().map(|labels| labels[at]);
        let items = (0..set.len()).map(|at| Item { key: at as u64, label: label(at) }).collect();
        let store = Arc::new(Held { name: set.name.clone(), images: set.images });
        let samples = Samples::new(store, items);
        Self {
            name: set.name,
            classes: set.classes,
            samples,
            augmentation: Augmentation::PLAIN,
            shape: Some(set.shape),
            category_ids: None,
        }
    }
}

/// The images of a [`Dataset`].
struct Held {
    name: String,
    images: Vec<Image>,
}

impl Store for Held {
    fn read(&self, key: u64) -> Result<Image, DataError> {
        Ok(self.images[key as usize].clone())
    }

    fn fault(&self, key: u64, why: String) -> DataError {
        DataError::Spec { spec: self.name.clone(), why: format!("image {key}: {why}") }
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use crate::data::{OpenOptions, Subset, open, subset};

    #[test]
    fn what_is_decoded_and_what_is_not_are_the_same_images() {
        let options = OpenOptions { limit: Some(7), ..OpenOptions::default() };
        let spec = "synth:shapes:count=20,split=val,size=9";
        let (decoded, not_yet) = (open(spec, &options).unwrap(), subset(spec, &options).unwrap());
        let held = Subset::from(decoded.clone());
        // A fifth of 20.
        assert_eq!((decoded.len(), not_yet.len(), held.len()), (4, 4, 4));
        for set in [&not_yet, &held] {
            assert_eq!((&set.name, &set.classes), (&decoded.name, &decoded.classes));
            assert!(set.is_labelled() && set.samples.labels() == decoded.labels);
            assert!((0..4).all(|i| set.samples.image(i).unwrap() == decoded.images[i]));
        }
        assert_eq!(subset("synth:shapes:count=20", &options).unwrap().len(), 7);
    }

    #[test]
    fn a_sample_passes_over_what_does_not_decode_and_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..6u8 {
            let path = dir.path().join(format!("{i}.png"));
            match i {
                0 | 3 => std::fs::write(path, "none").unwrap(),
                _ => ::image::GrayImage::from_pixel(3, 3, ::image::Luma([i])).save(path).unwrap(),
            }
        }
        let set = subset(&format!("images:{}", dir.path().display()), &OpenOptions::default()).unwrap();
        let firsts = |count: usize| -> Vec<u8> {
            set.spread(count, [2, 2]).unwrap().iter().map(|image| image.pixels[0]).collect()
        };
        assert_eq!((firsts(3), firsts(99)), (vec![1, 2, 4], vec![1, 1, 2, 4, 4, 5]));
        assert_eq!(firsts(6), firsts(99));
        (0..6).for_each(|i| std::fs::write(dir.path().join(format!("{i}.png")), "none").unwrap());
        assert!(set.spread(2, [2, 2]).unwrap_err().to_string().contains("0.png"));
    }
}
