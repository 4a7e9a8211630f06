//! Components: their blocks, their samples brought to full resolution, and pixels out of them.

use super::huffman::{BitReader, Table};
use super::{Component, Frame, Image, ZIGZAG, idct};

/// Dequantised coefficients of sound files have 16 bits; a damaged file must not overflow.
const MAX_COEFFICIENT: i32 = 1 << 20;

/// The samples of one component, at its own resolution.
pub struct Plane<'a> {
    component: Component,
    dc: &'a Table,
    ac: &'a Table,
    quantiser: &'a [i32; 64],
    /// The last block's constant term, from which the next one is a difference.
    predicted_dc: i32,
    /// Samples per row, a whole number of MCUs.
    stride: usize,
    /// Samples that belong to the image.
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl<'a> Plane<'a> {
    pub fn new(frame: &Frame, component: Component, dc: &'a Table, ac: &'a Table, quantiser: &'a [i32; 64]) -> Self {
        let ((across, down), (h, v)) = (frame.mcus(), frame.sampling());
        let (stride, rows) = (across * component.h * 8, down * component.v * 8);
        Self {
            component,
            dc,
            ac,
            quantiser,
            predicted_dc: 0,
            stride,
            width: (frame.width * component.h).div_ceil(h),
            height: (frame.height * component.v).div_ceil(v),
            samples: vec![0; stride * rows],
        }
    }

    pub fn restart(&mut self) {
        self.predicted_dc = 0;
    }

    /// Reads this component's blocks of one MCU.
    pub fn read_mcu(&mut self, bits: &mut BitReader, across: usize, down: usize) -> Result<(), String> {
        for v in 0..self.component.v {
            for h in 0..self.component.h {
                let block = idct::samples(&self.read_block(bits)?);
                let (x, y) = (8 * (across * self.component.h + h), 8 * (down * self.component.v + v));
                for (row, samples) in block.chunks_exact(8).enumerate() {
                    let start = (y + row) * self.stride + x;
                    self.samples[start..start + 8].copy_from_slice(samples);
                }
            }
        }
        Ok(())
    }

    fn read_block(&mut self, bits: &mut BitReader) -> Result<[i32; 64], String> {
        let mut block = [0; 64];
        let mut set = |at: usize, value: i32| {
            block[ZIGZAG[at]] =
                value.saturating_mul(self.quantiser[ZIGZAG[at]]).clamp(-MAX_COEFFICIENT, MAX_COEFFICIENT);
        };
        let size = bits.symbol(self.dc)?;
        if size > 15 {
            return Err("has a coefficient of more than 15 bits".into());
        }
        self.predicted_dc = self.predicted_dc.wrapping_add(bits.value(size)?);
        set(0, self.predicted_dc);
        let mut at = 1;
        while at < 64 {
            // A run of zeros and the size of what follows it.
            let symbol = bits.symbol(self.ac)?;
            let (run, size) = (usize::from(symbol >> 4), symbol & 15);
            if size == 0 && run != 15 {
                break;
            }
            at += run;
            if at > 63 {
                return Err("has a block of more than 64 coefficients".into());
            }
            set(at, bits.value(size)?);
            at += 1;
        }
        Ok(block)
    }

    /// Row `y`; those beyond the image repeat its edge.
    fn row(&self, y: isize) -> &[u8] {
        let y = y.clamp(0, self.height as isize - 1) as usize;
        &self.samples[y * self.stride..y * self.stride + self.width]
    }

    /// Row `y` of the image, of this plane spread by `h` across and `v` down: a triangle over the
    /// nearer and the farther sample, as libjpeg's "fancy" upsampling; narrow planes are repeated.
    fn full_row(&self, y: usize, h: usize, v: usize) -> Vec<u8> {
        let near = self.row((y / v) as isize);
        if h == 1 {
            return near.to_vec();
        }
        if self.width <= 2 {
            return near.iter().flat_map(|&sample| [sample; 2]).collect();
        }
        if v == 1 {
            return spread(&near.iter().map(|&n| u32::from(n)).collect::<Vec<_>>(), 2, [1, 2]);
        }
        let far = self.row((y / 2) as isize + if y.is_multiple_of(2) { -1 } else { 1 });
        let sums: Vec<u32> = near.iter().zip(far).map(|(&n, &f)| 3 * u32::from(n) + u32::from(f)).collect();
        spread(&sums, 4, [8, 7])
    }
}

/// Two samples for each: three parts of it and one of its left, then of its right neighbour,
/// rounded by alternate amounts so that no drift arises.
fn spread(samples: &[u32], shift: u32, rounding: [u32; 2]) -> Vec<u8> {
    let last = samples.len() - 1;
    let mut out = Vec::with_capacity(2 * samples.len());
    for (i, &sample) in samples.iter().enumerate() {
        let (left, right) = (samples[i.saturating_sub(1)], samples[(i + 1).min(last)]);
        out.push(((3 * sample + left + rounding[0]) >> shift) as u8);
        out.push(((3 * sample + right + rounding[1]) >> shift) as u8);
    }
    out
}

/// The picture that the planes make together.
pub fn image(frame: &Frame, planes: &[Plane]) -> Image {
    let (width, height, channels) = (frame.width, frame.height, planes.len());
    let (h, v) = frame.sampling();
    let mut pixels = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        let luma = &planes[0].row(y as isize)[..width];
        match planes {
            [_, blue, red] => {
                let (blue, red) = (blue.full_row(y, h, v), red.full_row(y, h, v));
                pixels.extend(luma.iter().zip(blue).zip(red).flat_map(|((&y, cb), cr)| rgb(y, cb, cr)));
            }
            _ => pixels.extend_from_slice(luma),
        }
    }
    Image { width, height, channels, pixels }
}

/// YCbCr to RGB with 16 fractional bits.
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91881 * cr + HALF) >> 16);
    let green = y + ((-22554 * cb - 46802 * cr + HALF) >> 16);
    let blue = y + ((116130 * cb + HALF) >> 16);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreading_blends_a_quarter_of_the_neighbour() {
        assert_eq!(spread(&[0, 100, 100], 2, [1, 2]), [0, 25, 75, 100, 100, 100]);
        assert_eq!(spread(&[40, 40, 440], 4, [8, 7]), [10, 10, 10, 35, 85, 110]);
    }

    #[test]
    fn colours_are_those_of_the_standard() {
        assert_eq!(rgb(128, 128, 128), [128; 3]);
        assert_eq!(rgb(76, 85, 255), [254, 0, 0]);
        assert_eq!(rgb(255, 0, 0), [76, 255, 28]);
    }
}
