//! Small numbers packed bit by bit, every image from a byte of its own: masks, positions of maxima.

/// One number of `bits` bits (at most 16) per element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    bits: usize,
    elements: usize,
    data: Vec<u8>,
}

impl Packed {
    /// Room for `batch` images of `elements` zeros.
    pub fn zeros(bits: usize, batch: usize, elements: usize) -> Self {
        assert!((1..=16).contains(&bits), "numbers of {bits} bits");
        Self { bits, elements, data: vec![0; batch * (elements * bits).div_ceil(8)] }
    }

    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Bytes of one image.
    fn stride(&self) -> usize {
        (self.elements * self.bits).div_ceil(8)
    }

    /// The images, each to be written by [`write`].
    pub fn images_mut(&mut self) -> (usize, std::slice::ChunksMut<'_, u8>) {
        let stride = self.stride().max(1);
        (self.bits, self.data.chunks_mut(stride))
    }

    /// The numbers of one image.
    pub fn image(&self, image: usize) -> Numbers<'_> {
        let stride = self.stride();
        Numbers { bits: self.bits, data: &self.data[image * stride..][..stride] }
    }
}

/// Writes the numbers of one image, in order, over zeros.
pub(super) fn write(bits: usize, data: &mut [u8], numbers: impl Iterator<Item = u32>) {
    if bits == 1 {
        return write_bits(data, numbers);
    }
    let (mut held, mut filled, mut at) = (0u64, 0, 0);
    for number in numbers {
        held |= u64::from(number) << filled;
        filled += bits;
        while filled >= 8 {
            data[at] = held as u8;
            (held, filled, at) = (held >> 8, filled - 8, at + 1);
        }
    }
    if filled > 0 {
        data[at] = held as u8;
    }
}

fn write_bits(data: &mut [u8], mut bits: impl Iterator<Item = u32>) {
    for byte in data {
        *byte = (0..8).map_while(|i| bits.next().map(|bit| (bit as u8) << i)).fold(0, |byte, bit| byte | bit);
    }
}

/// The numbers of one image.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    bits: usize,
    data: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// Eight numbers of one bit at a time.
    pub fn bytes(self) -> &'a [u8] {
        self.data
    }

    #[inline]
    pub fn get(self, index: usize) -> usize {
        if self.bits == 1 {
            return usize::from(self.data[index / 8] >> (index % 8) & 1);
        }
        let (first, shift) = (index * self.bits / 8, index * self.bits % 8);
        let byte = |i: usize| usize::from(self.data.get(first + i).copied().unwrap_or(0));
        (byte(0) | byte(1) << 8 | byte(2) << 16) >> shift & ((1 << self.bits) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for bits in 1..=16 {
            for elements in [1, 5, 8, 17] {
                let number = |n: usize, i: usize| (n * 31 + i * 40_503 + 7) as u32 & ((1 << bits) - 1);
                let mut packed = Packed::zeros(bits, 3, elements);
                let (own, images) = packed.images_mut();
                for (n, data) in images.enumerate() {
                    write(own, data, (0..elements).map(|i| number(n, i)));
                }
                assert_eq!(packed.bytes(), 3 * (elements * bits).div_ceil(8));
                for (n, i) in (0..3).flat_map(|n| (0..elements).map(move |i| (n, i))) {
                    assert_eq!(packed.image(n).get(i), number(n, i) as usize, "{bits} bits");
                }
            }
        }
    }
}
