//! The bounds that end every requantisation: the code's own range, narrowed by an activation.

/// Inclusive bounds on engine codes, which remember where each came from: only a code cut by the
/// code's own range is a saturation, one cut by an activation is the activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clamp {
    lo: i32,
    hi: i32,
    lo_saturates: bool,
    hi_saturates: bool,
}

impl Clamp {
    /// Eight bits and no activation.
    pub const INT8: Clamp = Clamp { lo: -128, hi: 127, lo_saturates: true, hi_saturates: true };

    /// A code's own range, where it is narrower than eight bits.
    pub fn range((lo, hi): (i32, i32)) -> Self {
        Self { lo, hi, lo_saturates: true, hi_saturates: true }
    }

    /// The same activation within a narrower code's range.
    pub fn within(self, (lo, hi): (i32, i32)) -> Self {
        let (tighter_lo, tighter_hi) = (lo > self.lo, hi < self.hi);
        Self {
            lo: self.lo.max(lo).min(hi),
            hi: self.hi.min(hi).max(lo),
            lo_saturates: self.lo_saturates || tighter_lo,
            hi_saturates: self.hi_saturates || tighter_hi,
        }
    }

    /// Eight bits narrowed by an activation's bounds; a bound outside the range changes nothing.
    pub fn bounded(lo: Option<i32>, hi: Option<i32>) -> Self {
        let lo = lo.filter(|v| *v >= -128);
        let hi = hi.filter(|v| *v <= 127);
        Self {
            lo: lo.unwrap_or(-128).min(127),
            hi: hi.unwrap_or(127).max(-128),
            lo_saturates: lo.is_none(),
            hi_saturates: hi.is_none(),
        }
    }

    pub fn lo(self) -> i32 {
        self.lo
    }
    pub fn hi(self) -> i32 {
        self.hi
    }

    /// Whether an activation bounds it, and not only the code's own range.
    pub fn is_activation(self) -> bool {
        !(self.lo_saturates && self.hi_saturates)
    }

    /// Whether a gradient passes a value that stood here before it was clamped: inside the code's own
    /// range, ends included, and strictly inside an activation's bounds.
    #[inline]
    pub fn passes(self, value: i32) -> bool {
        (value > self.lo || value == self.lo && self.lo_saturates)
            && (value < self.hi || value == self.hi && self.hi_saturates)
    }

    /// The same as far as the code that is left tells; none where the value may have been beyond.
    pub fn passes_code(self, code: i8) -> Option<bool> {
        let code = i32::from(code);
        let at_activation = code <= self.lo && !self.lo_saturates || code >= self.hi && !self.hi_saturates;
        if at_activation {
            return Some(false);
        }
        (self.lo < code && code < self.hi).then_some(true)
    }

    /// The code, and whether eight bits were not enough.
    #[inline]
    pub fn apply(self, value: i32) -> (i8, bool) {
        let saturated = (value < self.lo && self.lo_saturates) || (value > self.hi && self.hi_saturates);
        (value.max(self.lo).min(self.hi) as i8, saturated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_codes_own_range_saturates() {
        assert_eq!(Clamp::INT8.apply(200), (127, true));
        assert_eq!(Clamp::INT8.apply(-129), (-128, true));
        let relu6 = Clamp::bounded(Some(-128), Some(100));
        assert_eq!(relu6.apply(-500), (-128, false));
        assert_eq!(relu6.apply(101), (100, false));
        let narrow = relu6.within((-8, 7));
        assert_eq!((narrow.apply(-500), narrow.apply(9)), ((-8, true), (7, true)));
        assert_eq!(narrow, Clamp::range((-8, 7)));
        for (clamp, values) in [(relu6, -500..500), (narrow, -500..500), (Clamp::INT8, -500..500)] {
            for value in values {
                let known = clamp.passes_code(clamp.apply(value).0);
                assert!(known.is_none_or(|known| known == clamp.passes(value)), "{clamp:?} at {value}");
            }
        }
        assert_eq!([-129, -128, 127, 128].map(|v| Clamp::INT8.passes(v)), [false, true, true, false]);
        assert_eq!([-128, -127, 99, 100].map(|v| relu6.passes(v)), [false, true, true, false]);
        assert_eq!([-128i8, -127, 99, 100].map(|q| relu6.passes_code(q)), [false, true, true, false].map(Some));
        assert_eq!([-128i8, 127].map(|q| Clamp::INT8.passes_code(q)), [None; 2]);
        let beyond = Clamp::bounded(Some(-3), Some(300));
        assert_eq!(beyond.apply(200), (127, true));
    }
}
