//! Softmax by tables: exponentials are functions of a difference of codes, and so, within a row, are
//! the codes that come out. Sums are formed in the reference loop's order.

use super::table::Kernels;
use super::tasks::{each_chunk, whole_units};
use crate::op::Counts;
use crate::op::softmax::{Fixed, Int8, Lookup};
use crate::quant::{Clamp, onnxruntime};
use crate::tensor::Shape;
use crate::trunk::Map;

/// A softmax prepared for maps of one shape.
#[derive(Clone, Debug)]
pub struct Softmax {
    form: Form,
    channels: usize,
}

#[derive(Clone, Debug)]
enum Form {
    /// Exponentials by how far a code is below the largest.
    Fixed(Box<[i32; 256]>),
    Optimised(Lookup),
    Onnxruntime(onnxruntime::Softmax),
}

impl Softmax {
    pub fn new(p: &Int8, input: Shape, kernels: Kernels) -> Option<Self> {
        kernels.set()?;
        let form = match p {
            Int8::Tflite(p) => Form::Fixed(Box::new(std::array::from_fn(|below| p.exponential(-(below as i32))))),
            Int8::Optimised(p) => Form::Optimised(p.clone()),
            Int8::Onnxruntime(p) => Form::Onnxruntime(p.clone()),
        };
        (input.c > 0).then_some(Self { form, channels: input.c })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, x: Map<'_>, out: &mut [i8]) -> Counts {
        assert_eq!((x.shape.c, x.codes.len()), (self.channels, out.len()), "made for one number of channels");
        each_chunk(out, whole_units(self.channels), |first, codes| {
            let rows = x.codes[first..][..codes.len()].chunks_exact(self.channels);
            codes.chunks_exact_mut(self.channels).zip(rows).map(|(y, x)| self.row(x, y)).sum()
        })
    }

    fn row(&self, x: &[i8], y: &mut [i8]) -> Counts {
        let (least, most) = x.iter().fold((i8::MAX, i8::MIN), |(least, most), &q| (least.min(q), most.max(q)));
        let (least, most) = (i32::from(least), i32::from(most));
        let below = |q: i8| most - i32::from(q);
        match &self.form {
            Form::Fixed(exponentials) => {
                let exponential = |below: i32| exponentials[below as usize];
                let value = Fixed::values(x.iter().map(|&q| Fixed::part(exponential(below(q)))).sum());
                look([least, most], x, y, |below| value(exponential(below)))
            }
            Form::Optimised(p) => {
                let inverse = p.inverse(x.iter().fold(0.0, |sum, &q| sum + p.exponential(-below(q))));
                look([least, most], x, y, |below| p.value(p.exponential(-below), inverse))
            }
            Form::Onnxruntime(p) => {
                let sum: f32 = x.iter().map(|&q| p.exponential(-below(q))).sum();
                look([least, most], x, y, |below| p.value(p.exponential(-below), sum))
            }
        }
    }
}

/// Codes from the values of what is that far below the largest; in a row of many each value is found once.
fn look([least, most]: [i32; 2], x: &[i8], y: &mut [i8], value: impl Fn(i32) -> i32) -> Counts {
    if x.len() as i32 <= most - least {
        let codes = x.iter().map(|&q| Clamp::INT8.apply(value(most - i32::from(q))));
        let cut = |(y, (code, saturated)): (&mut i8, (i8, bool))| {
            *y = code;
            u64::from(saturated)
        };
        return Counts { saturations: y.iter_mut().zip(codes).map(cut).sum(), ..Counts::default() };
    }
    let mut codes = [(0i8, false); 256];
    for below in 0..=most - least {
        codes[below as usize] = Clamp::INT8.apply(value(below));
    }
    let mut saturations = 0;
    for (y, &q) in y.iter_mut().zip(x) {
        let (code, saturated) = codes[(most - i32::from(q)) as usize];
        *y = code;
        saturations += u64::from(saturated);
    }
    Counts { saturations, ..Counts::default() }
}
