//! Images that are held decoded, all of one shape.

use super::catalogue::{Broken, Samples};
use super::image::Image;
use super::{DataError, Subset};
use crate::tensor::Shape;
use rayon::prelude::*;

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
    /// Those that were passed over, if the spec has `bad=skip`.
    pub broken: Broken,
}

/// Images that are decoded together. Without a size asked for, every one of them may be as large as
/// an image can be.
const CHUNK: usize = 512;
const CHUNK_ANY_SIZE: usize = 16;

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

    /// Decodes a split, at a size or as it is stored. Reports the first fault in order.
    pub(super) fn load(set: &Subset, size: Option<[usize; 2]>) -> Result<Self, DataError> {
        let mut loading = Loading { samples: &set.samples, size, images: vec![], labels: vec![] };
        let mut broken = Broken::default();
        let most = set.len();
        if let Some(shape) = set.shape {
            let [h, w] = size.unwrap_or([shape.h, shape.w]);
            let refused = |why| DataError::Spec { spec: set.name.clone(), why };
            fits_in_memory(most, h, w, shape.c).map_err(refused)?;
        }
        let mut at = 0;
        while at < most {
            let end = most.min(at + if size.is_some() { CHUNK } else { CHUNK_ANY_SIZE });
            loading.chunk(at, end, most, &mut broken)?;
            at = end;
        }
        let Loading { mut images, labels, .. } = loading;
        let channels = images.iter().map(|i| i.channels).max();
        let Some(channels) = channels else {
            let why = format!("none of its {} images is sound; the first: {}", broken.count, broken.first[0]);
            return Err(DataError::Spec { spec: set.name.clone(), why });
        };
        images.iter_mut().filter(|i| i.channels < channels).for_each(|i| *i = i.to_rgb());
        let shape = Shape::new(images[0].height, images[0].width, channels);
        let labels = labels.into_iter().collect();
        Ok(Self { name: set.name.clone(), classes: set.classes.clone(), images, labels, shape, broken })
    }
}

struct Loading<'a> {
    samples: &'a Samples,
    size: Option<[usize; 2]>,
    images: Vec<Image>,
    labels: Vec<Option<u32>>,
}

impl Loading<'_> {
    /// Decodes images `from..to` of `most`, in parallel.
    fn chunk(&mut self, from: usize, to: usize, most: usize, broken: &mut Broken) -> Result<(), DataError> {
        let decode = |index: usize| -> Result<Image, DataError> {
            let image = self.samples.image(index)?;
            Ok(match self.size {
                Some([h, w]) => image.resized(h, w),
                None => image,
            })
        };
        let decoded: Vec<_> = (from..to).into_par_iter().map(decode).collect();
        for (index, image) in (from..to).zip(decoded) {
            match image {
                Ok(image) => self.take(index, image, most)?,
                Err(why) if self.samples.skip_bad => broken.add(&why),
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    fn take(&mut self, index: usize, image: Image, most: usize) -> Result<(), DataError> {
        match self.images.first() {
            Some(first) if (first.height, first.width) != (image.height, image.width) => {
                let [a, b] = [first, &image].map(|i| format!("{} x {}", i.height, i.width));
                let why = format!("is {b}, others are {a}; ask for a size to bring all to it");
                return Err(self.samples.fault(index, why));
            }
            Some(_) => {}
            None => fits_in_memory(most, image.height, image.width, 3).map_err(|why| self.samples.fault(index, why))?,
        }
        self.images.push(image);
        self.labels.push(self.samples.label(index));
        Ok(())
    }
}

/// All images of a set are held at once.
pub(super) fn fits_in_memory(count: usize, height: usize, width: usize, channels: usize) -> Result<(), String> {
    const MAX_SET_BYTES: u64 = 4 << 30;
    let bytes = [count, height, width, channels].iter().fold(1u64, |n, &factor| n.saturating_mul(factor as u64));
    if bytes <= MAX_SET_BYTES {
        return Ok(());
    }
    Err(format!("{count} images of {height} x {width} take more than 4 GiB; lower the count or the size"))
}
