//! The plain shapes in grey, faint, under strong noise.

use super::Family;
use super::draw::{Draw, UNIT, grey, turn, turned};
use super::shapes;

pub(super) const FAMILY: Family = Family {
    name: "noisy-shapes",
    about: "faint grey shapes under strong noise",
    classes: shapes::FAMILY.classes,
    channels: 1,
    neighbour_percent: 33,
    draw,
};

const GRAIN: i32 = 70;

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let radius = draw.between(1000, 1800);
    let centre = [(); 2].map(|()| UNIT / 2 + draw.between(-400, 400));
    let axes = turn(draw.between(-4, 4));
    let ground = draw.between(90, 165);
    let contrast = draw.between(35, 60) * if draw.flip() { 1 } else { -1 };
    grey(size, draw, GRAIN, |u, v| {
        let (x, y) = turned((u - centre[0], v - centre[1]), axes);
        let covered = shapes::covers(class, x * shapes::RADIUS / radius, y * shapes::RADIUS / radius);
        ground + if covered { contrast } else { 0 }
    })
}
