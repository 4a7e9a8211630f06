//! The float network on the sweep's images, run once: its answers, and the maps that every
//! quantised one is held against.

use crate::device;
use crate::graph::{EdgeId, Graph, ParamValue};
use crate::plan::program;
use crate::quantise::QuantiseError;
use crate::tensor::Tensor;
use crate::units::HardwareDomain;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

/// Float maps that are kept at once. Layers are compared on as many images as fit.
const MAP_BYTES: usize = 1 << 29;

/// What the float network computed.
pub struct FloatPass {
    /// The output of every image.
    pub outputs: Vec<Vec<f32>>,
    /// The maps of the first [`FloatPass::compared`] images, one after the other.
    pub maps: BTreeMap<EdgeId, Vec<f32>>,
    /// Images whose maps were kept.
    pub compared: usize,
}

/// Replaces codes by the values that they stand for; says whether there were any.
pub fn dequantised(graph: &mut Graph) -> bool {
    let mut found = false;
    for param in &mut graph.params {
        if !matches!(param.value, ParamValue::F32(_)) {
            param.value = ParamValue::F32(param.value.to_f32());
            found = true;
        }
    }
    found
}

/// Runs the float graph on every image, unless it is stopped, and keeps the maps of `edges`;
/// `progress` is told of images.
pub fn pass(
    graph: &Graph,
    images: &Tensor<f32>,
    edges: &[EdgeId],
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Result<FloatPass, QuantiseError> {
    let mut float = graph.clone();
    for node in &mut float.nodes {
        node.domain = HardwareDomain::Adapter;
    }
    let program = program::lower(&float, 1, &[], &HashMap::new())?;
    let mut device = device::open("cpu")?;
    device.prepare(&program.buffers, 1)?;
    let calls: Vec<_> = program.steps.iter().flat_map(|s| s.calls.clone()).collect();
    let map_elements: usize = edges.iter().map(|&e| float.shape(e).elements()).sum();
    let compared = images.batch.min((MAP_BYTES / 4 / map_elements.max(1)).max(1));
    let mut done = FloatPass { outputs: vec![], maps: BTreeMap::new(), compared };
    for image in (0..images.batch).take_while(|_| !stop.load(Ordering::Relaxed)) {
        device.write(0, program.maps[&float.input], bytemuck::cast_slice(images.image(image)))?;
        device.run(0, &calls)?;
        let mut read = |edge: EdgeId| device.read(0, program.maps[&edge], float.shape(edge).elements());
        let values = |words: &[u32]| -> Vec<f32> { words.iter().map(|&w| f32::from_bits(w)).collect() };
        if image < compared {
            for &edge in edges {
                done.maps.entry(edge).or_default().extend(values(&read(edge)?));
            }
        }
        let output = values(&read(float.output)?);
        if output.iter().any(|v| !v.is_finite()) {
            return Err(QuantiseError::NotFinite { edge: float.edge(float.output).name.clone(), image });
        }
        done.outputs.push(output);
        progress(1);
    }
    Ok(done)
}
