//! Batches at the trunk's input shape, prepared by worker threads ahead of whoever takes them.
//!
//! The order of an epoch is a function of (seed, epoch) ([`super::order`]), what is drawn for an image one of (seed,
//! epoch, image): the number of workers never shows. Memory is bounded: no more than `ahead`
//! batches exist beside the one that was taken. Refused: inputs that are neither grey nor RGB, and
//! images that do not decode, unless the set says to skip them.

use super::augment::Augmentation;
use super::catalogue::Samples;
use super::image::Image;
use super::kept::Kept;
use super::{DataError, image, order};
use crate::seed::{Noise, named};
use crate::tensor::{Shape, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How images become batches.
#[derive(Clone, Debug)]
pub struct LoaderSettings {
    pub batch: usize,
    /// Another order in every epoch; otherwise the samples' own.
    pub shuffle: bool,
    pub augmentation: Augmentation,
    pub seed: u64,
    /// Leave out a last batch that is not full.
    pub drop_last: bool,
    /// Threads that decode; changes speed, never a batch.
    pub workers: usize,
    /// Batches that are held ready; changes speed and memory, never a batch.
    pub ahead: usize,
}

impl Default for LoaderSettings {
    fn default() -> Self {
        Self {
            batch: 32,
            shuffle: true,
            augmentation: Augmentation::PLAIN,
            seed: 0,
            drop_last: false,
            workers: 1,
            ahead: 4,
        }
    }
}

/// Images of one split as batches of one shape.
#[derive(Clone)]
pub struct Loader {
    samples: Arc<Samples>,
    shape: Shape,
    settings: LoaderSettings,
    draws: Noise,
    kept: Arc<Kept>,
}

/// What goes into the trunk at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub epoch: u32,
    /// The batch's number in its epoch.
    pub step: usize,
    pub pixels: Tensor<u8>,
    /// Empty if the images have none.
    pub labels: Vec<u32>,
    /// Which images of the split these are.
    pub indices: Vec<usize>,
    /// Those that should be here and do not decode, and what is wrong with them.
    pub broken: Vec<(usize, String)>,
}

impl Loader {
    pub fn new(samples: Samples, shape: Shape, settings: LoaderSettings) -> Result<Self, DataError> {
        let refused = |why: String| Err(DataError::Spec { spec: "batches".into(), why });
        if ![1, 3].contains(&shape.c) || [shape.h, shape.w].iter().any(|n| !(1..=image::MAX_SIDE).contains(n)) {
            return refused(format!(
                "an input of {shape}: images come as 1 or 3 channels, sides of 1 to {}",
                image::MAX_SIDE
            ));
        }
        let least = if settings.drop_last { settings.batch } else { 1 };
        if settings.batch == 0 || samples.len() < least {
            return refused(format!(
                "{} images in batches of {}: there is nothing to load",
                samples.len(),
                settings.batch
            ));
        }
        let draws = named(settings.seed, "augmentation");
        Ok(Self { samples: Arc::new(samples), shape, settings, draws, kept: Arc::default() })
    }

    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub fn settings(&self) -> &LoaderSettings {
        &self.settings
    }

    /// Batches of one epoch.
    pub fn batches(&self) -> usize {
        let (images, batch) = (self.samples.len(), self.settings.batch);
        if self.settings.drop_last { images / batch } else { images.div_ceil(batch) }
    }

    /// The images of an epoch in its order.
    pub fn order(&self, epoch: u32) -> Vec<usize> {
        let images = self.samples.len();
        match self.settings.shuffle {
            true => order::of_epoch(self.settings.seed, epoch.into(), images),
            false => (0..images).collect(),
        }
    }

    /// Makes one batch, here and now.
    pub fn batch(&self, epoch: u32, step: usize) -> Result<Batch, DataError> {
        self.make(&self.order(epoch), epoch, step)
    }

    fn make(&self, order: &[usize], epoch: u32, step: usize) -> Result<Batch, DataError> {
        let from = step * self.settings.batch;
        let indices = &order[from.min(order.len())..order.len().min(from + self.settings.batch)];
        let mut made = Batch {
            epoch,
            step,
            pixels: Tensor {
                batch: 0,
                shape: self.shape,
                data: Vec::with_capacity(indices.len() * self.shape.elements()),
            },
            labels: vec![],
            indices: vec![],
            broken: vec![],
        };
        for &index in indices {
            match self.pixels(index, epoch) {
                Ok(pixels) => {
                    made.pixels.data.extend(pixels);
                    made.pixels.batch += 1;
                    made.indices.push(index);
                    made.labels.extend(self.samples.label(index));
                }
                Err(why) if self.samples.skip_bad => made.broken.push((index, why.to_string())),
                Err(why) => return Err(why),
            }
        }
        Ok(made)
    }

