//! Every shared TFLite model comes in whole: operators, work, and the tensors that the recorded layers name.

use std::path::{Path, PathBuf};
use trunkline::graph::{Graph, ParamKind, ParamValue};
use trunkline::model::npz::Npz;
use trunkline::model::tflite;
use trunkline::op::Op;
use trunkline::quant::CodeType;
use trunkline::tensor::Shape;

mod tiny;
use tiny::{Tiny, Value, sample};

/// The shared file, or `None` (with a word) where the folder is absent.
fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/models")).join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").is_err(), "{} is required and absent", path.display());
    println!("SKIPPED: {} is absent", path.display());
    None
}

fn macs(graph: &Graph) -> u64 {
    graph.node_ids().map(|node| graph.macs(node)).sum()
}

struct Case {
    file: &'static str,
    input: Shape,
    codes: CodeType,
    /// Operators in the file, and the fused activations that became nodes.
    operators: usize,
    fused: usize,
    macs: u64,
}

const CASES: &[Case] = &[
    Case {
        file: "mlperf_tiny/pretrainedResnet_quant",
        input: Shape::new(32, 32, 3),
        codes: CodeType::I8,
        operators: 16,
        fused: 7,
        macs: 12_501_632,
    },
    Case {
        file: "mlperf_tiny/kws_ref_model",
        input: Shape::new(49, 10, 1),
        codes: CodeType::I8,
        operators: 13,
        fused: 9,
        macs: 2_656_768,
    },
    Case {
        file: "mlperf_tiny/vww_96_int8",
        input: Shape::new(96, 96, 3),
        codes: CodeType::I8,
        operators: 31,
        fused: 27,
        // FIGURES.md 3.3c says 7,490,176; a count over the file gives 512 less (its 256×2 last layer once).
        macs: 7_489_664,
    },
    Case {
        file: "mlperf_tiny/ad01_int8",
        input: Shape::vector(640),
        codes: CodeType::I8,
        operators: 10,
        fused: 9,
        macs: 264_192,
    },
    Case {
        file: "coral/mobilenet_v1_0.25_128_quant",
        input: Shape::new(128, 128, 3),
        codes: CodeType::U8,
        operators: 31,
        fused: 27,
        macs: 13_570_304,
    },
    Case {
        file: "coral/tf2_mobilenet_v2_1.0_224_ptq",
        input: Shape::new(224, 224, 3),
        codes: CodeType::U8,
        operators: 68,
        fused: 35,
        macs: 300_775_552,
    },
];

#[test]
fn operators_and_work_are_those_of_the_file() {
    for case in CASES {
        let Some(path) = shared(&format!("{}.tflite", case.file)) else { continue };
        let imported = tflite::import(&path).unwrap();
        let graph = &imported.graph;
        assert_eq!(imported.default_profile, "tflite-ref");
        assert_eq!(imported.source_sha256.len(), 64);
        assert_eq!(graph.shape(graph.input), case.input, "{}", case.file);
        assert_eq!(graph.edge(graph.input).quant.unwrap().codes, case.codes, "{}", case.file);
        assert_eq!(graph.nodes.len(), case.operators + case.fused, "{}", case.file);
        assert_eq!(macs(graph), case.macs, "{}", case.file);
    }
}

/// Tensor number of a key such as `in0_op03_CONV_2D_t22`.
fn recorded_tensor(key: &str) -> u32 {
    key.rsplit_once("_t").and_then(|(_, tensor)| tensor.parse().ok()).unwrap_or_else(|| panic!("odd key {key}"))
}

#[test]
fn every_recorded_tensor_is_an_edge() {
    // The layers of the largest model were not recorded.
    for case in CASES.iter().filter(|case| case.file != "coral/tf2_mobilenet_v2_1.0_224_ptq") {
        let Some(path) = shared(&format!("{}.golden_layers.npz", case.file)) else { continue };
        let graph = tflite::import(&path.with_file_name(format!("{}.tflite", stem(case.file)))).unwrap().graph;
        let mut npz = Npz::open(&path).unwrap();
        let names = npz.names();
        assert!(!names.is_empty());
        for name in names {
            let tensor = recorded_tensor(&name);
            let edge = graph.edges.iter().find(|e| e.origin == Some(tensor));
            let edge = edge.unwrap_or_else(|| panic!("{}: no edge for {name}", case.file));
            let recorded = npz.read_i8(&name).unwrap();
            assert_eq!(edge.shape.elements(), recorded.data.len(), "{}: {name}", case.file);
            assert_eq!(edge.quant.unwrap().codes == CodeType::U8, recorded.was_unsigned, "{}: {name}", case.file);
        }
    }
}

fn stem(file: &str) -> &str {
    file.rsplit_once('/').map_or(file, |(_, stem)| stem)
}

