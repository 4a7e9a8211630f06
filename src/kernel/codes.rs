//! Integer codes packed into 32-bit words, the first code in the lowest bits.
//!
//! Codes of a micro-batch follow each other without gaps between images; the unused part of the
//! last word is 0.

/// Words that hold `codes` codes of `bits` (8 or 16) bits.
pub fn words(codes: usize, bits: u32) -> usize {
    codes.div_ceil(per_word(bits))
}

/// Codes in one word; asserts that `bits` is 8 or 16.
pub fn per_word(bits: u32) -> usize {
    assert!(bits == 8 || bits == 16, "codes of {bits} bits do not pack");
    (32 / bits) as usize
}

pub fn pack8(codes: &[i8]) -> Vec<u32> {
    let word = |c: &[i8]| c.iter().rev().fold(0, |w, &c| (w << 8) | u32::from(c as u8));
    codes.chunks(4).map(word).collect()
}

pub fn pack16(codes: &[i16]) -> Vec<u32> {
    let word = |c: &[i16]| c.iter().rev().fold(0, |w, &c| (w << 16) | u32::from(c as u16));
    codes.chunks(2).map(word).collect()
}

/// The first `count` codes of `words`.
pub fn unpack8(words: &[u32], count: usize) -> Vec<i8> {
    (0..count).map(|i| get(words, i, 8) as i8).collect()
}

/// The first `count` codes of `words`.
pub fn unpack16(words: &[u32], count: usize) -> Vec<i16> {
    (0..count).map(|i| get(words, i, 16) as i16).collect()
}

/// The sign-extended code at `index`.
#[inline(always)]
pub(crate) fn get(words: &[u32], index: usize, bits: u32) -> i32 {
    let per_word = (32 / bits) as usize;
    let shift = (index % per_word) as u32 * bits;
    ((words[index / per_word] >> shift) as i32) << (32 - bits) >> (32 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive_packing_and_the_tail_is_zero() {
        let codes: Vec<i8> = (-128..=127).chain([5]).collect();
        let packed = pack8(&codes);
        assert_eq!(packed.len(), words(codes.len(), 8));
        assert_eq!(packed.last(), Some(&5));
        assert_eq!(unpack8(&packed, codes.len()), codes);

        let wide = [i16::MIN, -1, 0, 1, i16::MAX];
        assert_eq!(pack16(&wide), [0xffff_8000, 0x0001_0000, 0x7fff]);
        assert_eq!(unpack16(&pack16(&wide), 5), wide);
    }
}
