//! The int8 arithmetic against the golden vectors of the specification, and against oracles that
//! are written the slow and obvious way.

use proptest::prelude::*;
use serde_json::{Value, json};
use trunkline::op::product::Product;
use trunkline::op::{
    Activation, Conv2d, Linear, Output, Pool, Registers, Softmax, add, conv2d, linear, mean, mul, pool, softmax, table,
};
use trunkline::quant::boundary::Quantiser;
use trunkline::quant::{
    Clamp, CodeType, Formula, Multiplier, QuantParams, RequantStyle, onnxruntime, quantize_multiplier,
};
use trunkline::tensor::{Shape, Tensor};

const DOUBLE: RequantStyle = RequantStyle::GemmlowpDouble;
const STYLES: [(&str, RequantStyle); 4] = [
    ("double", DOUBLE),
    ("ruy", RequantStyle::Ruy),
    ("single", RequantStyle::Single),
    ("f32rne", RequantStyle::F32Rne),
];

fn params(scale: f32, zero_point: i32) -> QuantParams {
    QuantParams { scale, zero_point, codes: CodeType::I8 }
}

fn row(codes: &[i8]) -> Tensor<i8> {
    Tensor::from_vec(1, Shape::vector(codes.len()), codes.to_vec())
}

fn multiplier(mantissa: i32, shift: i32) -> Multiplier {
    Multiplier { mantissa, shift }
}

// ---- Golden vectors: the same checks on our own copy and on the shared file. ----

/// SPEC 5.9, typed in; shaped like the shared file.
fn typed() -> Value {
    json!({
        "tflite_add": {
            "sa": 0.05, "za": 3, "sb": 0.02, "zb": -7, "so": 0.06, "zo": -1,
            "a": [-128, -50, 0, 3, 77, 127, 10], "b": [127, 20, -7, 0, -90, -128, 11],
            "double": [-66, -36, -4, 1, 33, 62, 11], "single": [-66, -36, -4, 1, 33, 62, 11],
            "mults": [[1073741824, 0], [1717986854, -2], [1789569773, -19]]
        },
        "tflite_mul": {
            "so": 0.04, "zo": 5, "mult": [1717986944, -5],
            "a": [-128, -50, 0, 3, 77, 127, 10], "b": [127, 20, -7, 0, -90, -128, 11],
            "double": [-128, -31, 5, 5, -128, -128, 8], "single": [-128, -31, 5, 5, -128, -128, 8]
        },
        "tflite_avgpool": {
            "4": [[-13, -3], [-7, -2], [-6, -2], [-5, -1], [-2, -1], [-1, 0], [0, 0], [1, 0], [2, 1], [5, 1], [6, 2],
                  [7, 2], [13, 3]],
            "9": [[-13, -1], [-5, -1], [-2, 0], [5, 1], [2, 0], [13, 1]]
        },
        "tflite_mean": {
            "si": 0.05, "zi": -10, "so": 0.02, "zo": 4, "n": 63, "mult": [1342177330, 2],
            "sums": [-2000, -700, -630, -600, 0, 500, 1500],
            "double": [-50, 1, 4, 5, 29, 49, 89], "single": [-50, 1, 4, 5, 29, 49, 89]
        },
        "tflite_logistic": {
            "si": 0.0625, "zi": 3, "x": [-128, -60, -20, -1, 0, 3, 4, 20, 60, 127],
            "y": [-128, -123, -79, -16, -12, 0, 4, 62, 121, 127]
        },
        "tflite_hswish": {
            "si": 0.05, "zi": -10, "so": 0.03, "zo": -100,
            "x": [-128, -90, -70, -69, -40, -10, 0, 20, 49, 50, 80, 127],
            "y": [-100, -100, -100, -101, -113, -100, -90, -62, -2, 0, 50, 127]
        },
        "tflite_softmax": {
            "si": 0.1, "x": [-128, -20, 0, 5, 10, 11, 12, 12], "y": [-128, -126, -111, -100, -82, -77, -72, -72]
        },
        "tflite_leaky": {
            "si": 0.05, "zi": -10, "so": 0.04, "zo": -30, "alpha": 0.1,
            "x": [-128, -77, -11, -10, -9, 0, 50, 127], "m": [[1342177330, 1], [1073741880, -2]],
            "y": [-45, -39, -30, -30, -29, -17, 45, 127]
        },
        "conv3x3": {
            "x": [[-128, -100, -60], [-20, 5, 30], [64, 100, 127]], "zx": -5, "sx": 0.03,
            "w": [[[1, -2, 3], [-4, 5, -6], [7, -8, 9]], [[127, -127, 64], [10, 0, -10], [-33, 77, -5]]],
            "sw": [0.01, 0.002], "bias": [100, -2500], "so": 0.006, "zo": -20,
            "acc": [[265, 577, -5, 319, 733, -71, -125, -373, 280],
                    [-2755, -2090, -1085, 11729, -4928, -781, -1005, -4065, -4625]],
            "mult": [[1717986827, -4], [1374389557, -6]],
            "double": [[-7, 9, -20, -4, 17, -24, -26, -39, -6], [-48, -41, -31, 97, -69, -28, -30, -61, -66]],
            "ruy": [[-7, 9, -20, -4, 17, -24, -26, -39, -6], [-48, -41, -31, 97, -69, -28, -30, -61, -66]],
            "single": [[-7, 9, -20, -4, 17, -24, -26, -39, -6], [-48, -41, -31, 97, -69, -28, -30, -61, -66]],
            "f32rne": [[-7, 9, -20, -4, 17, -24, -26, -39, -6], [-48, -41, -31, 97, -69, -28, -30, -61, -66]],
            "relu_double": [[-7, 9, -20, -4, 17, -20, -20, -20, -6], [-20, -20, -20, 97, -20, -20, -20, -20, -20]],
            "relu6_hi": 127
        },
        "ort_quantizelinear": {
            "s": 0.5, "z": 3, "x": [-1e9, -64.6, -1.25, -0.75, -0.25, 0.0, 0.25, 0.75, 1.25, 1.75, 63.4, 1e9],
            "y": [-128, -126, 1, 1, 3, 3, 3, 5, 5, 7, 127, 127]
        },
        "ort_qlinearadd": {"y": [-66, -36, -4, 1, 33, 62, 11]},
        "ort_qlinearmul": {"y": [-128, -31, 5, 5, -128, -128, 8]},
        "ort_leaky": [-45, -38, -30, -30, -29, -18, 45, 127],
        "ort_avgpool_tie": {"0": [-4, -2, -2, 0, 0, 2, 2, 4], "1": [-2, -2, 0, 0, 2, 2, 4, 4]},
        "ort_qlinearconv": [[-7, 9, -20, -4, 17, -24, -26, -39, -6], [-48, -41, -31, 97, -69, -28, -30, -61, -66]],
        "ort_gap_tie": {"0": [-4, -2, -2, 0, 0, 2, 2, 4], "1": [-3, -1, -1, 1, 1, 3, 3, 5]},
        "ort_conv_tie": {"0": [-4, -2, -2, 0, 0, 2, 2, 4], "1": [-3, -1, -1, 1, 1, 3, 3, 5]}
    })
}

