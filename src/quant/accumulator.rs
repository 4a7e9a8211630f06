//! Accumulators of other widths and habits than 32 wrapping bits (SPEC 5.7).
//!
//! An accumulator starts at zero; products come in the canonical order ky, kx, c_in, then what an
//! adapter adds, then the bias. Where it saturates, that order decides its value.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What an accumulator does beyond its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Overflow {
    Wrap,
    Saturate,
}

/// When an accumulator is cut to its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    EachAdd,
    /// After so many products, and after every addition that is no product: a last tile that is not
    /// full is cut with the first of those.
    EachTile(u32),
    End,
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::EachAdd => f.pad("each-add"),
            When::EachTile(n) => write!(f, "each-tile:{n}"),
            When::End => f.pad("end"),
        }
    }
}

/// Width and overflow rule of an accumulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Accumulator {
    /// 16 to 64.
    pub bits: u8,
    pub overflow: Overflow,
    pub when: When,
}

/// A sum on its way, and whether it has left the width.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running {
    pub value: i64,
    pub left: bool,
}

impl Accumulator {
    /// What every fast kernel computes.
    pub const INT32: Accumulator = Accumulator { bits: 32, overflow: Overflow::Wrap, when: When::End };

    /// The largest sum that it holds.
    pub fn largest(self) -> i64 {
        if self.bits >= 64 { i64::MAX } else { (1i64 << (self.bits - 1)) - 1 }
    }

    /// Sums products that come in the canonical order.
    #[inline]
    pub fn sum(self, products: impl Iterator<Item = i64>) -> Running {
        let mut running = Running::default();
        match self.when {
            When::End => running.value = products.sum(),
            When::EachAdd => products.for_each(|p| self.add(&mut running, p)),
            When::EachTile(n) => {
                for (i, product) in products.enumerate() {
                    running.value += product;
                    if (i + 1).is_multiple_of(n.max(1) as usize) {
                        self.cut(&mut running);
                    }
                }
            }
        }
        running
    }

    /// Adds one term that is no product.
    #[inline]
    pub fn add(self, running: &mut Running, term: i64) {
        running.value = running.value.saturating_add(term);
        if self.when != When::End {
            self.cut(running);
        }
    }

    /// The final value.
    #[inline]
    pub fn finish(self, mut running: Running) -> Running {
        self.cut(&mut running);
        running
    }

    #[inline]
    fn cut(self, running: &mut Running) {
        let (value, unused) = (running.value, 64 - u32::from(self.bits.clamp(1, 64)));
        let wrapped = value << unused >> unused;
        if wrapped != value {
            running.left = true;
            running.value = match self.overflow {
                Overflow::Wrap => wrapped,
                Overflow::Saturate if value > 0 => self.largest(),
                Overflow::Saturate => -self.largest() - 1,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bits: u8, overflow: Overflow, when: When, products: &[i64]) -> (i64, bool) {
        let acc = Accumulator { bits, overflow, when };
        let end = acc.finish(acc.sum(products.iter().copied()));
        (end.value, end.left)
    }

    #[test]
    fn order_and_time_of_the_cut_decide_what_saturates() {
        let products = [30_000, 10_000, -20_000];
        assert_eq!(sum(16, Overflow::Saturate, When::EachAdd, &products), (12_767, true));
        assert_eq!(sum(16, Overflow::Saturate, When::EachTile(2), &products), (12_767, true));
        assert_eq!(sum(16, Overflow::Saturate, When::EachTile(3), &products), (20_000, false));
        assert_eq!(sum(16, Overflow::Saturate, When::End, &products), (20_000, false));
        // A wrapped sum comes back, but has been away.
        assert_eq!(sum(16, Overflow::Wrap, When::EachAdd, &products), (20_000, true));
        assert_eq!(sum(16, Overflow::Wrap, When::End, &[40_000]), (-25_536, true));
        assert_eq!(sum(16, Overflow::Saturate, When::End, &[-40_000]), (-32_768, true));
        assert_eq!(sum(64, Overflow::Saturate, When::EachAdd, &products), (20_000, false));
    }

    #[test]
    fn what_is_no_product_is_an_addition_of_its_own() {
        let acc = Accumulator { bits: 16, overflow: Overflow::Saturate, when: When::EachTile(100) };
        let mut running = acc.sum([30_000].into_iter());
        acc.add(&mut running, 10_000);
        acc.add(&mut running, -10_000);
        assert_eq!(acc.finish(running), Running { value: 22_767, left: true });
    }
}
