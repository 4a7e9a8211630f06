//! What both sides of the bus know of a training step beside the images.

use crate::trunk::backward::{ErrorFormat, Exponents, StepContext};

/// A training step.
#[derive(Clone, Copy)]
pub struct Lesson<'a> {
    /// The class of every image.
    pub labels: &'a [u32],
    /// The index in the data set of every image.
    pub images: &'a [u32],
    /// Number of the step, the first being 1.
    pub step: u32,
    pub format: ErrorFormat,
    /// Exponents that the step before asked for.
    pub delayed: &'a Exponents,
}

impl<'a> Lesson<'a> {
    /// The part that `count` images from `first` on play in it.
    pub fn context(&self, first: usize, count: usize) -> StepContext<'a> {
        let images = &self.images[first..first + count];
        StepContext { format: self.format, step: self.step, images, delayed: self.delayed }
    }
}