/// All numbers under `v`, in order, whatever the nesting.
fn ints(v: &Value) -> Vec<i64> {
    match v {
        Value::Array(items) => items.iter().flat_map(ints).collect(),
        other => vec![other.as_i64().unwrap_or_else(|| panic!("{other} is not an integer"))],
    }
}
fn codes(v: &Value) -> Vec<i8> {
    ints(v).into_iter().map(|q| i8::try_from(q).unwrap()).collect()
}
fn int(v: &Value) -> i32 {
    v.as_i64().unwrap() as i32
}
fn real(v: &Value) -> f32 {
    v.as_f64().unwrap() as f32
}
fn multipliers(v: &Value) -> Vec<Multiplier> {
    ints(v).chunks(2).map(|m| multiplier(m[0] as i32, m[1] as i32)).collect()
}

fn check_elementwise(v: &Value) {
    let g = &v["tflite_add"];
    let (a, b) = (params(real(&g["sa"]), int(&g["za"])), params(real(&g["sb"]), int(&g["zb"])));
    let y = params(real(&g["so"]), int(&g["zo"]));
    let (xa, xb) = (row(&codes(&g["a"])), row(&codes(&g["b"])));
    for (name, style) in [STYLES[0], STYLES[2]] {
        let p = add::Int8::new(style, &a, &b, &y, Clamp::INT8);
        let add::Form::Tflite(form) = &p.form else { panic!("a style is TFLite's form") };
        assert_eq!(vec![form.inputs[0], form.inputs[1], form.sum], multipliers(&g["mults"]), "add multipliers");
        assert_eq!(add::int8(&xa, &xb, &p).0.data, codes(&g[name]), "add {name}");
    }
    let g = &v["tflite_mul"];
    let y = params(real(&g["so"]), int(&g["zo"]));
    let (xa, xb) = (row(&codes(&g["a"])), row(&codes(&g["b"])));
    for (name, style) in [STYLES[0], STYLES[2]] {
        let p = mul::Int8::new(style, &a, &b, &y, Clamp::INT8);
        let mul::Form::Tflite { multiplier, .. } = p.form else { panic!("a style is TFLite's form") };
        assert_eq!(vec![multiplier], multipliers(&g["mult"]), "mul multiplier");
        assert_eq!(mul::int8(&xa, &xb, &p).0.data, codes(&g[name]), "mul {name}");
    }
}

