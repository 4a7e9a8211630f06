//! Images on their way to the trunk: batches that worker threads decode ahead of it, what could not be
//! decoded, and how long the trunk had to wait.
//!
//! Training takes batches by their number, so that a session goes on where it was. What is measured
//! on comes in its own order, and an image that does not decode goes through as a blank one that
//! counts for nothing: how many images a run has is fixed before it begins.

use crate::data::loader::{Batch, Loader, LoaderSettings, Stream, Waiting};
use crate::data::{Broken, DataError, Subset};
use crate::tensor::{Shape, Tensor};
use serde::Serialize;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How loading went, over a sitting.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Loading {
    /// Wall time of this machine: how long steps took, and how much of that was waiting for images.
    pub waiting: Waiting,
    pub broken: Broken,
    pub broken_validation: Broken,
}

/// As many threads decode as compute.
pub fn workers(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        n => n,
    }
}

/// A loader of what is measured on: in its own order, nothing random.
pub fn in_order(set: &Subset, shape: Shape, batch: usize, threads: usize) -> Result<Loader, DataError> {
    let settings = LoaderSettings {
        batch,
        shuffle: false,
        augmentation: set.augmentation.evaluation(),
        workers: workers(threads),
        ..LoaderSettings::default()
    };
    Loader::new(set.samples.clone(), shape, settings)
}

/// Batches to learn from.
pub struct Feed {
    loader: Loader,
    epochs: u32,
    /// With the number of the batch that it gives next, counted over all epochs.
    stream: Option<(Stream, u64)>,
    /// Images that did not decode, every one counted once.
    seen: HashSet<usize>,
    broken: Broken,
    waited: Duration,
}

impl Feed {
    pub fn new(loader: Loader, epochs: u64) -> Self {
        let epochs = u32::try_from(epochs).unwrap_or(u32::MAX);
        Self { loader, epochs, stream: None, seen: HashSet::new(), broken: Broken::default(), waited: Duration::ZERO }
    }

    pub fn images(&self) -> usize {
        self.loader.samples().len()
    }

    pub fn broken(&self) -> &Broken {
        &self.broken
    }

    /// How long batches were waited for so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Batch `number`, counted over all epochs. Those after it are made meanwhile.
    pub fn batch(&mut self, number: u64) -> Result<Batch, DataError> {
        let asked = Instant::now();
        let mut stream = match self.stream.take() {
            Some((stream, next)) if next == number => stream,
            _ => {
                let per_epoch = self.loader.batches() as u64;
                self.loader.start((number / per_epoch) as u32..self.epochs, (number % per_epoch) as usize)
            }
        };
        let batch = stream.next().expect("no batch after the last epoch is asked for")?;
        self.stream = Some((stream, number + 1));
        self.waited += asked.elapsed();
        for (index, why) in &batch.broken {
            if self.seen.insert(*index) {
                self.broken.add(why);
            }
        }
        if self.seen.len() == self.images() {
            let why = format!("none of its {} images is sound; the first: {}", self.images(), self.broken.first[0]);
            return Err(DataError::Spec { spec: "training images".into(), why });
        }
        Ok(batch)
    }
}

/// All images of a loader once, in order, in whatever pieces they are asked for.
pub struct InOrder {
    images: usize,
    batch: usize,
    shape: Shape,
    state: Mutex<State>,
}

struct State {
    stream: Stream,
    /// The last batch that came, whose images begin at batch × its number.
    held: Option<Batch>,
    blank: Vec<usize>,
    broken: Broken,
}

impl InOrder {
    /// Begins to decode. The loader must not shuffle.
    pub fn start(loader: &Loader) -> Self {
        let state = State { stream: loader.start(0..1, 0), held: None, blank: vec![], broken: Broken::default() };
        let (images, batch) = (loader.samples().len(), loader.settings().batch);
        Self { images, batch, shape: loader.shape(), state: Mutex::new(state) }
    }

    pub fn images(&self) -> usize {
        self.images
    }

    /// Images `from..to`. To be asked for in order, every one once.
    pub fn pixels(&self, from: usize, to: usize) -> Result<Tensor<u8>, DataError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut data = Vec::with_capacity((to - from) * self.shape.elements());
        for image in from..to {
            match state.batch_of(image / self.batch)?.place(image) {
                Some(pixels) => data.extend_from_slice(pixels),
                None => {
                    data.resize(data.len() + self.shape.elements(), 0);
                    state.blank.push(image);
                }
            }
        }
        Ok(Tensor::from_vec(to - from, self.shape, data))
    }

    /// The images that were blank, in order, and why.
    pub fn finish(self) -> (Vec<usize>, Broken) {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (state.blank, state.broken)
    }
}

