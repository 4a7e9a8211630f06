//! Procedural images: labelled sets that need no file.
//!
//! `synth:NAME[:key=value,…]` with keys `count` (1000), `size` (32, or HxW) and `seed`. Image *i*
//! depends on the family, the seed, the size and *i* alone, never on how many are drawn. All
//! arithmetic is on integers, so every machine draws the same bits. Labels go round: image *i*
//! has class *i* mod 10. Beside the `count` images to train on there are a fifth as many to
//! validate and to test on, from streams of their own.

use super::catalogue::{Catalogue, Item, Store};
use super::image::{Image, MAX_SIDE};
use super::spec::Argument;
use super::split::Split;
use super::{Ask, DataError, Is, OpenOptions, Source};
use crate::tensor::Shape;
use draw::Draw;
use std::sync::Arc;

mod counts;
mod draw;
mod glyphs;
mod gratings;
mod hues;
mod noisy;
mod shapes;
mod signs;
mod strokes;
mod symmetry;
mod textures;

pub(super) const SOURCE: Source = Source {
    kind: "synth",
    argument: "NAME[:count=N,size=N|HxW,seed=N]",
    about: "procedural images with labels: gratings, shapes, glyphs, strokes, textures, signs, noisy-shapes, counts, hues, symmetry",
    argument_is: Is::Name,
    keys: &["count", "size", "seed"],
    open,
};

/// A kind of picture. `draw` makes one image of a class, given height and width.
pub struct Family {
    pub name: &'static str,
    pub about: &'static str,
    pub classes: [&'static str; 10],
    /// 1 (grey) or 3 (RGB).
    pub channels: usize,
    /// How hard it is: of 200 test images at 32 × 32, the percentage whose nearest (by squares) of
    /// 1,000 training images is of their class. Ten are chance; a network should do better.
    pub neighbour_percent: u32,
    draw: fn(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8>,
}

/// Every family.
pub const FAMILIES: &[Family] = &[
    gratings::FAMILY,
    shapes::FAMILY,
    glyphs::FAMILY,
    strokes::FAMILY,
    textures::FAMILY,
    signs::FAMILY,
    noisy::FAMILY,
    counts::FAMILY,
    hues::FAMILY,
    symmetry::FAMILY,
];

const MAX_COUNT: usize = 1_000_000;

/// What a spec asks for.
struct Request {
    count: usize,
    size: [usize; 2],
    seed: u64,
}

/// Splits draw from streams that begin so far apart that none reaches the next.
const SPLIT_STRIDE: u64 = 1 << 40;
/// There are as many images to validate and to test on as this part of those to train on.
const HELD_OUT: usize = 5;

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let name = ask.argument.path.as_str();
    let Some(family) = FAMILIES.iter().find(|family| family.name == name) else {
        let known: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
        return Err(ask.argument.refused(format!("there is no family '{name}'; there are {}", known.join(", "))));
    };
    let request = Request::read(ask.argument, ask.options)?;
    let classes = family.classes.len() as u64;
    let items = Split::ALL.map(|split| {
        let first = split as u64 * SPLIT_STRIDE;
        let held_out = if split == Split::Train { 1 } else { HELD_OUT };
        let count = request.count.div_ceil(held_out) as u64;
        (0..count).map(|i| Item { key: first + i, label: Some((i % classes) as u32) }).collect()
    });
    let [h, w] = request.size;
    let names = family.classes.map(String::from).to_vec();
    let set = Catalogue::new(name, names, Arc::new(Drawn { family, seed: request.seed, size: request.size }), items);
    Ok(set.of_shape(Shape::new(h, w, family.channels)))
}

/// Images that are drawn when they are asked for.
struct Drawn {
    family: &'static Family,
    seed: u64,
    size: [usize; 2],
}

impl Store for Drawn {
    fn read(&self, key: u64) -> Result<Image, DataError> {
        let mut draw = Draw::new(self.family.name, self.seed, key);
        let class = (key % SPLIT_STRIDE) as usize % self.family.classes.len();
        let [height, width] = self.size;
        let pixels = (self.family.draw)(class, self.size, &mut draw);
        Ok(Image { width, height, channels: self.family.channels, pixels })
    }

    fn fault(&self, key: u64, why: String) -> DataError {
        DataError::Spec { spec: format!("synth:{}", self.family.name), why: format!("image {key}: {why}") }
    }
}

impl Request {
    fn read(argument: &Argument, options: &OpenOptions) -> Result<Self, DataError> {
        let count = match argument.number("count")? {
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
            None => options.limit.unwrap_or(1000),
        };
        let size = match argument.get("size") {
            Some(text) => side_pair(text).ok_or_else(|| argument.refused(format!("size={text} is not N or HxW")))?,
            None => options.size.unwrap_or([32, 32]),
        };
        let seed = argument.number("seed")?.unwrap_or(options.seed);
        Self { count, size, seed }.checked().map_err(|why| argument.refused(why))
    }