fn check_pools(v: &Value) {
    for (n, pairs) in v["tflite_avgpool"].as_object().unwrap() {
        for pair in pairs.as_array().unwrap() {
            let pair = ints(pair);
            assert_eq!(pool::round_half_away(pair[0], n.parse().unwrap()), pair[1], "{} / {n}", pair[0]);
        }
    }
    let g = &v["tflite_mean"];
    let (x, y) = (params(real(&g["si"]), int(&g["zi"])), params(real(&g["so"]), int(&g["zo"])));
    let n = i64::from(int(&g["n"]));
    assert_eq!(vec![quantize_multiplier(f64::from(x.scale) / f64::from(y.scale))], multipliers(&g["mult"]));
    for (name, style) in [STYLES[0], STYLES[2]] {
        let p = mean::Int8::new(style, &x, n as usize, &y, Clamp::INT8);
        let means = ints(&g["sums"]).into_iter().map(|sum| {
            // Codes with this sum, as even as they can be.
            let map: Vec<i8> = (0..n).map(|i| (sum + i).div_euclid(n) as i8).collect();
            assert_eq!(map.iter().map(|&q| i64::from(q)).sum::<i64>(), sum);
            mean::int8(&Tensor::from_vec(1, Shape::new(9, n as usize / 9, 1), map), &p).0.data[0]
        });
        assert_eq!(means.collect::<Vec<_>>(), codes(&g[name]), "mean {name}");
    }
}

fn check_activations(v: &Value) {
    let look_up = |a: Activation, x: &QuantParams, y: &QuantParams, g: &Value| {
        let t = a.table(DOUBLE, x, y).unwrap();
        assert_eq!(table::int8(&row(&codes(&g["x"])), &t).0.data, codes(&g["y"]), "{}", a.name());
    };
    let probability = params(1.0 / 256.0, -128);
    let g = &v["tflite_logistic"];
    look_up(Activation::Sigmoid { gain: 1.0 }, &params(real(&g["si"]), int(&g["zi"])), &probability, g);
    let g = &v["tflite_hswish"];
    let (x, y) = (params(real(&g["si"]), int(&g["zi"])), params(real(&g["so"]), int(&g["zo"])));
    look_up(Activation::HardSwish, &x, &y, g);
    let g = &v["tflite_leaky"];
    let (x, y) = (params(real(&g["si"]), int(&g["zi"])), params(real(&g["so"]), int(&g["zo"])));
    let slope = real(&g["alpha"]);
    look_up(Activation::LeakyRelu { slope }, &x, &y, g);
    let above = DOUBLE.multiplier(f64::from(x.scale) / f64::from(y.scale));
    assert_eq!(vec![above, DOUBLE.product_multiplier(slope, x.scale, 1.0, y.scale)], multipliers(&g["m"]));
    let g = &v["tflite_softmax"];
    let x = row(&codes(&g["x"]));
    let scale = params(real(&g["si"]), 0);
    let p = softmax::Int8::new(Softmax { beta: 1.0 }, DOUBLE, &scale, x.shape.c, &probability).unwrap();
    assert_eq!(softmax::int8(&x, &p).0.data, codes(&g["y"]), "softmax");
}