#[test]
fn recorded_inputs_and_outputs_fit_the_graph() {
    for case in CASES {
        let Some(path) = shared(&format!("{}.golden.npz", case.file)) else { continue };
        let mut npz = Npz::open(&path).unwrap();
        let graph = tflite::import(&path.with_file_name(format!("{}.tflite", stem(case.file)))).unwrap().graph;
        let (inputs, outputs) = (npz.read_i8("inputs").unwrap(), npz.read_i8("litert_ref").unwrap());
        let images = npz.read_strings("source").unwrap().data.len();
        assert_eq!(inputs.data.len(), images * graph.shape(graph.input).elements(), "{}", case.file);
        assert_eq!(outputs.data.len(), images * graph.shape(graph.output).elements(), "{}", case.file);
    }
}

#[test]
fn parameters_are_codes_with_the_scales_of_their_layer() {
    for case in CASES {
        let Some(path) = shared(&format!("{}.tflite", case.file)) else { continue };
        let graph = tflite::import(&path).unwrap().graph;
        for node in graph.nodes.iter().filter(|n| matches!(n.op, Op::Conv2d(_) | Op::Linear(_))) {
            let input_scale = graph.edge(node.inputs[0]).quant.unwrap().scale;
            let [weight, bias] = [0, 1].map(|i| graph.param(node.params[i]));
            assert_eq!((weight.kind, bias.kind), (ParamKind::Weight, ParamKind::Bias));
            assert_eq!(weight.dims.iter().product::<usize>(), weight.value.len());
            assert_eq!(bias.dims, [weight.dims[0]]);
            let (ParamValue::I8 { scales, .. }, ParamValue::I32 { scales: bias_scales, .. }) =
                (&weight.value, &bias.value)
            else {
                panic!("{} is not coded", node.name);
            };
            assert!([1, weight.dims[0]].contains(&scales.len()));
            let product = |s: &f32| (f64::from(input_scale) * f64::from(*s)) as f32;
            assert_eq!(*bias_scales, scales.iter().map(product).collect::<Vec<_>>());
        }
    }
}

/// What the fused activation's name and the missing coding before it look like, on one known layer.
#[test]
fn a_fused_activation_is_a_node_behind_an_uncoded_edge() {
    let Some(path) = shared("mlperf_tiny/pretrainedResnet_quant.tflite") else { return };
    let graph = tflite::import(&path).unwrap().graph;
    let names: Vec<&str> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names[..6], ["conv2d_00", "conv2d_00_relu", "conv2d_01", "conv2d_01_relu", "conv2d_02", "add_03"]);
    let accumulator = graph.edge(graph.nodes[0].output);
    assert!(accumulator.quant.is_none() && accumulator.origin.is_none());
    let relu = graph.edge(graph.nodes[1].output);
    assert_eq!((relu.quant.unwrap().zero_point, relu.origin), (-128, Some(22)));
    let Op::Conv2d(strided) = &graph.nodes.iter().find(|n| n.name == "conv2d_04").unwrap().op else { panic!() };
    assert_eq!((strided.stride, strided.pad), ([2, 2], [0, 0, 1, 1]));
}

/// Float twins of the int8 models must say what is wrong with them.
#[test]
fn a_float_model_is_refused_with_advice() {
    let Some(path) = shared("mlperf_tiny/pretrainedResnet.tflite") else { return };
    let error = tflite::import(&path).unwrap_err().to_string();
    assert!(error.contains("pretrainedResnet.tflite: tensor 0") && error.contains("full-integer"), "{error}");
}

/// Imports a model built in memory.
fn import(model: &Tiny) -> Result<Graph, String> {
    let imported = tflite::import_bytes(&model.build(), Path::new("tiny.tflite"));
    imported.map(|imported| imported.graph).map_err(|error| error.to_string())
}

/// The refusal of the sample after `change`, which must name the file and `place`.
fn refusal(place: &str, change: impl FnOnce(&mut Tiny)) -> String {
    let mut model = sample();
    change(&mut model);
    let error = import(&model).unwrap_err();
    assert!(error.starts_with("tiny.tflite: ") && error.contains(place), "{error}");
    error
}

#[test]
fn operators_beyond_the_shared_models_map_to_graph_operations() {
    let graph = import(&sample()).unwrap();
    let found: Vec<(&str, Shape)> = graph.nodes.iter().map(|n| (n.name.as_str(), graph.shape(n.output))).collect();
    let expected = [
        ("conv2d_00", Shape::new(3, 3, 4)),
        ("conv2d_00_relu", Shape::new(3, 3, 4)),
        ("depthwise_01", Shape::new(3, 3, 8)),
        ("depthwise_01_relu6", Shape::new(3, 3, 8)),
        ("pad_02", Shape::new(4, 4, 12)),
        ("max_pool_03", Shape::new(2, 2, 12)),
        ("sigmoid_04", Shape::new(2, 2, 12)),
        ("mul_05", Shape::new(2, 2, 12)),
        ("add_06", Shape::new(2, 2, 12)),
        ("add_06_relu_n1_to_1", Shape::new(2, 2, 12)),
        ("concat_07", Shape::new(2, 2, 24)),
        ("leaky_relu_08", Shape::new(2, 2, 24)),
        ("mean_09", Shape::vector(24)),
        ("linear_10", Shape::vector(5)),
        ("softmax_11", Shape::vector(5)),
        ("requantise_12", Shape::vector(5)),
    ];
    assert_eq!(found, expected);
    let Op::Pad(pad) = &graph.nodes[4].op else { panic!() };
    assert_eq!((pad.space, pad.channels), ([1, 0, 0, 1], [2, 2]));
    let output = graph.edge(graph.output).quant.unwrap();
    assert_eq!((output.codes, output.zero_point), (CodeType::U8, 0));
}

