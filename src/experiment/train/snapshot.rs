//! The plain data of a checkpoint: everything that makes a resumed training the one that was never
//! stopped, and nothing that tells them apart.

pub use super::arrays::Array;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the optimiser remembers of a parameter: its name, and an array for each moment.
pub type Moments = (String, Vec<Vec<f32>>);

/// What a learner holds between two steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Every trained parameter and every running statistic, in graph order.
    pub values: Vec<Array>,
    pub moments: Vec<Moments>,
    /// Of delayed error scaling, by map.
    pub exponents: BTreeMap<String, i32>,
}

/// A training between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub held: Held,
    pub progress: Progress,
}

/// How far a training is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    pub seed: u64,
    /// Of the training set; another number would be another order.
    pub images: u64,
    /// Steps done, over all epochs.
    pub step: u64,
    /// Epochs done.
    pub epoch: u64,
    /// Batches done of the epoch after those.
    pub batches_done: u64,
    /// Rows that the metrics have.
    pub rows: u64,
    /// Over the batches done of the current epoch.
    pub sums: Sums,
    /// Of the last epoch that was finished.
    pub latest: Option<EpochMetrics>,
    pub best: Option<Best>,
}

/// Sums over the images of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    #[serde(with = "exact")]
    pub loss: f64,
    pub hits: u64,
    pub images: u64,
    pub saturations: u64,
}

impl Sums {
    pub fn mean_loss(&self) -> f64 {
        self.loss / self.images.max(1) as f64
    }
    pub fn accuracy(&self) -> f64 {
        self.hits as f64 / self.images.max(1) as f64
    }
}

/// The epoch that did best: on the validation set, or on the training set where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Counted from 1.
    pub epoch: u64,
    /// Fraction of images with the right class.
    #[serde(with = "exact")]
    pub metric: f64,
}

/// What an epoch came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochMetrics {
    /// Counted from 1.
    pub epoch: u64,
    /// Means over the epoch's images, each before the step that it was part of.
    #[serde(with = "exact")]
    pub train_loss: f64,
    #[serde(with = "exact")]
    pub train_accuracy: f64,
    pub validation: Option<Evaluation>,
}

/// What a validation set came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// Mean over the images.
    #[serde(with = "exact")]
    pub loss: f64,
    /// Fraction of images with the right class.
    #[serde(with = "exact")]
    pub accuracy: f64,
    pub images: u64,
}

/// An f64 as text: Rust reads back what it wrote to the bit, and JSON numbers promise no such thing.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&value.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom("not a number written as text"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_back_to_the_bit() {
        for loss in [0.1 + 0.2, f64::MIN_POSITIVE / 8.0, 1.0 / 3.0, -0.0, 1e300, f64::INFINITY] {
            let sums = Sums { loss, ..Sums::default() };
            let text = serde_json::to_string(&sums).unwrap();
            let back: Sums = serde_json::from_str(&text).unwrap();
            assert_eq!(back.loss.to_bits(), loss.to_bits(), "{text}");
        }
    }
}
