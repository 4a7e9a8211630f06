//! Characters of an alphabet that nobody writes: three bent strokes each, written by shaky hands.

use super::Family;
use super::draw::{Draw, UNIT, grey};

pub(super) const FAMILY: Family = Family {
    name: "strokes",
    about: "characters of an invented alphabet, thin pen, shaky hand",
    classes: ["ka", "ri", "mo", "tu", "ne", "sa", "lo", "vi", "du", "he"],
    channels: 1,
    neighbour_percent: 99,
    draw,
};

/// Where the points of a character's three strokes are, in eighths of the paper.
const ALPHABET: [[[[i32; 2]; 3]; 3]; 10] = [
    [[[1, 1], [4, 2], [7, 1]], [[4, 2], [3, 5], [1, 7]], [[4, 4], [6, 5], [7, 7]]],
    [[[2, 1], [2, 4], [2, 7]], [[2, 4], [5, 3], [6, 1]], [[2, 4], [5, 5], [6, 7]]],
    [[[1, 2], [4, 1], [7, 2]], [[7, 2], [7, 5], [4, 7]], [[4, 7], [1, 5], [1, 2]]],
    [[[1, 1], [1, 4], [4, 4]], [[4, 4], [7, 4], [7, 1]], [[4, 4], [4, 6], [4, 7]]],
    [[[1, 7], [2, 3], [4, 1]], [[4, 1], [6, 3], [7, 7]], [[2, 5], [4, 4], [6, 5]]],
    [[[7, 1], [3, 1], [2, 3]], [[2, 3], [4, 4], [6, 5]], [[6, 5], [5, 7], [1, 7]]],
    [[[4, 1], [4, 4], [4, 7]], [[1, 3], [4, 2], [7, 3]], [[1, 6], [4, 7], [7, 6]]],
    [[[1, 1], [3, 4], [1, 7]], [[4, 1], [6, 4], [4, 7]], [[3, 4], [5, 4], [6, 4]]],
    [[[2, 1], [6, 2], [6, 4]], [[6, 4], [5, 6], [2, 7]], [[2, 1], [1, 4], [2, 7]]],
    [[[1, 4], [4, 4], [7, 4]], [[2, 1], [3, 3], [4, 4]], [[4, 4], [5, 5], [6, 7]]],
];
const GRAIN: i32 = 10;

/// A piece of a stroke, and one over the square of its length for points along it.
struct Piece {
    from: [i64; 2],
    by: [i64; 2],
    square: i64,
}

fn draw(class: usize, size: [usize; 2], draw: &mut Draw) -> Vec<u8> {
    let scale = draw.between(350, 480);
    let offset = [(); 2].map(|()| (UNIT - 8 * scale) / 2 + draw.between(-250, 250));
    let mut pieces = vec![];
    for stroke in ALPHABET[class] {
        let points = stroke.map(|p| [0, 1].map(|i| i64::from(offset[i] + p[i] * scale + draw.between(-190, 190))));
        pieces.extend(points.windows(2).map(|pair| Piece::new(pair[0], pair[1])));
    }
    let pen = i64::from(draw.between(110, 220));
    let paper = draw.between(0, 60);
    let ink = draw.between(170, 255);
    grey(size, draw, GRAIN, |u, v| {
        let nearest = pieces.iter().map(|piece| piece.square_distance([u.into(), v.into()])).min();
        if nearest <= Some(pen * pen) { ink } else { paper }
    })
}

impl Piece {
    fn new(from: [i64; 2], to: [i64; 2]) -> Self {
        let by = [to[0] - from[0], to[1] - from[1]];
        Self { from, by, square: (by[0] * by[0] + by[1] * by[1]).max(1) }
    }

    fn square_distance(&self, at: [i64; 2]) -> i64 {
        let (x, y) = (at[0] - self.from[0], at[1] - self.from[1]);
        let along = (x * self.by[0] + y * self.by[1]).clamp(0, self.square);
        let (x, y) = (x - self.by[0] * along / self.square, y - self.by[1] * along / self.square);
        x * x + y * y
    }
}
