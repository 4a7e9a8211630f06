//! The arithmetic profiles against what their runtimes and chips compute, recorded by the scripts of
//! `tests/conformance/`.

mod common;

use serde_json::Value;
use sha2::{Digest, Sha256};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::model::npz::Npz;
use trunkline::op::product::Product;
use trunkline::op::{
    Activation, Conv2d, Linear, Output, Pool, Registers, Softmax, add, conv2d, linear, mean, mul, pool, softmax, table,
};
use trunkline::quant::{
    Clamp, CodeType, Formula, OpKind, Profile, QuantParams, RequantStyle, Round, boundary, onnxruntime,
};
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk::prepare;

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
        let p = Product { input_zero_point: x.zero_point, weights, registers, output, accumulator: None };
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
    let p = Product { input_zero_point: 1, weights, registers, output, accumulator: None };
    // (4, 2) over the zero point: 4·1 + 2·2, 4·0 + 2·1, 4·10 + 2·11.
    let x = Tensor::from_vec(1, Shape::new(1, 1, 2), vec![5, 3]);
    assert_eq!(conv2d::int8(&conv, &x, &p, None).0.data, [8, 2, 62]);
}

/// The first 8 bytes of the SHA-256 of codes as they are presented outside.
fn fingerprint(codes: &[i8], q: &QuantParams) -> String {
    let bytes: Vec<u8> = codes.iter().map(|&c| (i32::from(c) + q.codes.offset()) as u8).collect();
    Sha256::digest(bytes)[..8].iter().map(|b| format!("{b:02x}")).collect()
}

/// Every map of the real models that LiteRT computes by default.
#[test]
fn litert_by_default() {
    real_models(&Profile::tflite_xnnpack());
}

/// The same with LiteRT's own optimised kernels.
#[test]
fn litert_without_delegate() {
    real_models(&"tflite-x86".parse().unwrap());
}

fn real_models(profile: &Profile) {
    let golden = golden(include_str!("conformance/litert_xnnpack_golden.json"));
    for g in cases(&golden, profile.name()) {
        let name = g["model"].as_str().unwrap();
        let Some(path) = common::shared(&format!("models/{name}.tflite")) else { return };
        let trunk = Trunk::import(&path).unwrap();
        let graph = &trunk.graph;
        let program = prepare(graph, profile, 8).unwrap();
        let shape = graph.shape(graph.input);
        let inputs = Npz::open(&path.with_extension("golden.npz")).unwrap().read_i8("inputs").unwrap().data;
        let inputs = Tensor::from_vec(inputs.len() / shape.elements(), shape, inputs);
        let quant = |edge| graph.edge(edge).quant.unwrap();
        let mut compared = 0;
        for (i, want) in cases(g, "outputs").iter().enumerate() {
            let maps = program.run_all(&inputs.slice(i, i + 1)).unwrap();
            if let Some(layers) = g["layers"].get(i).and_then(Value::as_object) {
                for edge in program.steps.iter().map(|s| s.output) {
                    let Some(want) = graph.edge(edge).origin.and_then(|t| layers.get(&t.to_string())) else { continue };
                    let got = fingerprint(&maps[&edge].data, &quant(edge));
                    assert_eq!(&got, want, "{name}: input {i}, map '{}'", graph.edge(edge).name);
                    compared += 1;
                }
            }
            let got = fingerprint(&maps[&graph.output].data, &quant(graph.output));
            assert_eq!(&got, want, "{name}: input {i}, output");
        }
        println!("{name}: {compared} maps, {} outputs", inputs.batch);
        assert!(compared > 8, "{name}: {compared} maps compared");
    }
}

