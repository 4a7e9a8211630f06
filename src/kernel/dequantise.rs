//! Packed codes to f32: an integer subtraction, then one multiplication, `(q - z) * s`.
//!
//! The scale is one value, or one per channel.

use super::{
    Bindings, BufferId, Cell, Kernel, KernelCall, TASK_ELEMENTS, Tolerance, codes, floats, floats_mut, params, size,
};
use crate::wide::wide;
use rayon::prelude::*;

params::params! {
    struct Params {
        /// Of one image.
        elements: u32,
        /// Scales: 1, or the innermost dimension of the map.
        channels: u32,
        /// Of a code: 8 or 16.
        bits: u32,
        zero_point: i32,
    }
}

/// Packed codes, scales.
pub const BINDINGS: Bindings = Bindings { inputs: &[Cell::U32, Cell::F32], output: Cell::F32 };

impl Params {
    /// `scales` is 1, or the number of channels.
    pub fn new(batch: u32, elements: usize, scales: usize, bits: u32, zero_point: i32) -> Self {
        assert!(bits == 8 || bits == 16, "codes of {bits} bits do not pack");
        Self { batch, elements: size(elements), channels: size(scales), bits, zero_point }
    }
}

pub fn call(params: Params, packed: BufferId, scale: BufferId, output: BufferId) -> KernelCall {
    KernelCall { kernel: Kernel::Dequantise, params: params.words(), inputs: vec![packed, scale], output }
}

/// Bitwise, since nothing here is fused or divided. Holds while results are not subnormal, which
/// a device may flush: scales must be at least 2⁻¹²⁶.
pub fn tolerance(_: &Params) -> Tolerance {
    Tolerance::Bitwise
}

pub fn invocations(p: &Params) -> usize {
    output_words(p)
}

pub fn input_words(p: &Params) -> [usize; 2] {
    [codes::words(output_words(p), p.bits), p.channels as usize]
}

pub fn output_words(p: &Params) -> usize {
    p.batch as usize * p.elements as usize
}

pub fn twin(p: &Params, inputs: &[&[u32]], out: &mut [u32]) {
    let (packed, scale) = (inputs[0], floats(inputs[1]));
    let channels = p.channels as usize;
    floats_mut(out).par_chunks_mut(TASK_ELEMENTS).enumerate().for_each(|(i, out)| {
        let from = i * TASK_ELEMENTS;
        if p.bits == 8 && channels == 1 && cfg!(target_endian = "little") {
            // Tasks begin with a word.
            let codes: &[i8] = bytemuck::cast_slice(&packed[from / 4..]);
            return values(codes, p.zero_point, scale[0], out);
        }
        for (j, y) in out.iter_mut().enumerate() {
            let code = codes::get(packed, from + j, p.bits);
            *y = (code - p.zero_point) as f32 * scale[(from + j) % channels];
        }
    });
}

wide! {
    fn values(codes: &[i8], zero_point: i32, scale: f32, out: &mut [f32]) {
        out.iter_mut().zip(codes).for_each(|(y, &code)| *y = (i32::from(code) - zero_point) as f32 * scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_widths_become_their_values() {
        let packed = codes::pack8(&[-128, 0, 127, 3, 4]);
        let mut out = [0; 5];
        let scale = [0.5f32.to_bits()];
        twin(&Params::new(1, 5, 1, 8, 3), &[&packed, &scale], &mut out);
        assert_eq!(floats(&out), [-65.5, -1.5, 62.0, 0.0, 0.5]);

        let packed = codes::pack16(&[i16::MIN, i16::MAX, 1, -1]);
        let mut out = [0; 4];
        twin(&Params::new(2, 2, 2, 16, 0), &[&packed, &[1f32.to_bits(), 2f32.to_bits()]], &mut out);
        assert_eq!(floats(&out), [-32768.0, 65534.0, 1.0, -2.0]);
    }
}
