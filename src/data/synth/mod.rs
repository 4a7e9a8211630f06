//! Procedural images: labelled sets that need no file.
//!
//! `synth:NAME[:key=value,…]` with keys `count` (1000), `size` (32, or HxW) and `seed`. Image *i*
//! depends on the family, the seed, the size and *i* alone, never on how many are drawn. All
//! arithmetic is on integers, so every machine draws the same bits. Labels go round: image *i*
//! has class *i* mod 10.

use super::image::{Image, MAX_SIDE};
use super::{DataError, Dataset, OpenOptions, Source, fits_in_memory};
use crate::tensor::Shape;
use draw::Draw;
use rayon::prelude::*;

mod draw;
mod gratings;
mod shapes;

pub(super) const SOURCE: Source = Source {
    kind: "synth",
    argument: "NAME[:count=N,size=N|HxW,seed=N]",
    about: "procedural images with labels: gratings, shapes",
    open,
};

/// A kind of picture. `draw` makes one RGB image of a class, given height and width.
pub struct Family {
    pub name: &'static str,
    pub classes: [&'static str; 10],
    draw: fn(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8>,
}

/// Every family.
pub const FAMILIES: &[Family] = &[gratings::FAMILY, shapes::FAMILY];

const MAX_COUNT: usize = 1_000_000;

/// What a spec asks for.
struct Request {
    count: usize,
    size: [usize; 2],
    seed: u64,
}

fn open(argument: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
    let (name, keys) = argument.split_once(':').unwrap_or((argument, ""));
    let refused = |why: String| DataError::Spec { spec: format!("synth:{argument}"), why };
    let Some(family) = FAMILIES.iter().find(|family| family.name == name) else {
        let known: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
        return Err(refused(format!("there is no family '{name}'; there are {}", known.join(", "))));
    };
    let request = Request::parse(keys, options).map_err(refused)?;
    let classes = family.classes.len();
    let images = (0..request.count).into_par_iter().map(|i| image(family, i % classes, i as u64, &request)).collect();
    Ok(Dataset {
        name: name.into(),
        classes: family.classes.map(String::from).to_vec(),
        images,
        labels: Some((0..request.count).map(|i| (i % classes) as u32).collect()),
        shape: Shape::new(request.size[0], request.size[1], 3),
    })
}

fn image(family: &Family, class: usize, index: u64, request: &Request) -> Image {
    let mut draw = Draw::new(family.name, request.seed, index);
    let [height, width] = request.size;
    Image { width, height, channels: 3, pixels: (family.draw)(class, request.size, &mut draw) }
}

impl Request {
    fn parse(keys: &str, options: &OpenOptions) -> Result<Self, String> {
        let most = options.limit.unwrap_or(1000);
        let mut request = Self { count: most, size: options.size.unwrap_or([32, 32]), seed: options.seed };
        for pair in keys.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("'{pair}' is not key=value"))?;
            let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{key}={value} is not a number"));
            match key {
                "count" => request.count = number(value)?.min(usize::MAX as u64) as usize,
                "seed" => request.seed = number(value)?,
                "size" => {
                    let (h, w) = value.split_once('x').unwrap_or((value, value));
                    request.size = [number(h)? as usize, number(w)? as usize];
                }
                _ => return Err(format!("there is no key '{key}'; there are count, size, seed")),
            }
        }
        request.count = request.count.min(options.limit.unwrap_or(usize::MAX));
        request.checked()
    }

    fn checked(self) -> Result<Self, String> {
        let [h, w] = self.size;
        if !(1..=MAX_SIDE).contains(&h) || !(1..=MAX_SIDE).contains(&w) {
            return Err(format!("images of {h} x {w}; sides are 1 to {MAX_SIDE}"));
        }
        if !(1..=MAX_COUNT).contains(&self.count) {
            return Err(format!("{} images; a set has 1 to {MAX_COUNT}", self.count));
        }
        fits_in_memory(self.count, h, w, 3)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    /// A change of these bits changes every result made with the sets: it must not happen unnoticed.
    #[test]
    fn the_bits_are_those_of_the_first_release() {
        let digest = |name: &str| {
            let mut sha = Sha256::new();
            set(&format!("synth:{name}:count=20")).images.iter().for_each(|i| sha.update(&i.pixels));
            sha.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        assert_eq!((digest("gratings").as_str(), digest("shapes").as_str()), ("5de6e6a5", "87240400"));
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
