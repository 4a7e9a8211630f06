//! Cuts a payload into transactions, counted in closed form: no loop over packets.
//!
//! A payload starts at address 0 of an aligned buffer. It is cut at every multiple of the boundary,
//! and inside each block so formed into pieces of at most the greatest payload; the shorter piece is
//! the last of its block. So there are at most three sizes.

/// So many pieces of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    pub count: u64,
    pub size_b: u64,
}

/// The pieces of a payload, in up to three sizes; an absent limit cuts nothing.
pub fn split(payload_b: u64, max_payload_b: Option<u64>, boundary_b: Option<u64>) -> [Pieces; 3] {
    let block = boundary_b.unwrap_or(u64::MAX).max(1);
    let most = max_payload_b.unwrap_or(u64::MAX).clamp(1, block);
    let (blocks, tail) = (payload_b / block, payload_b % block);
    // The last block may be short.
    let whole = blocks * (block / most) + tail / most;
    let of =
        |count: u64, size_b: u64| if size_b == 0 || count == 0 { Pieces::default() } else { Pieces { count, size_b } };
    [of(whole, most), of(blocks, block % most), of(1, tail % most)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, piece by piece.
    fn one_by_one(payload_b: u64, most: u64, boundary: u64) -> Vec<u64> {
        let (mut address, mut pieces) = (0, Vec::new());
        while address < payload_b {
            let to_boundary = boundary - address % boundary;
            let piece = most.min(to_boundary).min(payload_b - address);
            pieces.push(piece);
            address += piece;
        }
        pieces
    }

    fn counted(pieces: &[u64]) -> Vec<(u64, u64)> {
        let mut sizes = std::collections::BTreeMap::new();
        pieces.iter().for_each(|p| *sizes.entry(*p).or_insert(0) += 1);
        sizes.into_iter().collect()
    }

    proptest! {
        #[test]
        fn closed_form_equals_the_loop(payload in 0u64..50_000, most in 1u64..600, boundary in 1u64..5000) {
            let pieces = split(payload, Some(most), Some(boundary));
            let mut sizes = std::collections::BTreeMap::new();
            for p in pieces.iter().filter(|p| p.count > 0) {
                *sizes.entry(p.size_b).or_insert(0) += p.count;
            }
            let closed: Vec<(u64, u64)> = sizes.into_iter().collect();
            prop_assert_eq!(closed, counted(&one_by_one(payload, most, boundary)));
        }

        #[test]
        fn pieces_sum_to_the_payload(
            payload in any::<u64>(),
            most in proptest::option::of(1u64..=u64::MAX),
            boundary in proptest::option::of(1u64..=u64::MAX),
        ) {
            let sum: u128 = split(payload, most, boundary).iter().map(|p| u128::from(p.count) * u128::from(p.size_b)).sum();
            prop_assert_eq!(sum, u128::from(payload));
        }
    }

    #[test]
    fn without_limits_a_payload_is_one_piece() {
        assert_eq!(split(1_000_000, None, None)[2], Pieces { count: 1, size_b: 1_000_000 });
        assert_eq!(split(0, Some(256), Some(4096)), [Pieces::default(); 3]);
    }
}
