//! The product of two maps, or of a map and a mask or a gate: products of centred codes, then one
//! multiplier for all of them on vectors.

use super::requant::Requant;
use super::table::{Kernels, Table};
use super::tasks::{each_chunk, whole_units};
use super::versions::versions;
use crate::op::{Counts, Output, mul};
use crate::quant::onnxruntime;
use crate::tensor::Shape;
use crate::trunk::Map;

/// Elements that are multiplied before they are requantised: a few lines of cache.
const ROW: usize = 64;
const ROWS: usize = 8;

/// A product prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Mul {
    table: &'static Table,
    multiply: unsafe fn(&mut Products<'_>),
    form: Form,
    requant: Requant,
    output: Output,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// Products of codes less these.
    Centred([i16; 2]),
    Onnxruntime(onnxruntime::Mul),
}

impl Mul {
    /// None where a product could overflow.
    pub fn new(p: &mul::Int8, kernels: Kernels) -> Option<Self> {
        let (set, table) = (kernels.set()?, kernels.table()?);
        table.requantise?;
        let (form, requant) = match p.form {
            mul::Form::Tflite { zero_points, multiplier } => {
                let zero = |i: usize| zero_points[i].clamp(-128, 127) as i16;
                if zero_points != [0, 1].map(|i| i32::from(zero(i))) {
                    return None;
                }
                (Form::Centred([zero(0), zero(1)]), Requant::uniform(&p.output, multiplier, 255 * 255, ROW)?)
            }
            mul::Form::Onnxruntime(form) => (Form::Onnxruntime(form), Requant::identity(&p.output, ROW)?),
        };
        Some(Self { table, multiply: multiply(set), form, requant, output: p.output })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, a: Map<'_>, b: Map<'_>, out: &mut [i8]) -> Counts {
        assert!(a.batch == b.batch && a.codes.len() == out.len(), "both operands hold the same images");
        let spread = Spread::new(a.shape, b.shape);
        each_chunk(out, whole_units(a.shape.c), |first, codes| self.task(a, b, spread, first, codes))
    }

    fn task(&self, a: Map<'_>, b: Map<'_>, spread: Spread, first: usize, codes: &mut [i8]) -> Counts {
        let mut products = [0i32; ROW * ROWS];
        let mut saturations = 0;
        for (i, codes) in codes.chunks_mut(ROW * ROWS).enumerate() {
            let start = first + i * ROW * ROWS;
            let mut done = 0;
            while done < codes.len() {
                let (from, run) = spread.at(start + done);
                let n = run.min(codes.len() - done);
                let mut work = Products {
                    a: &a.codes[start + done..][..n],
                    b: &b.codes[from..][..if spread.per_channel { n } else { 1 }],
                    form: self.form,
                    products: &mut products[done..done + n],
                };
                // SAFETY: the function was chosen for instructions that the CPU has.
                unsafe { (self.multiply)(&mut work) };
                done += n;
            }
            let (whole, rest) = codes.split_at_mut(codes.len() / ROW * ROW);
            saturations += self.table.uniform(&self.requant, &self.output, &products[..whole.len()], ROW, whole);
            let lanes = rest.len().next_multiple_of(16);
            saturations +=
                self.table.uniform(&self.requant, &self.output, &products[whole.len()..][..lanes], lanes, rest);
        }
        Counts { saturations, ..Counts::default() }
    }
}

/// How the second operand spreads over the first.
#[derive(Clone, Copy)]
struct Spread {
    channels: usize,
    pixels: usize,
    /// Elements of `b` per image, and from pixel to pixel.
    image: usize,
    pixel: usize,
    per_channel: bool,
    /// Both are of one shape, so that no boundary matters.
    same: bool,
}

impl Spread {
    fn new(a: Shape, b: Shape) -> Self {
        let (pixel, channel) = mul::steps(a, b);
        let (channels, pixels) = (a.c, a.pixels());
        Self { channels, pixels, image: b.elements(), pixel, per_channel: channel == 1, same: a == b }
    }

    /// Where element `i` of the first operand has its partner, and for how many elements the partners
    /// follow one another (or stay the same).
    fn at(self, i: usize) -> (usize, usize) {
        if self.same {
            return (i, usize::MAX);
        }
        let (pixel, channel) = (i / self.channels, i % self.channels);
        let base = pixel / self.pixels * self.image + pixel % self.pixels * self.pixel;
        (base + if self.per_channel { channel } else { 0 }, self.channels - channel)
    }
}

/// A run of products.
struct Products<'a> {
    a: &'a [i8],
    /// As many, or one.
    b: &'a [i8],
    form: Form,
    products: &'a mut [i32],
}

versions!(multiply, products(work: &mut Products<'_>) -> ());

#[inline(always)]
fn products(work: &mut Products<'_>) {
    match work.form {
        Form::Centred([za, zb]) => {
            each(work, |q| i32::from(i16::from(q) - za), |q| i32::from(i16::from(q) - zb), |a, b| a * b)
        }
        Form::Onnxruntime(p) => {
            each(work, |q| q, |q| q, |a, b| p.value(a, b).clamp(-Requant::NEAR, Requant::NEAR));
        }
    }
}

/// `product` of what the operands' codes stand for.
#[inline(always)]
fn each<T: Copy>(work: &mut Products<'_>, a: impl Fn(i8) -> T, b: impl Fn(i8) -> T, product: impl Fn(T, T) -> i32) {
    if let ([one], true) = (work.b, work.a.len() > 1) {
        let one = b(*one);
        work.products.iter_mut().zip(work.a).for_each(|(y, &q)| *y = product(a(q), one));
    } else {
        let pairs = work.a.iter().zip(work.b);
        work.products.iter_mut().zip(pairs).for_each(|(y, (&p, &q))| *y = product(a(p), b(q)));
    }
}
