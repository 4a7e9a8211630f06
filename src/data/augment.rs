//! From an image as it is stored to the trunk's input size: resize, pad, crop, flip, jitter.
//!
//! The recipes are those of the papers on the Visual Decathlon, in proportions of the output's
//! side: their "resize 72, crop 64" is a resize to nine eighths. Evaluation uses the same geometry
//! with the middle crop. What is drawn depends on (seed, epoch, image) alone.

use super::image::Image;
use crate::seed::Noise;
use crate::tensor::Shape;
use serde::{Deserialize, Serialize};

/// Lengths below are in these parts of the output's side.
const PARTS: usize = 72;

/// How images come to the trunk's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    pub resize: Resize,
    /// What it resizes to; at least the side itself.
    pub resize_72nds: usize,
    /// Reflected on every side before the crop.
    pub pad_72nds: usize,
    /// Crop anywhere, or in the middle.
    pub random_crop: bool,
    /// Mirror half of the images.
    pub flip: bool,
    pub jitter: Option<Jitter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Both sides: proportions are not kept.
    Stretch,
    /// The shorter side; the longer in proportion.
    ShortSide,
}

/// How far colours may wander: factors are drawn from 1 − x to 1 + x.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jitter {
    pub brightness: f32,
    pub contrast: f32,
    pub saturation: f32,
}

/// What is drawn for one image.
const DRAW_TOP: u32 = 0;
const DRAW_LEFT: u32 = 1;
const DRAW_FLIP: u32 = 2;
const DRAW_BRIGHTNESS: u32 = 3;
const DRAW_CONTRAST: u32 = 4;
const DRAW_SATURATION: u32 = 5;

/// Recipes by the name under which they can be asked for.
pub const AUGMENTATIONS: [(&str, &str, Augmentation); 9] = [
    ("plain", "resized to the input, nothing random", Augmentation::PLAIN),
    ("pad-crop", "resized, padded by an eighth, random crop", Augmentation::PAD_CROP),
    ("pad-crop-flip", "the same, mirrored at random: CIFAR's usual recipe", Augmentation::PAD_CROP_FLIP),
    ("middle", "short side resized, middle crop: Rebuffi's for gtsrb, omniglot, svhn", Augmentation::MIDDLE),
    ("crop-flip", "short side to 9/8, random crop, mirrored: Rebuffi's for the others", Augmentation::CROP_FLIP),
    ("crop", "short side to 9/8, random crop: NetTailor's for svhn, omniglot", Augmentation::CROP),
    ("side-crop-flip", "short side resized, random crop, mirrored: NetTailor's for dtd", Augmentation::SIDE_CROP_FLIP),
    (
        "reflect-crop-flip",
        "resized, padded by a ninth, random crop, mirrored: NetTailor's",
        Augmentation::REFLECT_CROP_FLIP,
    ),
    (
        "reflect-crop-jitter",
        "the same with colour jitter, not mirrored: NetTailor's for gtsrb",
        Augmentation::REFLECT_CROP_JITTER,
    ),
];

impl Augmentation {
    pub const PLAIN: Self =
        Self { resize: Resize::Stretch, resize_72nds: 72, pad_72nds: 0, random_crop: false, flip: false, jitter: None };
    pub const PAD_CROP: Self = Self { pad_72nds: 9, random_crop: true, ..Self::PLAIN };
    pub const PAD_CROP_FLIP: Self = Self { flip: true, ..Self::PAD_CROP };
    pub const MIDDLE: Self = Self { resize: Resize::ShortSide, ..Self::PLAIN };
    pub const CROP: Self = Self { resize_72nds: 81, random_crop: true, ..Self::MIDDLE };
    pub const CROP_FLIP: Self = Self { flip: true, ..Self::CROP };
    pub const SIDE_CROP_FLIP: Self = Self { random_crop: true, flip: true, ..Self::MIDDLE };
    pub const REFLECT_CROP_FLIP: Self = Self { pad_72nds: 8, ..Self::PAD_CROP_FLIP };
    pub const REFLECT_CROP_JITTER: Self = Self {
        flip: false,
        jitter: Some(Jitter { brightness: 0.5, contrast: 0.2, saturation: 0.2 }),
        ..Self::REFLECT_CROP_FLIP
    };

    pub fn named(name: &str) -> Option<Self> {
        AUGMENTATIONS.iter().find(|(known, ..)| *known == name).map(|(_, _, recipe)| *recipe)
    }

