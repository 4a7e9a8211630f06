//! Small models, a few nodes each: what they become, and what is said of those that are refused.
//! Values are compared in `tests/onnx_import.rs`, which may run graphs.

use super::*;
use crate::graph::{Node, ParamKind, ParamValue};
use crate::op::Op;

/// A model of opset 13 under construction; its input is `x`.
struct Model(proto::Model);

fn ints(name: &str, ints: &[i64]) -> proto::Attribute {
    proto::Attribute { name: name.into(), ints: ints.to_vec(), ..Default::default() }
}

fn int(name: &str, i: i64) -> proto::Attribute {
    proto::Attribute { name: name.into(), i, ..Default::default() }
}

fn text(name: &str, s: &'static str) -> proto::Attribute {
    proto::Attribute { name: name.into(), s: Bytes::from_static(s.as_bytes()), ..Default::default() }
}

fn value_info(name: &str, dims: &[i64]) -> proto::ValueInfo {
    let dim = dims.iter().map(|&d| proto::Dimension { dim_value: (d >= 0).then_some(d) }).collect();
    let tensor_type = Some(proto::TensorType { elem_type: 1, shape: Some(proto::TensorShape { dim }) });
    proto::ValueInfo { name: name.into(), r#type: Some(proto::Type { tensor_type }) }
}

impl Model {
    /// A dimension of -1 is open.
    fn new(input: &[i64]) -> Self {
        let graph = proto::Graph { input: vec![value_info("x", input)], ..Default::default() };
        let opset_import = vec![proto::OperatorSet { domain: String::new(), version: 13 }];
        Self(proto::Model { graph: Some(graph), opset_import })
    }

    fn graph(&mut self) -> &mut proto::Graph {
        self.0.graph.as_mut().unwrap()
    }

    fn opset(mut self, version: i64) -> Self {
        self.0.opset_import[0].version = version;
        self
    }

    fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let raw_data = Bytes::from(values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        let tensor =
            proto::Tensor { dims: dims.to_vec(), data_type: 1, name: name.into(), raw_data, ..Default::default() };
        self.graph().initializer.push(tensor);
        self
    }

    fn integers(mut self, name: &str, values: &[i64]) -> Self {
        let dims = vec![values.len() as i64];
        let int64_data = values.to_vec();
        let tensor = proto::Tensor { dims, data_type: 7, name: name.into(), int64_data, ..Default::default() };
        self.graph().initializer.push(tensor);
        self
    }

    /// Adds a node; the last one's output is the graph's.
    fn node(mut self, op: &str, inputs: &[&str], output: &str, attribute: &[proto::Attribute]) -> Self {
        self.graph().node.push(proto::Node {
            input: inputs.iter().map(|i| i.to_string()).collect(),
            output: vec![output.into()],
            name: format!("the_{op}"),
            op_type: op.into(),
            attribute: attribute.to_vec(),
            domain: String::new(),
        });
        self.graph().output = vec![proto::ValueInfo { name: output.into(), r#type: None }];
        self
    }

    fn import(&self) -> Result<Graph, String> {
        let imported = import_bytes(self.0.encode_to_vec(), Path::new("m.onnx")).map_err(|e| e.to_string())?;
        imported.graph.check().unwrap();
        Ok(imported.graph)
    }

    fn last(&self) -> Node {
        self.import().unwrap().nodes.pop().unwrap()
    }

    fn refusal(&self) -> String {
        self.import().unwrap_err()
    }
}

#[test]
fn convolution_paddings() {
    let conv = |attributes: &[proto::Attribute]| {
        let model = Model::new(&[-1, 2, 6, 5]).floats("w", &[4, 2, 3, 3], &[0.5; 72]);
        match model.node("Conv", &["x", "w"], "y", attributes).last().op {
            Op::Conv2d(conv) => conv,
            other => panic!("{other:?}"),
        }
    };
    let (two, s2) = (ints("dilations", &[2, 1]), ints("strides", &[2, 2]));
    assert_eq!(conv(&[]).pad, [0; 4]);
    assert_eq!(conv(&[ints("pads", &[1, 2, 0, 1])]).pad, [1, 2, 0, 1]);
    assert_eq!(conv(&[text("auto_pad", "SAME_UPPER"), s2.clone()]).pad, [0, 1, 1, 1]);
    assert_eq!(conv(&[text("auto_pad", "SAME_LOWER"), s2.clone()]).pad, [1, 1, 0, 1]);
    assert_eq!(conv(&[text("auto_pad", "VALID"), s2]).pad, [0; 4]);
    assert_eq!(conv(&[text("auto_pad", "SAME_UPPER"), two]).pad, [2, 1, 2, 1]);
}

#[test]
fn contradictory_convolutions_are_refused() {
    let model = || Model::new(&[1, 2, 6, 6]).floats("w", &[4, 2, 3, 3], &[0.5; 72]);
    let with = |a: proto::Attribute| model().node("Conv", &["x", "w"], "y", &[a]).refusal();
    assert!(with(int("group", 2)).contains("2 groups of 2 channels but reads 2"));
    assert!(with(ints("kernel_shape", &[5, 5])).contains("kernel of [5, 5]"));
    assert!(with(ints("strides", &[0, 1])).contains("0"));
    assert!(with(ints("strides", &[1])).contains("two values"));
    assert!(with(ints("pads", &[-1, 0, 0, 0])).contains("-1"));
    assert!(with(ints("pads", &[i64::MAX; 4])).contains("pads"));
    let bad_bias = model().floats("b", &[3], &[0.0; 3]).node("Conv", &["x", "w", "b"], "y", &[]).refusal();
    assert!(bad_bias.contains("node 0 'the_Conv' (Conv)") && bad_bias.contains("3 values for 4"), "{bad_bias}");
    let nan = Model::new(&[1, 1, 2, 2]).floats("w", &[1, 1, 1, 1], &[f32::NAN]).node("Conv", &["x", "w"], "y", &[]);
    assert!(nan.refusal().contains("not finite"));
}

#[test]
fn pooling_rounds_up_and_counts_padding_as_the_file_says() {
    let pool = |op: &str, attributes: &[proto::Attribute]| {
        let kernel = [ints("kernel_shape", &[3, 3]), ints("strides", &[2, 2])];
        Model::new(&[1, 4, 6, 6]).node(op, &["x"], "y", &[&kernel[..], attributes].concat()).import().unwrap()
    };
    let shape = |g: &Graph| g.shape(g.output);
    assert_eq!(shape(&pool("MaxPool", &[])), Shape::new(2, 2, 4));
    assert_eq!(shape(&pool("MaxPool", &[int("ceil_mode", 1)])), Shape::new(3, 3, 4));
    let padded = [ints("pads", &[1, 1, 1, 1])];
    let excluding = pool("AveragePool", &padded);
    assert!(matches!(&excluding.nodes[..], [one] if matches!(one.op, Op::AvgPool(p) if p.pad == [1; 4])));
    let counted = pool("AveragePool", &[&padded[..], &[int("count_include_pad", 1)]].concat());
    assert!(matches!(&counted.nodes[..], [a, b] if matches!(a.op, Op::Pad(_)) && matches!(b.op, Op::AvgPool(_))));
    assert_eq!(shape(&counted), shape(&excluding));
}

#[test]
fn clamps_are_named_or_refused() {
    let clip = |inputs: &[&str]| {
        let model =
            Model::new(&[1, 4]).floats("zero", &[], &[0.0]).floats("six", &[], &[6.0]).floats("one", &[], &[1.0]);
        model.node("Clip", inputs, "y", &[])
    };
    assert_eq!(clip(&["x", "zero", "six"]).last().op, Op::Activation(Activation::Relu6));
    assert_eq!(clip(&["x", "zero"]).last().op, Op::Activation(Activation::Relu));
    assert!(clip(&["x", "zero", "one"]).refusal().contains("clamps to [0, 1]"));
    let bound = |name: &str, f| proto::Attribute { name: name.into(), f, ..Default::default() };
    let old = Model::new(&[1, 4]).opset(10).node("Clip", &["x"], "y", &[bound("min", 0.0), bound("max", 6.0)]);
    assert_eq!(old.last().op, Op::Activation(Activation::Relu6));
}

#[test]
fn linear_weights_behind_a_flatten_follow_the_graphs_order() {
    let weights: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let model = Model::new(&[-1, 2, 2, 1]).floats("w", &[2, 4], &weights).floats("b", &[2], &[1.0, 2.0]);
    let graph = model
        .node("Flatten", &["x"], "f", &[])
        .node("Gemm", &["f", "w", "b"], "y", &[int("transB", 1)])
        .import()
        .unwrap();
    let weight = graph.params.iter().find(|p| p.kind == ParamKind::Weight).unwrap();
    assert_eq!(weight.value.to_f32(), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    assert_eq!(graph.shape(graph.output), Shape::vector(2));
}

#[test]
fn a_matrix_product_and_its_sum_are_a_linear_layer_and_a_batch_norm() {
    let graph = Model::new(&[1, 2])
        .floats("w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        .floats("b", &[3], &[1.0, 2.0, 3.0])
        .node("MatMul", &["x", "w"], "m", &[])
        .node("Add", &["b", "m"], "y", &[])
        .import()
        .unwrap();
    assert_eq!(graph.params[0].value.to_f32(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert!(matches!(graph.nodes[1].op, Op::BatchNorm(_)));
    assert_eq!(graph.param(graph.nodes[1].params[1]).value.to_f32(), [1.0, 2.0, 3.0]);
}

#[test]
fn exported_shape_computations_fold() {
    let graph = Model::new(&[-1, 3, 4, 4])
        .integers("first", &[0])
        .integers("rest", &[-1])
        .node("GlobalAveragePool", &["x"], "p", &[])
        .node("Shape", &["p"], "s", &[])
        .node("Gather", &["s", "first"], "n", &[int("axis", 0)])
        .node("Concat", &["n", "rest"], "to", &[int("axis", 0)])
        .node("Reshape", &["p", "to"], "f", &[])
        .node("Softmax", &["f"], "y", &[])
        .import()
        .unwrap();
    let ops: Vec<_> = graph.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(ops, ["mean", "softmax"]);
}

#[test]
fn an_option_a_shortcut_is_a_subsampling_and_zero_channels() {
    let model = |starts: &[i64], steps: &[i64]| {
        Model::new(&[1, 4, 8, 8])
            .integers("starts", starts)
            .integers("ends", &[i64::MAX, i64::MAX])
            .integers("axes", &[2, -1])
            .integers("steps", steps)
            .integers("pads", &[0, 2, 0, 0, 0, 2, 0, 0])
            .node("Slice", &["x", "starts", "ends", "axes", "steps"], "s", &[])
            .node("Pad", &["s", "pads"], "y", &[])
    };
    let graph = model(&[0, 0], &[2, 2]).import().unwrap();
    assert!(matches!(graph.nodes[0].op, Op::MaxPool(p) if p.kernel == [1, 1] && p.stride == [2, 2]));
    assert_eq!(graph.shape(graph.output), Shape::new(4, 4, 8));
    assert!(model(&[1, 0], &[2, 2]).refusal().contains("takes 1.."));
    assert!(model(&[0, 0], &[-1, 2]).refusal().contains("by -1"));
}

#[test]
fn squeeze_and_excite_spreads_a_vector_over_a_map() {
    let graph = Model::new(&[1, 4, 8, 8])
        .node("GlobalAveragePool", &["x"], "p", &[])
        .node("Sigmoid", &["p"], "g", &[])
        .node("Mul", &["g", "x"], "y", &[])
        .import()
        .unwrap();
    assert_eq!(graph.nodes[2].inputs[0], graph.input, "the larger operand comes first");
}

#[test]
fn what_is_not_read_is_named_with_a_way_out() {
    let one = |op: &str| Model::new(&[1, 4, 8, 8]).node(op, &["x"], "y", &[]).refusal();
    let unknown = one("Einsum");
    assert!(unknown.contains("m.onnx: node 0 'the_Einsum' (Einsum)") && unknown.contains("onnxsim"), "{unknown}");
    assert!(one("DynamicQuantizeLinear").contains("quantise statically"));
    let mut other = Model::new(&[1, 4]).node("Relu", &["x"], "y", &[]);
    other.graph().node[0].domain = "com.microsoft".into();
    assert!(other.refusal().contains("com.microsoft.Relu"));
    assert!(Model::new(&[1, 4]).opset(0).node("Relu", &["x"], "y", &[]).refusal().contains("the first is 1"));
    assert!(Model::new(&[1, -1, 8, 8]).node("Relu", &["x"], "y", &[]).refusal().contains("dimension 1 open"));
    assert!(Model::new(&[1, 4, 8]).node("Relu", &["x"], "y", &[]).refusal().contains("rank 3"));
    assert!(Model::new(&[1, 4]).node("Relu", &["z"], "y", &[]).refusal().contains("before any node computes it"));
    assert!(Model::new(&[1, 4]).node("Relu", &["x"], "x", &[]).refusal().contains("there already"));
    let flat = Model::new(&[1, 4, 2, 2]).node("Flatten", &["x"], "y", &[]).refusal();
    assert!(flat.contains("before the Flatten"), "{flat}");
}

#[test]
fn weights_that_are_elsewhere_or_too_few_are_refused() {
    let mut model = Model::new(&[1, 1, 2, 2]).floats("w", &[1, 1, 1, 1], &[1.0]).node("Conv", &["x", "w"], "y", &[]);
    model.graph().initializer[0].dims = vec![1 << 40, 1 << 40, 1, 1];
    assert!(model.refusal().contains("holds 1 elements"));
    model.graph().initializer[0].dims = vec![-1, 1, 1, 1];
    assert!(model.refusal().contains("dimensions [-1"));
    model.graph().initializer[0].data_location = 1;
    assert!(model.refusal().contains("another file"));
    model.graph().initializer[0] =
        proto::Tensor { name: "w".into(), data_type: 8, dims: vec![1, 1, 1, 1], ..Default::default() };
    assert!(model.refusal().contains("STRING"));
}

#[test]
fn sizes_that_nothing_justifies_are_refused() {
    let huge = Model::new(&[1, i64::MAX, 2, 2]).node("Relu", &["x"], "y", &[]).refusal();
    assert!(huge.contains("more elements than can be addressed"), "{huge}");
    // One value spread over a vector that only the input's shape claims to exist.
    let spread = Model::new(&[1, i64::from(i32::MAX)]).floats("c", &[], &[1.0]).node("Mul", &["x", "c"], "y", &[]);
    assert!(spread.refusal().contains("4 times the file"));
    let mut doubling = Model::new(&[1, 4]).integers("c0", &[1]);
    for i in 0..40 {
        let (from, to) = (format!("c{i}"), format!("c{}", i + 1));
        doubling = doubling.node("Concat", &[&from, &from], &to, &[int("axis", 0)]);
    }
    assert!(doubling.refusal().contains("4 times the file"));
}

/// One INT8 or UINT8 constant (type 3 or 2), or INT32 (6).
fn codes(name: &str, data_type: i32, dims: &[i64], values: &[i32]) -> proto::Tensor {
    let dims = dims.to_vec();
    proto::Tensor { name: name.into(), data_type, dims, int32_data: values.to_vec(), ..Default::default() }
}

impl Model {
    fn tensor(mut self, tensor: proto::Tensor) -> Self {
        self.graph().initializer.push(tensor);
        self
    }

    /// Puts the codes `{of}_q` behind the real map `of`, and `{of}_d` behind those.
    fn rounded(self, of: &str, scale: f32) -> Self {
        let [q, d, s, z] = ["q", "d", "s", "z"].map(|part| format!("{of}_{part}"));
        self.floats(&s, &[], &[scale])
            .tensor(codes(&z, 2, &[], &[130]))
            .node("QuantizeLinear", &[of, &s, &z], &q, &[])
            .node("DequantizeLinear", &[&q, &s, &z], &d, &[])
    }

    /// A model of UINT8 codes whose weights `w_d` are dequantised, one zero point per filter.
    fn quantised() -> Self {
        Model::new(&[1, 1, 4, 4])
            .rounded("x", 0.5)
            .tensor(codes("w", 2, &[2, 1, 1, 1], &[3, 250]))
            .floats("ws", &[2], &[0.25, 0.125])
            .tensor(codes("wz", 2, &[2], &[1, 128]))
            .node("DequantizeLinear", &["w", "ws", "wz"], "w_d", &[int("axis", 0)])
    }
}

#[test]
fn what_stands_between_codes_becomes_the_integer_operation() {
    let graph = Model::quantised()
        .tensor(codes("b", 6, &[2], &[7, -9]))
        .floats("bs", &[2], &[0.125, 0.0625])
        .node("DequantizeLinear", &["b", "bs"], "b_d", &[int("axis", 0)])
        .node("Conv", &["x_d", "w_d", "b_d"], "c", &[])
        .node("Relu", &["c"], "r", &[])
        .rounded("r", 0.75)
        .import()
        .unwrap();
    let ops: Vec<_> = graph.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(ops, ["conv2d", "relu"]);
    let quant = |edge| graph.edge(edge).quant;
    let coded = |scale| Some(crate::quant::QuantParams { scale, zero_point: 2, codes: CodeType::U8 });
    assert_eq!((quant(graph.input), quant(graph.output)), (coded(0.5), coded(0.75)));
    assert_eq!(quant(graph.nodes[0].output), None, "the accumulator has no codes");
    assert_eq!(graph.edge(graph.output).origin, Some(6), "the QuantizeLinear's number");
    match &graph.param(graph.nodes[0].params[0]).value {
        ParamValue::I8 { codes, scales, zero_points } => {
            assert_eq!((&codes[..], &zero_points[..]), (&[-125, 122][..], &[-127, 0][..]));
            assert_eq!(scales[..], [0.25, 0.125]);
        }
        other => panic!("{other:?}"),
    }
    let bias = &graph.param(graph.nodes[0].params[1]).value;
    assert!(matches!(bias, ParamValue::I32 { codes, .. } if codes[..] == [7, -9]));
}

#[test]
fn operators_on_codes_are_the_same_operations() {
    let mut model = Model::quantised();
    model.graph().node.retain(|n| n.op_type == "QuantizeLinear");
    let inputs = ["x_q", "x_s", "x_z", "w", "ws", "wz", "ys", "yz"];
    let graph = model
        .floats("ys", &[], &[2.0])
        .tensor(codes("yz", 2, &[], &[5]))
        .node("QLinearConv", &inputs, "y", &[])
        .node("MaxPool", &["y"], "m", &[ints("kernel_shape", &[2, 2])])
        .import()
        .unwrap();
    let ops: Vec<_> = graph.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(ops, ["conv2d", "max-pool"]);
    let quant = graph.edge(graph.output).quant.unwrap();
    assert_eq!((quant.scale, quant.zero_point), (2.0, -123), "a maximum keeps its input's coding");
}

#[test]
fn another_coding_is_a_requantisation() {
    let graph = Model::new(&[1, 2, 4, 4])
        .rounded("x", 0.5)
        .node("Transpose", &["x_d"], "t", &[ints("perm", &[0, 1, 3, 2])])
        .rounded("t", 0.25)
        .import()
        .unwrap();
    let ops: Vec<_> = graph.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!(ops, ["transpose", "requantise"]);
}

#[test]
fn quantised_networks_that_are_not_whole_are_refused() {
    let conv = |weight: &str| {
        Model::quantised().floats("f", &[2, 1, 1, 1], &[1.0; 2]).node("Conv", &["x_d", weight], "c", &[])
    };
    assert!(conv("w_d").refusal().contains("no QuantizeLinear rounds"));
    assert!(conv("f").rounded("c", 1.0).refusal().contains("float weights"));
    let late = conv("w_d").node("Relu", &["c"], "r", &[]).rounded("c", 1.0);
    assert!(late.refusal().contains("read before it is rounded"));
    let early = conv("w_d").rounded("c", 1.0).node("Relu", &["c"], "r", &[]);
    assert!(early.refusal().contains("as it is before that"));
    let other = Model::quantised().floats("s", &[], &[0.25]).node("DequantizeLinear", &["x_q", "s", "x_z"], "y", &[]);
    assert!(other.refusal().contains("scale 0.5 and zero point 130 as if they had 0.25 and 130"));
    let many = Model::quantised().node("DequantizeLinear", &["x_q", "ws", "wz"], "y", &[]);
    assert!(many.refusal().contains("2 scales for one map"));
    assert!(Model::quantised().node("Relu", &["x_q"], "y", &[]).refusal().contains("as if they were values"));
    let bias = conv("w_d").tensor(codes("b", 6, &[2], &[1, 2])).floats("bs", &[], &[0.5]);
    let bias = bias.node("DequantizeLinear", &["b", "bs"], "b_d", &[]).node("Conv", &["x_d", "w_d", "b_d"], "d", &[]);
    assert!(bias.refusal().contains("input scale × weight scale"));
}

#[test]
fn constants_are_computed() {
    // Weights behind a Transpose keep their codes; shape arithmetic of any length folds.
    let graph = Model::new(&[1, 2])
        .rounded("x", 0.5)
        .tensor(codes("w", 3, &[3, 2], &[1, 2, 3, 4, 5, 6]))
        .floats("ws", &[3], &[0.25, 0.5, 1.0])
        .tensor(codes("wz", 3, &[3], &[0, 0, 0]))
        .node("DequantizeLinear", &["w", "ws", "wz"], "w_d", &[int("axis", 0)])
        .node("Transpose", &["w_d"], "t", &[])
        .node("MatMul", &["x_d", "t"], "y", &[])
        .rounded("y", 1.0)
        .import()
        .unwrap();
    match &graph.param(graph.nodes[0].params[0]).value {
        ParamValue::I8 { codes, scales, .. } => {
            assert_eq!((&codes[..], &scales[..]), (&[1, 2, 3, 4, 5, 6][..], &[0.25, 0.5, 1.0][..]));
        }
        other => panic!("{other:?}"),
    }
    let unknown = Model::new(&[1, 4]).integers("k", &[1]).node("Einsum", &["k"], "y", &[]).refusal();
    assert!(unknown.contains("(Einsum)") && unknown.contains("constants alone"), "{unknown}");
}

#[test]
fn enlargements_are_whole_and_transposed_convolutions_spread_their_map() {
    let resize = |scale: f32, attributes: &[proto::Attribute]| {
        let model = Model::new(&[1, 2, 3, 3]).floats("s", &[4], &[1.0, 1.0, 2.0, scale]);
        model.node("Resize", &["x", "", "s"], "y", attributes)
    };
    let graph = resize(3.0, &[]).import().unwrap();
    assert_eq!(graph.shape(graph.output), Shape::new(6, 9, 2));
    assert!(resize(1.5, &[]).refusal().contains("whole factors"));
    assert!(resize(2.0, &[text("mode", "linear")]).refusal().contains("only nearest"));
    let corners = text("coordinate_transformation_mode", "align_corners");
    assert!(resize(2.0, &[corners, text("nearest_mode", "floor")]).refusal().contains("does not repeat"));
    let model = |pads: &[i64]| {
        let attributes = [ints("strides", &[2, 2]), ints("pads", pads), ints("output_padding", &[1, 1])];
        Model::new(&[1, 2, 3, 3]).floats("w", &[2, 5, 3, 3], &[0.5; 90]).node(
            "ConvTranspose",
            &["x", "w"],
            "y",
            &attributes,
        )
    };
    let graph = model(&[1, 1, 1, 1]).import().unwrap();
    let ops: Vec<_> = graph.nodes.iter().map(|n| n.op.name()).collect();
    assert_eq!((ops, graph.shape(graph.output)), (vec!["upsample", "conv2d"], Shape::new(6, 6, 5)));
    assert!(model(&[3, 0, 0, 0]).refusal().contains("crops"));
}

/// Codes in the file's raw bytes, at one scale: `{name}_d` are their values.
fn raw_codes(model: Model, name: &str, dims: &[i64]) -> Model {
    let raw_data = Bytes::from(vec![1u8; dims.iter().product::<i64>() as usize]);
    let (dims, scale) = (dims.to_vec(), format!("{name}_s"));
    let tensor = proto::Tensor { name: name.into(), data_type: 3, dims, raw_data, ..Default::default() };
    model.tensor(tensor).floats(&scale, &[], &[0.5]).node(
        "DequantizeLinear",
        &[name, &scale],
        &format!("{name}_d"),
        &[],
    )
}

/// More than a file of any size may have: the weights themselves must justify their copies.
const WEIGHTS: [i64; 2] = [1000, 1100];

#[test]
fn a_file_of_int8_weights_alone_may_dequantise_and_move_them() {
    let graph = raw_codes(Model::new(&[1, 1100]).rounded("x", 0.5), "w", &WEIGHTS)
        .node("Transpose", &["w_d"], "t", &[])
        .node("MatMul", &["x_d", "t"], "y", &[])
        .rounded("y", 1.0)
        .import()
        .unwrap();
    assert_eq!(graph.param(graph.nodes[0].params[0]).dims, [1000, 1100]);
}

#[test]
fn copying_one_constant_without_end_is_refused() {
    let mut model = raw_codes(Model::new(&[1, 1100]).rounded("x", 0.5), "w", &WEIGHTS);
    for copy in 0..4 {
        model = model.node("Identity", &["w_d"], &format!("copy_{copy}"), &[]);
    }
    assert!(model.refusal().contains("share constants"), "{}", model.refusal());
    let mut model = Model::new(&[1, 1, 9, 9]);
    model = model.floats("w", &[300, 1, 30, 30], &vec![0.5; 270_000]);
    for copy in 0..6 {
        let padded = ints("pads", &[15, 15, 15, 15]);
        model = model.node("Conv", &["x", "w"], &format!("y_{copy}"), &[padded]);
    }
    assert!(model.refusal().contains("share constants"), "{}", model.refusal());
}
