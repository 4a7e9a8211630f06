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

    /// Images from all over the set, resized: a sample, so that one that does not decode is left out. It is
    /// an error only if none does.
    pub fn spread(&self, count: usize, [height, width]: [usize; 2]) -> Result<Vec<Image>, DataError> {
        let count = count.min(self.len());
        let mut chosen = (0..count).map(|i| self.samples.image(i * self.len() / count)).peekable();
        let fault = chosen.next_if(Result::is_err).and_then(Result::err);
        let images: Vec<Image> = chosen.flatten().map(|image| image.resized(height, width)).collect();
        fault.filter(|_| images.is_empty()).map_or(Ok(images), Err)
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
}
