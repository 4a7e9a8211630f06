//! The random choices of one image, and the integer arithmetic that families share.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The choices of image `index`: a stream of its own of a counter-based generator.
pub struct Draw(ChaCha8Rng);

impl Draw {
    pub fn new(family: &str, seed: u64, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        for (slot, byte) in key[8..].iter_mut().zip(family.bytes()) {
            *slot = byte;
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(index);
        Self(generator)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        let span = u64::from((high - low) as u32) + 1;
        low + ((u64::from(self.0.next_u32()) * span) >> 32) as i32
    }

    pub fn flip(&mut self) -> bool {
        self.between(0, 1) == 1
    }

    /// Grain of at most `amplitude` on one pixel's three channels.
    pub fn grain(&mut self, amplitude: i32) -> [i32; 3] {
        [(); 3].map(|()| self.between(-amplitude, amplitude))
    }
}

/// A pixel from three values that may lie outside 0 ..= 255.
pub fn pixel(values: [i32; 3], grain: [i32; 3]) -> [u8; 3] {
    [0, 1, 2].map(|c| (values[c] + grain[c]).clamp(0, 255) as u8)
}

/// A wave of period 65,536 and height ±32,768 whose halves are parabolas: a sine to within 6 %.
pub fn wave(turn: i64) -> i32 {
    let t = i32::from(turn as i16);
    (t * (32768 - t.abs())) >> 13
}

/// Where pictures are drawn: both axes have this length, whatever the size in pixels.
pub const UNIT: i32 = 4096;

/// A grey picture of values that may lie outside 0 ..= 255. `at` is told the middle of each pixel.
pub fn grey(size: [usize; 2], draw: &mut Draw, grain: i32, mut at: impl FnMut(i32, i32) -> i32) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(size[0] * size[1]);
    for_each_pixel(size, |u, v| pixels.push((at(u, v) + draw.between(-grain, grain)).clamp(0, 255) as u8));
    pixels
}

/// The same in colour.
pub fn colour(size: [usize; 2], draw: &mut Draw, grain: i32, mut at: impl FnMut(i32, i32) -> [i32; 3]) -> Vec<u8> {
    let mut pixels = Vec::with_capacity(3 * size[0] * size[1]);
    for_each_pixel(size, |u, v| pixels.extend(pixel(at(u, v), draw.grain(grain))));
    pixels
}

fn for_each_pixel([height, width]: [usize; 2], mut f: impl FnMut(i32, i32)) {
    let middle = |at: usize, side: usize| ((2 * at + 1) * UNIT as usize / (2 * side)) as i32;
    for y in 0..height {
        let v = middle(y, height);
        (0..width).for_each(|x| f(middle(x, width), v));
    }
}

/// `to` in place of `from` by `part` in 256ths.
pub fn mixed(from: [i32; 3], to: [i32; 3], part: i32) -> [i32; 3] {
    [0, 1, 2].map(|c| from[c] + (((to[c] - from[c]) * part) >> 8))
}

/// Cosine and sine of an angle in 256ths of a turn, times [`UNIT`].
pub fn turn(angle: i32) -> (i32, i32) {
    let quarter = |at: i32| match at & 255 {
        at @ 0..=64 => SINES[at as usize],
        at @ 65..=128 => SINES[(128 - at) as usize],
        at @ 129..=192 => -SINES[(at - 128) as usize],
        at => -SINES[(256 - at) as usize],
    };
    (quarter(angle + 64), quarter(angle))
}

/// The sines of the first quarter turn.
const SINES: [i32; 65] = [
    0, 101, 201, 301, 401, 501, 601, 700, 799, 897, 995, 1092, 1189, 1285, 1380, 1474, 1567, 1660, 1751, 1842, 1931,
    2019, 2106, 2191, 2276, 2359, 2440, 2520, 2598, 2675, 2751, 2824, 2896, 2967, 3035, 3102, 3166, 3229, 3290, 3349,
    3406, 3461, 3513, 3564, 3612, 3659, 3703, 3745, 3784, 3822, 3857, 3889, 3920, 3948, 3973, 3996, 4017, 4036, 4052,
    4065, 4076, 4085, 4091, 4095, 4096,
];

/// A point seen in axes that are turned by an angle whose cosine and sine these are.
pub fn turned((x, y): (i32, i32), (cos, sin): (i32, i32)) -> (i32, i32) {
    ((x * cos + y * sin) >> 12, (y * cos - x * sin) >> 12)
}

/// Random values on a grid, blended between: clouds.
pub struct Field {
    cells: usize,
    values: Vec<i32>,
}

impl Field {
    pub fn new(draw: &mut Draw, cells: usize, low: i32, high: i32) -> Self {
        Self { cells, values: (0..(cells + 1) * (cells + 1)).map(|_| draw.between(low, high)).collect() }
    }

    pub fn at(&self, u: i32, v: i32) -> i32 {
        let split = |at: i32| {
            let at = at.clamp(0, UNIT - 1) * self.cells as i32;
            ((at / UNIT) as usize, at % UNIT)
        };
        let ((x, right), (y, down)) = (split(u), split(v));
        let row = |y: usize| {
            let [a, b] = [x, x + 1].map(|x| self.values[y * (self.cells + 1) + x]);
            a + (b - a) * right / UNIT
        };
        let (top, bottom) = (row(y), row(y + 1));
        top + (bottom - top) * down / UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_turns() {
        assert_eq!((turn(0), turn(64), turn(128), turn(-64)), ((4096, 0), (0, 4096), (-4096, 0), (0, -4096)));
        assert!((0..256).all(|a| {
            let (c, s) = turn(a);
            (c * c + s * s - (1 << 24)).abs() < 1 << 13
        }));
    }

    #[test]
    fn a_field_stays_between_its_values() {
        let field = Field::new(&mut Draw::new("test", 0, 0), 3, -50, 70);
        let all = || (0..4096).step_by(97).flat_map(|u| (0..4096).step_by(89).map(move |v| (u, v)));
        assert!(all().all(|(u, v)| (-50..=70).contains(&field.at(u, v))));
        assert!(all().any(|(u, v)| field.at(u, v) != field.at(0, 0)));
    }
}
