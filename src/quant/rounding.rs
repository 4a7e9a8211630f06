//! Rounding right shifts: what happens to the bits that a fixed-point result cannot keep.
//!
//! One definition for every style and every width; nothing here saturates.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;

/// How the dropped bits round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Round {
    /// Ties towards plus infinity.
    HalfUp,
    /// Ties towards minus infinity.
    HalfDown,
    /// Ties away from zero.
    HalfAway,
    /// Ties towards zero.
    HalfZero,
    /// Ties to the even neighbour.
    HalfEven,
    /// Ties to the odd neighbour.
    HalfOdd,
    /// Towards minus infinity: the plain arithmetic shift.
    Floor,
    /// Towards plus infinity.
    Ceil,
    /// Towards zero.
    Trunc,
}

impl Round {
    pub const ALL: [Round; 9] = [
        Round::HalfUp,
        Round::HalfDown,
        Round::HalfAway,
        Round::HalfZero,
        Round::HalfEven,
        Round::HalfOdd,
        Round::Floor,
        Round::Ceil,
        Round::Trunc,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Round::HalfUp => "half-up",
            Round::HalfDown => "half-down",
            Round::HalfAway => "half-away",
            Round::HalfZero => "half-zero",
            Round::HalfEven => "half-even",
            Round::HalfOdd => "half-odd",
            Round::Floor => "floor",
            Round::Ceil => "ceil",
            Round::Trunc => "trunc",
        }
    }

    /// `x / 2^n`, rounded. `n` is at most 63.
    #[inline]
    pub fn shift(self, x: i64, n: u32) -> i64 {
        if n == 0 {
            return x;
        }
        let floor = x >> n;
        // Comparing the remainder with a half cannot overflow, where adding a half to `x` could.
        let rest = x.wrapping_sub(floor << n);
        let up = rest != 0 && self.up(rest.cmp(&(1i64 << (n - 1))), x < 0, floor & 1 == 1);
        floor + i64::from(up)
    }

    /// The same on 128 bits, `n` at most 127: a wide sum by a 32-bit factor.
    #[inline]
    pub fn shift_wide(self, x: i128, n: u32) -> i128 {
        if n == 0 {
            return x;
        }
        let floor = x >> n;
        let rest = x.wrapping_sub(floor << n);
        let up = rest != 0 && self.up(rest.cmp(&(1i128 << (n - 1))), x < 0, floor & 1 == 1);
        floor + i128::from(up)
    }

    /// Whether something dropped takes the result to the next integer; `half` compares it with a half.
    #[inline]
    fn up(self, half: Ordering, negative: bool, odd: bool) -> bool {
        let tie = match self {
            Round::HalfUp => true,
            Round::HalfDown => false,
            Round::HalfAway => !negative,
            Round::HalfZero => negative,
            Round::HalfEven => odd,
            Round::HalfOdd => !odd,
            Round::Floor => return false,
            Round::Ceil => return true,
            Round::Trunc => return negative,
        };
        half == Ordering::Greater || (half == Ordering::Equal && tie)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC 5.1: x >> 1 as away, up, even, floor; the others by hand.
    #[test]
    fn halves_round_as_the_table_says() {
        for (x, away, up, even, floor) in [
            (-7, -4, -3, -4, -4),
            (-5, -3, -2, -2, -3),
            (-3, -2, -1, -2, -2),
            (-1, -1, 0, 0, -1),
            (1, 1, 1, 0, 0),
            (3, 2, 2, 2, 1),
            (5, 3, 3, 2, 2),
            (7, 4, 4, 4, 3),
        ] {
            // Of two neighbours each pair of opposites takes one.
            let other = |one: i64| 2 * floor + 1 - one;
            let want = [up, other(up), away, other(away), even, other(even), floor, floor + 1, x / 2];
            for (round, want) in Round::ALL.into_iter().zip(want) {
                assert_eq!(round.shift(x, 1), want, "{round} of {x}");
                assert_eq!(round.shift_wide(i128::from(x) << 70, 71), i128::from(want), "{round} of {x}, wide");
                assert_eq!(round.shift(4 * x, 2), x, "{round} of a whole number");
            }
        }
    }

    #[test]
    fn what_is_no_tie_goes_to_the_nearest() {
        for round in Round::ALL {
            let directed = matches!(round, Round::Floor | Round::Ceil | Round::Trunc);
            assert!(directed || (round.shift(5, 2), round.shift(-5, 2), round.shift(7, 2)) == (1, -1, 2), "{round}");
        }
        assert_eq!((Round::Ceil.shift(5, 2), Round::Ceil.shift(-5, 2)), (2, -1));
        assert_eq!((Round::Trunc.shift(5, 2), Round::Trunc.shift(-5, 2)), (1, -1));
    }

    #[test]
    fn extreme_shifts_do_not_overflow() {
        assert_eq!(Round::HalfUp.shift(i64::MAX, 63), 1);
        assert_eq!(Round::HalfAway.shift(i64::MIN, 63), -1);
        assert_eq!(Round::HalfAway.shift(i64::MIN + 1, 63), -1);
        assert_eq!(Round::Trunc.shift(-1, 63), 0);
        assert_eq!(Round::HalfEven.shift(5, 0), 5);
    }
}
