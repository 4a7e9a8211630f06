//! Tiles of sums on their way into a map of gradients.

use super::pack::LANES;
use crate::trunk::fast::InstructionSet;
use crate::trunk::fast::versions::versions;

/// A tile of sums; position `i` belongs at `to[at[i] + first..][..channels]`.
pub(super) struct Store<'a, T> {
    /// `[position][lane]`.
    pub sums: &'a [u32],
    pub lanes: usize,
    pub channels: usize,
    pub first: usize,
    pub at: &'a [usize],
    pub to: &'a mut [T],
    /// Whether these are the first of their elements, or are added to what is there.
    pub is_first: bool,
}

/// What gradients are summed in.
pub(super) trait Cell: Copy + Default + Send + Sync {
    /// Writes a tile. Unsafe to call: the CPU must have the instruction set.
    fn store(set: InstructionSet) -> unsafe fn(&mut Store<'_, Self>);
}

impl Cell for f32 {
    fn store(set: InstructionSet) -> unsafe fn(&mut Store<'_, Self>) {
        store_f32(set)
    }
}

impl Cell for i32 {
    fn store(set: InstructionSet) -> unsafe fn(&mut Store<'_, Self>) {
        store_i32(set)
    }
}

impl Cell for i64 {
    fn store(set: InstructionSet) -> unsafe fn(&mut Store<'_, Self>) {
        store_i64(set)
    }
}

versions!(store_f32, f32s(s: &mut Store<'_, f32>) -> ());
versions!(store_i32, i32s(s: &mut Store<'_, i32>) -> ());
versions!(store_i64, i64s(s: &mut Store<'_, i64>) -> ());

#[inline(always)]
fn f32s(s: &mut Store<'_, f32>) {
    put(s, |to, sum| *to = f32::from_bits(sum));
}

#[inline(always)]
fn i32s(s: &mut Store<'_, i32>) {
    put(s, |to, sum| *to = sum as i32);
}

#[inline(always)]
fn i64s(s: &mut Store<'_, i64>) {
    if s.is_first {
        put(s, |to, sum| *to = i64::from(sum as i32));
    } else {
        put(s, |to, sum| *to += i64::from(sum as i32));
    }
}

#[inline(always)]
fn put<T>(s: &mut Store<'_, T>, one: impl Fn(&mut T, u32)) {
    for (sums, &at) in s.sums.chunks_exact(s.lanes).zip(s.at) {
        let to = &mut s.to[at + s.first..][..s.channels];
        // A constant number of lanes is a few instructions; any other is a loop.
        match (to.as_chunks_mut::<LANES>(), sums.as_chunks::<LANES>()) {
            (([to], []), ([sums], [])) => to.iter_mut().zip(sums).for_each(|(to, &sum)| one(to, sum)),
            ((_, to), _) => to.iter_mut().zip(sums).for_each(|(to, &sum)| one(to, sum)),
        }
    }
}
