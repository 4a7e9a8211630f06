//! Rounding right shifts: what happens to the bits that a fixed-point result cannot keep.
//!
//! One definition for every style and every width; nothing here saturates.

/// How the dropped bits round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Round {
    /// Ties towards plus infinity.
    HalfUp,
    /// Ties away from zero.
    HalfAway,
    /// Ties to the even neighbour.
    HalfEven,
    /// Towards minus infinity: the plain arithmetic shift.
    Floor,
    /// Towards zero.
    Trunc,
}

impl Round {
    /// `x / 2^n`, rounded. `n` is at most 63.
    #[inline]
    pub fn shift(self, x: i64, n: u32) -> i64 {
        if n == 0 {
            return x;
        }
        let floor = x >> n;
        // Comparing the remainder with a half cannot overflow, where adding a half to `x` could.
        let rest = x.wrapping_sub(floor << n);
        let half = 1i64 << (n - 1);
        let up = match self {
            Round::HalfUp => rest >= half,
            Round::HalfAway => rest > half || (rest == half && x > 0),
            Round::HalfEven => rest > half || (rest == half && floor & 1 == 1),
            Round::Floor => false,
            Round::Trunc => x < 0 && rest > 0,
        };
        floor + i64::from(up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPEC 5.1: x >> 1 as away, up, even, floor.
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
            assert_eq!(Round::HalfAway.shift(x, 1), away, "away {x}");
            assert_eq!(Round::HalfUp.shift(x, 1), up, "up {x}");
            assert_eq!(Round::HalfEven.shift(x, 1), even, "even {x}");
            assert_eq!(Round::Floor.shift(x, 1), floor, "floor {x}");
            assert_eq!(Round::Trunc.shift(x, 1), x / 2, "trunc {x}");
        }
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
