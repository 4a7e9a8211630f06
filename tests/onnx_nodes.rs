//! The 21 shared ONNX operator tests: codes exactly, floats to 1e-5. Every one is evaluated with all
//! its inputs as constants; those of one image also go through the graph, on the adapter device's
//! twins (floats) or on the trunk (codes).

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use trunkline::device;
use trunkline::graph::Graph;
use trunkline::model::onnx::{self, Constant, Values};
use trunkline::plan::program;
use trunkline::quant::Profile;
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk;
use trunkline::units::HardwareDomain;

const TESTS: [&str; 21] = [
    "averagepool_2d_pads",
    "basic_conv_with_padding",
    "batchnorm_epsilon",
    "conv_with_autopad_same",
    "conv_with_strides_no_padding",
    "conv_with_strides_padding",
    "convinteger_with_padding",
    "convinteger_without_padding",
    "dequantizelinear",
    "dequantizelinear_axis",
    "dynamicquantizelinear",
    "dynamicquantizelinear_max_adjusted",
    "dynamicquantizelinear_min_adjusted",
    "globalaveragepool",
    "matmulinteger",
    "maxpool_2d_strides",
    "qlinearconv",
    "qlinearmatmul_2D",
    "qlinearmatmul_3D",
    "quantizelinear",
    "quantizelinear_axis",
];

/// Those that are a network of one image: the operator test's first input, the rest weights.
const NETWORKS: [&str; 8] = [
    "averagepool_2d_pads",
    "basic_conv_with_padding",
    "conv_with_autopad_same",
    "conv_with_strides_no_padding",
    "conv_with_strides_padding",
    "globalaveragepool",
    "maxpool_2d_strides",
    "qlinearconv",
];

const TOLERANCE: f32 = 1e-5;

struct Case {
    path: PathBuf,
    model: Vec<u8>,
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Constant>,
}

fn case(name: &str) -> Option<Case> {
    let folder = common::shared(&format!("models/onnx_quant_nodes/test_{name}"))?;
    let all = |kind: &str| -> Vec<Vec<u8>> {
        let file = |i: usize| folder.join(format!("test_data_set_0/{kind}_{i}.pb"));
        (0..).map(file).take_while(|f| f.exists()).map(|f| std::fs::read(f).unwrap()).collect()
    };
    let path = folder.join("model.onnx");
    let read = |bytes: Vec<u8>| onnx::read_tensor(&bytes, &path).unwrap();
    let outputs = all("output").into_iter().map(read).collect();
    Some(Case { model: std::fs::read(&path).unwrap(), inputs: all("input"), outputs, path })
}

fn compare(name: &str, computed: &Values, recorded: &Values) {
    match (computed, recorded) {
        (Values::Integer(computed), Values::Integer(recorded)) => assert_eq!(computed, recorded, "{name}"),
        (Values::Float(computed), Values::Float(recorded)) => {
            assert_eq!(computed.len(), recorded.len(), "{name}");
            for (i, (a, b)) in computed.iter().zip(recorded).enumerate() {
                assert!((a - b).abs() <= TOLERANCE * b.abs().max(1.0), "{name}: element {i} is {a}, not {b}");
            }
        }
        _ => panic!("{name}: of another type than recorded"),
    }
}

#[test]
fn every_operator_test_is_evaluated() {
    for name in TESTS {
        let Some(case) = case(name) else { return };
        assert!(!case.outputs.is_empty(), "{name}");
        let computed = onnx::evaluate(case.model, &case.inputs, &case.path).unwrap();
        assert_eq!(computed.len(), case.outputs.len(), "{name}");
        for (computed, recorded) in computed.iter().zip(&case.outputs) {
            assert_eq!((&computed.dims, computed.presented()), (&recorded.dims, recorded.presented()), "{name}");
            let values = match computed.coding {
                Some(_) => &Values::Float(computed.floats().unwrap().into_owned()),
                None => &computed.values,
            };
            compare(name, values, &recorded.values);
        }
    }
}

/// An image from N×C×H×W to the graph's order.
fn channels_last<T: Copy>(values: &[T], shape: Shape) -> Vec<T> {
    let pixels = shape.pixels();
    (0..shape.elements()).map(|i| values[i % shape.c * pixels + i / shape.c]).collect()
}

fn channels_first<T: Copy>(values: &[T], shape: Shape) -> Vec<T> {
    let pixels = shape.pixels();
    (0..shape.elements()).map(|i| values[i % pixels * shape.c + i / pixels]).collect()
}

/// The float network on the CPU twins.
fn on_twins(graph: &Graph, image: &[f32]) -> Vec<f32> {
    let mut float = graph.clone();
    float.nodes.iter_mut().for_each(|n| n.domain = HardwareDomain::Adapter);
    let program = program::lower(&float, 1, &[], &HashMap::new()).unwrap();
    let mut device = device::open("cpu").unwrap();
    device.prepare(&program.buffers, 1).unwrap();
    device.write(0, program.maps[&float.input], bytemuck::cast_slice(image)).unwrap();
    let calls: Vec<_> = program.steps.iter().flat_map(|s| s.calls.clone()).collect();
    device.run(0, &calls).unwrap();
    let words = device.read(0, program.maps[&float.output], float.shape(float.output).elements()).unwrap();
    bytemuck::cast_slice::<u32, f32>(&words).to_vec()
}

fn on_trunk(graph: &Graph, image: &[i64]) -> Vec<i64> {
    let shape = graph.shape(graph.input);
    let offset = |edge| i64::from(graph.edge(edge).quant.unwrap().codes.offset());
    let codes = image.iter().map(|&q| (q - offset(graph.input)) as i8).collect();
    let profile: Profile = "onnxruntime".parse().unwrap();
    let program = trunk::prepare(graph, &profile, 8).unwrap();
    let maps = program.run_all(&Tensor::from_vec(1, shape, codes)).unwrap();
    maps[&graph.output].data.iter().map(|&q| i64::from(q) + offset(graph.output)).collect()
}

#[test]
fn networks_of_one_operator_run_on_the_trunk_and_on_the_twins() {
    for name in NETWORKS {
        let Some(case) = case(name) else { return };
        let imported = onnx::import_fed(case.model, &case.inputs[1..], Path::new("node.onnx")).unwrap();
        let graph = imported.graph;
        graph.check().unwrap();
        let (from, to) = (graph.shape(graph.input), graph.shape(graph.output));
        let input = onnx::read_tensor(&case.inputs[0], &case.path).unwrap();
        let computed = match &input.values {
            Values::Float(image) => Values::Float(channels_first(&on_twins(&graph, &channels_last(image, from)), to)),
            Values::Integer(image) => {
                assert_eq!(imported.default_profile, "onnxruntime");
                Values::Integer(channels_first(&on_trunk(&graph, &channels_last(image, from)), to))
            }
        };
        compare(name, &computed, &case.outputs[0].values);
    }
}
