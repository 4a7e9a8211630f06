//! Post-training quantisation: runs the float graph on calibration images and fixes the scales.
//!
//! Every node runs on the CPU twins, no bus between; the values of every map decide its codes (SPEC
//! section 6). Weights are quantised later, when the trunk is prepared; for that a layer's weights
//! are given the means of what they multiply, so that what their rounding shifts can be taken out.

use crate::device::DeviceError;
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::{Activation, Op};
use crate::quant::{MapRule, QuantParams};
use crate::tensor::Tensor;
use observe::{Range, Seen};
use rayon::prelude::*;
use std::collections::BTreeMap;
use thiserror::Error;

mod calibration;
mod clip;
mod observe;

pub use calibration::Calibration;

#[derive(Debug, Error)]
pub enum QuantiseError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("calibration needs at least one image")]
    NoImages,
    #[error("calibration: edge '{edge}' is not finite on image {image}: the network's values overflow")]
    NotFinite { edge: String, image: usize },
}

/// Gives every edge of a float graph its codes, as an arithmetic can have them, and every weight the
/// means of its inputs, from what is seen on `images`. The input keeps 8 bits: sensors deliver bytes.
pub fn calibrate(
    graph: &mut Graph,
    images: &Tensor<f32>,
    how: Calibration,
    rule: MapRule,
) -> Result<(), QuantiseError> {
    if images.batch == 0 {
        return Err(QuantiseError::NoImages);
    }
    let seen = observe::ranges(graph, images)?;
    for (edge, range) in chosen(graph, images, how, rule, &seen)? {
        let rule = if edge == graph.input { MapRule { bits: 8, ..rule } } else { rule };
        graph.edge_mut(edge).quant = Some(rule.cover(range.min, range.max));
    }
    for id in graph.order()? {
        let node = graph.node(id);
        let (output, input) = (node.output, graph.edge(node.inputs[0]).quant);
        if let Some(quant) = fixed_codes(&node.op, input, rule) {
            graph.edge_mut(output).quant = Some(quant);
        }
    }
    keep_means(graph, &seen);
    Ok(())
}

/// The range of every map that is worth coding.
fn chosen(
    graph: &Graph,
    images: &Tensor<f32>,
    how: Calibration,
    rule: MapRule,
    seen: &BTreeMap<EdgeId, Seen>,
) -> Result<BTreeMap<EdgeId, Range>, QuantiseError> {
    if how == Calibration::MinMax {
        return Ok(seen.iter().map(|(&edge, s)| (edge, s.range)).collect());
    }
    let histograms = observe::histograms(graph, images, seen)?;
    let choose = |h: &observe::Histogram| match how {
        Calibration::MinMax => h.range,
        Calibration::Percentile(percent) => clip::percentile(h, percent),
        Calibration::Mse => clip::mse(h, rule),
    };
    Ok(histograms.par_iter().map(|(&edge, h)| (edge, choose(h))).collect())
}

/// Gives the weights of convolutions and linear layers the means of their inputs, by channel.
fn keep_means(graph: &mut Graph, seen: &BTreeMap<EdgeId, Seen>) {
    for id in graph.node_ids() {
        let node = graph.node(id);
        let inputs = match &node.op {
            Op::Conv2d(op) => op.in_c,
            // It flattens its input: the channels repeat with every pixel.
            Op::Linear(op) => op.inputs,
            _ => continue,
        };
        let (weight, edge) = (node.params[0], node.inputs[0]);
        let Some(input) = seen.get(&edge) else { continue };
        let means = input.means.iter().map(|&m| m as f32).cycle().take(inputs).collect();
        graph.params[weight.index()].input_means = means;
    }
}

/// Codes that an operation prescribes: those of its input where it moves codes unchanged, and the
/// fixed ranges of TFLite's scheme.
pub(crate) fn fixed_codes(op: &Op, input: Option<QuantParams>, rule: MapRule) -> Option<QuantParams> {
    match op {
        Op::AvgPool(_) | Op::MaxPool(_) | Op::Pad(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Upsample(_) => input,
        Op::Softmax(_) => Some(rule.probabilities()),
        Op::Activation(Activation::Sigmoid { .. }) => Some(rule.unit()),
        Op::Activation(Activation::Tanh) => Some(rule.signed_unit()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zoo::ZooSpec;
    use crate::quant::Profile;
    use crate::seed;

    #[test]
    fn a_calibrated_network_has_codes_on_every_edge() {
        let mut graph = ZooSpec::parse("resnet26:width=0.25", Some(32), None, 1).unwrap().build().unwrap();
        let shape = graph.shape(graph.input);
        let images = Tensor::from_vec(2, shape, seed::normal(3, "images", 2 * shape.elements(), 1.0));
        calibrate(&mut graph, &images, Calibration::MinMax, Profile::default().maps()).unwrap();
        for edge in &graph.edges {
            let quant = edge.quant.unwrap_or_else(|| panic!("edge '{}' has no codes", edge.name));
            assert!(quant.scale > 0.0 && (-128..=127).contains(&quant.zero_point));
            if edge.name.ends_with("relu") {
                assert_eq!(quant.zero_point, -128, "a ReLU has no negative codes to spend ({})", edge.name);
            }
        }
        let of = |name: &str| graph.edges.iter().find(|e| e.name == name).unwrap().quant;
        assert_eq!(of("s1b1.shortcut.pool"), of("stem.bn"), "pooling moves codes unchanged");
        let nothing = Tensor::<f32>::zeros(0, shape);
        let rule = Profile::default().maps();
        assert!(matches!(calibrate(&mut graph, &nothing, Calibration::Mse, rule), Err(QuantiseError::NoImages)));
    }

    #[test]
    fn a_choice_narrows_ranges_and_is_the_same_every_time() {
        let graph = ZooSpec::parse("resnet8:width=0.5", Some(16), None, 1).unwrap().build().unwrap();
        let shape = graph.shape(graph.input);
        let images = Tensor::from_vec(3, shape, seed::normal(3, "images", 3 * shape.elements(), 1.0));
        let scales = |how| {
            let mut graph = graph.clone();
            calibrate(&mut graph, &images, how, Profile::default().maps()).unwrap();
            graph.edges.iter().map(|e| e.quant.unwrap().scale).collect::<Vec<_>>()
        };
        let whole = scales(Calibration::MinMax);
        for how in [Calibration::Percentile(99.0), Calibration::Percentile(99.9), Calibration::Mse] {
            let chosen = scales(how);
            assert_eq!(chosen, scales(how), "{how}");
            assert!(chosen.iter().zip(&whole).all(|(a, b)| a <= b), "{how} goes beyond what was seen");
            // So few values are worth their range to the squared error.
            let narrows = chosen.iter().zip(&whole).any(|(a, b)| *a < 0.99 * b);
            assert!(narrows || how == Calibration::Mse, "{how} narrows nothing");
        }
        assert_eq!(scales(Calibration::Percentile(100.0)), whole);
    }
}
