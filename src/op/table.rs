//! An int8 function of one code: 256 outputs, each with the events of computing it.
//!
//! Building the table runs the operation's definition on every code once; there is nothing that a
//! loop over a map could do differently.

use super::Counts;
use crate::quant::Clamp;
use crate::tensor::Tensor;
use rayon::prelude::*;

#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    codes: Vec<i8>,
    events: Vec<Counts>,
}

impl Table {
    pub fn build(f: impl Fn(i8, &mut Counts) -> i8) -> Self {
        let entry = |q: i8| {
            let mut counts = Counts::default();
            (f(q, &mut counts), counts)
        };
        let (codes, events) = (i8::MIN..=i8::MAX).map(entry).unzip();
        Self { codes, events }
    }

    /// The same function in a narrower range of codes.
    pub fn within(self, clamp: Clamp) -> Self {
        let cut = |(&code, &events): (&i8, &Counts)| {
            let (cut, _) = clamp.apply(i32::from(code));
            let saturations = events.saturations.max(u64::from(cut != code));
            (cut, Counts { saturations, ..events })
        };
        let (codes, events) = self.codes.iter().zip(&self.events).map(cut).unzip();
        Self { codes, events }
    }

    /// The outputs, for codes -128 to 127 in order.
    pub fn codes(&self) -> &[i8] {
        &self.codes
    }

    /// What computing each of them counts.
    pub fn events(&self) -> &[Counts] {
        &self.events
    }

    #[inline]
    pub fn code(&self, q: i8) -> i8 {
        self.codes[index(q)]
    }
}

#[inline]
fn index(q: i8) -> usize {
    (i32::from(q) + 128) as usize
}

/// Looks every code up.
pub fn int8(x: &Tensor<i8>, table: &Table) -> (Tensor<i8>, Counts) {
    const CHUNK: usize = 4096;
    let mut y = Tensor::zeros(x.batch, x.shape);
    let counts = y
        .data
        .par_chunks_mut(CHUNK)
        .zip(x.data.par_chunks(CHUNK))
        .map(|(y, x)| {
            let mut counts = Counts::default();
            for (y, &q) in y.iter_mut().zip(x) {
                *y = table.code(q);
                counts += table.events[index(q)];
            }
            counts
        })
        .sum();
    (y, counts)
}
