//! What a batch's forward pass leaves for its backward pass, bit by bit as a chip would hold it.

use super::packed::Packed;
use crate::graph::EdgeId;
use std::collections::BTreeMap;

/// What every step kept of one batch.
#[derive(Clone, Debug)]
pub struct Tape {
    pub(super) batch: usize,
    pub(super) steps: Vec<Kept>,
    /// Maps of codes, kept once whoever needs them.
    pub(super) maps: BTreeMap<EdgeId, Vec<i8>>,
}

/// What one step kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// Where errors pass.
    pub mask: Option<Packed>,
    /// The positions of maxima, or the classes of slopes.
    pub numbers: Option<Packed>,
}

impl Tape {
    pub(super) fn new(batch: usize, steps: usize) -> Self {
        Self { batch, steps: vec![Kept::default(); steps], maps: BTreeMap::new() }
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> u64 {
        let packed = |k: &Kept| [&k.mask, &k.numbers].into_iter().flatten().map(|p| p.bytes() as u64).sum::<u64>();
        self.steps.iter().map(packed).sum::<u64>() + self.maps.values().map(|codes| codes.len() as u64).sum::<u64>()
    }
}

/// The form in which something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptForm {
    /// Whether an error passes.
    Mask,
    /// The position of a maximum in its window, or the class of a slope.
    Numbers,
    /// A map's codes.
    Codes,
}

/// One thing that every image makes the trunk keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptMap {
    /// The map that it has an entry for every element of.
    pub edge: EdgeId,
    pub form: KeptForm,
    pub elements: u64,
    /// Per element.
    pub bits: u64,
}

impl KeptMap {
    /// Of one image.
    pub fn bytes(&self) -> u64 {
        (self.elements * self.bits).div_ceil(8)
    }
}
