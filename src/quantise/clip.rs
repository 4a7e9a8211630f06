//! The range worth coding, from how a map's values are distributed: rare large values may cost more
//! in the step of every code than they are worth.

use super::observe::{BINS, Histogram, Range};
use crate::quant::MapRule;

/// The range that holds `percent` of the values, with half of the others on either side. Exact to a
/// bin, and never too narrow.
pub fn percentile(h: &Histogram, percent: f64) -> Range {
    let total = h.zeros + h.bins.iter().sum::<u64>();
    let outside = total as f64 * (100.0 - percent) / 200.0;
    // Zeros lie where the range reaches or passes 0; they are the middle of every extended range.
    let (below, above): (Vec<usize>, Vec<usize>) = (0..BINS).partition(|&bin| h.edge(bin + 1) <= 0.0);
    let first = first_beyond(h, below.iter().chain(&above).copied(), below.len(), outside);
    let last = first_beyond(h, above.iter().rev().chain(below.iter().rev()).copied(), above.len(), outside);
    let min = first.map_or(0.0, |bin| h.edge(bin));
    let max = last.map_or(0.0, |bin| h.edge(bin + 1));
    Range { min: (min as f32).max(h.range.min), max: (max as f32).min(h.range.max) }
}

/// The first bin, in the order given, at which more than `outside` values have been passed; zeros are
/// passed after `before_zero` bins, and `None` is for them.
fn first_beyond(h: &Histogram, order: impl Iterator<Item = usize>, before_zero: usize, outside: f64) -> Option<usize> {
    let mut passed = 0u64;
    for (i, bin) in order.enumerate() {
        if i == before_zero {
            passed += h.zeros;
            if h.zeros > 0 && passed as f64 > outside {
                return None;
            }
        }
        passed += h.bins[bin];
        if passed as f64 > outside {
            return Some(bin);
        }
    }
    None
}

/// Steps into which each side of the range is divided in the search.
const STEPS: usize = 64;
/// Sweeps over both sides; the error settles within two or three.
const MOST_SWEEPS: usize = 4;

/// The range, extended to hold 0, with the smallest mean squared error of its codes: the uniform
/// error of a step inside, the distance to the nearest end outside. One side is searched with the
/// other fixed, in turn, until neither moves.
pub fn mse(h: &Histogram, rule: MapRule) -> Range {
    let (min, max) = (f64::from(h.range.min.min(0.0)), f64::from(h.range.max.max(0.0)));
    let (mut lo, mut hi) = (STEPS, STEPS);
    let error = |lo: usize, hi: usize| {
        let part = |steps: usize| steps as f64 / STEPS as f64;
        squared_error(h, rule, min * part(lo), max * part(hi))
    };
    for _ in 0..MOST_SWEEPS {
        let before = (lo, hi);
        hi = least(max > 0.0, hi, |steps| error(lo, steps));
        lo = least(min < 0.0, lo, |steps| error(steps, hi));
        if (lo, hi) == before {
            break;
        }
    }
    let end = |end: f64, steps: usize| (end * (steps as f64 / STEPS as f64)) as f32;
    Range { min: end(min, lo), max: end(max, hi) }
}

/// The number of steps with the least error, the larger of equals; the one there is if the side is empty.
fn least(has_side: bool, steps: usize, error: impl Fn(usize) -> f64) -> usize {
    if !has_side {
        return steps;
    }
    let all = (1..=STEPS).rev().map(|steps| (steps, error(steps)));
    all.reduce(|best, next| if next.1 < best.1 { next } else { best }).map_or(steps, |(steps, _)| steps)
}

