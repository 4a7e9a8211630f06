//! Images on their way to the trunk: JPEG files of 64 × 64 in a folder, as batches of 32, on one and on
//! two decoding threads; what one image costs to decode and to augment.
//!
//! How long the trunk waits for them in a training is what `trunkline train --measured` tells.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::path::Path;
use trunkline::data::augment::Augmentation;
use trunkline::data::image::Image;
use trunkline::data::loader::{Loader, LoaderSettings};
use trunkline::data::{OpenOptions, open, subset};
use trunkline::seed::named;
use trunkline::tensor::Shape;

const IMAGES: usize = 256;
const SIDE: usize = 64;

/// Drawn textures as JPEG files in a folder per class.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let drawn = open(&format!("synth:textures:count={IMAGES},size={SIDE}"), &OpenOptions::default()).expect("textures");
    let labels = drawn.labels.expect("labels");
    for (number, (picture, label)) in drawn.images.into_iter().zip(labels).enumerate() {
        let class = folder.path().join(&drawn.classes[label as usize]);
        std::fs::create_dir_all(&class).expect("a folder");
        let picture = picture.to_rgb();
        let pixels = image::RgbImage::from_raw(SIDE as u32, SIDE as u32, picture.pixels).expect("whole");
        pixels.save(class.join(format!("{number:04}.jpg"))).expect("written");
    }
    folder
}

fn loader(folder: &Path, workers: usize, side: usize) -> Loader {
    let set = subset(&format!("images:{}", folder.display()), &OpenOptions::default()).expect("a folder of images");
    let settings = LoaderSettings { augmentation: Augmentation::CROP_FLIP, workers, ..LoaderSettings::default() };
    Loader::new(set.samples, Shape::new(side, side, 3), settings).expect("a loader")
}

/// First epochs: later ones are kept decoded.
fn epochs(c: &mut Criterion) {
    let folder = folder();
    let mut group = c.benchmark_group("epoch of 64x64 JPEGs");
    group.sample_size(10).throughput(Throughput::Elements(IMAGES as u64));
    for workers in [1, 2] {
        group.bench_function(format!("first, {workers} workers"), |b| {
            b.iter(|| {
                loader(folder.path(), workers, SIDE)
                    .start(0..1, 0)
                    .fold(0, |images, batch| images + batch.expect("sound").indices.len())
            })
        });
        let kept = loader(folder.path(), workers, SIDE);
        kept.start(0..1, 0).for_each(|batch| drop(batch.expect("sound")));
        group.bench_function(format!("later, {workers} workers"), |b| {
            b.iter(|| kept.start(1..2, 0).fold(0, |images, batch| images + batch.expect("sound").indices.len()))
        });
    }
    group.finish();
}

fn one_image(c: &mut Criterion) {
    let folder = folder();
    let set = subset(&format!("images:{}", folder.path().display()), &OpenOptions::default()).expect("images");
    let stored = set.samples.image(0).expect("sound");
    let mut group = c.benchmark_group("one image");
    group.bench_function("read and decode", |b| b.iter(|| set.samples.image(black_box(0)).expect("sound")));
    let (noise, shape) = (named(0, "bench"), Shape::new(SIDE, SIDE, 3));
    let cut = |image: &Image| Augmentation::CROP_FLIP.apply(image, shape, noise, 1);
    group.bench_function("resize, crop, mirror", |b| b.iter(|| cut(black_box(&stored))));
    group.finish();
}

criterion_group!(benches, epochs, one_image);
criterion_main!(benches);