fn check_conv(v: &Value) {
    let g = &v["conv3x3"];
    let conv = Conv2d::square(1, 2, 3, 1, 1);
    let x = Tensor::from_vec(1, Shape::new(3, 3, 1), codes(&g["x"]));
    let y = params(real(&g["so"]), int(&g["zo"]));
    let bias = ints(&g["bias"]);
    let by_channel = |t: &Tensor<i8>| -> Vec<i8> {
        (0..2).flat_map(|c| (0..9).map(move |i| (c, i))).map(|(c, i)| t.data[i * 2 + c]).collect()
    };
    let run = |style: RequantStyle, clamp: Clamp| {
        let scales = g["sw"].as_array().unwrap().iter().map(real);
        let registers = Registers {
            multipliers: scales.map(|s_w| style.product_multiplier(real(&g["sx"]), s_w, 1.0, y.scale)).collect(),
            bias: bias.iter().map(|&b| b as i32).collect(),
        };
        if style == DOUBLE {
            assert_eq!(registers.multipliers, multipliers(&g["mult"]), "conv multipliers");
        }
        let weights = conv2d::pack(&conv, &codes(&g["w"]), &[0]);
        let output = Output { style, zero_point: y.zero_point, clamp };
        let p = Product { input_zero_point: int(&g["zx"]), weights, registers, output, accumulator: None };
        let (codes, counts) = conv2d::int8(&conv, &x, &p, None);
        assert_eq!(counts.macs.0, 9 * 2 * 9);
        by_channel(&codes)
    };
    for (name, style) in STYLES {
        assert_eq!(run(style, Clamp::INT8), codes(&g[name]), "conv {name}");
    }
    assert_eq!(run(RequantStyle::F32Rne, Clamp::INT8), codes(&v["ort_qlinearconv"]), "conv of ONNX Runtime");
    let relu = Activation::Relu.code_clamp(&y).unwrap();
    assert_eq!(run(DOUBLE, relu), codes(&g["relu_double"]), "conv with ReLU");
    assert_eq!(Activation::Relu6.code_clamp(&y).unwrap().hi(), int(&g["relu6_hi"]));
    // The oracle of the property test below gives these accumulators too.
    let acc = ints(&g["acc"]);
    let without_bias: Vec<i64> = (0..9).flat_map(|i| [acc[i] - bias[0], acc[9 + i] - bias[1]]).collect();
    assert_eq!(naive(&conv, &x, int(&g["zx"]), &codes(&g["w"]), 0), without_bias);
}

fn check_ties(v: &Value) {
    let half = Multiplier::from_f32(0.5);
    for entry in ["ort_conv_tie", "ort_gap_tie"] {
        for (z, want) in v[entry].as_object().unwrap() {
            let zero_point = z.parse().unwrap();
            let output = Output { style: RequantStyle::F32Rne, zero_point, clamp: Clamp::INT8 };
            let got = (-7..=7).step_by(2).map(|acc| output.code(acc, half, &mut Default::default()));
            assert_eq!(got.collect::<Vec<i8>>(), codes(want), "{entry} with zero point {z}");
        }
    }
    let g = &v["ort_quantizelinear"];
    let x: Vec<f32> = g["x"].as_array().unwrap().iter().map(real).collect();
    // A power-of-two scale: multiplying by its reciprocal and dividing are the same.
    assert_eq!(Quantiser::new(real(&g["s"]), int(&g["z"]), 8).codes8(&x).0, codes(&g["y"]), "quantise");
}

/// ONNX Runtime's elementwise operations, on the inputs of the TFLite entries of the same kind.
fn check_onnxruntime(v: &Value) {
    let coding = |g: &Value, s: &str, z: &str| params(real(&g[s]), int(&g[z]));
    let (sum, product) = (&v["tflite_add"], &v["tflite_mul"]);
    let (qa, qb) = (coding(sum, "sa", "za"), coding(sum, "sb", "zb"));
    let (a, b) = (row(&codes(&sum["a"])), row(&codes(&sum["b"])));
    let p = add::Int8::new(Formula::Onnxruntime, &qa, &qb, &coding(sum, "so", "zo"), Clamp::INT8);
    assert_eq!(add::int8(&a, &b, &p).0.data, codes(&v["ort_qlinearadd"]["y"]), "QLinearAdd");
    let p = mul::Int8::new(Formula::Onnxruntime, &qa, &qb, &coding(product, "so", "zo"), Clamp::INT8);
    assert_eq!(mul::int8(&a, &b, &p).0.data, codes(&v["ort_qlinearmul"]["y"]), "QLinearMul");

    let leaky = &v["tflite_leaky"];
    let (x, y) = (coding(leaky, "si", "zi"), coding(leaky, "so", "zo"));
    let t = Activation::LeakyRelu { slope: real(&leaky["alpha"]) }.table(Formula::Onnxruntime, &x, &y).unwrap();
    assert_eq!(table::int8(&row(&codes(&leaky["x"])), &t).0.data, codes(&v["ort_leaky"]), "LeakyRelu");

    // Averages of two codes: -7/2 … 7/2.
    let op = Pool { kernel: [1, 2], stride: [1, 2], pad: [0; 4] };
    let halves: Vec<i8> = (-7i8..=7).step_by(2).flat_map(|n| [n, 0]).collect();
    for (z, want) in v["ort_avgpool_tie"].as_object().unwrap() {
        let x = Tensor::from_vec(1, Shape::new(1, halves.len(), 1), halves.clone());
        let average = onnxruntime::Average::new(&params(1.0, 0), &params(1.0, z.parse().unwrap()));
        let average = pool::Average::Onnxruntime(average);
        assert_eq!(pool::average_int8(&op, &x, average, Clamp::INT8).0.data, codes(want), "AveragePool, {z}");
    }
    for (z, want) in v["ort_gap_tie"].as_object().unwrap() {
        let x = Tensor::from_vec(halves.len() / 2, Shape::new(1, 2, 1), halves.clone());
        let p =
            mean::Int8::new(Formula::Onnxruntime, &params(1.0, 0), 2, &params(1.0, z.parse().unwrap()), Clamp::INT8);
        assert_eq!(mean::int8(&x, &p).0.data, codes(want), "GlobalAveragePool, {z}");
    }
    let g = &v["ort_quantizelinear"];
    let x = g["x"].as_array().unwrap().iter().map(real);
    let y = x.map(|v| onnxruntime::quantize_linear(v, &coding(g, "s", "z")).clamp(-128, 127) as i8);
    assert_eq!(y.collect::<Vec<i8>>(), codes(&g["y"]), "QuantizeLinear");
}