impl State {
    fn batch_of(&mut self, number: usize) -> Result<&Batch, DataError> {
        if self.held.as_ref().is_none_or(|held| held.step != number) {
            let next = self.stream.next().expect("no image after the last is asked for")?;
            next.broken.iter().for_each(|(_, why)| self.broken.add(why));
            self.held = Some(next);
        }
        Ok(self.held.as_ref().expect("just put there"))
    }
}

impl Batch {
    /// The pixels of image `index`, if it is among those that decoded; these are in order.
    fn place(&self, index: usize) -> Option<&[u8]> {
        self.indices.binary_search(&index).ok().map(|at| self.pixels.image(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, subset};

    /// A folder of ten images of which the third and the last are none.
    fn damaged() -> (tempfile::TempDir, Subset) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        for i in 0..10u8 {
            let path = dir.path().join(format!("a/{i}.png"));
            match i {
                2 | 9 => std::fs::write(path, "no image").unwrap(),
                _ => image::RgbImage::from_pixel(4, 4, image::Rgb([i; 3])).save(path).unwrap(),
            }
        }
        let mut set = subset(&format!("images:{}", dir.path().display()), &OpenOptions::default()).unwrap();
        set.samples.skip_bad = true;
        (dir, set)
    }

    const SHAPE: Shape = Shape::new(4, 4, 3);

    #[test]
    fn any_pieces_give_every_image_in_order_and_blanks_for_broken_ones() {
        let (_dir, set) = damaged();
        for (batch, piece) in [(4, 4), (3, 4), (10, 1), (1, 10)] {
            let images = InOrder::start(&in_order(&set, SHAPE, batch, 2).unwrap());
            let mut firsts = vec![];
            for from in (0..10).step_by(piece) {
                let to = (from + piece).min(10);
                let pixels = images.pixels(from, to).unwrap();
                firsts.extend((0..to - from).map(|at| pixels.image(at)[0]));
            }
            let (blank, broken) = images.finish();
            assert_eq!((firsts, blank), (vec![0, 1, 0, 3, 4, 5, 6, 7, 8, 0], vec![2, 9]), "{batch}, {piece}");
            assert!(broken.count == 2 && broken.first[0].contains("2.png") && broken.first[1].contains("9.png"));
        }
    }

    fn feed(set: &Subset, epochs: u64) -> Feed {
        let settings = LoaderSettings { batch: 3, workers: 2, ..LoaderSettings::default() };
        Feed::new(Loader::new(set.samples.clone(), SHAPE, settings).unwrap(), epochs)
    }

    #[test]
    fn batches_go_on_anywhere_and_a_broken_image_counts_once() {
        let (_dir, set) = damaged();
        let mut through = feed(&set, 3);
        let all: Vec<Batch> = (0..12).map(|number| through.batch(number).unwrap()).collect();
        assert_eq!(through.broken().count, 2);
        assert_eq!(all.iter().map(|b| b.indices.len()).sum::<usize>(), 3 * 8);
        let mut resumed = feed(&set, 3);
        assert!((5..12).all(|number| resumed.batch(number).unwrap() == all[number as usize]));
        assert_eq!(resumed.batch(2).unwrap(), all[2], "and back");
        assert!(through.waited() > Duration::ZERO);
    }

    #[test]
    fn a_broken_image_stops_what_does_not_skip_it_and_nothing_but_broken_ones_anything() {
        let (dir, mut set) = damaged();
        set.samples.skip_bad = false;
        let mut stops = feed(&set, 1);
        let stopped = (0..4).find_map(|number| stops.batch(number).err()).unwrap().to_string();
        assert!(stopped.contains(".png"), "{stopped}");
        set.samples.skip_bad = true;
        (0..10).for_each(|i| std::fs::write(dir.path().join(format!("a/{i}.png")), "none").unwrap());
        let mut nothing = feed(&set, 1);
        let refused = (0..4).find_map(|number| nothing.batch(number).err()).unwrap().to_string();
        assert!(refused.contains("none of its 10 images"), "{refused}");
    }
}
