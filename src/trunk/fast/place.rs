//! Operations that only move codes: padding and concatenation.

use super::lookup::Lookup;
use super::table::Kernels;
use super::tasks::{each_chunk, whole_units};
use crate::op::{Counts, Pad, Table};
use crate::tensor::Shape;
use crate::trunk::Map;

/// A padding of maps of one shape.
#[derive(Clone, Debug)]
pub struct Padding {
    pad: Pad,
    input: Shape,
    output: Shape,
    zero: i8,
}

impl Padding {
    pub fn new(pad: &Pad, input: Shape, zero_point: i32, kernels: Kernels) -> Option<Self> {
        kernels.set()?;
        let output = pad.output_shape(input).ok()?;
        (input.elements() > 0).then_some(Self { pad: *pad, input, output, zero: zero_point as i8 })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, x: Map<'_>, out: &mut [i8]) -> Counts {
        assert_eq!((x.shape, out.len()), (self.input, x.batch * self.output.elements()), "made for one shape");
        let unit = self.output.w * self.output.c;
        each_chunk(out, whole_units(unit), |first, codes| {
            for (r, codes) in codes.chunks_exact_mut(unit).enumerate() {
                let at = first / unit + r;
                let iy = (at % self.output.h).checked_sub(self.pad.space[0]).filter(|&iy| iy < self.input.h);
                match iy {
                    Some(iy) => self.row(&x.image(at / self.output.h)[iy * self.input.w * self.input.c..], codes),
                    None => codes.fill(self.zero),
                }
            }
            Counts::default()
        })
    }

    fn row(&self, source: &[i8], codes: &mut [i8]) {
        let (c, out_c) = (self.input.c, self.output.c);
        let (left, inside) = (self.pad.space[1] * out_c, self.input.w * out_c);
        codes[..left].fill(self.zero);
        codes[left + inside..].fill(self.zero);
        let codes = &mut codes[left..left + inside];
        if c == out_c {
            codes.copy_from_slice(&source[..inside]);
            return;
        }
        codes.fill(self.zero);
        for (to, from) in codes.chunks_exact_mut(out_c).zip(source.chunks_exact(c)) {
            to[self.pad.channels[0]..][..c].copy_from_slice(from);
        }
    }
}

/// A concatenation along channels, with what rescales each input.
#[derive(Clone, Debug)]
pub struct Concatenation {
    tables: Vec<Option<Lookup>>,
    channels: usize,
}

impl Concatenation {
    /// None where a table has no fast form.
    pub fn new(tables: &[Option<Table>], inputs: &[Shape], kernels: Kernels) -> Option<Self> {
        kernels.set()?;
        let prepare = |table: &Option<Table>| match table {
            Some(table) => Lookup::new(table, kernels).map(Some),
            None => Some(None),
        };
        let tables = tables.iter().map(prepare).collect::<Option<Vec<_>>>()?;
        let channels = inputs.iter().map(|shape| shape.c).sum();
        (tables.len() == inputs.len() && channels > 0).then_some(Self { tables, channels })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, inputs: &[Map<'_>], out: &mut [i8]) -> Counts {
        let c = self.channels;
        assert_eq!(inputs.iter().map(|x| x.codes.len()).sum::<usize>(), out.len(), "maps of one height and width");
        each_chunk(out, whole_units(c), |start, codes| {
            let (mut counts, mut first) = (Counts::default(), 0);
            for (x, table) in inputs.iter().zip(&self.tables) {
                let own = x.shape.c;
                let from = x.codes[start / c * own..].chunks_exact(own.max(1));
                for (to, from) in codes.chunks_exact_mut(c).zip(from) {
                    let to = &mut to[first..first + own];
                    match table {
                        Some(table) => counts += table.row(from, to),
                        None => to.copy_from_slice(from),
                    }
                }
                first += own;
            }
            counts
        })
    }
}
