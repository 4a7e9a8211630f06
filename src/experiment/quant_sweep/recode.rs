//! Maps on fewer bits: the calibrated range of every map, spread over the codes that there are.

use crate::graph::Graph;
use crate::op::{Activation, Op};
use crate::quant::QuantParams;

/// Gives every map codes of `bits` bits that cover the range of its 8-bit ones. Maps whose codes
/// an operation prescribes keep them.
pub fn recode(graph: &mut Graph, bits: u8) {
    if bits == 8 {
        return;
    }
    let prescribed =
        |op: &Op| matches!(op, Op::Softmax(_) | Op::Activation(Activation::Sigmoid { .. } | Activation::Tanh));
    for i in 0..graph.edges.len() {
        let producer = graph.edges[i].producer.map(|n| &graph.node(n).op);
        if !producer.is_some_and(prescribed) {
            graph.edges[i].quant = graph.edges[i].quant.map(|q| narrowed(q, bits));
        }
    }
}

/// `s' = 255 s / (2^bits - 1)`, and the zero point that keeps the range's lower end.
fn narrowed(q: QuantParams, bits: u8) -> QuantParams {
    let levels = f64::from((1u32 << bits) - 1);
    let lowest = -f64::from(1u32 << (bits - 1));
    let scale = f64::from(q.scale) * 255.0 / levels;
    let steps_below_zero = f64::from(q.zero_point + 128) * levels / 255.0;
    let zero_point = (lowest + steps_below_zero).round_ties_even() as i32;
    QuantParams { scale: scale as f32, zero_point, codes: q.codes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::CodeType;

    #[test]
    fn the_range_stays_and_the_steps_grow() {
        let q = |scale, zero_point| QuantParams { scale, zero_point, codes: CodeType::I8 };
        // 0 to 25.5 on 256 codes, then on 16: 0 to 25.5 again.
        assert_eq!(narrowed(q(0.1, -128), 4), q(1.7, -8));
        assert_eq!(narrowed(q(0.1, 127), 4), q(1.7, 7));
        // -5.1 to 20.4 on 16 codes is -3 to 12 steps.
        assert_eq!(narrowed(q(0.1, -77), 4), q(1.7, -5));
    }
}