    fn pixels(&self, index: usize, epoch: u32) -> Result<Vec<u8>, DataError> {
        let image = match self.kept.get(index) {
            Some(image) => image,
            None => self.resized(index)?,
        };
        let key = self.samples.items()[index].key;
        let pixels = self.settings.augmentation.cut(&image, self.shape, self.draws.in_step(epoch), key);
        pixels.ok_or_else(|| self.samples.fault(index, format!("has {} channels", image.channels)))
    }

    /// Image `index` at the size that its crop is taken from, kept for the next epoch.
    fn resized(&self, index: usize) -> Result<Arc<Image>, DataError> {
        let image = self.samples.image(index)?;
        let resized = Arc::new(self.settings.augmentation.resized(&image, self.shape));
        let costs_nothing =
            self.samples.are_in_memory() && (image.height, image.width) == (resized.height, resized.width);
        if !costs_nothing {
            self.kept.offer(index, &resized);
        }
        Ok(resized)
    }

    /// Begins to prepare the batches of these epochs, the first from batch `step` on.
    pub fn start(&self, epochs: Range<u32>, step: usize) -> Stream {
        let per_epoch = self.batches() as u64;
        let first = u64::from(epochs.start) * per_epoch + step as u64;
        let shared = Arc::new(Shared {
            loader: self.clone(),
            end: u64::from(epochs.end) * per_epoch,
            state: Mutex::new(State { to_make: first, to_take: first, ..State::default() }),
            changed: Condvar::new(),
        });
        let work = |shared: Arc<Shared>| std::thread::spawn(move || shared.work());
        let workers = (0..self.settings.workers.max(1)).map(|_| work(shared.clone())).collect();
        Stream { shared, workers, waited: Duration::ZERO, started: Instant::now(), over: false }
    }
}

/// Batches in order, as they become ready.
pub struct Stream {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    waited: Duration,
    started: Instant,
    over: bool,
}

/// How long the taker of batches had to wait for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Waiting {
    pub waited_s: f64,
    pub elapsed_s: f64,
}

struct Shared {
    loader: Loader,
    /// The number of the batch after the last, counted over all epochs.
    end: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    to_make: u64,
    to_take: u64,
    ready: BTreeMap<u64, Result<Batch, DataError>>,
    /// Orders of epochs that are being made.
    orders: BTreeMap<u32, Arc<Vec<usize>>>,
    /// Nobody takes batches any more, or a worker is gone.
    stopped: bool,
}