/// Sum over the values, zeros apart, of the squared error that the codes of a range make.
fn squared_error(h: &Histogram, rule: MapRule, lo: f64, hi: f64) -> f64 {
    let (q, ends) = (rule.cover(lo as f32, hi as f32), rule.range());
    let step = f64::from(q.scale);
    let (lo, hi) = (f64::from(ends.0 - q.zero_point) * step, f64::from(ends.1 - q.zero_point) * step);
    let inside = step * step / 12.0;
    let error = |(bin, &count): (usize, &u64)| {
        let value = (h.edge(bin) + h.edge(bin + 1)) / 2.0;
        let beyond = (lo - value).max(value - hi).max(0.0);
        count as f64 * if beyond > 0.0 { beyond * beyond } else { inside }
    };
    h.bins.iter().enumerate().filter(|(_, count)| **count > 0).map(error).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Profile;
    use crate::seed;

    fn eight() -> MapRule {
        Profile::default().maps()
    }

    fn of(values: &[f32]) -> Histogram {
        let start = Range { min: f32::INFINITY, max: f32::NEG_INFINITY };
        let range = values.iter().fold(start, |r, &v| Range { min: r.min.min(v), max: r.max.max(v) });
        let mut h = Histogram::new(range);
        h.add(values);
        h
    }

    /// The square error of really coding the values within a range.
    fn coded(values: &[f32], r: Range) -> f64 {
        let q = eight().cover(r.min, r.max);
        let real = |v: f32| {
            let code = (f64::from(v) / f64::from(q.scale)).round() + f64::from(q.zero_point);
            (code.clamp(-128.0, 127.0) - f64::from(q.zero_point)) * f64::from(q.scale)
        };
        values.iter().map(|&v| (f64::from(v) - real(v)).powi(2)).sum()
    }

    #[test]
    fn a_percentile_leaves_the_rare_values_out() {
        // 0.01 to 10 and one value far away: 1001 values.
        let mut values: Vec<f32> = (1..=1000).map(|i| i as f32 / 100.0).collect();
        values.push(100.0);
        let all = percentile(&of(&values), 100.0);
        assert_eq!((all.min, all.max), (0.01, 100.0));
        let most = percentile(&of(&values), 99.8);
        assert!((10.0..10.1).contains(&most.max) && most.min <= 0.1, "{most:?}");
        // Of zeros and one positive value in a thousand only zeros are left.
        let mut rare = vec![0.0; 9999];
        rare.push(5.0);
        assert_eq!(percentile(&of(&rare), 99.0), Range { min: 0.0, max: 0.0 });
        assert_eq!(percentile(&of(&rare), 100.0).max, 5.0);
        let negative: Vec<f32> = values.iter().map(|v| -v).collect();
        let most = percentile(&of(&negative), 99.8);
        assert!((-10.1..-10.0).contains(&most.min), "{most:?}");
    }

    #[test]
    fn the_mse_range_leaves_out_what_costs_the_rest_too_much() {
        // A tenth of the range holds two hundred million values, the rest one.
        let mut h = Histogram::new(Range { min: 0.0, max: 64.0 });
        h.bins[..200].fill(1_000_000);
        h.bins[BINS - 1] = 1;
        assert_eq!(mse(&h, eight()), Range { min: 0.0, max: 7.0 });
        // With ten values one of them is worth more than a fine step of the others.
        h.bins[..200].fill(0);
        h.bins[..10].fill(1);
        assert_eq!(mse(&h, eight()), h.range);
    }

    #[test]
    fn no_other_range_codes_much_better_than_the_mse_range() {
        let mut values = seed::normal(7, "tails", 20_000, 1.0);
        values.iter_mut().for_each(|v| *v = v.powi(3));
        let h = of(&values);
        let best = coded(&values, mse(&h, eight()));
        assert!(best < coded(&values, h.range));
        for part in [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0] {
            let other = Range { min: h.range.min * part, max: h.range.max * part };
            assert!(best < 1.05 * coded(&values, other), "{part}: {best}");
        }
    }

    #[test]
    fn fewer_codes_have_a_narrower_mse_range() {
        let mut values = seed::normal(7, "tails", 20_000, 1.0);
        values.iter_mut().for_each(|v| *v = v.powi(3));
        let h = of(&values);
        let four = MapRule { bits: 4, ..eight() };
        assert!(mse(&h, four).max < 0.8 * mse(&h, eight()).max, "a step of 16 codes costs more");
    }

    #[test]
    fn the_mse_range_of_even_values_is_the_whole() {
        let values: Vec<f32> = (0..=5000).map(|i| i as f32 / 1000.0).collect();
        let chosen = mse(&of(&values), eight());
        assert_eq!(chosen, Range { min: 0.0, max: 5.0 });
        assert_eq!(mse(&of(&[0.0, 0.0]), eight()), Range { min: 0.0, max: 0.0 });
    }
}
