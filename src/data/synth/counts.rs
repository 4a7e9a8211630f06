//! Scenes of one to ten objects: the class is how many. Colours, sizes and forms mean nothing.

use super::Family;
use super::draw::{Draw, UNIT, colour};

pub(super) const FAMILY: Family = Family {
    name: "counts",
    about: "scenes of one to ten coloured objects, to be counted",
    classes: ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
    channels: 3,
    neighbour_percent: 10,
    draw,
};

/// Objects stand in different cells of a grid, so that none hides another.
const GRID: usize = 4;
const CELL: i32 = UNIT / GRID as i32;
const GRAIN: i32 = 12;

struct Object {
    centre: [i32; 2],
    radius: i32,
    round: bool,
    colour: [i32; 3],
}

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let ground = [(); 3].map(|()| draw.between(0, 255));
    let mut cells: [Option<Object>; GRID * GRID] = Default::default();
    let mut free: Vec<usize> = (0..cells.len()).collect();
    for _ in 0..=class {
        let cell = free.swap_remove(draw.between(0, free.len() as i32 - 1) as usize);
        cells[cell] = Some(object(cell, ground, draw));
    }
    colour(size, draw, GRAIN, |u, v| {
        let cell = (v / CELL) as usize * GRID + (u / CELL) as usize;
        let standing = cells[cell].as_ref().filter(|object| object.covers(u, v));
        standing.map_or(ground, |object| object.colour)
    })
}

fn object(cell: usize, ground: [i32; 3], draw: &mut Draw) -> Object {
    let radius = draw.between(280, 460);
    let room = CELL / 2 - radius;
    let corner = [(cell % GRID) as i32 * CELL, (cell / GRID) as i32 * CELL];
    Object {
        centre: corner.map(|at| at + CELL / 2 + draw.between(-room, room)),
        radius,
        round: draw.flip(),
        colour: ground.map(|value| (value + draw.between(70, 186)) % 256),
    }
}

impl Object {
    fn covers(&self, u: i32, v: i32) -> bool {
        let [x, y] = [u - self.centre[0], v - self.centre[1]];
        match self.round {
            true => x * x + y * y <= self.radius * self.radius,
            false => x.abs().max(y.abs()) <= self.radius * 7 / 8,
        }
    }
}
