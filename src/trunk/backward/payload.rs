//! Errors as bytes of a bus: an image's mantissas, little-endian (two of 12 bits in three bytes), then
//! its exponent in a byte. As many bytes as [`GradFormat::bytes`] says.

use super::Errors;
use crate::quant::error_code::GradFormat;
use crate::tensor::{Shape, Tensor};

impl Errors {
    /// The bytes of all images, one after the other.
    pub fn payload(&self, format: GradFormat) -> Vec<u8> {
        match self {
            Errors::Values(values) => {
                assert_eq!(format, GradFormat::F32, "real errors cross as they are");
                values.data.iter().map(|v| v.to_le_bytes()).collect::<Vec<_>>().into_flattened()
            }
            Errors::Codes { mantissas, exponents } => {
                let mut bytes = Vec::with_capacity(mantissas.batch * format.bytes(elements(mantissas.shape)) as usize);
                for (i, &exponent) in exponents.iter().enumerate() {
                    pack(mantissas.image(i), format, &mut bytes);
                    // Every exponent is between -126 and 127.
                    bytes.push(exponent as i8 as u8);
                }
                bytes
            }
        }
    }

    /// What [`Errors::payload`] made of `batch` images; `bytes` must be as many.
    pub fn from_payload(format: GradFormat, batch: usize, shape: Shape, bytes: &[u8]) -> Self {
        let image = format.bytes(elements(shape)) as usize;
        assert_eq!(bytes.len(), batch * image, "the errors of {batch} images of {shape}");
        if format == GradFormat::F32 {
            let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            return Errors::Values(Tensor::from_vec(batch, shape, values.collect()));
        }
        let (mut mantissas, mut exponents) = (Vec::with_capacity(batch * shape.elements()), Vec::with_capacity(batch));
        for bytes in bytes.chunks_exact(image) {
            let (codes, exponent) = bytes.split_at(image - 1);
            unpack(codes, format, shape.elements(), &mut mantissas);
            exponents.push(i32::from(exponent[0] as i8));
        }
        Errors::Codes { mantissas: Tensor::from_vec(batch, shape, mantissas), exponents }
    }
}

fn elements(shape: Shape) -> u64 {
    shape.elements() as u64
}

fn pack(mantissas: &[i16], format: GradFormat, bytes: &mut Vec<u8>) {
    match format {
        GradFormat::Int8 => bytes.extend(mantissas.iter().map(|&m| m as i8 as u8)),
        GradFormat::Int12 => {
            for pair in mantissas.chunks(2) {
                let [low, high] = [pair[0], pair.get(1).copied().unwrap_or(0)].map(|m| m as u16 & 0xfff);
                let packed = [low as u8, (low >> 8 | high << 4) as u8, (high >> 4) as u8];
                bytes.extend_from_slice(&packed[..pair.len() + 1]);
            }
        }
        GradFormat::Int16 => {
            let from = bytes.len();
            bytes.resize(from + 2 * mantissas.len(), 0);
            let pairs = bytes[from..].as_chunks_mut::<2>().0;
            pairs.iter_mut().zip(mantissas).for_each(|(pair, m)| *pair = m.to_le_bytes());
        }
        GradFormat::F32 => panic!("mantissas cross in an integer format"),
    }
}

fn unpack(bytes: &[u8], format: GradFormat, elements: usize, mantissas: &mut Vec<i16>) {
    match format {
        GradFormat::Int8 => mantissas.extend(bytes.iter().map(|&b| i16::from(b as i8))),
        GradFormat::Int12 => {
            // Shifted up to the sign bit and down again.
            let signed = |bits: u16| (bits << 4) as i16 >> 4;
            let start = mantissas.len();
            for b in bytes.chunks(3) {
                let byte = |i: usize| u16::from(b.get(i).copied().unwrap_or(0));
                mantissas.push(signed(byte(0) | byte(1) << 8));
                mantissas.push(signed(byte(1) >> 4 | byte(2) << 4));
            }
            mantissas.truncate(start + elements);
        }
        GradFormat::Int16 => mantissas.extend(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]]))),
        GradFormat::F32 => panic!("mantissas cross in an integer format"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_come_back_from_as_many_bytes_as_are_counted() {
        for (format, most) in [(GradFormat::Int8, 127), (GradFormat::Int12, 2047), (GradFormat::Int16, 32767)] {
            for elements in 1..6 {
                let shape = Shape::vector(elements);
                let mantissas = (0..2 * elements).map(|i| [most, -most, 0, -1, 1, 77][i % 6]).collect();
                let codes =
                    Errors::Codes { mantissas: Tensor::from_vec(2, shape, mantissas), exponents: vec![-126, 127] };
                let bytes = codes.payload(format);
                assert_eq!(bytes.len() as u64, 2 * format.bytes(elements as u64), "{format:?}, {elements}");
                assert_eq!(Errors::from_payload(format, 2, shape, &bytes), codes);
            }
        }
        let values = Errors::Values(Tensor::from_vec(1, Shape::vector(3), vec![1.5, -0.0, 1e-40]));
        let bytes = values.payload(GradFormat::F32);
        assert_eq!(bytes.len(), 12);
        assert_eq!(Errors::from_payload(GradFormat::F32, 1, Shape::vector(3), &bytes), values);
    }
}