/// Every entry of a golden file is one that a check above reads.
fn check_no_entry_is_left_out(v: &Value) {
    let known = typed();
    let unknown: Vec<&String> = v.as_object().unwrap().keys().filter(|k| known.get(k.as_str()).is_none()).collect();
    assert!(unknown.is_empty(), "entries that nothing checks: {unknown:?}");
}

fn check_all(v: &Value) {
    check_onnxruntime(v);
    check_no_entry_is_left_out(v);
    check_elementwise(v);
    check_pools(v);
    check_activations(v);
    check_conv(v);
    check_ties(v);
}

#[test]
fn golden_vectors() {
    check_all(&typed());
}

#[test]
fn golden_vectors_of_the_shared_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/reference/int8_golden.json");
    match std::fs::read_to_string(path) {
        Ok(text) => check_all(&serde_json::from_str(&text).unwrap()),
        Err(e) => {
            assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").as_deref() != Ok("1"), "{path}: {e}");
            println!("SKIPPED: {path}: {e}");
        }
    }
}

/// SPEC 5.9: double, ruy, single, f32.
#[test]
fn golden_requantisation() {
    let rows: [(i32, i32, i32, [i32; 4]); 17] = [
        (3, 1 << 30, 0, [2, 2, 2, 2]),
        (-3, 1 << 30, 0, [-1, -1, -1, -2]),
        (1, 1 << 30, 0, [1, 1, 1, 0]),
        (-1, 1 << 30, 0, [0, 0, 0, 0]),
        (5, 1 << 30, -1, [2, 2, 1, 1]),
        (-6, 1 << 30, -1, [-2, -1, -1, -2]),
        (-24646, 1371786534, -8, [-62, -61, -61, -61]),
        (-3408, 1492113109, -7, [-19, -18, -18, -18]),
        (7984, 1583594044, -9, [12, 12, 11, 11]),
        (585, 1527099593, -6, [7, 7, 7, 7]),
        (1000, 1825361101, 1, [1700, 1700, 1700, 1700]),
        (123456, 1627277209, -11, [46, 46, 46, 46]),
        (-123456, 1627277209, -11, [-46, -46, -46, -46]),
        (i32::MAX, 1 << 30, -19, [2048, 2048, 2048, 2048]),
        (i32::MIN, 1 << 30, -19, [-2048, -2048, -2048, -2048]),
        (0, 1825361101, 1, [0, 0, 0, 0]),
        (12345, 0, 0, [0, 0, 0, 0]),
    ];
    for (acc, mantissa, shift, want) in rows {
        for ((name, style), want) in STYLES.into_iter().zip(want) {
            let m = match style {
                RequantStyle::F32Rne => Multiplier::from_f32(multiplier(mantissa, shift).to_f32()),
                _ => multiplier(mantissa, shift),
            };
            assert_eq!(style.apply(acc, m), want, "{name} of {acc} by ({mantissa}, {shift})");
        }
    }
}

// ---- Oracles. ----

/// `floor(n / d)` for positive `d`.
fn floor(n: i128, d: i128) -> i128 {
    n.div_euclid(d)
}

