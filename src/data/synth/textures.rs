//! Repeating patterns: the class is the pattern; scale, direction, phase and tones vary.

use super::Family;
use super::draw::{Draw, UNIT, grey, turn, turned, wave};

pub(super) const FAMILY: Family = Family {
    name: "textures",
    about: "grey repeating patterns in any direction",
    classes: ["stripes", "checks", "dots", "bricks", "waves", "grid", "rings", "zigzag", "speckle", "scales"],
    channels: 1,
    neighbour_percent: 16,
    draw,
};

const GRAIN: i32 = 20;

/// What varies from picture to picture.
struct Cloth {
    class: usize,
    /// Differs from picture to picture, for patterns that are random themselves.
    salt: u32,
}

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let axes = turn(draw.between(0, 255));
    let periods = draw.between(3, 7);
    let phase = [(); 2].map(|()| draw.between(0, 1023));
    let dark = draw.between(0, 150);
    let light = dark + draw.between(60, 105);
    let cloth = Cloth { class, salt: draw.between(0, i32::MAX - 1) as u32 };
    grey(size, draw, GRAIN, |u, v| {
        let (x, y) = turned((u - UNIT / 2, v - UNIT / 2), axes);
        // One period is 256 long.
        let along = |at: i32| at * periods / 16;
        let lit = match class {
            6 => cloth.ring(along(x), along(y), phase[0]),
            _ => cloth.covers(along(x) + phase[0], along(y) + phase[1]),
        };
        if lit { light } else { dark }
    })
}

impl Cloth {
    /// Circles about the middle of the picture, or not far from it.
    fn ring(&self, a: i32, b: i32, phase: i32) -> bool {
        let (a, b) = (a - phase / 8, b - phase / 8);
        ((a * a + b * b).isqrt() + phase) & 255 < 128
    }

    fn covers(&self, a: i32, b: i32) -> bool {
        let (ca, cb, ia, ib) = (a & 255, b & 255, a >> 8, b >> 8);
        let from_middle = |x: i32, y: i32| ((x - 128) * (x - 128) + (y - 128) * (y - 128)).isqrt();
        match self.class {
            0 => ca < 128,
            1 => (ia + ib) & 1 == 0,
            2 => from_middle(ca, cb) < 78,
            3 => cb >= 60 && (a / 2 + (ib & 1) * 64) & 127 >= 24,
            4 => (b + ((wave(i64::from(a) * 256) * 60) >> 15)) & 255 < 128,
            5 => ca < 64 || cb < 64,
            7 => (b + (a & 255).abs_diff(128) as i32) & 255 < 128,
            8 => scrambled(ia * 2 + (ca >> 7), ib * 2 + (cb >> 7), self.salt) & 1 == 0,
            _ => from_middle((a + (ib & 1) * 128) & 255, cb).abs_diff(104) < 26,
        }
    }
}

/// A random number of a cell.
fn scrambled(x: i32, y: i32, salt: u32) -> u32 {
    let mut n = (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77) ^ salt;
    n = (n ^ n >> 15).wrapping_mul(0x2c1b_3c6d);
    n = (n ^ n >> 12).wrapping_mul(0x297a_2d39);
    n ^ n >> 15
}