    /// What is usual for photographs of these classes: crops, mirrored unless the classes are digits
    /// or letters, which mirrored are others.
    pub fn usual(classes: &[String]) -> Self {
        let is_sign = |name: &String| name.parse::<u32>().is_ok() || name.chars().count() == 1;
        if classes.iter().all(is_sign) { Self::CROP } else { Self::CROP_FLIP }
    }

    /// The same for images that are only looked at: nothing is random.
    pub const fn evaluation(self) -> Self {
        Self { random_crop: false, flip: false, jitter: None, ..self }
    }

    /// The pixels of an image at a shape, whose channels must be 1 or 3. `noise` is that of (seed,
    /// epoch), `key` the image's.
    pub fn apply(&self, image: &Image, shape: Shape, noise: Noise, key: u64) -> Option<Vec<u8>> {
        self.cut(&self.resized(image, shape), shape, noise, key)
    }

    /// The same of an image that [`Self::resized`] made: all that is drawn.
    pub fn cut(&self, resized: &Image, shape: Shape, noise: Noise, key: u64) -> Option<Vec<u8>> {
        let draws = Draws { noise, key };
        let channels = resized.channels;
        let mut pixels = Vec::with_capacity(shape.pixels() * channels);
        let rows = self.window(shape.h, resized.height, draws, DRAW_TOP);
        let mut columns = self.window(shape.w, resized.width, draws, DRAW_LEFT);
        if self.flip && draws.below(DRAW_FLIP, 2) == 1 {
            columns.reverse();
        }
        for y in rows {
            let row = &resized.pixels[y * resized.width * channels..][..resized.width * channels];
            columns.iter().for_each(|&x| pixels.extend_from_slice(&row[x * channels..][..channels]));
        }
        let mut cropped = Image { width: shape.w, height: shape.h, channels, pixels };
        if let Some(jitter) = &self.jitter {
            jitter.apply(&mut cropped, draws);
        }
        cropped.pixels_with(shape.c)
    }

    /// An image at the size that its crop is taken from; depends on nothing random.
    pub fn resized(&self, image: &Image, shape: Shape) -> Image {
        let part = |side: usize| (side * self.resize_72nds.max(PARTS) + PARTS / 2) / PARTS;
        let (h, w) = (part(shape.h), part(shape.w));
        match self.resize {
            Resize::Stretch => image.resized(h, w),
            Resize::ShortSide => {
                // The side that is shorter in proportion is brought to its length.
                let tall = image.height * w >= image.width * h;
                let other = |long: usize, short: usize, to: usize| (long * to + short / 2) / short.max(1);
                match tall {
                    true => image.resized(other(image.height, image.width, w).max(h), w),
                    false => image.resized(h, other(image.width, image.height, h).max(w)),
                }
            }
        }
    }

    /// The positions of `side` in a row of `from`, padded: those of the crop.
    fn window(&self, side: usize, from: usize, draws: Draws, which: u32) -> Vec<usize> {
        let pad = (side * self.pad_72nds + PARTS / 2) / PARTS;
        let room = from + 2 * pad - side;
        let start = if self.random_crop { draws.below(which, room as u64 + 1) as usize } else { room / 2 };
        (start..start + side).map(|at| reflected(at as isize - pad as isize, from)).collect()
    }
}

/// A position in `0..count`, mirrored at the outermost ones as often as it takes.
fn reflected(at: isize, count: usize) -> usize {
    let period = 2 * count.saturating_sub(1).max(1);
    let at = at.rem_euclid(period as isize) as usize;
    if at < count { at } else { period - at }.min(count - 1)
}

/// The random numbers of one image.
#[derive(Clone, Copy)]
struct Draws {
    noise: Noise,
    key: u64,
}

impl Draws {
    fn below(self, which: u32, bound: u64) -> u64 {
        self.noise.of_tensor(which).below(self.key, bound)
    }

    /// A factor from 1 − `range` to 1 + `range`.
    fn factor(self, which: u32, range: f32) -> f32 {
        1.0 + range * (2.0 * self.noise.of_tensor(which).uniform(self.key) as f32 - 1.0)
    }
}

