//! What images there are, in which split, of which class: and how to read one, from any thread.
//!
//! Nothing is decoded until it is asked for, except what a source holds uncompressed anyway.
//! Refused: a label without a class.

use super::DataError;
use super::augment::Augmentation;
use super::image::Image;
use super::split::Split;
use crate::tensor::Shape;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// A data set with its splits.
#[derive(Clone)]
pub struct Catalogue {
    pub name: String,
    /// Class names by label.
    pub classes: Vec<String>,
    /// The shape of every image, where the source knows it before it decodes them.
    pub shape: Option<Shape>,
    /// Mean and deviation of the channels, where they are published.
    pub published: Option<Statistics>,
    /// What is usually done to its images before a network trains on them.
    pub augmentation: Augmentation,
    /// The numbers that the data set's own files give its classes, by label.
    pub category_ids: Option<Vec<u64>>,
    splits: [Samples; 3],
}

/// Mean and deviation by channel, of values in 0 ..= 1.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Statistics {
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

/// Where images come from. `key` is the source's own number of an image.
pub trait Store: Send + Sync {
    /// The image, exactly as stored.
    fn read(&self, key: u64) -> Result<Image, DataError>;

    /// What is wrong with an image, by the name of its file.
    fn fault(&self, key: u64, why: String) -> DataError;

    /// The number under which the data set's own files know the image.
    fn id(&self, key: u64) -> u64 {
        key
    }

    /// Whether images are held as pixels, so that reading one again costs nothing.
    fn is_in_memory(&self) -> bool {
        false
    }
}

/// One image of a split: the source's number of it, and its class where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub key: u64,
    pub label: Option<u32>,
}

/// Some images of a data set, in an order that the source fixes.
#[derive(Clone)]
pub struct Samples {
    store: Arc<dyn Store>,
    items: Vec<Item>,
    /// Go on without images that do not decode, and count them.
    pub skip_bad: bool,
}

/// What happens to images that do not decode.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Broken {
    pub count: usize,
    /// What is wrong with the first of them, by file.
    pub first: Vec<String>,
}

impl Catalogue {
    /// A set whose splits read from one store.
    pub fn new(name: &str, classes: Vec<String>, store: Arc<dyn Store>, items: [Vec<Item>; 3]) -> Self {
        let labels = items.iter().flatten().filter_map(|item| item.label);
        assert!(labels.max().is_none_or(|most| (most as usize) < classes.len()), "a label without a class");
        let splits = items.map(|items| Samples::new(store.clone(), items));
        Self {
            name: name.into(),
            classes,
            shape: None,
            published: None,
            augmentation: Augmentation::PAD_CROP,
            category_ids: None,
            splits,
        }
    }

    /// All images in one split, the others empty.
    pub fn of_one(name: &str, classes: Vec<String>, store: Arc<dyn Store>, split: Split, items: Vec<Item>) -> Self {
        let mut splits = [vec![], vec![], vec![]];
        splits[split as usize] = items;
        Self::new(name, classes, store, splits)
    }

    /// The same, where the source knows that all images have this shape.
    pub fn of_shape(self, shape: Shape) -> Self {
        Self { shape: Some(shape), ..self }
    }

    /// The same, usually augmented so.
    pub fn augmented(self, augmentation: Augmentation) -> Self {
        Self { augmentation, ..self }
    }

    /// The first split that has an image.
    pub fn first_split(&self) -> Split {
        Split::ALL.into_iter().find(|&split| !self[split].is_empty()).unwrap_or(Split::Train)
    }

    pub fn skip_bad(&mut self, skip: bool) {
        self.splits.iter_mut().for_each(|samples| samples.skip_bad = skip);
    }
}

impl Index<Split> for Catalogue {
    type Output = Samples;
    fn index(&self, split: Split) -> &Samples {
        &self.splits[split as usize]
    }
}

impl IndexMut<Split> for Catalogue {
    fn index_mut(&mut self, split: Split) -> &mut Samples {
        &mut self.splits[split as usize]
    }
}

impl Samples {
    pub fn new(store: Arc<dyn Store>, items: Vec<Item>) -> Self {
        Self { store, items, skip_bad: false }
    }
    pub fn len(&self) -> usize {
        self.items.len()
    }
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
    pub fn items(&self) -> &[Item] {
        &self.items
    }
    pub fn items_mut(&mut self) -> &mut Vec<Item> {
        &mut self.items
    }
    pub fn label(&self, index: usize) -> Option<u32> {
        self.items[index].label
    }

    /// The labels of all images, if all have one.
    pub fn labels(&self) -> Option<Vec<u32>> {
        self.items.iter().map(|item| item.label).collect()
    }

    /// The number under which the data set's own files know image `index`.
    pub fn id(&self, index: usize) -> u64 {
        self.store.id(self.items[index].key)
    }

    /// Image `index`, exactly as stored.
    pub fn image(&self, index: usize) -> Result<Image, DataError> {
        self.store.read(self.items[index].key)
    }

    /// Whether reading an image again costs nothing.
    pub fn are_in_memory(&self) -> bool {
        self.store.is_in_memory()
    }

    /// What is wrong with image `index`, by the name of its file.
    pub fn fault(&self, index: usize, why: String) -> DataError {
        self.store.fault(self.items[index].key, why)
    }

    pub fn truncate(&mut self, count: usize) {
        self.items.truncate(count);
    }

    /// The same images in another choice and order.
    pub fn with_items(&self, items: Vec<Item>) -> Self {
        Self { items, ..self.clone() }
    }
}

impl Broken {
    /// More names tell nothing that these do not.
    const NAMED: usize = 20;

    pub fn add(&mut self, why: impl ToString) {
        self.count += 1;
        if self.first.len() < Self::NAMED {
            self.first.push(why.to_string());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Those found elsewhere, after these.
    pub fn join(&mut self, others: &Broken) {
        self.count += others.count;
        let room = Self::NAMED - self.first.len();
        self.first.extend(others.first.iter().take(room).cloned());
    }
}
