//! What is in a data set: counts, sizes, mean and deviation of the channels.
//!
//! Sums are integers over all images, so that neither order nor threads show.

use super::DataError;
use super::catalogue::{Broken, Catalogue, Samples, Statistics};
use super::image::Image;
use super::split::Split;
use rayon::prelude::*;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub name: String,
    pub classes: Vec<String>,
    pub splits: Vec<SplitSummary>,
    /// Of the first split that has images, over every pixel.
    pub statistics: Option<Statistics>,
    /// Those that are published for the data set.
    pub published: Option<Statistics>,
    pub broken: Broken,
}

#[derive(Clone, Debug, Serialize)]
pub struct SplitSummary {
    pub split: Split,
    pub images: usize,
    /// Images without a label.
    pub unlabelled: usize,
    /// Images by class.
    pub per_class: Vec<usize>,
    /// Smallest and largest height and width, over images that decode.
    pub height: Option<[usize; 2]>,
    pub width: Option<[usize; 2]>,
    /// Images that are grey.
    pub grey: usize,
}

/// Images decoded together, each by a thread.
const CHUNK: usize = 64;

/// Looks at every image of a data set.
pub fn summary(set: &Catalogue) -> Result<Summary, DataError> {
    let (mut splits, mut statistics, mut broken) = (vec![], None, Broken::default());
    for split in Split::ALL.into_iter().filter(|&split| !set[split].is_empty()) {
        let (summary, sums) = of_split(set, split, &mut broken)?;
        splits.push(summary);
        statistics = statistics.or(sums.statistics());
    }
    Ok(Summary {
        name: set.name.clone(),
        classes: set.classes.clone(),
        splits,
        statistics,
        published: set.published,
        broken,
    })
}

fn of_split(set: &Catalogue, split: Split, broken: &mut Broken) -> Result<(SplitSummary, Sums), DataError> {
    let samples = &set[split];
    let mut per_class = vec![0; set.classes.len()];
    samples.items().iter().filter_map(|item| item.label).for_each(|label| per_class[label as usize] += 1);
    let unlabelled = samples.items().iter().filter(|item| item.label.is_none()).count();
    let images = samples.len();
    let mut summary = SplitSummary { split, images, unlabelled, per_class, height: None, width: None, grey: 0 };
    let mut all = Sums::default();
    for from in (0..images).step_by(CHUNK) {
        let looked: Vec<_> = (from..images.min(from + CHUNK)).into_par_iter().map(|i| look(samples, i)).collect();
        for look in looked {
            match look {
                Ok((shape, sums)) => {
                    summary.see(shape);
                    all.add(&sums);
                }
                Err(why) if samples.skip_bad => broken.add(&why),
                Err(why) => return Err(why),
            }
        }
    }
    Ok((summary, all))
}

fn look(samples: &Samples, index: usize) -> Result<([usize; 3], Sums), DataError> {
    let image = samples.image(index)?;
    Ok(([image.height, image.width, image.channels], Sums::of(&image)))
}

impl SplitSummary {
    fn see(&mut self, [height, width, channels]: [usize; 3]) {
        let widen = |range: Option<[usize; 2]>, n: usize| Some(range.map_or([n, n], |[a, b]| [a.min(n), b.max(n)]));
        self.height = widen(self.height, height);
        self.width = widen(self.width, width);
        self.grey += usize::from(channels == 1);
    }
}

/// Sums of values and of their squares by channel; a grey value counts for all three.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    pixels: u64,
    sum: [u64; 3],
    squares: [u64; 3],
}

impl Sums {
    fn of(image: &Image) -> Self {
        let mut sums = Self { pixels: (image.width * image.height) as u64, ..Self::default() };
        for pixel in image.pixels.chunks_exact(image.channels) {
            for c in 0..3 {
                let value = u64::from(pixel[c.min(image.channels - 1)]);
                sums.sum[c] += value;
                sums.squares[c] += value * value;
            }
        }
        sums
    }

    fn add(&mut self, other: &Self) {
        self.pixels += other.pixels;
        for c in 0..3 {
            self.sum[c] += other.sum[c];
            self.squares[c] += other.squares[c];
        }
    }

    fn statistics(&self) -> Option<Statistics> {
        let n = self.pixels as f64;
        let mean = self.sum.map(|sum| sum as f64 / n);
        let deviation = |c: usize| (self.squares[c] as f64 / n - mean[c] * mean[c]).max(0.0).sqrt();
        let std = [0, 1, 2].map(|c| (deviation(c) / 255.0) as f32);
        (self.pixels > 0).then(|| Statistics { mean: mean.map(|m| (m / 255.0) as f32), std })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, catalogue};

    #[test]
    fn counts_and_moments_are_those_of_the_images() {
        let set = catalogue("synth:shapes:count=23,size=6x9", &OpenOptions::default()).unwrap();
        let summary = summary(&set).unwrap();
        let counts: Vec<_> = summary.splits.iter().map(|s| (s.split, s.images)).collect();
        assert_eq!(counts, [(Split::Train, 23), (Split::Val, 5), (Split::Test, 5)]);
        let train = &summary.splits[0];
        assert_eq!((train.per_class[2], train.per_class[3], train.unlabelled), (3, 2, 0));
        assert_eq!((train.height, train.width, train.grey), (Some([6, 6]), Some([9, 9]), 0));
        let values: Vec<f64> =
            (0..23).flat_map(|i| set[Split::Train].image(i).unwrap().pixels).map(f64::from).collect();
        let green: Vec<f64> = values.iter().skip(1).step_by(3).map(|v| v / 255.0).collect();
        let mean = green.iter().sum::<f64>() / green.len() as f64;
        let variance = green.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / green.len() as f64;
        let found = summary.statistics.unwrap();
        assert!(
            (f64::from(found.mean[1]) - mean).abs() < 1e-6 && (f64::from(found.std[1]) - variance.sqrt()).abs() < 1e-6
        );
    }

    #[test]
    fn grey_counts_for_all_channels() {
        let sums = Sums::of(&Image { width: 2, height: 1, channels: 1, pixels: vec![0, 255] });
        assert_eq!(sums.statistics(), Some(Statistics { mean: [0.5; 3], std: [0.5; 3] }));
        assert_eq!(Sums::default().statistics(), None);
    }
}
