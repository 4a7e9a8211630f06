//! One plain shape on a plain ground: the class is the shape; place, size and colours vary.

use super::Family;
use super::draw::{Draw, pixel};

pub(super) const FAMILY: Family = Family {
    name: "shapes",
    about: "one coloured shape on a coloured ground",
    classes: ["disc", "ring", "square", "frame", "diamond", "triangle", "plus", "cross", "bar", "pillar"],
    channels: 3,
    neighbour_percent: 24,
    draw,
};

/// The shape's radius in the coordinates in which it is defined.
pub(super) const RADIUS: i32 = 1024;
const GRAIN: i32 = 16;

fn draw(class: usize, [height, width]: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    // Half pixels: the centre of pixel x lies at 2x + 1.
    let side = height.min(width) as i32;
    let radius = (side * draw.between(44, 76) / 100).max(1);
    let mut centre = |extent: usize| {
        let extent = 2 * extent as i32;
        if extent > 2 * radius { draw.between(radius, extent - radius) } else { extent / 2 }
    };
    let (centre_y, centre_x) = (centre(height), centre(width));
    let ground = [(); 3].map(|()| draw.between(0, 255));
    // Every channel moves by a quarter of the circle of values at least: the shape always shows.
    let figure = ground.map(|value| (value + draw.between(64, 192)) % 256);
    let mut pixels = Vec::with_capacity(height * width * 3);
    for y in 0..height as i32 {
        for x in 0..width as i32 {
            let relative = |position: i32, centre: i32| (2 * position + 1 - centre) * RADIUS / radius;
            let covered = covers(class, relative(x, centre_x), relative(y, centre_y));
            pixels.extend(pixel(if covered { figure } else { ground }, draw.grain(GRAIN)));
        }
    }
    pixels
}

/// Whether a shape covers the point; y grows downwards.
pub(super) fn covers(class: usize, x: i32, y: i32) -> bool {
    let (ax, ay) = (x.abs(), y.abs());
    let (near, far) = (ax.min(ay), ax.max(ay));
    let square_distance = i64::from(x) * i64::from(x) + i64::from(y) * i64::from(y);
    let within = |radius: i64| square_distance <= radius * radius;
    match class {
        0 => within(1024),
        1 => within(1024) && !within(620),
        2 => far <= 880,
        3 => far <= 880 && far > 540,
        4 => ax + ay <= 1150,
        5 => (-900..=800).contains(&y) && i64::from(ax) * 1700 <= i64::from(y + 900) * 980,
        6 => near <= 260 && far <= 1000,
        7 => (x + y).abs().min((x - y).abs()) <= 370 && far <= 850,
        8 => ax <= 1000 && ay <= 300,
        _ => ay <= 1000 && ax <= 300,
    }
}
