//! The fixed tree in which sums over the positions of an image, or over channels, are taken: eight
//! interleaved chains, then pairs of chains four, two and one apart. It vectorises, keeps a
//! workgroup busy, and rounds less than one chain.

/// Chains of a sum. The shaders have the same number.
pub const LANES: usize = 8;

/// For each element of `out` the sum of its terms over `positions`; `add` adds those of one position
/// to a chain of all elements. `chains` is scratch.
pub fn sum_positions(out: &mut [f32], positions: usize, chains: &mut Vec<f32>, add: impl Fn(usize, &mut [f32])) {
    let n = out.len();
    chains.clear();
    chains.resize(LANES * n, 0.0);
    for position in 0..positions {
        let from = position % LANES * n;
        add(position, &mut chains[from..from + n]);
    }
    for step in [4, 2, 1] {
        let (near, far) = chains.split_at_mut(step * n);
        near.iter_mut().zip(far).for_each(|(a, b)| *a += *b);
    }
    out.copy_from_slice(&chains[..n]);
}

/// The sum of the products of two rows.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut chains = [0.0f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        chains.iter_mut().zip(a).zip(b).for_each(|((chain, a), b)| *chain += a * b);
    }
    for step in [4, 2, 1] {
        for lane in 0..step {
            chains[lane] += chains[lane + step];
        }
    }
    chains[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sums_take_the_same_tree() {
        let a: Vec<f32> = (0..29).map(|i| (i as f32 * 0.7).sin()).collect();
        let ones = vec![1.0; 29];
        let mut sums = [0.0; 2];
        sum_positions(&mut sums, 29, &mut Vec::new(), |i, chain| {
            chain[0] += a[i];
            chain[1] += 1.0;
        });
        assert_eq!(sums, [dot(&a, &ones), 29.0]);
        let chain = |lane: usize| a.iter().skip(lane).step_by(8).fold(0.0, |s, x| s + x);
        let c: [f32; 8] = std::array::from_fn(chain);
        assert_eq!(sums[0], ((c[0] + c[4]) + (c[2] + c[6])) + ((c[1] + c[5]) + (c[3] + c[7])));
    }
}
