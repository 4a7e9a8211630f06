//! The int8 addition of two maps: what each operand contributes, then vector requantisation of the sum.
//!
//! Another runtime's sum gives values that only their bounds are missing from.
//!
//! Contributions follow a formula where the style has one ([`Addend`]), and a table of the 256 codes
//! where it does not.

use super::addend::Addend;
use super::requant::Requant;
use super::table::{Kernels, Store, Table};
use super::tasks::{TASK, each_chunk};
use super::versions::versions;
use crate::op::{Counts, Output, add};
use crate::quant::sum;
use crate::trunk::Map;

/// Elements per line of sums.
const ROW: usize = 64;
/// Lines that are summed before they are requantised: as much as stays in the first cache.
const ROWS: usize = 16;

/// An addition prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Sum {
    table: &'static Table,
    fill: unsafe fn(&mut Fill<'_>),
    operands: Operands,
    requant: Requant,
    output: Output,
}

#[derive(Clone, Debug)]
enum Operands {
    /// The first one's contribution is exact; the operands have changed places if it was the second's.
    Exact([Addend; 2], bool),
    Formulas([Addend; 2]),
    /// What each code adds, at index `code + 128`.
    Tables([Box<[i32; 256]>; 2]),
    /// Another runtime's formula.
    Direct(sum::Sum),
}

impl Sum {
    /// The fast form of an addition; none where a sum could overflow.
    pub fn new(p: &add::Int8, kernels: Kernels) -> Option<Self> {
        let (set, table) = (kernels.set()?, kernels.table()?);
        table.requantise?;
        let form = match &p.form {
            add::Form::Tflite(form) => form,
            add::Form::Direct(sum) => {
                let (requant, operands) = (Requant::identity(&p.output, ROW)?, Operands::Direct(*sum));
                return Some(Self { table, fill: fill(set), operands, requant, output: p.output });
            }
        };
        let codes = || i8::MIN..=i8::MAX;
        let most = |operand| codes().map(|q| form.scaled(operand, q).abs()).max().unwrap_or(0);
        let requant = Requant::uniform(&p.output, form.sum, most(0) + most(1), ROW)?;
        let operands =
            match (Addend::find(form, 0), Addend::find(form, 1)) {
                (Some(a), Some(b)) if a.part == 0 => Operands::Exact([a, b], false),
                (Some(a), Some(b)) if b.part == 0 => Operands::Exact([b, a], true),
                (Some(a), Some(b)) => Operands::Formulas([a, b]),
                _ => Operands::Tables([0, 1].map(|operand| {
                    Box::new(std::array::from_fn(|i| form.scaled(operand, (i as i32 - 128) as i8) as i32))
                })),
            };
        Some(Self { table, fill: fill(set), operands, requant, output: p.output })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, a: Map<'_>, b: Map<'_>, out: &mut [i8]) -> Counts {
        assert!(a.codes.len() == out.len() && b.codes.len() == out.len(), "maps of one shape");
        each_chunk(out, TASK, |first, codes| {
            let mut sums = [0i32; ROW * ROWS];
            let mut saturations = 0;
            for (i, codes) in codes.chunks_mut(ROW * ROWS).enumerate() {
                let part = first + i * ROW * ROWS..first + i * ROW * ROWS + codes.len();
                let lanes = Rows { channels: codes.len(), lanes: codes.len(), pitch: [codes.len(); 2] };
                self.add([&a.codes[part.clone()], &b.codes[part]], lanes, &mut sums[..codes.len()]);
                let (whole, rest) = codes.split_at_mut(codes.len() / ROW * ROW);
                saturations += self.table.uniform(&self.requant, &self.output, &sums[..whole.len()], ROW, whole);
                let lanes = rest.len().next_multiple_of(16);
                saturations +=
                    self.table.uniform(&self.requant, &self.output, &sums[whole.len()..][..lanes], lanes, rest);
            }
            Counts { saturations, ..Counts::default() }
        })
    }

    /// The sums of the operands' codes, row by row.
    pub(super) fn add(&self, [a, b]: [&[i8]; 2], rows: Rows, sums: &mut [i32]) {
        let mut work = Fill { operands: &self.operands, a, b, rows, sums };
        // SAFETY: the function was chosen for instructions that the CPU has.
        unsafe { (self.fill)(&mut work) };
    }

