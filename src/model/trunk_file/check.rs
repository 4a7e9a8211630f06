//! What a trunk file may claim: checked before anything is computed from it.

use super::document::{Document, MapRecord, NodeRecord, ParamRecord};
use crate::graph::{EdgeId, Graph, MAX_MAP_ELEMENTS, ParamValue};
use crate::model::{Fault, printable};
use crate::op::Op;
use serde_json::Value;

/// A parser's message, which may quote the file: without control characters, and not endless.
pub fn shown(error: impl std::fmt::Display) -> String {
    const MOST_CHARS: usize = 400;
    error.to_string().chars().map(|c| if c.is_control() { '·' } else { c }).take(MOST_CHARS).collect()
}

pub fn map_place(name: &str) -> String {
    format!("map '{}'", printable(name))
}

pub fn node_place(name: &str) -> String {
    format!("node '{}'", printable(name))
}

pub fn param_place(record: &ParamRecord) -> String {
    format!("parameter '{}'", printable(&record.name))
}

/// Texts are printed as they are, so they must be printable; hashes must be hashes.
pub fn texts(document: &Document) -> Result<(), Fault> {
    let provenance = &document.provenance;
    let own = [("name", &document.name), ("graph name", &document.graph.name), ("source", &provenance.source)];
    let calibration =
        provenance.calibration.iter().flat_map(|c| [("calibration", &c.data), ("calibration", &c.method)]);
    let recipe = provenance.recipe.iter().map(|recipe| ("recipe", recipe));
    let notes = document.notes.iter().map(|note| ("note", note));
    let maps = document.graph.maps.iter().map(|map| ("map name", &map.name));
    let nodes = document.graph.nodes.iter().map(|node| ("node name", &node.name));
    let params = document.graph.nodes.iter().flat_map(|n| &n.params).map(|p| ("parameter name", &p.name));
    let all = own.into_iter().chain(calibration).chain(recipe).chain(notes).chain(maps).chain(nodes).chain(params);
    for (place, text) in all {
        if text.chars().any(char::is_control) {
            return Err(Fault::malformed(place, format!("holds a control character: '{}'", printable(text))));
        }
    }
    let hashes = [("trunk_sha256", Some(&document.trunk_sha256)), ("source_sha256", provenance.source_sha256.as_ref())];
    for (place, hash) in hashes {
        if let Some(hash) = hash.filter(|h| h.len() != 64 || !h.chars().all(|c| c.is_ascii_hexdigit())) {
            return Err(Fault::malformed(place, format!("'{}' is no SHA-256", printable(hash))));
        }
    }
    Ok(())
}

pub fn map(map: &MapRecord) -> Result<(), Fault> {
    let fault = |why: String| Err(Fault::malformed(map_place(&map.name), why));
    match map.shape.checked_elements() {
        Some(1..=MAX_MAP_ELEMENTS) => {}
        _ => return fault(format!("has shape {}; a map has 1 to {MAX_MAP_ELEMENTS} elements", map.shape)),
    }
    match map.quant {
        Some(q) if !(q.scale.is_finite() && q.scale > 0.0) => fault(format!("has a scale of {}", q.scale)),
        Some(q) if !(-128..=127).contains(&q.zero_point) => {
            fault(format!("has zero point {}, outside -128 to 127", q.zero_point))
        }
        _ => Ok(()),
    }
}

/// Checks a node whose parameters are those of the graph from `first` on.
pub fn node(node: &NodeRecord, graph: &Graph, inputs: &[EdgeId], first: usize) -> Result<(), Fault> {
    let fault = |why: String| Err(Fault::malformed(node_place(&node.name), why));
    if inputs.is_empty() {
        return fault("has no input".into());
    }
    if let Some(why) = insane(&serde_json::to_value(&node.op).unwrap_or(Value::Null)) {
        return fault(format!("its operation {why}"));
    }
    if let Op::Reshape(to) = &node.op
        && to.checked_elements().is_none_or(|n| n > MAX_MAP_ELEMENTS)
    {
        return fault(format!("reshapes to {to}, more than {MAX_MAP_ELEMENTS} elements"));
    }
    let params = &graph.params[first..];
    if let Some(wanted) = weight_dims(&node.op) {
        let Some(weight) = params.first() else { return fault("has no weight".into()) };
        if wanted.as_ref() != Some(&weight.dims) {
            let wanted = wanted.map_or("that no groups can have".into(), |w| format!("{w:?}"));
            return fault(format!("has a weight of dimensions {:?}, should have {wanted}", weight.dims));
        }
        let (means, inputs) = (&weight.input_means, weight_inputs(&node.op));
        if !means.is_empty() && (means.len() != inputs || means.iter().any(|m| !m.is_finite())) {
            return fault(format!(
                "has {} means of its inputs, or some that are not finite; it has {inputs}",
                means.len()
            ));
        }
    }
    for param in params {
        // Where a runtime multiplies the scales of input and weight in f32, they must have a product.
        if let (ParamValue::I8 { scales, .. }, Some(x)) = (&param.value, graph.edge(inputs[0]).quant)
            && let Some(scale) = scales.iter().find(|&&s| s < 0.0 || !(s * x.scale).is_finite())
        {
            return fault(format!("has a weight scale of {scale} on an input scale of {}", x.scale));
        }
    }
    Ok(())
}

/// The dimensions of the weight of a layer that has one; `Some(None)` if it cannot have any.
fn weight_dims(op: &Op) -> Option<Option<Vec<usize>>> {
    match op {
        Op::Conv2d(c) => {
            Some(c.in_c.checked_div(c.groups).map(|per_group| vec![c.out_c, c.kernel[0], c.kernel[1], per_group]))
        }
        Op::Linear(l) => Some(Some(vec![l.outputs, l.inputs])),
        _ => None,
    }
}

/// How many channels the weight of a layer multiplies.
fn weight_inputs(op: &Op) -> usize {
    match op {
        Op::Conv2d(c) => c.in_c,
        Op::Linear(l) => l.inputs,
        _ => 0,
    }
}

/// Why an attribute is not one of a network: sizes beyond any map, or floats that are no f32.
fn insane(op: &Value) -> Option<String> {
    match op {
        Value::Number(n) => match (n.as_u64(), n.as_f64()) {
            (Some(size), _) if size > MAX_MAP_ELEMENTS as u64 => Some(format!("has a size of {size}")),
            (None, Some(x)) if !(x as f32).is_finite() => Some(format!("has an attribute of {x}")),
            _ => None,
        },
        // An f32 that is not finite is written so.
        Value::Null => Some("has an attribute that is not finite".into()),
        Value::Array(items) => items.iter().find_map(insane),
        Value::Object(fields) => fields.values().find_map(insane),
        _ => None,
    }
}