#[test]
fn depthwise_weights_are_laid_out_channel_by_channel() {
    let graph = import(&sample()).unwrap();
    let node = graph.nodes.iter().find(|n| n.name == "depthwise_01").unwrap();
    let weight = graph.param(node.params[0]);
    assert_eq!((weight.name.as_str(), &weight.dims[..]), ("depthwise_01.weight", &[8, 3, 3, 1][..]));
    let ParamValue::I8 { codes, .. } = &weight.value else { panic!() };
    assert_eq!(codes[..10], [0, 8, 16, 24, 32, 40, 48, 56, 64, 1]);
    assert_eq!(node.params.len(), 1, "an absent bias is no parameter");
    let Op::Conv2d(conv) = &node.op else { panic!() };
    assert_eq!((conv.groups, conv.in_c, conv.out_c), (4, 4, 8));
}

#[test]
fn a_fixed_batch_is_dropped() {
    let mut model = sample();
    for tensor in model.tensors.iter_mut().filter(|t| t.data.is_empty()) {
        tensor.dims[0] = 4;
    }
    let graph = import(&model).unwrap();
    assert_eq!(graph.shape(graph.input), Shape::new(6, 6, 2));
    let error = refusal("tensor 3 'net/tensor_3'", |m| m.tensors[3].dims[0] = 2);
    assert!(error.contains("batch of 1"), "{error}");
}

#[test]
fn what_the_trunk_cannot_do_is_refused_by_name() {
    let error = refusal("operator 9 RESIZE_BILINEAR (output tensor 15", |m| m.operators[9].code = 23);
    assert!(error.contains("replace it before conversion") && error.contains("CONV_2D"), "{error}");
    let error = refusal("operator 0 CONV_2D", |m| m.operators[0].options = None);
    assert!(error.contains("no options"), "{error}");
    let error = refusal("operator 9 MEAN", |m| m.tensors[14].data[0] = 3);
    assert!(error.contains("only axes 1 and 2"), "{error}");
    let error = refusal("operator 7 CONCATENATION", |m| m.operators[7].options = Some((10, vec![(0, Value::I32(1))])));
    assert!(error.contains("axis 1 of rank 4"), "{error}");
    let error = refusal("operator 3 MAX_POOL_2D", |m| m.tensors[8].scales[0] = 0.5);
    assert!(error.contains("coded differently"), "{error}");
    let error = refusal("operator 5 MUL", |m| m.operators[5].inputs[1] = 1);
    assert!(error.contains("constant tensor 1"), "{error}");
    let error = refusal("operator 2 PAD", |m| m.tensors[6].data[0] = 1);
    assert!(error.contains("pads the batch"), "{error}");
}

#[test]
fn codings_and_sizes_that_contradict_themselves_are_refused() {
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = refusal("tensor 3 'net/tensor_3'", |m| m.tensors[3].scales[0] = scale);
        assert!(error.contains("finite and above 0"), "{error}");
    }
    let error = refusal("tensor 3 'net/tensor_3'", |m| m.tensors[3].zero_points[0] = 128);
    assert!(error.contains("outside -128..=127"), "{error}");
    let error = refusal("tensor 1 'net/tensor_1'", |m| m.tensors[1].data.truncate(71));
    assert!(error.contains("holds 71 bytes, its shape asks for 72"), "{error}");
    let error = refusal("tensor 1 'net/tensor_1'", |m| m.tensors[1].scales.truncate(3));
    assert!(error.contains("3 scales"), "{error}");
    let error = refusal("operator 0 CONV_2D", |m| m.tensors[3].dims[1] = 4);
    assert!(error.contains("computes a map of 3x3x4 but declares 4x3x4"), "{error}");
    let error = refusal("tensor 3", |m| m.tensors[3].dims = vec![1, i32::MAX, i32::MAX, 4]);
    assert!(error.contains("multiply to more than"), "{error}");
    let error = refusal("operator 11 SOFTMAX", |m| m.tensors[18].scales[0] = 0.5);
    assert!(error.contains("TFLite fixes them"), "{error}");
    let error = refusal("operator 4 LOGISTIC", |m| m.operators[4].inputs[0] = 10);
    assert!(error.contains("before any operator computes it"), "{error}");
}
