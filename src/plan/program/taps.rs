//! The buffers of what crosses, and how codes become values and values codes.

use super::{Lowering, Rounding, TapBuffer, TapInCodes};
use crate::device::BufferSpec;
use crate::graph::{EdgeId, GraphError};
use crate::kernel::{self, codes};
use crate::plan::tap::Tap;
use crate::quant::boundary::Quantiser;
use crate::units::Direction;
use std::collections::HashMap;

impl Lowering<'_> {
    /// The packed buffer of a forward tap and its conversion.
    pub(super) fn tap(&mut self, tap: &Tap, tap_ins: &HashMap<EdgeId, TapInCodes>) -> Result<TapBuffer, GraphError> {
        let edge = tap.crossing.as_ref().expect("a forward tap crosses").edge;
        let elements = tap.shape.elements();
        let (bits, values) = (tap.bits, tap.values);
        let plain = |words| TapBuffer { words, bits, values, elements, convert: None, rounds: None, error: None };
        if tap.values {
            return Ok(plain(self.held(edge)?));
        }
        let words = codes::words(self.batch as usize * elements, tap.bits);
        let packed = self.buffer(BufferSpec::map(format!("{}.codes", tap.name), words));
        let map = self.held(edge)?;
        let uncoded = |why: &str| GraphError::Edge { edge: tap.name.clone(), why: why.into() };
        let mut rounds = None;
        let convert = match tap.direction {
            Direction::TapOut => {
                let quant = self.graph.edge(edge).quant.ok_or_else(|| uncoded("leaves the trunk but has no codes"))?;
                let scale = self.constant(format!("{}.scale", tap.name), &[quant.scale]);
                let params = kernel::dequantise::Params::new(self.batch, elements, 1, tap.bits, quant.zero_point);
                kernel::dequantise::call(params, packed, scale, map)
            }
            Direction::TapIn => {
                let how =
                    tap_ins.get(&edge).ok_or_else(|| uncoded("enters the trunk but the trunk has no join for it"))?;
                assert_eq!(how.bits, tap.bits, "the trunk and the plan disagree on the bits of tap '{}'", tap.name);
                let rule = |&s: &f32| Quantiser::new(s, how.zero_point, how.bits as u8);
                rounds = Some(Rounding { map, rules: how.scales.iter().map(rule).collect() });
                let inverse: Vec<f32> = how.scales.iter().map(|&s| kernel::requantise::inverse(s)).collect();
                let inverse_buffer = self.constant(format!("{}.inverse", tap.name), &inverse);
                let params =
                    kernel::requantise::Params::new(self.batch, elements, inverse.len(), tap.bits, how.zero_point);
                kernel::requantise::call(params, map, inverse_buffer, packed)
            }
        };
        Ok(TapBuffer { convert: Some(convert), rounds, ..plain(packed) })
    }
}
