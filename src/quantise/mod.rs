//! Post-training quantisation: runs the float graph on calibration images and fixes the scales.
//!
//! Every node runs on the CPU twins, no bus between; the smallest and largest value of every map
//! become its codes (SPEC section 6, min-max). Weights are quantised later, when the trunk is
//! prepared, because they need no data.

use crate::device::{self, DeviceError};
use crate::graph::{EdgeId, Graph, GraphError};
use crate::op::{Activation, Op};
use crate::plan::program::{self, Program};
use crate::quant::{MapRule, QuantParams};
use crate::tensor::Tensor;
use crate::units::HardwareDomain;
use std::collections::HashMap;
use thiserror::Error;

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

/// The smallest and largest value of a map.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    min: f32,
    max: f32,
}

/// Gives every edge of a float graph its codes, from the ranges seen on `images`, as an arithmetic
/// can have them. The input keeps 8 bits: sensors deliver bytes.
pub fn calibrate(graph: &mut Graph, images: &Tensor<f32>, rule: MapRule) -> Result<(), QuantiseError> {
    if images.batch == 0 {
        return Err(QuantiseError::NoImages);
    }
    let ranges = ranges(graph, images)?;
    for (edge, range) in ranges {
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
    Ok(())
}

/// Codes that an operation prescribes: those of its input where it moves codes unchanged, and the
/// fixed ranges of TFLite's scheme.
fn fixed_codes(op: &Op, input: Option<QuantParams>, rule: MapRule) -> Option<QuantParams> {
    match op {
        Op::AvgPool(_) | Op::MaxPool(_) | Op::Pad(_) | Op::Reshape(_) => input,
        Op::Softmax(_) => Some(rule.probabilities()),
        Op::Activation(Activation::Sigmoid { .. }) => Some(rule.unit()),
        Op::Activation(Activation::Tanh) => Some(rule.signed_unit()),
        _ => None,
    }
}

/// Runs every image through the float graph and keeps the range of every edge.
fn ranges(graph: &Graph, images: &Tensor<f32>) -> Result<HashMap<EdgeId, Range>, QuantiseError> {
    let mut float = graph.clone();
    for node in &mut float.nodes {
        node.domain = HardwareDomain::Adapter;
    }
    // The input is written by us: no tap.
    let program: Program = program::lower(&float, 1, &[], &HashMap::new())?;
    let mut device = device::open("cpu")?;
    device.prepare(&program.buffers, 1)?;
    let mut ranges: HashMap<EdgeId, Range> = HashMap::new();
    let calls: Vec<_> = program.steps.iter().flat_map(|s| s.calls.clone()).collect();
    for image in 0..images.batch {
        device.write(0, program.maps[&float.input], bytemuck::cast_slice(images.image(image)))?;
        device.run(0, &calls)?;
        for (&edge, &buffer) in &program.maps {
            let words = device.read(0, buffer, float.shape(edge).elements())?;
            let seen = range_of(bytemuck::cast_slice(&words))
                .ok_or_else(|| QuantiseError::NotFinite { edge: float.edge(edge).name.clone(), image })?;
            let range = ranges.entry(edge).or_insert(seen);
            *range = Range { min: range.min.min(seen.min), max: range.max.max(seen.max) };
        }
    }
    Ok(ranges)
}

/// The range of some values, if all are finite.
fn range_of(values: &[f32]) -> Option<Range> {
    let start = Range { min: f32::INFINITY, max: f32::NEG_INFINITY };
    let range = values.iter().fold(start, |r, &v| Range { min: r.min.min(v), max: r.max.max(v) });
    (values.iter().all(|v| v.is_finite()) && !values.is_empty()).then_some(range)
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
        calibrate(&mut graph, &images, Profile::default().maps()).unwrap();
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
        assert!(matches!(calibrate(&mut graph, &nothing, Profile::default().maps()), Err(QuantiseError::NoImages)));
    }

    #[test]
    fn values_that_are_no_number_are_found() {
        assert_eq!(range_of(&[1.0, f32::NAN]), None);
        assert_eq!(range_of(&[1.0, -3.0]), Some(Range { min: -3.0, max: 1.0 }));
    }
}