/// Layers of products as chips compute them: 18 inputs, 4 outputs.
#[test]
fn chips_and_custom_accumulators() {
    let golden = golden(include_str!("conformance/hardware_golden.json"));
    let mut overflowed = 0;
    for g in cases(&golden, "layers") {
        let name = g["profile"].as_str().unwrap();
        let profile: Profile = name.parse().unwrap();
        assert_eq!(profile.name(), name);
        let style = profile.style(OpKind::Linear);
        let unsigned = if name == "pulp" { 128 } else { 0 };
        let rows = |v: &Value| v.as_array().unwrap().iter().flat_map(ints).map(|q| (q - unsigned) as i8).collect();
        let weights: Vec<i8> = g["weights"].as_array().unwrap().iter().flat_map(ints).map(|w| w as i8).collect();
        let of = |key: &str| g["positions"][key].as_i64().unwrap() as i32;
        let reals: Vec<f64> = match (&g["factors"], &g["factor"]) {
            (Value::Array(factors), _) => factors.iter().map(|f| f.as_f64().unwrap()).collect(),
            (_, Value::Number(factor)) => vec![factor.as_f64().unwrap(); 4],
            _ => vec![2f64.powi(of("y") - of("x") - of("w")); 4],
        };
        let multipliers = if style.shares_shift() {
            style.shared(&reals)
        } else {
            reals.iter().map(|&r| style.multiplier(r)).collect()
        };
        let linear = Linear { inputs: 18, outputs: 4 };
        let accumulator = Some(profile.arith().accumulator());
        let p = Product {
            input_zero_point: -unsigned,
            weights: linear::pack(&linear, &weights, &[0]),
            registers: Registers { multipliers, bias: ints(&g["bias"]) },
            output: Output { style, zero_point: -unsigned, clamp: Clamp::INT8 },
            accumulator,
        };
        let x: Vec<i8> = rows(&g["input"]);
        let (y, counts) = linear::int8(&linear, &Tensor::from_vec(x.len() / 18, Shape::vector(18), x), &p, None);
        let want: Vec<i8> = rows(&g["out"]);
        assert_eq!(y.data, want, "{name}");
        if let Some(overflows) = g["overflows"].as_u64() {
            assert_eq!(counts.overflows, overflows, "{name}");
            overflowed += overflows;
        }
    }
    assert!(overflowed > 20, "the cases should overflow, {overflowed} do");
}

#[test]
fn sums_and_averages_of_chips() {
    let golden = golden(include_str!("conformance/hardware_golden.json"));
    for g in cases(&golden, "sums") {
        let profile: Profile = g["profile"].as_str().unwrap().parse().unwrap();
        let (codes_are, zero_point) = if profile.name() == "pulp" { (CodeType::U8, -128) } else { (CodeType::I8, 0) };
        let scales: Vec<f32> = g["scales"].as_array().unwrap().iter().map(real).collect();
        let [a, b, y] = [0, 1, 2].map(|i| QuantParams { scale: scales[i], zero_point, codes: codes_are });
        let p = add::Int8::new(profile.formula(OpKind::Add), &a, &b, &y, Clamp::INT8);
        let sum = add::int8(&row(codes(&g["a"], &a)), &row(codes(&g["b"], &b)), &p).0;
        assert_eq!(sum.data, codes(&g["out"], &y), "{profile}");
    }
    let any = QuantParams { scale: 0.125, zero_point: 0, codes: CodeType::I8 };
    for g in cases(&golden, "averages") {
        let window = codes(&g["window"], &any);
        let op = Pool { kernel: [1, window.len()], stride: [1, 1], pad: [0; 4] };
        let x = Tensor::from_vec(1, Shape::new(1, window.len(), 1), window);
        let want = [g["out"].as_i64().unwrap() as i8];
        assert_eq!(
            pool::average_int8(&op, &x, pool::Average::PowerOfTwo, Clamp::INT8).0.data,
            want,
            "{}",
            x.data.len()
        );
        let p = mean::Int8::new(Formula::PowerOfTwo, &any, x.data.len(), &any, Clamp::INT8);
        assert_eq!(mean::int8(&x, &p).0.data, want, "mean of {}", x.data.len());
    }
}

