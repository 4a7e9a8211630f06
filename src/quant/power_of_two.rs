//! Averages and slopes of chips that only multiply by `k / 2^n` (SPEC 5.6, Xilinx DPU).

use super::Round;

/// A leaky ReLU's only slope: 26 / 2^8.
pub const LEAKY: (i64, u32) = (26, 8);

/// `k / 2^n` for one over an area: the DPU's own for square windows that it lists, else the nearest
/// with `n < 7 + ⌈log2 area⌉`, the smallest such n.
pub fn reciprocal(area: usize) -> (i64, u32) {
    match area {
        9 => (7, 6),
        25 => (10, 8),
        36 => (7, 8),
        49 => (21, 10),
        196 => (21, 12),
        _ => {
            let area = area.max(1) as u64;
            let nearest = |n: u32| {
                let k = ((1u64 << n) as f64 / area as f64).round_ties_even();
                (k as i64, (k / (1u64 << n) as f64 - 1.0 / area as f64).abs())
            };
            let most = 7 + area.next_power_of_two().ilog2();
            let mut best = (0, nearest(0));
            for n in 1..most.min(40) {
                let found = nearest(n);
                if found.1 < best.1.1 {
                    best = (n, found);
                }
            }
            (best.1.0, best.0)
        }
    }
}

/// The average of `n` codes, half up.
pub fn average(sum: i64, n: usize) -> i64 {
    let (k, shift) = reciprocal(n);
    Round::HalfUp.shift(sum * k, shift)
}

/// Biases in units of the accumulator as the chip holds them: 8 bits under one shift per layer. A
/// shift to the right drops what it shifts out.
pub fn biases(units: &[f64]) -> Vec<f64> {
    let largest = units.iter().fold(0.0, |m: f64, u| m.max(u.abs()));
    if largest == 0.0 || !largest.is_finite() {
        return units.to_vec();
    }
    let step = 2f64.powi((largest / 127.0).log2().ceil() as i32);
    units.iter().map(|u| ((u / step).round_ties_even().clamp(-128.0, 127.0) * step).floor()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_have_eight_bits() {
        // 1000 needs steps of 8: 1000, 13 -> 2 steps, -4 -> a tie to 0.
        assert_eq!(biases(&[1000.0, 13.0, -4.0]), [1000.0, 16.0, 0.0]);
        // Steps of 1/32: 3.3 is 106 of them, 3 after the shift; -0.4 is -13, floored to -1.
        assert_eq!(biases(&[3.3, -0.4]), [3.0, -1.0]);
    }

    #[test]
    fn averages_are_products_and_shifts() {
        assert_eq!([1, 2, 4, 64].map(reciprocal), [(1, 0), (1, 1), (1, 2), (1, 6)]);
        // One sixth: 43/256 = 0.16797, 85/512 = 0.16602; n < 10.
        assert_eq!(reciprocal(6), (85, 9));
        assert_eq!(average(9 * 100, 9), 98, "7/64 is a little less than a ninth");
        assert_eq!([-6, -2, 2, 6].map(|sum| average(sum, 4)), [-1, 0, 1, 2]);
    }
}
