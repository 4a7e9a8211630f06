//! Clouds of colour: the class is the hue of most of them. Nothing has a form that matters.

use super::Family;
use super::draw::{Draw, Field, colour, mixed};

pub(super) const FAMILY: Family = Family {
    name: "hues",
    about: "clouds of two colours, the larger part's hue is the class",
    classes: ["red", "orange", "yellow", "lime", "green", "teal", "cyan", "blue", "violet", "pink"],
    channels: 3,
    neighbour_percent: 38,
    draw,
};

const CELLS: usize = 5;
const GRAIN: i32 = 24;
/// A sixth of the circle of hues.
const SEXTANT: i32 = 256;

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let step = 6 * SEXTANT / 10;
    let of = |class: i32, draw: &mut Draw| hue(class * step + draw.between(-step / 3, step / 3));
    let main = of(class as i32, draw);
    let other = class as i32 + draw.between(1, 9);
    let other = of(other, draw);
    let light = Field::new(draw, CELLS, 110, 256);
    let pale = draw.between(0, 120);
    let patches = Field::new(draw, CELLS, 0, 255);
    let part = draw.between(95, 120);
    colour(size, draw, GRAIN, |u, v| {
        let paint = if patches.at(u, v) < part { other } else { main };
        mixed([0; 3], mixed(paint, [255; 3], pale), light.at(u, v))
    })
}

/// A full colour by its place on the circle.
fn hue(at: i32) -> [i32; 3] {
    let at = at.rem_euclid(6 * SEXTANT);
    let (rise, fall) = (at % SEXTANT * 255 / SEXTANT, 255 - at % SEXTANT * 255 / SEXTANT);
    match at / SEXTANT {
        0 => [255, rise, 0],
        1 => [fall, 255, 0],
        2 => [0, 255, rise],
        3 => [0, fall, 255],
        4 => [rise, 0, 255],
        _ => [255, 0, fall],
    }
}
