//! Plates like road signs before clouds of colour: the class is plate, colours and device together.

use super::Family;
use super::draw::{Draw, Field, UNIT, colour, turn, turned};

pub(super) const FAMILY: Family = Family {
    name: "signs",
    about: "coloured plates like road signs, tilted, before clouds",
    classes: ["stop", "no-entry", "yield", "warning", "limit", "go-right", "go-left", "parking", "priority", "end"],
    channels: 3,
    neighbour_percent: 62,
    draw,
};

/// Plates are defined with this radius.
const RADIUS: i32 = 1024;
const GRAIN: i32 = 12;

type Colour = [i32; 3];

const RED: Colour = [190, 30, 40];
const BLUE: Colour = [30, 70, 180];
const YELLOW: Colour = [235, 190, 40];
const WHITE: Colour = [235, 235, 230];
const BLACK: Colour = [30, 30, 30];

#[derive(Clone, Copy)]
enum Plate {
    Disc,
    Octagon,
    Up,
    Down,
    Square,
    Diamond,
}

/// Plate, rim, face, and the colour of the device.
const SIGNS: [(Plate, Colour, Colour, Colour); 10] = [
    (Plate::Octagon, WHITE, RED, WHITE),
    (Plate::Disc, RED, RED, WHITE),
    (Plate::Down, RED, WHITE, WHITE),
    (Plate::Up, RED, WHITE, BLACK),
    (Plate::Disc, RED, WHITE, BLACK),
    (Plate::Disc, BLUE, BLUE, WHITE),
    (Plate::Disc, BLUE, BLUE, WHITE),
    (Plate::Square, WHITE, BLUE, WHITE),
    (Plate::Diamond, WHITE, YELLOW, YELLOW),
    (Plate::Disc, BLACK, WHITE, BLACK),
];

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let (plate, rim, face, device) = SIGNS[class];
    let radius = draw.between(900, 1700);
    let centre = [(); 2].map(|()| UNIT / 2 + draw.between(-500, 500));
    let axes = turn(draw.between(-10, 10));
    let clouds = [(); 3].map(|()| Field::new(draw, 4, 20, 230));
    // Light of some colour falls on the plate.
    let light = [(); 3].map(|()| draw.between(130, 280));
    colour(size, draw, GRAIN, |u, v| {
        let (x, y) = turned((u - centre[0], v - centre[1]), axes);
        let (x, y) = (x * RADIUS / radius, y * RADIUS / radius);
        let from_edge = inside(plate, x, y);
        let paint = match from_edge {
            ..0 => return [0, 1, 2].map(|c| clouds[c].at(u, v)),
            0..150 => rim,
            _ if shows(class, x, y) => device,
            _ => face,
        };
        [0, 1, 2].map(|c| (paint[c] * light[c]) >> 8)
    })
}

/// How far a point lies inside the edge of a plate; negative outside.
fn inside(plate: Plate, x: i32, y: i32) -> i32 {
    let (ax, ay) = (x.abs(), y.abs());
    let triangle = |y: i32| (720 - y).min((y + 1000) * 480 / 1000 - ax * 860 / 1000);
    match plate {
        Plate::Disc => RADIUS - (x * x + y * y).isqrt(),
        Plate::Octagon => (960 - ax.max(ay)).min((1340 - ax - ay) * 707 / 1000),
        Plate::Up => triangle(y),
        Plate::Down => triangle(-y),
        Plate::Square => 880 - ax.max(ay),
        Plate::Diamond => (1200 - ax - ay) * 707 / 1000,
    }
}

/// Whether a point belongs to what is drawn on the plate.
fn shows(class: usize, x: i32, y: i32) -> bool {
    let (ax, ay) = (x.abs(), y.abs());
    let arrow = |x: i32| (ay < 130 && (-550..200).contains(&x)) || (x >= 100 && x + ay < 600);
    let dot = |dx: i32, dy: i32, radius: i32| (x - dx) * (x - dx) + (y - dy) * (y - dy) < radius * radius;
    match class {
        0 => ay < 160 && ax < 620 && (ax / 110) % 2 == 0,
        1 => ay < 190 && ax < 680,
        3 => ax < 110 && (-350..250).contains(&y) || dot(0, 420, 120),
        4 => (dot(-280, 0, 260) && !dot(-280, 0, 110)) || (dot(290, 0, 260) && !dot(290, 0, 110)),
        5 => arrow(x),
        6 => arrow(-x),
        7 => (-330..-130).contains(&x) && ay < 560 || (dot(-60, -220, 340) && !dot(-60, -220, 150) && x > -200),
        9 => (x + y).abs() < 180,
        _ => false,
    }
}
