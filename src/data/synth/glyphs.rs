//! Digits in a coarse type, turned, sheared, stretched, in any tone on any other.

use super::Family;
use super::draw::{Draw, UNIT, grey, turn, turned};

pub(super) const FAMILY: Family = Family {
    name: "glyphs",
    about: "grey digits, turned and sheared",
    classes: ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
    channels: 1,
    neighbour_percent: 68,
    draw,
};

const COLUMNS: i32 = 5;
const ROWS: i32 = 7;
/// Rows from the top, the leftmost column in the highest of five bits.
const FONT: [[u8; 7]; 10] = [
    [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
    [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
    [0b01110, 0b10001, 0b00001, 0b00010, 0b00100, 0b01000, 0b11111],
    [0b11111, 0b00010, 0b00100, 0b00010, 0b00001, 0b10001, 0b01110],
    [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
    [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
    [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
    [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
    [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
    [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
];
const GRAIN: i32 = 14;

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let axes = turn(draw.between(-16, 16));
    let shear = draw.between(-900, 900);
    let (wide, tall) = (draw.between(1700, 2900), draw.between(2400, 3700));
    let centre = [(); 2].map(|()| UNIT / 2 + draw.between(-350, 350));
    let threshold = draw.between(80, 160);
    let ground = draw.between(0, 255);
    let ink = (ground + draw.between(90, 165)) % 256;
    grey(size, draw, GRAIN, |u, v| {
        let (x, y) = turned((u - centre[0], v - centre[1]), axes);
        let x = x + ((y * shear) >> 12);
        // In 256ths of a cell, from the middle of the first.
        let column = x * COLUMNS * 256 / wide + COLUMNS * 128 - 128;
        let row = y * ROWS * 256 / tall + ROWS * 128 - 128;
        let covered = ((coverage(class, column, row) - threshold) * 3 + 128).clamp(0, 256);
        ground + (((ink - ground) * covered) >> 8)
    })
}

/// How much of a point is ink, in 256ths, blended between the cells around it.
fn coverage(class: usize, column: i32, row: i32) -> i32 {
    let (x, right, y, down) = (column >> 8, column & 255, row >> 8, row & 255);
    let cell = |x: i32, y: i32| {
        let inside = (0..COLUMNS).contains(&x) && (0..ROWS).contains(&y);
        i32::from(inside && FONT[class][y as usize] >> (COLUMNS - 1 - x) & 1 == 1)
    };
    let row = |y: i32| cell(x, y) * (256 - right) + cell(x + 1, y) * right;
    (row(y) * (256 - down) + row(y + 1) * down) >> 8
}
