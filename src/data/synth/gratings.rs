//! Coloured stripes: the class is their direction, in steps of 18 degrees.

use super::Family;
use super::draw::{Draw, pixel, wave};

pub(super) const FAMILY: Family = Family {
    name: "gratings",
    about: "coloured stripes, the class is their direction",
    classes: [
        "angle-000",
        "angle-018",
        "angle-036",
        "angle-054",
        "angle-072",
        "angle-090",
        "angle-108",
        "angle-126",
        "angle-144",
        "angle-162",
    ],
    channels: 3,
    neighbour_percent: 72,
    draw,
};

/// One in fixed point.
const ONE: i64 = 4096;
/// Cosines of the angles, times [`ONE`]; the sines are the same list begun at 90 degrees.
const COSINES: [i64; 10] = [4096, 3896, 3314, 2408, 1266, 0, -1266, -2408, -3314, -3896];
const GRAIN: i32 = 12;

fn draw(class: usize, [height, width]: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let (cosine, sine) = (COSINES[class], COSINES[(class + 5) % 10].abs());
    let turn_65536ths_per_image = i64::from(draw.between(3 << 16, 7 << 16));
    let phase = i64::from(draw.between(0, 65535));
    let base = [(); 3].map(|()| draw.between(80, 175));
    let swing = [(); 3].map(|()| draw.between(25, 80) * if draw.flip() { 1 } else { -1 });
    let side = height.max(width) as i64;
    let mut pixels = Vec::with_capacity(height * width * 3);
    for y in 0..height as i64 {
        for x in 0..width as i64 {
            let along = (x * cosine + y * sine) * turn_65536ths_per_image / (ONE * side);
            let level = wave(along + phase);
            let values = [0, 1, 2].map(|c| base[c] + ((swing[c] * level) >> 15));
            pixels.extend(pixel(values, draw.grain(GRAIN)));
        }
    }
    pixels
}
