//! Philox 4×32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random words
//! that are a function of a counter and a key. Integers only, so that every device has the same bits,
//! and no state, so that a mask can be made again instead of being kept.

/// Four random words.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for _ in 0..10 {
        let even = u64::from(c[0]) * 0xd251_1f53;
        let odd = u64::from(c[2]) * 0xcd9e_8d57;
        c = [(odd >> 32) as u32 ^ c[1] ^ k[0], odd as u32, (even >> 32) as u32 ^ c[3] ^ k[1], even as u32];
        k = [k[0].wrapping_add(0x9e37_79b9), k[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors published with the generator's first implementation.
    #[test]
    fn known_answers() {
        let zeros = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
        assert_eq!(philox([0; 4], [0; 2]), zeros);
        let ones = [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd];
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), ones);
        let pi = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        assert_eq!(philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]), pi);
    }
}
