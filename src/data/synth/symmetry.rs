//! Mosaics of random colours: the class is their symmetry, and no tile says anything alone.

use super::Family;
use super::draw::{Draw, UNIT, colour};

pub(super) const FAMILY: Family = Family {
    name: "symmetry",
    about: "mosaics of random tiles, the class is their symmetry",
    classes: [
        "none",
        "left-right",
        "up-down",
        "both",
        "half-turn",
        "quarter-turn",
        "diagonal",
        "anti-diagonal",
        "twice-across",
        "twice-down",
    ],
    channels: 3,
    neighbour_percent: 46,
    draw,
};

/// Tiles along a side.
const TILES: usize = 6;
const LAST: usize = TILES - 1;
const GRAIN: i32 = 14;

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let mut tiles = [[0i32; 3]; TILES * TILES];
    for at in 0..tiles.len() {
        let (y, x) = first_alike(class, at / TILES, at % TILES);
        let tile = [(); 3].map(|()| draw.between(0, 255));
        // One tile in sixteen breaks the rule.
        let broken = draw.between(0, 15) == 0;
        tiles[at] = if broken || y * TILES + x >= at { tile } else { tiles[y * TILES + x] };
    }
    let side = UNIT / TILES as i32 + 1;
    colour(size, draw, GRAIN, |u, v| tiles[(v / side) as usize * TILES + (u / side) as usize])
}

/// The first tile, row by row, that a symmetry makes equal to this one.
fn first_alike(class: usize, y: usize, x: usize) -> (usize, usize) {
    let alike: &[(usize, usize)] = match class {
        0 => &[],
        1 => &[(y, LAST - x)],
        2 => &[(LAST - y, x)],
        3 => &[(y, LAST - x), (LAST - y, x), (LAST - y, LAST - x)],
        4 => &[(LAST - y, LAST - x)],
        5 => &[(x, LAST - y), (LAST - y, LAST - x), (LAST - x, y)],
        6 => &[(x, y)],
        7 => &[(LAST - x, LAST - y)],
        8 => &[(y, x % (TILES / 2))],
        _ => &[(y % (TILES / 2), x)],
    };
    alike.iter().copied().fold((y, x), Ord::min)
}
