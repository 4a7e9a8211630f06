//! Where maps are while steps run: views of codes that somebody else owns, and one buffer for all maps
//! of a program, planned once from their lifetimes.

use super::{Pass, TrunkProgram};
use crate::graph::EdgeId;
use crate::tensor::{Shape, Tensor};
use std::ops::Range;

/// A batch of maps of one shape, NHWC, as a step reads it.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    pub batch: usize,
    pub shape: Shape,
    pub codes: &'a [i8],
}

impl<'a> Map<'a> {
    /// Wraps `codes`, whose length must be `batch × shape.elements()`.
    pub fn new(batch: usize, shape: Shape, codes: &'a [i8]) -> Self {
        assert_eq!(codes.len(), batch * shape.elements(), "codes do not fill {batch} x {shape}");
        Self { batch, shape, codes }
    }

    /// The codes of one image.
    pub fn image(&self, index: usize) -> &'a [i8] {
        let n = self.shape.elements();
        &self.codes[index * n..(index + 1) * n]
    }

    pub fn to_tensor(self) -> Tensor<i8> {
        Tensor::from_vec(self.batch, self.shape, self.codes.to_vec())
    }
}

impl<'a> From<&'a Tensor<i8>> for Map<'a> {
    fn from(x: &'a Tensor<i8>) -> Self {
        Self::new(x.batch, x.shape, &x.data)
    }
}

impl Default for Map<'_> {
    fn default() -> Self {
        Self { batch: 0, shape: Shape::new(0, 0, 0), codes: &[] }
    }
}

/// Where in one buffer each map of a program is. Maps that live at the same time do not overlap.
#[derive(Clone, Debug)]
pub struct Memory {
    /// By edge; none for maps that no pass makes.
    places: Vec<Option<Range<usize>>>,
    elements: usize,
}

/// A map's first and last pass.
struct Life {
    edge: usize,
    elements: usize,
    passes: [usize; 2],
}

impl Memory {
    /// Maps start on cache lines.
    pub const ALIGNMENT: usize = 64;

    /// Places the maps that `passes` make of `batch` images; those of `kept` live to the end.
    ///
    /// Large maps first, each at the lowest address that is free for its whole life.
    pub fn plan(program: &TrunkProgram, passes: &[Pass], batch: usize, kept: &[EdgeId]) -> Self {
        let mut lives = lives(program, passes, batch, kept);
        lives.sort_by_key(|life| (std::cmp::Reverse(life.elements), life.passes, life.edge));
        let mut memory = Self { places: Vec::new(), elements: 0 };
        let mut placed: Vec<(Range<usize>, [usize; 2])> = Vec::new();
        for life in lives {
            let [birth, death] = life.passes;
            let mut together: Vec<Range<usize>> = placed
                .iter()
                .filter(|(_, [b, d])| *b <= death && birth <= *d)
                .map(|(place, _)| place.clone())
                .collect();
            together.sort_by_key(|place| place.start);
            let mut start = 0;
            for place in together {
                if place.start >= start + life.elements {
                    break;
                }
                start = start.max(place.end.next_multiple_of(Self::ALIGNMENT));
            }
            let place = start..start + life.elements;
            memory.elements = memory.elements.max(place.end);
            if memory.places.len() <= life.edge {
                memory.places.resize(life.edge + 1, None);
            }
            memory.places[life.edge] = Some(place.clone());
            placed.push((place, life.passes));
        }
        memory
    }

    /// Where a map is; none for one that no pass makes.
    pub fn place(&self, edge: EdgeId) -> Option<Range<usize>> {
        self.places.get(edge.index()).cloned().flatten()
    }

    /// What all maps need together.
    pub fn elements(&self) -> usize {
        self.elements
    }
}

fn lives(program: &TrunkProgram, passes: &[Pass], batch: usize, kept: &[EdgeId]) -> Vec<Life> {
    let made = passes.iter().enumerate().map(|(i, pass)| {
        let step = &program.steps[pass.last()];
        let edge = step.output;
        let reads = |pass: &Pass| pass.reads(program).any(|read| read == edge);
        let last = passes.iter().rposition(reads).unwrap_or(i).max(i);
        let death = if kept.contains(&edge) { usize::MAX } else { last };
        Life { edge: edge.index(), elements: batch * step.output_shape().elements(), passes: [i, death] }
    });
    made.collect()
}