/// The product as a fraction, rounded as each style says; nothing here is as wide as 128 bits.
fn oracle(style: RequantStyle, acc: i32, m: Multiplier) -> i128 {
    let (acc, mantissa) = (i128::from(acc), i128::from(m.mantissa));
    let (left, right) = (m.shift.max(0) as u32, (-m.shift).max(0) as u32);
    let wrapped = i128::from((acc << left) as i32);
    let high = floor(2 * wrapped * mantissa + (1 << 31), 1 << 32);
    match style {
        RequantStyle::GemmlowpDouble => high.signum() * floor(2 * high.abs() + (1 << right), 2 << right),
        RequantStyle::Ruy => floor(2 * high + (1 << right), 2 << right),
        RequantStyle::Single => {
            let d = 1i128 << (31 - m.shift);
            i128::from(floor(2 * acc * mantissa + d, 2 * d) as i32)
        }
        RequantStyle::F32Rne => {
            // Both roundings to 24 bits are the standard library's exact conversions.
            let product = f64::from(acc as f32) * f64::from(m.to_f32());
            i128::from((product as f32).round_ties_even() as i32)
        }
        other => panic!("{other:?} is checked in src/quant/requant.rs"),
    }
}

/// Sums of products without bias, NHWC, by the definition.
fn naive(conv: &Conv2d, x: &Tensor<i8>, z_x: i32, w: &[i8], z_w: i32) -> Vec<i64> {
    let out = conv.output_shape(x.shape).unwrap();
    let (per_group, filters) = (conv.in_c / conv.groups, conv.out_c / conv.groups);
    let mut sums = Vec::new();
    for n in 0..x.batch {
        for i in 0..out.elements() {
            let (o, ox, oy) = (i % out.c, i / out.c % out.w, i / out.c / out.w);
            let mut sum = 0i64;
            for k in 0..conv.kernel[0] * conv.kernel[1] {
                let (ky, kx) = (k / conv.kernel[1], k % conv.kernel[1]);
                let iy = (oy * conv.stride[0] + ky * conv.dilation[0]) as i64 - conv.pad[0] as i64;
                let ix = (ox * conv.stride[1] + kx * conv.dilation[1]) as i64 - conv.pad[1] as i64;
                if iy < 0 || ix < 0 || iy >= x.shape.h as i64 || ix >= x.shape.w as i64 {
                    continue;
                }
                for j in 0..per_group {
                    let c = o / filters * per_group + j;
                    let q = x.image(n)[(iy as usize * x.shape.w + ix as usize) * x.shape.c + c];
                    let weight = w[(o * conv.kernel[0] * conv.kernel[1] + k) * per_group + j];
                    sum += (i64::from(q) - i64::from(z_x)) * (i64::from(weight) - i64::from(z_w));
                }
            }
            sums.push(sum);
        }
    }
    sums
}

