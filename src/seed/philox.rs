//! Philox 4×32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random words
//! that are a function of a counter and a key. Integers only, so that every device has the same bits,
//! and no state, so that a mask can be made again instead of being kept.

/// Four random words of each of `N` counters, whose first words are `first`, `first + 1` and so on.
/// Side by side, so that the compiler vectorises them where there are many.
#[inline]
pub fn philox<const N: usize>(first: u32, rest: [u32; 3], key: [u32; 2]) -> [[u32; 4]; N] {
    let first = std::array::from_fn(|i| first.wrapping_add(i as u32));
    let [a, b, c, d] = words([first, [rest[0]; N], [rest[1]; N], [rest[2]; N]], key);
    std::array::from_fn(|i| [a[i], b[i], c[i], d[i]])
}

/// The four random words, one after the other, of each of `N` counters of any four words.
#[inline(always)]
pub fn words<const N: usize>(counters: [[u32; N]; 4], key: [u32; 2]) -> [[u32; N]; 4] {
    let [mut a, mut b, mut c, mut d] = counters;
    let mut k = key;
    for _ in 0..10 {
        for i in 0..N {
            let even = u64::from(a[i]) * 0xd251_1f53;
            let odd = u64::from(c[i]) * 0xcd9e_8d57;
            a[i] = (odd >> 32) as u32 ^ b[i] ^ k[0];
            b[i] = odd as u32;
            c[i] = (even >> 32) as u32 ^ d[i] ^ k[1];
            d[i] = even as u32;
        }
        k = [k[0].wrapping_add(0x9e37_79b9), k[1].wrapping_add(0xbb67_ae85)];
    }
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors published with the generator's first implementation.
    #[test]
    fn known_answers() {
        let zeros = [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8];
        assert_eq!(philox::<1>(0, [0; 3], [0; 2])[0], zeros);
        let ones = [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd];
        assert_eq!(philox::<1>(u32::MAX, [u32::MAX; 3], [u32::MAX; 2])[0], ones);
        let pi = [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1];
        let digits = [0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(philox::<1>(0x243f_6a88, digits, [0xa409_3822, 0x299f_31d0])[0], pi);
    }

    #[test]
    fn counters_follow_each_other() {
        let words = philox::<16>(u32::MAX - 3, [5, 6, 7], [8, 9]);
        for (i, got) in words.into_iter().enumerate() {
            assert_eq!(got, philox::<1>((u32::MAX - 3).wrapping_add(i as u32), [5, 6, 7], [8, 9])[0]);
        }
    }
}
