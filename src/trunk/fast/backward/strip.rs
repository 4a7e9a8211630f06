//! The errors of a few rows as words, with zeros around them, so that every window is inside.

use super::axis::Axis;
use super::pack::{Format, Pitch};
use crate::op::Conv2d;
use crate::tensor::Shape;
use crate::trunk::fast::InstructionSet;
use crate::trunk::fast::versions::versions;
use std::ops::Range;

/// One strip of more words than this is a sign of absurd padding.
const MOST_WORDS: usize = 1 << 26;

/// The errors of some images.
#[derive(Clone, Copy)]
pub(super) enum Errors<'a> {
    F32(&'a [f32]),
    I16(&'a [i16]),
}

/// How strips of a layer are laid out: rows of pixels of words.
#[derive(Clone, Debug)]
pub(super) struct Strip {
    format: Format,
    /// What the forward convolution made.
    output: Shape,
    groups: usize,
    /// The first column that any window reads, and how many there are.
    left: isize,
    columns: usize,
    pub pitch: Pitch,
}

impl Strip {
    /// None where padding would make it absurdly large.
    pub fn new(conv: &Conv2d, axes: &[Axis; 2], input: Shape, output: Shape, format: Format) -> Option<Self> {
        let group = (conv.out_c / conv.groups).div_ceil(format.per_word());
        let (left, right) = axes[1].readers(0, input.w - 1);
        let (columns, pixel) = (usize::try_from((right - left + 1).max(1)).ok()?, group.checked_mul(conv.groups)?);
        let row = columns.checked_mul(pixel)?;
        let (top, bottom) = axes[0].readers(0, input.h - 1);
        row.checked_mul(usize::try_from(bottom - top + 1).ok()?).filter(|&words| words <= MOST_WORDS)?;
        let pitch = Pitch { group, pixel, row };
        Some(Self { format, output, groups: conv.groups, left, columns, pitch })
    }

    pub fn left(&self) -> isize {
        self.left
    }

    /// Writes rows `first..first + rows` of an image, of which any may lie outside, over all of `to`.
    pub fn fill(&self, set: InstructionSet, errors: Errors<'_>, image: usize, first: isize, to: &mut [u32]) {
        let zero = self.format.zero();
        let (out_w, out_c) = (self.output.w as isize, self.output.c);
        // The columns that exist.
        let from = self.left.clamp(0, out_w);
        let end = (self.left + self.columns as isize).clamp(from, out_w);
        let existing = from as usize..end as usize;
        let before = if existing.is_empty() { 0 } else { (from - self.left) as usize * self.pitch.pixel };
        for (i, to) in to.chunks_exact_mut(self.pitch.row).enumerate() {
            let row = first + i as isize;
            if existing.is_empty() || row < 0 || row >= self.output.h as isize {
                to.fill(zero);
                continue;
            }
            let at = (image * self.output.h + row as usize) * self.output.w;
            let own = (at + existing.start) * out_c..(at + existing.end) * out_c;
            let (left, rest) = to.split_at_mut(before);
            let (middle, right) = rest.split_at_mut(existing.len() * self.pitch.pixel);
            left.fill(zero);
            right.fill(zero);
            self.words(set, errors, own, middle);
        }
    }

    /// Turns neighbouring errors into words.
    fn words(&self, set: InstructionSet, errors: Errors<'_>, own: Range<usize>, to: &mut [u32]) {
        let outputs = self.output.c / self.groups;
        let is_whole = outputs.is_multiple_of(self.format.per_word());
        let (per_run, words) = if is_whole { (own.len(), to.len()) } else { (outputs, self.pitch.group) };
        match errors {
            Errors::F32(errors) => to.copy_from_slice(bytemuck::cast_slice(&errors[own])),
            Errors::I16(errors) => {
                let copy = if self.format == Format::Pairs { pairs(set) } else { quads(set) };
                for (from, to) in errors[own].chunks_exact(per_run).zip(to.chunks_exact_mut(words)) {
                    // SAFETY: an instruction set is chosen only where the CPU has it.
                    unsafe { copy(from, to) };
                }
            }
        }
    }
}

versions!(pairs, copy_pairs(from: &[i16], to: &mut [u32]) -> ());
versions!(quads, copy_quads(from: &[i16], to: &mut [u32]) -> ());

#[inline(always)]
fn copy_pairs(from: &[i16], to: &mut [u32]) {
    let (pairs, rest) = from.as_chunks::<2>();
    for (to, &[a, b]) in to.iter_mut().zip(pairs) {
        *to = u32::from(a as u16) | u32::from(b as u16) << 16;
    }
    if let (Some(to), [last]) = (to.last_mut(), rest) {
        *to = u32::from(*last as u16);
    }
}

#[inline(always)]
fn copy_quads(from: &[i16], to: &mut [u32]) {
    debug_assert!(from.iter().all(|&e| i8::try_from(e).is_ok()), "errors of 8 bits");
    let byte = |e: i16| e as u8 ^ 0x80;
    let (quads, rest) = from.as_chunks::<4>();
    for (to, quad) in to.iter_mut().zip(quads) {
        *to = u32::from_le_bytes(quad.map(byte));
    }
    if let (Some(to), false) = (to.last_mut(), rest.is_empty()) {
        *to = u32::from_le_bytes(std::array::from_fn(|i| rest.get(i).map_or(0x80, |&e| byte(e))));
    }
}
