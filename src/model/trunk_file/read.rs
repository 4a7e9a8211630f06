//! From the bytes of a trunk file to its graph.

use super::document::{Document, Form, GraphRecord, NodeRecord, ParamRecord, VERSION, Versioned};
use super::tensors::Tensors;
use super::{Layer, TrunkFile, check, tensor_name};
use crate::graph::{Edge, EdgeId, Graph, Node, NodeId, Param, ParamId, ParamValue};
use crate::model::{Fault, printable};
use crate::op::Registers;
use crate::quant::Multiplier;
use crate::quant::weights::WeightCodes;
use crate::units::HardwareDomain;
use std::collections::{BTreeMap, HashMap};

pub fn read(bytes: &[u8]) -> Result<TrunkFile, Fault> {
    let mut tensors = Tensors::open(bytes)?;
    let document = document(tensors.document())?;
    check::texts(&document)?;
    let profile = document.profile.parse().map_err(|e| Fault::unsupported("profile", check::shown(e)))?;
    let (graph, layers) = graph(document.graph, &mut tensors)?;
    tensors.finish()?;
    Ok(TrunkFile {
        name: document.name,
        provenance: document.provenance,
        notes: document.notes,
        profile,
        preprocess: document.preprocess,
        trunk_sha256: document.trunk_sha256,
        graph,
        layers,
    })
}

fn document(text: &str) -> Result<Document, Fault> {
    let fault = |e: serde_json::Error| Fault::malformed("document", check::shown(e));
    let Versioned { version } = serde_json::from_str(text).map_err(fault)?;
    if version != VERSION {
        let why = format!("is of version {version}; this program reads {VERSION}: import the source anew");
        return Err(Fault::unsupported("document", why));
    }
    serde_json::from_str(text).map_err(fault)
}

fn graph(record: GraphRecord, tensors: &mut Tensors) -> Result<(Graph, BTreeMap<String, Layer>), Fault> {
    let mut edges = Vec::with_capacity(record.maps.len());
    let mut by_name = HashMap::with_capacity(record.maps.len());
    for map in record.maps {
        check::map(&map)?;
        if by_name.insert(map.name.clone(), EdgeId(edges.len() as u32)).is_some() {
            return Err(Fault::malformed(check::map_place(&map.name), "is there twice"));
        }
        edges.push(Edge { name: map.name, shape: map.shape, quant: map.quant, producer: None, origin: map.tensor });
    }
    let find = |name: &str, place: &str| {
        by_name
            .get(name)
            .copied()
            .ok_or_else(|| Fault::malformed(place, format!("there is no map '{}'", printable(name))))
    };
    let (input, output) = (find(&record.input, "graph input")?, find(&record.output, "graph output")?);
    let mut graph = Graph { name: record.name, nodes: vec![], edges, params: vec![], input, output };
    let mut layers = BTreeMap::new();
    for node in record.nodes {
        let place = check::node_place(&node.name);
        let inputs = node.inputs.iter().map(|n| find(n, &place)).collect::<Result<Vec<_>, _>>()?;
        let made = find(&node.output, &place)?;
        let id = NodeId(graph.nodes.len() as u32);
        if graph.edge_mut(made).producer.replace(id).is_some() {
            return Err(Fault::malformed(place, format!("makes map '{}', as another does", printable(&node.output))));
        }
        let first = graph.params.len();
        let layer = layer(&node, &mut graph, tensors)?;
        let params = (first..graph.params.len()).map(|i| ParamId(i as u32)).collect();
        check::node(&node, &graph, &inputs, first)?;
        if layer != Layer::default() {
            layers.insert(node.name.clone(), layer);
        }
        let domain = HardwareDomain::Trunk;
        graph.nodes.push(Node { name: node.name, op: node.op, inputs, params, output: made, domain, site: None });
    }
    if graph.edge(output).producer.is_none() {
        return Err(Fault::malformed("graph output", "is made by no node"));
    }
    graph.check().map_err(|e| Fault::malformed("graph", e.to_string()))?;
    Ok((graph, layers))
}