impl Jitter {
    /// Brightness, then contrast about the mean, then saturation about each pixel's grey.
    fn apply(&self, image: &mut Image, draws: Draws) {
        let brightness = draws.factor(DRAW_BRIGHTNESS, self.brightness);
        let contrast = draws.factor(DRAW_CONTRAST, self.contrast);
        let saturation = draws.factor(DRAW_SATURATION, self.saturation);
        let sum: u64 = image.pixels.iter().map(|&p| u64::from(p)).sum();
        let mean = (sum as f64 / image.pixels.len() as f64) as f32 * brightness;
        for pixel in image.pixels.chunks_exact_mut(image.channels) {
            let mut values = [0.0f32; 3];
            for (value, &p) in values.iter_mut().zip(pixel.iter()) {
                *value = mean + contrast * (f32::from(p) * brightness - mean);
            }
            if pixel.len() == 3 {
                let grey = 0.299 * values[0] + 0.587 * values[1] + 0.114 * values[2];
                values.iter_mut().for_each(|v| *v = grey + saturation * (*v - grey));
            }
            pixel.iter_mut().zip(values).for_each(|(p, value)| *p = value.round().clamp(0.0, 255.0) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::named;

    /// Every pixel tells where it was.
    fn ramp(height: usize, width: usize) -> Image {
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (16 * y + x) as u8)).collect();
        Image { width, height, channels: 1, pixels }
    }

    #[test]
    fn the_middle_is_the_middle() {
        let noise = named(1, "test");
        let wide = ramp(4, 8);
        let middle = Augmentation::MIDDLE.apply(&wide, Shape::new(4, 4, 1), noise, 0).unwrap();
        assert_eq!(middle[..4], [2, 3, 4, 5]);
        let whole = Augmentation::PAD_CROP.evaluation().apply(&ramp(8, 8), Shape::new(8, 8, 1), noise, 0).unwrap();
        assert_eq!(whole, ramp(8, 8).pixels);
        let grey = Augmentation::PLAIN.apply(&ramp(2, 2), Shape::new(2, 2, 3), noise, 0).unwrap();
        assert_eq!(grey, [0, 0, 0, 1, 1, 1, 16, 16, 16, 17, 17, 17]);
    }

    #[test]
    fn padding_reflects_without_the_edge() {
        let at: Vec<usize> = (-4..8).map(|at| reflected(at, 4)).collect();
        assert_eq!(at, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]);
        assert!((-3..3).all(|at| reflected(at, 1) == 0));
    }

    #[test]
    fn crops_move_images_mirror_and_all_depends_on_the_key_alone() {
        let (noise, shape) = (named(1, "test"), Shape::new(8, 8, 1));
        let of = |recipe: Augmentation, key: u64| recipe.apply(&ramp(8, 8), shape, noise, key).unwrap();
        let corners: std::collections::BTreeSet<u8> = (0..200).map(|key| of(Augmentation::PAD_CROP, key)[0]).collect();
        // One pixel of padding: the corner lands on 1, 0 or 1 in either direction.
        assert_eq!(corners.into_iter().collect::<Vec<_>>(), [0, 1, 16, 17]);
        let mirrored =
            (0..1000).filter(|&key| of(Augmentation { random_crop: false, ..Augmentation::CROP_FLIP }, key)[0] > 3);
        let mirrored = mirrored.count();
        assert!((440..560).contains(&mirrored), "{mirrored}");
        assert_eq!(of(Augmentation::CROP_FLIP, 5), of(Augmentation::CROP_FLIP, 5));
    }

    #[test]
    fn every_shape_of_image_comes_to_every_input() {
        for (_, _, recipe) in AUGMENTATIONS {
            for (h, w) in [(1, 1), (1, 9), (7, 3), (40, 20)] {
                for shape in [Shape::new(1, 1, 3), Shape::new(8, 8, 1), Shape::new(5, 12, 3)] {
                    let pixels = recipe.apply(&ramp(h, w), shape, named(0, "x"), 3).unwrap();
                    assert_eq!(pixels.len(), shape.elements(), "{h} x {w} to {shape}");
                }
            }
        }
        assert_eq!(Augmentation::PLAIN.apply(&ramp(2, 2), Shape::new(2, 2, 4), named(0, "x"), 0), None);
    }

    #[test]
    fn jitter_at_no_range_changes_nothing() {
        let jitter = Jitter { brightness: 0.0, contrast: 0.0, saturation: 0.0 };
        let recipe = Augmentation { jitter: Some(jitter), ..Augmentation::PLAIN };
        let colour = Image { width: 2, height: 1, channels: 3, pixels: vec![10, 20, 250, 0, 128, 255] };
        let still = recipe.apply(&colour, Shape::new(1, 2, 3), named(0, "x"), 0).unwrap();
        assert_eq!(still, colour.pixels);
        let moved = Augmentation::REFLECT_CROP_JITTER.apply(&colour, Shape::new(1, 2, 3), named(0, "x"), 0).unwrap();
        assert_ne!(moved, colour.pixels);
    }
}
