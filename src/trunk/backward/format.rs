//! In what form errors are carried through the trunk, and what their noise and exponents are keyed by.

use crate::graph::EdgeId;
use crate::quant::error_code::{ErrorRounding, GradFormat};
use crate::seed::Noise;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How an integer error loses bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorRule {
    #[default]
    NearestEven,
    /// With noise that is a function of the seed, the step, the place, the image and the element.
    Stochastic {
        seed: u64,
    },
    PseudoStochastic,
}

/// Where the exponent of an integer error comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExponentMode {
    /// From the error itself, image by image: two passes over it.
    #[default]
    Dynamic,
    /// From the largest of the step before, with a bit of headroom; what does not fit saturates.
    Delayed,
}

/// The form of every error in the trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFormat {
    pub format: GradFormat,
    pub rule: ErrorRule,
    pub exponent: ExponentMode,
}

impl ErrorFormat {
    /// A format with the nearest-even rounding and dynamic exponents.
    pub fn of(format: GradFormat) -> Self {
        Self { format, ..Self::default() }
    }
}

/// The place where an error is made: no two errors of a step share their noise or their exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A step's error for its input of that number.
    Input { step: usize, input: usize },
    /// A step's error for its join.
    Join { step: usize },
    /// The sum of the errors that the readers of a map send, the one with reader `ordinal` added.
    Sum { edge: EdgeId, ordinal: usize },
    /// An error that comes from an adapter.
    Entry { edge: EdgeId },
}

impl Origin {
    fn key(self) -> u32 {
        let key = |kind: u32, index: usize, part: usize| kind << 30 | (index as u32) << 6 | part as u32;
        match self {
            Origin::Input { step, input } => key(0, step, input),
            Origin::Join { step } => key(1, step, 0),
            Origin::Sum { edge, ordinal } => key(2, edge.index(), ordinal),
            Origin::Entry { edge } => key(3, edge.index(), 0),
        }
    }
}

/// The exponents that the errors of a training step asked for, by place: the next step's, delayed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exponents(BTreeMap<u32, i32>);

impl Exponents {
    /// The larger of both at every place: in any order the same.
    pub fn merge(&mut self, other: &Exponents) {
        other.0.iter().for_each(|(&key, &exponent)| self.raise(key, exponent));
    }

    /// By the place's key.
    pub fn entries(&self) -> impl Iterator<Item = (u32, i32)> + '_ {
        self.0.iter().map(|(&key, &exponent)| (key, exponent))
    }

    fn raise(&mut self, key: u32, exponent: i32) {
        let held = self.0.entry(key).or_insert(exponent);
        *held = exponent.max(*held);
    }
}

impl FromIterator<(u32, i32)> for Exponents {
    fn from_iter<I: IntoIterator<Item = (u32, i32)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

/// What running a part of the backward pass did besides its errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Mantissas that a delayed exponent was too small for.
    pub saturations: u64,
    /// What delayed exponents of the next step are taken from; empty where they are dynamic.
    pub exponents: Exponents,
}

impl Events {
    pub fn merge(&mut self, other: &Events) {
        self.saturations += other.saturations;
        self.exponents.merge(&other.exponents);
    }
}

/// A batch on its way backward.
#[derive(Clone, Copy, Debug)]
pub struct StepContext<'a> {
    pub format: ErrorFormat,
    /// The training step's number.
    pub step: u32,
    /// The index in the data set of every image of the batch.
    pub images: &'a [u32],
    /// Of the training step before.
    pub delayed: &'a Exponents,
}

impl StepContext<'_> {
    /// How bits are dropped of the errors of image number `image` of the batch.
    pub(super) fn rounding(&self, origin: Origin, image: usize) -> ErrorRounding {
        match self.format.rule {
            ErrorRule::NearestEven => ErrorRounding::NearestEven,
            ErrorRule::PseudoStochastic => ErrorRounding::PseudoStochastic,
            ErrorRule::Stochastic { seed } => {
                ErrorRounding::Stochastic(Noise::new(seed, self.step, origin.key()).of_image(self.images[image]))
            }
        }
    }

    /// The exponent that is fixed before an error is known.
    pub(super) fn fixed(&self, origin: Origin) -> Option<i32> {
        match self.format.exponent {
            ExponentMode::Dynamic => None,
            ExponentMode::Delayed => self.delayed.0.get(&origin.key()).map(|exponent| exponent + 1),
        }
    }

    /// What the images of an error report, together.
    pub(super) fn events(&self, origin: Origin, images: impl Iterator<Item = Settled>) -> Events {
        let mut events = Events::default();
        for image in images {
            events.saturations += image.saturations;
            if let (ExponentMode::Delayed, Some(filling)) = (self.format.exponent, image.filling) {
                events.exponents.raise(origin.key(), filling);
            }
        }
        events
    }
}

/// One image's error, brought into its format.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    pub exponent: i32,
    pub saturations: u64,
    /// The exponent that would have filled the mantissas.
    pub filling: Option<i32>,
}