    fn checked(self) -> Result<Self, String> {
        let [h, w] = self.size;
        if !(1..=MAX_SIDE).contains(&h) || !(1..=MAX_SIDE).contains(&w) {
            return Err(format!("images of {h} x {w}; sides are 1 to {MAX_SIDE}"));
        }
        if !(1..=MAX_COUNT).contains(&self.count) {
            return Err(format!("{} images; a set has 1 to {MAX_COUNT}", self.count));
        }
        Ok(self)
    }
}

/// `N` or `HxW`.
fn side_pair(text: &str) -> Option<[usize; 2]> {
    let (h, w) = text.split_once('x').unwrap_or((text, text));
    Some([h.parse().ok()?, w.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, Samples};
    use sha2::{Digest, Sha256};

    fn set(spec: &str) -> Dataset {
        super::super::open(spec, &OpenOptions::default()).unwrap()
    }

    #[test]
    fn an_image_does_not_depend_on_how_many_are_drawn() {
        for family in FAMILIES {
            let few = set(&format!("synth:{}:count=3,seed=7", family.name));
            let many = set(&format!("synth:{}:count=40,seed=7", family.name));
            assert_eq!(few.images[..], many.images[..3]);
            assert_ne!(few.images[0], set(&format!("synth:{}:count=1,seed=8", family.name)).images[0]);
            assert_eq!(many.labels.unwrap()[38], 8);
        }
    }

    #[test]
    fn every_size_can_be_drawn() {
        for family in FAMILIES {
            for size in ["1", "1x9", "9x1", "7x33", "64"] {
                let set = set(&format!("synth:{}:count=10,size={size}", family.name));
                assert!(set.images.iter().all(|i| i.pixels.len() == set.shape.elements()));
            }
        }
    }

    #[test]
    fn families_are_as_hard_as_they_say() {
        let pixels = |samples: &Samples| -> Vec<Vec<u8>> {
            (0..samples.len()).map(|i| samples.image(i).unwrap().pixels).collect()
        };
        let distance =
            |a: &[u8], b: &[u8]| -> u64 { a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum() };
        let found = FAMILIES.iter().map(|family| {
            let set = crate::data::catalogue(&format!("synth:{}", family.name), &OpenOptions::default()).unwrap();
            let (train, test) = (pixels(&set[Split::Train]), pixels(&set[Split::Test]));
            let nearest = |image: &Vec<u8>| (0..train.len()).min_by_key(|&i| distance(&train[i], image)).unwrap();
            let right = test.iter().enumerate().filter(|(i, image)| nearest(image) % 10 == i % 10).count();
            (family.name, (right * 100 / test.len()) as u32)
        });
        let told: Vec<_> = FAMILIES.iter().map(|family| (family.name, family.neighbour_percent)).collect();
        assert_eq!(found.collect::<Vec<_>>(), told);
    }

    #[test]
    fn no_image_is_in_two_splits() {
        for family in FAMILIES {
            let set =
                crate::data::catalogue(&format!("synth:{}:size=8", family.name), &OpenOptions::default()).unwrap();
            let mut seen = std::collections::BTreeSet::new();
            for split in Split::ALL {
                let images = (0..set[split].len()).map(|i| set[split].image(i).unwrap().pixels);
                assert!(images.into_iter().all(|pixels| seen.insert(pixels)), "{} {split}", family.name);
            }
        }
    }

    /// A change of these bits changes every result made with the sets: it must not happen unnoticed.
    #[test]
    fn the_bits_are_those_of_the_first_release() {
        let digests = FAMILIES.iter().map(|family| {
            let mut sha = Sha256::new();
            set(&format!("synth:{}:count=20", family.name)).images.iter().for_each(|i| sha.update(&i.pixels));
            (family.name, sha.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>())
        });
        let digests: Vec<_> = digests.collect();
        let digests: Vec<_> = digests.iter().map(|(name, digest)| (*name, digest.as_str())).collect();
        assert_eq!(
            digests,
            [
                ("gratings", "5de6e6a5"),
                ("shapes", "87240400"),
                ("glyphs", "3c4cc346"),
                ("strokes", "555f0f3e"),
                ("textures", "d1aa61ce"),
                ("signs", "e7c485a7"),
                ("noisy-shapes", "39de1657"),
                ("counts", "62180072"),
                ("hues", "18f8a9c3"),
                ("symmetry", "3a11eeac"),
            ]
        );
    }

    #[test]
    fn a_wrong_request_says_what_is_right() {
        let refused = |spec: &str| super::super::open(spec, &OpenOptions::default()).unwrap_err().to_string();
        assert!(refused("synth:clouds").contains("gratings, shapes"));
        assert!(refused("synth:shapes:size=0").contains("sides are 1"));
        assert!(refused("synth:shapes:count=1000000,size=8192").contains("4 GiB"));
        assert!(refused("synth:shapes:count=18446744073709551615").contains("images"));
        assert!(refused("synth:shapes:colour=red").contains("count, size, seed"));
        assert!(refused("synth:shapes:count").contains("key=value"));
    }
}