/// Stops everyone when a worker panics: who waits for its batch would wait for ever.
struct StopOnPanic<'a>(&'a Shared);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }

    fn work(&self) {
        let _stop = StopOnPanic(self);
        while let Some((number, order)) = self.next_to_make() {
            let per_epoch = self.loader.batches() as u64;
            let made = self.loader.make(&order, (number / per_epoch) as u32, (number % per_epoch) as usize);
            self.state().ready.insert(number, made);
            self.changed.notify_all();
        }
    }

    /// Waits until another batch may be made; `None` if there is none.
    fn next_to_make(&self) -> Option<(u64, Arc<Vec<usize>>)> {
        let ahead = self.loader.settings.ahead.max(1) as u64;
        let mut state = self.state();
        loop {
            if state.stopped || state.to_make >= self.end {
                return None;
            }
            if state.to_make < state.to_take + ahead {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let number = state.to_make;
        state.to_make += 1;
        let epoch = (number / self.loader.batches() as u64) as u32;
        // Batches are handed out in order, so that epochs before this one need none any more.
        state.orders.retain(|&known, _| known >= epoch);
        let order = state.orders.entry(epoch).or_insert_with(|| Arc::new(self.loader.order(epoch)));
        Some((number, order.clone()))
    }

    /// Waits for the next batch; `None` after the last.
    fn take(&self) -> Option<Result<Batch, DataError>> {
        let mut state = self.state();
        loop {
            let number = state.to_take;
            if number >= self.end {
                return None;
            }
            if let Some(batch) = state.ready.remove(&number) {
                state.to_take += 1;
                self.changed.notify_all();
                return Some(batch);
            }
            assert!(!state.stopped, "a thread that prepares batches panicked");
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Iterator for Stream {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let asked = Instant::now();
        let batch = self.shared.take();
        self.waited += asked.elapsed();
        self.over = !matches!(batch, Some(Ok(_)));
        batch
    }
}

impl Stream {
    /// What was waited for so far, since the stream began.
    pub fn waiting(&self) -> Waiting {
        Waiting { waited_s: self.waited.as_secs_f64(), elapsed_s: self.started.elapsed().as_secs_f64() }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.stop();
        for worker in self.workers.drain(..) {
            // A panic was told when it happened.
            let _told = worker.join();
        }
    }
}

impl Waiting {
    /// Beyond this part of the time, decoding holds everything up.
    pub const LIMIT: f64 = 0.05;

    pub fn fraction(&self) -> f64 {
        self.waited_s / self.elapsed_s.max(1e-9)
    }

    /// What to say if decoding is what takes longest.
    pub fn note(&self) -> Option<String> {
        let percent = 100.0 * self.fraction();
        let slow = self.fraction() > Self::LIMIT;
        slow.then(|| format!("decoding is the bottleneck: the trunk waited {percent:.0} % of the time for images"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, catalogue, split::Split};

    fn loader(settings: LoaderSettings) -> Loader {
        let set = catalogue("synth:shapes:count=50,size=12", &OpenOptions::default()).unwrap();
        Loader::new(set[Split::Train].clone(), Shape::new(8, 8, 3), settings).unwrap()
    }

    fn all(loader: &Loader, epochs: Range<u32>, step: usize) -> Vec<Batch> {
        loader.start(epochs, step).collect::<Result<_, _>>().unwrap()
    }

    fn settings(workers: usize, ahead: usize) -> LoaderSettings {
        let augmentation = Augmentation::CROP_FLIP;
        LoaderSettings { batch: 8, seed: 3, augmentation, workers, ahead, ..LoaderSettings::default() }
    }

    #[test]
    fn workers_and_room_change_no_batch() {
        let expected = all(&loader(settings(1, 1)), 0..3, 0);
        assert_eq!(expected.len(), 21);
        for (workers, ahead) in [(4, 2), (2, 9), (7, 64)] {
            assert_eq!(all(&loader(settings(workers, ahead)), 0..3, 0), expected);
        }
        assert_eq!(all(&loader(settings(3, 3)), 1..3, 5), expected[12..], "a run goes on where it was");
        assert_eq!(loader(settings(1, 1)).batch(2, 6).unwrap(), expected[20]);
    }

    #[test]
    fn every_epoch_has_every_image_once_in_its_own_order() {
        let batches = all(&loader(settings(2, 4)), 0..2, 0);
        let indices = |epoch: u32| -> Vec<usize> {
            batches.iter().filter(|b| b.epoch == epoch).flat_map(|b| b.indices.clone()).collect()
        };
        assert_ne!(indices(0), indices(1));
        for epoch in 0..2 {
            let mut sorted = indices(epoch);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        let first = &batches[0];
        assert_eq!((first.pixels.batch, first.labels.len(), batches[6].pixels.batch), (8, 8, 2));
        assert!(first.labels.iter().zip(&first.indices).all(|(&label, &index)| label as usize == index % 10));
        let again = batches.iter().find(|b| b.epoch == 1).unwrap();
        assert_ne!(again.pixels, first.pixels);
    }

    #[test]
    fn without_shuffling_the_samples_order_stays() {
        let still = LoaderSettings { shuffle: false, drop_last: true, ..settings(2, 2) };
        let batches = all(&loader(still), 4..5, 0);
        assert_eq!(batches.iter().flat_map(|b| b.indices.clone()).collect::<Vec<_>>(), (0..48).collect::<Vec<_>>());
    }

    #[test]
    fn a_stream_can_be_dropped_in_the_middle_and_waits_are_told() {
        let mut stream = loader(settings(3, 2)).start(0..1000, 0);
        assert_eq!(stream.next().unwrap().unwrap().step, 0);
        let waiting = stream.waiting();
        assert!(waiting.waited_s > 0.0 && waiting.waited_s <= waiting.elapsed_s);
        drop(stream);
        let note = Waiting { waited_s: 2.0, elapsed_s: 10.0 }.note().unwrap();
        assert!(note.contains("20 %"), "{note}");
        assert_eq!(Waiting { waited_s: 0.4, elapsed_s: 10.0 }.note(), None);
    }

    #[test]
    fn an_input_that_no_image_has_is_refused() {
        let set = catalogue("synth:shapes:count=5", &OpenOptions::default()).unwrap();
        let refused = |shape, batch| {
            let settings = LoaderSettings { batch, ..settings(1, 1) };
            Loader::new(set[Split::Train].clone(), shape, settings).err().unwrap().to_string()
        };
        assert!(refused(Shape::new(8, 8, 4), 8).contains("1 or 3 channels"));
        assert!(refused(Shape::new(8, 8, 3), 0).contains("nothing to load"));
    }
}