    /// Codes for lines of sums, `lanes` apart, of which `channels` count; positions are `pitch` apart.
    pub(super) fn store(&self, sums: &[i32], lanes: usize, channels: usize, codes: &mut [i8], pitch: usize) -> u64 {
        let Some(requantise) = self.table.requantise else { return 0 };
        let mut store = Store {
            style: self.requant.style,
            halved: self.requant.halved,
            sums,
            lanes,
            channels,
            factor: &self.requant.factor,
            right: &self.requant.right,
            offset: &self.requant.offset,
            lo: self.output.clamp.lo(),
            hi: self.output.clamp.hi(),
            saturates: self.requant.saturates,
            codes,
            pitch,
        };
        store.check();
        // SAFETY: a table exists only where the CPU has its instructions, and the store is checked.
        unsafe { requantise(&mut store) }
    }
}

/// A run of sums to be made.
struct Fill<'a> {
    operands: &'a Operands,
    a: &'a [i8],
    b: &'a [i8],
    rows: Rows,
    sums: &'a mut [i32],
}

/// Rows of sums, `lanes` apart, and of both operands' codes.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub channels: usize,
    pub lanes: usize,
    pub pitch: [usize; 2],
}

versions!(fill, fill_sums(work: &mut Fill<'_>) -> ());

#[inline(always)]
fn fill_sums(work: &mut Fill<'_>) {
    match work.operands {
        &Operands::Exact([p, q], swapped) => {
            if swapped {
                each(work, |a, b| p.whole_value(b) + q.value(a));
            } else {
                each(work, |a, b| p.whole_value(a) + q.value(b));
            }
        }
        &Operands::Formulas([p, q]) => each(work, |a, b| p.value(a) + q.value(b)),
        Operands::Tables([p, q]) => {
            let at = |q: i8| usize::from(q as u8 ^ 128);
            each(work, |a, b| p[at(a)] + q[at(b)]);
        }
        // One loop for each that is common.
        Operands::Direct(sum::Sum::Onnxruntime(p)) if p.is_finite() => {
            let offset = p.offset();
            each(work, |a, b| rounded(p.real(a, b)) - offset);
        }
        Operands::Direct(sum::Sum::Scaled(p)) => each(work, |a, b| near(p.value(a, b))),
        Operands::Direct(p) => each(work, |a, b| near(p.value(a, b))),
    }
}

/// Ties to even, in the form that compilers vectorise: what is not near is cut off first.
#[inline(always)]
fn rounded(value: f32) -> i32 {
    let near = value.max(-Requant::NEAR as f32).min(Requant::NEAR as f32).round_ties_even();
    // SAFETY: no more than 2^20, and a number: a maximum is one.
    unsafe { near.to_int_unchecked() }
}

#[inline(always)]
fn near(value: i32) -> i32 {
    value.clamp(-Requant::NEAR, Requant::NEAR)
}

/// Sums of a row come in pieces whose length compilers know: narrow layers have rows of 16 or 24.
#[inline(always)]
fn each(work: &mut Fill<'_>, sum: impl Fn(i8, i8) -> i32) {
    let Rows { mut channels, mut lanes, mut pitch } = work.rows;
    if lanes == channels && pitch == [channels; 2] {
        // Rows without gaps are one.
        (channels, lanes, pitch) = (work.sums.len(), work.sums.len(), [work.sums.len(); 2]);
    }
    for (i, sums) in work.sums.chunks_mut(lanes).enumerate() {
        let (a, b) = (&work.a[i * pitch[0]..][..channels], &work.b[i * pitch[1]..][..channels]);
        let mut done = 0;
        while channels - done >= ROW {
            piece::<ROW>(a, b, sums, done, &sum);
            done += ROW;
        }
        while channels - done >= 16 {
            piece::<16>(a, b, sums, done, &sum);
            done += 16;
        }
        while channels - done >= 8 {
            piece::<8>(a, b, sums, done, &sum);
            done += 8;
        }
        for c in done..channels {
            sums[c] = sum(a[c], b[c]);
        }
    }
}

#[inline(always)]
fn piece<const N: usize>(a: &[i8], b: &[i8], sums: &mut [i32], from: usize, sum: impl Fn(i8, i8) -> i32) {
    let (a, b, sums) = (&a[from..from + N], &b[from..from + N], &mut sums[from..from + N]);
    for c in 0..N {
        sums[c] = sum(a[c], b[c]);
    }
}