/// SplitMix64.
fn random(seed: u64, i: u64) -> u64 {
    let mut z = seed.wrapping_add((i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Reproducible codes.
fn random_codes(seed: u64, n: usize) -> Vec<i8> {
    (0..n as u64).map(|i| random(seed, i) as i8).collect()
}

fn style() -> impl Strategy<Value = RequantStyle> {
    prop::sample::select(STYLES.map(|(_, s)| s).to_vec())
}

/// Any convolution on a small map: grouped, dilated, strided, padded unevenly.
fn conv() -> impl Strategy<Value = (Conv2d, Shape)> {
    let pair = || prop::array::uniform2(1usize..4);
    let filters = (1usize..5, 1usize..4, 1usize..4, pair(), pair());
    let space = (prop::array::uniform2(1usize..3), prop::array::uniform4(0usize..3), 1usize..8, 1usize..8);
    (filters, space).prop_filter_map("the kernel fits", |((groups, per_in, per_out, kernel, stride), space)| {
        let (dilation, pad, h, w) = space;
        let (in_c, out_c) = (groups * per_in, groups * per_out);
        let conv = Conv2d { in_c, out_c, kernel, stride, dilation, pad, groups };
        let shape = Shape::new(h, w, in_c);
        conv.output_shape(shape).is_ok().then_some((conv, shape))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn requantisation_agrees_with_rationals(style in style(), acc: i32, real in -4.0f64..4.0, small in -40i32..1) {
        let m = style.multiplier(real * 2f64.powi(small));
        let want = oracle(style, acc, m);
        prop_assert_eq!(i128::from(style.apply(acc, m)), want);
        if !style.overflows(acc, m) {
            let exact = (f64::from(acc) * m.to_f64()).clamp(f64::from(i32::MIN), f64::from(i32::MAX));
            // Two roundings are off by less than one; f32 by its precision.
            let off = (want as f64 - exact).abs();
            prop_assert!(off <= 1.0 + exact.abs() * 2e-7, "{} is far from {}", want, exact);
        }
    }

    #[test]
    fn multipliers_are_as_near_as_31_bits(real in -1e6f64..1e6) {
        let m = quantize_multiplier(real);
        prop_assert!((m.to_f64() - real).abs() <= real.abs() * 2f64.powi(-31) + 2f64.powi(-32));
        prop_assert!(m.mantissa == 0 || m.mantissa.unsigned_abs() >= 1 << 30);
    }

    #[test]
    fn convolutions_agree_with_the_definition(
        (conv, shape) in conv(), style in style(), seed: u64, batch in 1usize..3,
        z_x in -128i32..128, z_w in prop::sample::select(vec![0, 0, -128, 17, 127]), z_y in -128i32..128,
        real in -0.02f64..0.02, relu: bool,
    ) {
        let x = Tensor::from_vec(batch, shape, random_codes(seed, batch * shape.elements()));
        let w = random_codes(seed ^ 1, conv.weights());
        let registers = Registers {
            multipliers: (0..conv.out_c).map(|c| style.multiplier(real / (c + 1) as f64)).collect(),
            bias: (0..conv.out_c).map(|c| i32::from(random(seed ^ 2, c as u64) as i16)).collect(),
        };
        let clamp = if relu { Clamp::bounded(Some(z_y), None) } else { Clamp::INT8 };
        let lo = if relu { i64::from(z_y) } else { -128 };
        let mut saturations = 0;
        let want: Vec<i8> = naive(&conv, &x, z_x, &w, z_w).into_iter().enumerate().map(|(i, sum)| {
            let c = i % conv.out_c;
            let (m, bias) = (registers.multipliers[c], registers.bias[c]);
            let v = if m.mantissa == 0 { bias } else { style.apply((sum + i64::from(bias)) as i32, m) };
            let v = i64::from(v) + i64::from(z_y);
            saturations += u64::from(v > 127 || (v < -128 && !relu));
            v.clamp(lo, 127) as i8
        }).collect();
        let output = Output { style, zero_point: z_y, clamp };
        let p = Product { input_zero_point: z_x, weights: conv2d::pack(&conv, &w, &[z_w]), registers, output, accumulator: None };
        let (got, counts) = conv2d::int8(&conv, &x, &p, None);
        prop_assert_eq!(&got.data, &want);
        prop_assert_eq!(counts.macs.0, batch as u64 * conv.macs(shape, got.shape));
        prop_assert_eq!(counts.saturations, saturations);
        prop_assert_eq!(counts.overflows, 0);
    }

    #[test]
    fn pooling_agrees_with_the_definition(
        seed: u64, h in 3usize..8, w in 3usize..8, kernel in prop::array::uniform2(1usize..4),
        stride in prop::array::uniform2(1usize..4), pad in prop::array::uniform4(0usize..3), unsigned: bool,
    ) {
        // Padding is always smaller than the window.
        let pad = [pad[0] % kernel[0], pad[1] % kernel[1], pad[2] % kernel[0], pad[3] % kernel[1]];
        let op = Pool { kernel, stride, pad };
        let shape = Shape::new(h, w, 3);
        let x = Tensor::from_vec(2, shape, random_codes(seed, 2 * shape.elements()));
        let codes = if unsigned { CodeType::U8 } else { CodeType::I8 };
        let average = pool::average_int8(&op, &x, codes, Clamp::INT8).0;
        let maximum = pool::maximum_int8(&op, &x, Clamp::INT8).0;
        let out = average.shape;
        for (i, (&a, &m)) in average.data.iter().zip(&maximum.data).enumerate() {
            let (c, ox, oy, n) = (i % 3, i / 3 % out.w, i / 3 / out.w % out.h, i / out.elements());
            let mut window = Vec::new();
            for k in 0..kernel[0] * kernel[1] {
                let (iy, ix) = (oy * stride[0] + k / kernel[1], ox * stride[1] + k % kernel[1]);
                if iy >= pad[0] && ix >= pad[1] && iy - pad[0] < h && ix - pad[1] < w {
                    window.push(i64::from(x.image(n)[((iy - pad[0]) * w + ix - pad[1]) * 3 + c]));
                }
            }
            let (sum, len) = (window.iter().sum::<i64>(), window.len() as i64);
            let raw = sum + len * i64::from(codes.offset());
            let half = len / 2 * if raw > 0 { 1 } else { -1 };
            prop_assert_eq!(i64::from(a), (raw + half) / len - i64::from(codes.offset()));
            prop_assert_eq!(i64::from(m), window.into_iter().max().unwrap());
        }
    }

    #[test]
    fn products_spread_over_masks_and_vectors(seed: u64, h in 1usize..5, w in 1usize..5, c in 1usize..5, kind in 0usize..4) {
        let a_shape = Shape::new(h, w, c);
        let b_shape = [a_shape, Shape::new(h, w, 1), Shape::vector(c), Shape::vector(1)][kind];
        let a = Tensor::from_vec(2, a_shape, random_codes(seed, 2 * a_shape.elements()));
        let b = Tensor::from_vec(2, b_shape, random_codes(seed ^ 1, 2 * b_shape.elements()));
        let (p_a, p_b) = (params(0.1, 3), params(1.0 / 128.0, -128));
        let p = mul::Int8::new(DOUBLE, &p_a, &p_b, &p_a, Clamp::INT8);
        let mul::Form::Tflite { multiplier, .. } = p.form else { panic!("a style is TFLite's form") };
        let got = mul::int8(&a, &b, &p).0;
        for i in 0..2 * a_shape.elements() {
            let (n, pixel, channel) = (i / a_shape.elements(), i / c % (h * w), i % c);
            let b_pixel = if (b_shape.h, b_shape.w) == (h, w) { pixel } else { 0 };
            let b_channel = if b_shape.c == c { channel } else { 0 };
            let q_b = i32::from(b.image(n)[b_pixel * b_shape.c + b_channel]);
            let product = (i32::from(a.data[i]) - 3) * (q_b + 128);
            let want = (DOUBLE.apply(product, multiplier) + 3).clamp(-128, 127);
            prop_assert_eq!(i32::from(got.data[i]), want);
        }
    }

    #[test]
    fn softmax_is_the_rounded_float_form(seed: u64, scale in 0.005f32..0.5, beta in 0.5f32..2.0, c in 1usize..40) {
        let x = Tensor::from_vec(1, Shape::vector(c), random_codes(seed, c));
        let y = params(1.0 / 256.0, -128);
        let p = softmax::Int8::new(Softmax { beta }, DOUBLE, &params(scale, 9), c, &y).unwrap();
        let rate = f64::from(beta) * f64::from(scale);
        let reals: Vec<f64> = x.data.iter().map(|&q| (rate * f64::from(q)).exp()).collect();
        let sum: f64 = reals.iter().sum();
        for (&got, real) in softmax::int8(&x, &p).0.data.iter().zip(&reals) {
            let share = 256.0 * real / sum;
            // Equal but where the share is next to a tie.
            let near_tie = (share - share.floor() - 0.5).abs() < 1e-3;
            let want = (share.round_ties_even() - 128.0).min(127.0);
            let off = (f64::from(got) - want).abs();
            prop_assert!(off == 0.0 || (near_tie && off == 1.0), "{} is not {}", got, share - 128.0);
        }
    }
}

/// A mask at 1/128 with zero point -128 holds one exactly, as code 0: the product is the map.
#[test]
fn a_mask_of_one_is_the_identity() {
    let map = params(0.037, -11);
    let p = mul::Int8::new(DOUBLE, &map, &params(1.0 / 128.0, -128), &map, Clamp::INT8);
    let all: Vec<i8> = (i8::MIN..=i8::MAX).collect();
    let (y, counts) = mul::int8(&row(&all), &row(&[0]), &p);
    assert_eq!((y.data, counts.saturations), (all, 0));
}

#[test]
fn an_accumulator_that_wraps_is_counted() {
    // 40,000 × 255 × 255 is beyond 2^31.
    let linear = Linear { inputs: 40_000, outputs: 2 };
    let x = Tensor::from_vec(1, Shape::vector(40_000), vec![127i8; 40_000]);
    let weights = [vec![127i8; 40_000], vec![-128i8; 40_000]].concat();
    let m = quantize_multiplier(1e-9);
    let registers = Registers { multipliers: vec![m; 2], bias: vec![0, 1 << 27] };
    let output = Output { style: DOUBLE, zero_point: 0, clamp: Clamp::INT8 };
    let p = Product {
        input_zero_point: -128,
        weights: linear::pack(&linear, &weights, &[-128]),
        registers,
        output,
        accumulator: None,
    };
    let (y, counts) = linear::int8(&linear, &x, &p, None);
    let wrapped = (255i64 * 255 * 40_000) as i32;
    assert_eq!(i32::from(y.data[0]), DOUBLE.apply(wrapped, m));
    assert_eq!((counts.overflows, counts.macs.0), (1, 80_000));
}

#[test]
fn a_gate_with_a_gain_is_refused() {
    let p = params(0.1, 0);
    let why = Activation::Sigmoid { gain: 2.0 }.table(DOUBLE, &p, &p).unwrap_err();
    assert!(why.contains("gain 1 only"), "{why}");
}
