//! Maps on other bits: the calibrated range of every map, spread over the codes that there are.

use crate::graph::{Graph, GraphError};
use crate::quant::{MapRule, QuantParams};
use crate::quantise::fixed_codes;

/// Gives every map codes under `rule` that cover the range of those that it has under `held`. The
/// input keeps its own: sensors deliver bytes. Where an operation prescribes codes, they are the rule's.
pub fn recode(graph: &mut Graph, held: MapRule, rule: MapRule) -> Result<(), GraphError> {
    if rule == held {
        return Ok(());
    }
    for id in graph.order()? {
        let node = graph.node(id);
        let (output, input) = (node.output, graph.edge(node.inputs[0]).quant);
        let prescribed = fixed_codes(&node.op, input, rule);
        let coded = |q: QuantParams| prescribed.unwrap_or_else(|| covering(rule, held, q));
        let quant = graph.edge(output).quant.map(coded);
        graph.edge_mut(output).quant = quant;
    }
    Ok(())
}

/// Codes for the range that `q` has under `held`.
fn covering(rule: MapRule, held: MapRule, q: QuantParams) -> QuantParams {
    let (lo, hi) = held.range();
    let real = |code: i32| (code - q.zero_point) as f32 * q.scale;
    QuantParams { codes: q.codes, ..rule.cover(real(lo), real(hi)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{CodeType, MapCodes};

    #[test]
    fn the_range_stays_and_the_steps_grow() {
        let [rule, held] = [4, 8].map(|bits| MapRule { codes: MapCodes::Affine, bits });
        let covered = |zero_point| {
            let q = covering(rule, held, QuantParams { scale: 0.1, zero_point, codes: CodeType::I8 });
            assert!((q.scale - 1.7).abs() < 1e-6, "{}", q.scale);
            q.zero_point
        };
        // 0 to 25.5 on 256 codes, then on 16.
        assert_eq!(covered(-128), -8);
        assert_eq!(covered(127), 7);
        // -5.1 to 20.4 on 16 codes is -3 to 12 steps.
        assert_eq!(covered(-77), -5);
    }
}