/// Reads a node's parameters into the graph, and what the chip holds for it.
fn layer(node: &NodeRecord, graph: &mut Graph, tensors: &mut Tensors) -> Result<Layer, Fault> {
    let mut layer = Layer::default();
    for record in &node.params {
        let (value, dims, codes) = param(record, tensors)?;
        if codes.is_some() && layer.weights.is_some() {
            return Err(Fault::malformed(check::node_place(&node.name), "has two parameters with weight codes"));
        }
        layer.weights = layer.weights.or(codes);
        let means = tensor_name("means", &record.name);
        let input_means = if tensors.has(&means) { tensors.f32s(&means)?.0 } else { vec![] };
        let (name, kind) = (record.name.clone(), record.kind);
        graph.params.push(Param { name, dims, value, kind, input_means, trainable: false });
    }
    layer.registers = registers(&node.name, tensors)?;
    Ok(layer)
}

/// A parameter, its dimensions, and its codes if it is a weight.
fn param(record: &ParamRecord, tensors: &mut Tensors) -> Result<(ParamValue, Vec<usize>, Option<WeightCodes>), Fault> {
    let fault = |why: String| Fault::malformed(check::param_place(record), why);
    let [values, scales] = ["values", "scales"].map(|part| tensor_name(part, &record.name));
    match record.form {
        Form::Int8 => {
            let (held, dims) = weights(record, tensors)?;
            let WeightCodes { codes, scales, zero_points } = held.clone();
            Ok((ParamValue::I8 { codes, scales, zero_points }, dims, Some(held)))
        }
        Form::F32 => {
            let codes =
                tensors.has(&tensor_name("codes", &record.name)).then(|| weights(record, tensors)).transpose()?;
            let (values, dims) = tensors.f32s(&values)?;
            if codes.as_ref().is_some_and(|(_, of_codes)| *of_codes != dims) {
                return Err(fault("has codes of another shape than its values".into()));
            }
            Ok((ParamValue::F32(values), dims, codes.map(|(codes, _)| codes)))
        }
        Form::Int32 => {
            let (codes, dims) = tensors.i32s(&values)?;
            let (scales, _) = tensors.f32s(&scales)?;
            if scales.len() != 1 && scales.len() != codes.len() {
                return Err(fault(format!("has {} scales for {} codes", scales.len(), codes.len())));
            }
            Ok((ParamValue::I32 { codes, scales }, dims, None))
        }
    }
}

/// Weight codes and their dimensions.
fn weights(record: &ParamRecord, tensors: &mut Tensors) -> Result<(WeightCodes, Vec<usize>), Fault> {
    let [codes, scales, zeros] = ["codes", "scales", "zero_points"].map(|part| tensor_name(part, &record.name));
    let (codes, dims) = tensors.i8s(&codes)?;
    let (scales, _) = tensors.f32s(&scales)?;
    let (zero_points, _) = tensors.i32s(&zeros)?;
    let channels = dims.first().copied().unwrap_or(1);
    for (what, count) in [("scales", scales.len()), ("zero points", zero_points.len())] {
        if count != 1 && count != channels {
            let why = format!("has {count} {what} for {channels} output channels");
            return Err(Fault::malformed(check::param_place(record), why));
        }
    }
    Ok((WeightCodes { codes, scales, zero_points }, dims))
}

/// The loadable registers of a node, if it has any.
fn registers(node: &str, tensors: &mut Tensors) -> Result<Option<Registers>, Fault> {
    let [mantissa, shift, bias] = ["mantissa", "shift", "bias"].map(|part| tensor_name(part, node));
    if !tensors.has(&mantissa) {
        return Ok(None);
    }
    let (mantissas, _) = tensors.i32s(&mantissa)?;
    let (shifts, _) = tensors.i32s(&shift)?;
    let (bias, _) = tensors.i32s(&bias)?;
    if shifts.len() != mantissas.len() || bias.len() != mantissas.len() {
        let why = format!(
            "has registers for {} mantissas, {} shifts and {} biases",
            mantissas.len(),
            shifts.len(),
            bias.len()
        );
        return Err(Fault::malformed(check::node_place(node), why));
    }
    let multipliers = mantissas.into_iter().zip(shifts).map(|(mantissa, shift)| Multiplier { mantissa, shift });
    Ok(Some(Registers { multipliers: multipliers.collect(), bias }))
}