/// A 16-bit saturating accumulator sees the products in the order ky, kx, c_in, whatever the loop.
#[test]
fn convolutions_saturate_in_canonical_order() {
    let accumulator = "custom:accumulator=16,overflow=saturate,when=each-add".parse::<Profile>().unwrap().arith();
    let style = RequantStyle::MulShift { round: Round::Floor, shared: false };
    let mut overflowed = 0;
    for (groups, in_c, out_c) in [(1, 4, 3), (2, 4, 6), (4, 4, 4)] {
        let conv = Conv2d { groups, ..Conv2d::square(in_c, out_c, 3, 1, 1) };
        let (shape, per_group) = (Shape::new(4, 4, in_c), in_c / groups);
        // Long runs of one sign, so that sums go far out and come back.
        let x: Vec<i8> = (0..shape.elements()).map(|i| (i * 37 % 251) as u8 as i8).collect();
        let w: Vec<i8> = (0..conv.weights()).map(|i| if i % 11 < 6 { 127 } else { -125 }).collect();
        let p = Product {
            input_zero_point: -20,
            weights: conv2d::pack(&conv, &w, &[0]),
            registers: Registers { multipliers: vec![style.multiplier(1.0 / 512.0); out_c], bias: vec![77; out_c] },
            output: Output { style, zero_point: 3, clamp: Clamp::INT8 },
            accumulator: Some(accumulator.accumulator()),
        };
        let map = Tensor::from_vec(1, shape, x.clone());
        let (y, counts) = conv2d::int8(&conv, &map, &p, None);
        let (mut want, mut left) = (Vec::new(), 0);
        for i in 0..y.data.len() {
            let (c, ox, oy) = (i % out_c, i / out_c % 4, i / out_c / 4);
            let (mut acc, mut away) = (0i32, false);
            let mut add = |term: i32| {
                let exact = acc + term;
                acc = exact.clamp(-32768, 32767);
                away |= acc != exact;
            };
            for tap in 0..9 * per_group {
                let (ky, kx, j) = (tap / per_group / 3, tap / per_group % 3, tap % per_group);
                let (iy, ix) = ((oy + ky) as i32 - 1, (ox + kx) as i32 - 1);
                if (0..4).contains(&iy) && (0..4).contains(&ix) {
                    let from = (iy * 4 + ix) as usize * in_c + c / (out_c / groups) * per_group + j;
                    add((i32::from(x[from]) + 20) * i32::from(w[c * 9 * per_group + tap]));
                }
            }
            add(77);
            left += u64::from(away);
            want.push((acc.div_euclid(512) + 3).clamp(-128, 127) as i8);
        }
        assert_eq!((y.data, counts.overflows), (want, left), "{groups} groups");
        overflowed += left;
    }
    assert!(overflowed > 10, "{overflowed} accumulators overflow");
}

/// A network of ours under every profile: it gets codes that the profile can express, and computes
/// nearly what the reference does where the codes allow it.
#[test]
fn a_network_is_quantised_for_every_profile() {
    let wanted = Wanted { input: Some(32), ..Wanted::default() };
    let output = |profile: Profile| {
        let mut trunk =
            Trunk::open("resnet26:width=0.25", wanted).unwrap().with_profile(Some(profile.clone())).unwrap();
        let shape = trunk.graph.shape(trunk.graph.input);
        let reals: Vec<f32> = (0..2 * shape.elements()).map(|i| ((i * i) % 509) as f32 / 254.0 - 1.0).collect();
        trunk.calibrate(&Tensor::from_vec(2, shape, reals.clone())).unwrap();
        let quant = |edge| trunk.graph.edge(edge).quant.unwrap();
        for edge in trunk.graph.edges.iter().filter_map(|e| e.quant) {
            assert_eq!(profile.maps().refuses(&edge), None, "{profile}");
        }
        let program = prepare(&trunk.graph, &profile, 8).unwrap();
        let (x, y) = (trunk.graph.input, trunk.graph.output);
        let codes = Tensor::from_vec(2, shape, boundary::quantise_input(&reals, &quant(x)).0);
        let maps = program.run_all(&codes).unwrap();
        let (lo, hi) = profile.maps().range();
        let made = program.steps.iter().flat_map(|s| &maps[&s.output].data);
        assert!(made.clone().all(|&q| (lo..=hi).contains(&i32::from(q))), "{profile}: a code beyond its bits");
        assert!(program.steps.iter().all(|s| s.weights().is_none_or(|w| profile.weights().refuses(w).is_none())));
        (boundary::dequantise_map(&maps[&y].data, &quant(y)), program.checksum())
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let (reference, mut checksums) = (output(Profile::default()).0, vec![]);
    let custom = [
        "custom",
        "custom:accumulator=20,overflow=saturate,when=each-add,granularity=per-tensor",
        "custom:weights=6,activations=6",
    ];
    for profile in Profile::all().chain(custom.map(|text| text.parse().unwrap())) {
        let (values, checksum) = output(profile.clone());
        let alike = dot(&values, &reference) / (dot(&values, &values) * dot(&reference, &reference)).sqrt();
        println!("{profile}: {alike:.4}");
        // Unsigned maps cannot hold what goes into a residual sum below zero.
        assert!(alike > 0.9 || profile.name() == "pulp", "{profile}: {alike}");
        assert!(!checksums.contains(&checksum), "{profile} has another's checksum");
        checksums.push(checksum);
    }
}
