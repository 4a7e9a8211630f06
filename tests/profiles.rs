//! The arithmetic profiles against what their runtimes and chips compute, recorded by the scripts of
//! `tests/conformance/`.

use serde_json::Value;
use trunkline::op::product::Product;
use trunkline::op::{
    Activation, Conv2d, Output, Pool, Registers, Softmax, add, conv2d, mean, mul, pool, softmax, table,
};
use trunkline::quant::{Clamp, CodeType, Formula, QuantParams, RequantStyle, onnxruntime};
use trunkline::tensor::{Shape, Tensor};

fn golden(text: &str) -> Value {
    serde_json::from_str(text).expect("a golden file is JSON")
}

fn cases<'a>(golden: &'a Value, name: &str) -> &'a [Value] {
    golden[name].as_array().unwrap_or_else(|| panic!("the golden file has no '{name}'"))
}

fn real(v: &Value) -> f32 {
    v.as_f64().unwrap() as f32
}

fn ints(v: &Value) -> Vec<i32> {
    v.as_array().unwrap().iter().map(|q| q.as_i64().unwrap() as i32).collect()
}

/// Parameters in the engine's signed view.
fn params(v: &Value) -> QuantParams {
    let codes = if v["codes"] == "u8" { CodeType::U8 } else { CodeType::I8 };
    let zero_point = v["zero_point"].as_i64().unwrap() as i32 - codes.offset();
    QuantParams { scale: real(&v["scale"]), zero_point, codes }
}

/// Codes in the engine's signed view.
fn codes(v: &Value, q: &QuantParams) -> Vec<i8> {
    ints(v).into_iter().map(|u| i8::try_from(u - q.codes.offset()).unwrap()).collect()
}

fn row(codes: Vec<i8>) -> Tensor<i8> {
    Tensor::from_vec(1, Shape::vector(codes.len()), codes)
}

fn every_code() -> Tensor<i8> {
    row((i8::MIN..=i8::MAX).collect())
}

#[test]
fn onnxruntime_operators() {
    let golden = golden(include_str!("conformance/onnxruntime_ops_golden.json"));
    let rule = Formula::Onnxruntime;
    for (i, g) in cases(&golden, "add").iter().chain(cases(&golden, "mul")).enumerate() {
        let (a, b, y) = (params(&g["a"]), params(&g["b"]), params(&g["y"]));
        let (xa, xb) = (row(codes(&g["inputs"][0], &a)), row(codes(&g["inputs"][1], &b)));
        let got = if i < cases(&golden, "add").len() {
            add::int8(&xa, &xb, &add::Int8::new(rule, &a, &b, &y, Clamp::INT8)).0
        } else {
            mul::int8(&xa, &xb, &mul::Int8::new(rule, &a, &b, &y, Clamp::INT8)).0
        };
        assert_eq!(got.data, codes(&g["out"], &y), "sum or product {i}");
    }
    for g in cases(&golden, "leaky").iter().chain(cases(&golden, "sigmoid")) {
        let (x, y) = (params(&g["x"]), params(&g["y"]));
        let op = match g["alpha"].as_f64() {
            Some(slope) => Activation::LeakyRelu { slope: slope as f32 },
            None => Activation::Sigmoid { gain: 1.0 },
        };
        let got = table::int8(&every_code(), &op.table(rule, &x, &y).unwrap()).0;
        assert_eq!(got.data, codes(&g["out"], &y), "{}", op.name());
    }
    for g in cases(&golden, "softmax") {
        let (x, y) = (params(&g["x"]), params(&g["y"]));
        let channels = g["channels"].as_u64().unwrap() as usize;
        let values = codes(&g["input"], &x);
        let map = Tensor::from_vec(1, Shape::new(1, values.len() / channels, channels), values);
        let p = softmax::Int8::new(Softmax { beta: 1.0 }, rule, &x, channels, &y).unwrap();
        assert_eq!(softmax::int8(&map, &p).0.data, codes(&g["out"], &y), "softmax");
    }
}

#[test]
fn onnxruntime_averages_and_convolutions() {
    let golden = golden(include_str!("conformance/onnxruntime_ops_golden.json"));
    let shape = Shape::new(9, 9, 4);
    for g in cases(&golden, "average") {
        let (x, y) = (params(&g["x"]), params(&g["y"]));
        let map = Tensor::from_vec(1, shape, codes(&g["input"], &x));
        let op = Pool { kernel: [3, 2], stride: [2, 1], pad: [1, 0, 1, 1] };
        let average = pool::Average::Onnxruntime(onnxruntime::Average::new(&x, &y));
        assert_eq!(pool::average_int8(&op, &map, average, Clamp::INT8).0.data, codes(&g["out"], &y), "average");
    }
    for g in cases(&golden, "global_average") {
        let (x, y) = (params(&g["x"]), params(&g["y"]));
        let map = Tensor::from_vec(1, shape, codes(&g["input"], &x));
        let p = mean::Int8::new(Formula::Onnxruntime, &x, shape.pixels(), &y, Clamp::INT8);
        assert_eq!(mean::int8(&map, &p).0.data, codes(&g["out"], &y), "global average");
    }
    for g in cases(&golden, "conv") {
        let (x, y) = (params(&g["x"]), params(&g["y"]));
        let conv = Conv2d::square(3, 5, 3, 1, 1);
        let offset = if g["weight_codes"] == "u8" { 128 } else { 0 };
        let signed = |v: &Value| ints(v).into_iter().map(|u| u - offset).collect::<Vec<i32>>();
        let weights: Vec<i8> = signed(&g["weights"]).into_iter().map(|w| w as i8).collect();
        let style = RequantStyle::F32Rne;
        let scales = g["weight_scales"].as_array().unwrap().iter().map(real);
        let registers = Registers {
            multipliers: scales.map(|s| style.product_multiplier(x.scale, s, 1.0, y.scale)).collect(),
            bias: ints(&g["bias"]),
        };
        let weights = conv2d::pack(&conv, &weights, &signed(&g["weight_zero_points"]));
        let output = Output { style, zero_point: y.zero_point, clamp: Clamp::INT8 };
        let p = Product { input_zero_point: x.zero_point, weights, registers, output };
        let map = Tensor::from_vec(1, Shape::new(7, 6, 3), codes(&g["input"], &x));
        assert_eq!(conv2d::int8(&conv, &map, &p, None).0.data, codes(&g["out"], &y), "convolution");
    }
}

/// What a per-channel zero point means: each filter has its own.
#[test]
fn weight_zero_points_are_per_channel() {
    let conv = Conv2d::square(2, 3, 1, 1, 0);
    let output = Output { style: RequantStyle::F32Rne, zero_point: 0, clamp: Clamp::INT8 };
    let one = RequantStyle::F32Rne.multiplier(1.0);
    let registers = Registers { multipliers: vec![one; 3], bias: vec![0; 3] };
    let weights = conv2d::pack(&conv, &[1, 2, 3, 4, 5, 6], &[0, 3, -5]);
    let p = Product { input_zero_point: 1, weights, registers, output };
    // (4, 2) over the zero point: 4·1 + 2·2, 4·0 + 2·1, 4·10 + 2·11.
    let x = Tensor::from_vec(1, Shape::new(1, 1, 2), vec![5, 3]);
    assert_eq!(conv2d::int8(&conv, &x, &p, None).0.data, [8, 2, 62]);
}
