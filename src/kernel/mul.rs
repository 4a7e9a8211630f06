//! Elementwise product; the second operand may be a mask (h×w×1), a channel vector (1×1×c) or one
//! value, and is broadcast. It may also be a parameter that all images share.

use super::{Bindings, BufferId, Cell, Kernel, KernelCall, Tolerance, floats, floats_mut, params, size};
use crate::op;
use crate::tensor::Shape;
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        pixels: u32,
        channels: u32,
        /// How far the index into the second operand moves per image, pixel and channel.
        image_step: u32,
        pixel_step: u32,
        channel_step: u32,
    }
}

pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::F32, Cell::F32], output: Cell::F32 };

impl Params {
    /// `a` by a `b` of each image.
    pub fn new(batch: u32, a: Shape, b: Shape) -> Self {
        assert!(op::mul::broadcasts(a, b), "{b} does not spread over {a}");
        let (pixel, channel) = op::mul::steps(a, b);
        Self {
            batch,
            pixels: size(a.pixels()),
            channels: size(a.c),
            image_step: size(b.elements()),
            pixel_step: size(pixel),
            channel_step: size(channel),
        }
    }

    /// `a` by one `b` for all images.
    pub fn shared(batch: u32, a: Shape, b: Shape) -> Self {
        Self { image_step: 0, ..Self::new(batch, a, b) }
    }

    fn image(&self) -> usize {
        self.pixels as usize * self.channels as usize
    }
}

pub fn call(params: Params, a: BufferId, b: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Mul, params: params.words(), inputs: vec![a, b], output }
}

pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::ROUNDED_ONCE
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    let last = |n: u32, step: u32| n.saturating_sub(1) as usize * step as usize;
    let b = last(p.batch, p.image_step) + last(p.pixels, p.pixel_step) + last(p.channels, p.channel_step) + 1;
    [output_words(p), b]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.image()
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (a, b) = (floats(inputs[0]), floats(inputs[1]));
    let c = p.channels as usize;
    floats_mut(out).par_chunks_mut(p.image()).zip(a.par_chunks(p.image())).enumerate().for_each(|(image, (out, a))| {
        products(c, [p.pixel_step, p.channel_step], a, &b[image * p.image_step as usize..], out);
    });
}

wide! {
    /// Of one image, whose second operand `b` begins with.
    fn products(c: usize, steps: [u32; 2], a: &[f32], b: &[f32], out: &mut [f32]) {
        let [pixel_step, channel_step] = steps;
        for (pixel, (out, a)) in out.chunks_exact_mut(c).zip(a.chunks_exact(c)).enumerate() {
            let at = pixel * pixel_step as usize;
            if channel_step == 0 {
                let b = b[at];
                out.iter_mut().zip(a).for_each(|(y, a)| *y = a * b);
            } else {
                out.iter_mut().zip(a).zip(&b[at..at + c]).for_each(|((y, a), b)| *y = a * b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broadcast_finds_its_operand() {
        let a = Shape::new(2, 3, 4);
        for b in [a, Shape::new(2, 3, 1), Shape::vector(4), Shape::vector(1)] {
            for p in [Params::new(2, a, b), Params::shared(2, a, b)] {
                let images = if p.image_step == 0 { 1 } else { 2 };
                let value = |i: usize| (i + 1) as f32;
                let words: Vec<u32> = (0..images * b.elements()).map(|i| value(i).to_bits()).collect();
                assert_eq!(input_words(&p)[1], words.len(), "{b}");
                let ones = vec![1f32.to_bits(); 2 * a.elements()];
                let mut out = vec![0; ones.len()];
                twin(&p, &[&ones, &words], &mut out);
                for (i, &y) in floats(&out).iter().enumerate() {
                    let (image, y_, x, c) = (i / 24 % images, i / 12 % 2, i / 4 % 3, i % 4);
                    let at = ((image * b.h + y_ % b.h) * b.w + x % b.w) * b.c + c % b.c;
                    assert_eq!(y, value(at), "{b} at {i}");
                }
            }
        }
    }
}
