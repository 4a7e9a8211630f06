//! The shared float ONNX models: their values against ONNX Runtime's, their accuracy before and
//! after our quantiser, and no file, however broken, that makes the door panic.

mod common;

use image::ImageFormat;
use std::collections::HashMap;
use std::path::Path;
use trunkline::data::image::Image;
use trunkline::data::{self, OpenOptions};
use trunkline::device;
use trunkline::experiment::input;
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::graph::Graph;
use trunkline::model::onnx;
use trunkline::op::Op;
use trunkline::plan::program;
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk;
use trunkline::units::HardwareDomain;

/// The float network on the CPU twins, image by image.
fn float_outputs(graph: &Graph, images: &Tensor<f32>) -> Vec<Vec<f32>> {
    let mut float = graph.clone();
    float.nodes.iter_mut().for_each(|n| n.domain = HardwareDomain::Adapter);
    let program = program::lower(&float, 1, &[], &HashMap::new()).unwrap();
    let mut device = device::open("cpu").unwrap();
    device.prepare(&program.buffers, 1).unwrap();
    let calls: Vec<_> = program.steps.iter().flat_map(|s| s.calls.clone()).collect();
    let output = program.maps[&float.output];
    let run = |image| {
        device.write(0, program.maps[&float.input], bytemuck::cast_slice(images.image(image))).unwrap();
        device.run(0, &calls).unwrap();
        let words = device.read(0, output, float.shape(float.output).elements()).unwrap();
        bytemuck::cast_slice::<u32, f32>(&words).to_vec()
    };
    (0..images.batch).map(run).collect()
}

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    model: String,
    seed: u64,
    low: f32,
    high: f32,
    output: Vec<f32>,
}

fn splitmix64(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The input that `onnx_golden.py` makes in N×C×H×W order.
fn seeded(case: &Case, shape: Shape) -> Tensor<f32> {
    let mut x = Tensor::zeros(1, shape);
    for i in 0..shape.elements() {
        let unit = (splitmix64(case.seed + i as u64) >> 40) as f32 / (1 << 24) as f32;
        let (c, pixel) = (i / shape.pixels(), i % shape.pixels());
        x.data[pixel * shape.c + c] = unit * (case.high - case.low) + case.low;
    }
    x
}

#[test]
fn float_networks_compute_what_onnx_runtime_does() {
    let golden: Golden = serde_json::from_str(include_str!("conformance/onnx_golden.json")).unwrap();
    assert_eq!(golden.cases.len(), 4);
    for case in &golden.cases {
        let Some(path) = common::shared(&format!("models/{}", case.model)) else { continue };
        let graph = onnx::import(&path).unwrap().graph;
        graph.check().unwrap();
        let ours = &float_outputs(&graph, &seeded(case, graph.shape(graph.input)))[0];
        assert_eq!(ours.len(), case.output.len());
        let largest = case.output.iter().fold(0f32, |m, v| m.max(v.abs()));
        let apart = ours.iter().zip(&case.output).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest;
        println!("{}: relative difference {apart:.2e}", case.model);
        assert!(apart < 1e-4, "{}: {apart}", case.model);
    }
}

#[test]
fn the_shared_models_come_in_whole() {
    let count = |graph: &Graph, name: &str| graph.nodes.iter().filter(|n| n.op.name() == name).count();
    let macs = |graph: &Graph| graph.node_ids().map(|n| graph.macs(n)).sum::<u64>();
    for (file, convs, work) in [
        ("cifar10_resnets/resnet20_cifar10.onnx", 19, 40_551_040u64),
        ("cifar10_resnets/resnet56_cifar10.onnx", 55, 125_485_696),
    ] {
        let Some(path) = common::shared(&format!("models/{file}")) else { continue };
        let graph = onnx::import(&path).unwrap().graph;
        assert_eq!((count(&graph, "conv2d"), macs(&graph)), (convs, work), "{file}");
        // Option-A shortcuts: every second position, then zero channels.
        assert_eq!((count(&graph, "max-pool"), count(&graph, "pad")), (2, 2), "{file}");
        assert!(graph.edges.iter().all(|e| e.quant.is_none()));
    }
    if let Some(path) = common::shared("models/stm_mobilenetv1/mobilenet_v1_0.25_224.onnx") {
        let graph = onnx::import(&path).unwrap().graph;
        let depthwise = graph.nodes.iter().filter(|n| matches!(&n.op, Op::Conv2d(c) if c.is_depthwise())).count();
        assert_eq!((depthwise, count(&graph, "relu6"), count(&graph, "softmax")), (13, 27, 1));
    }
}

fn arg_max(values: impl Iterator<Item = f32>) -> u32 {
    values.enumerate().fold((0, f32::NEG_INFINITY), |b, (i, v)| if v > b.1 { (i as u32, v) } else { b }).0
}

/// Top-1 in percent of the float network and of the frozen one.
fn accuracies(model: &Path, images: usize, calibration: usize) -> Option<(f64, f64)> {
    let folder = common::shared("data/cifar10")?;
    let options = OpenOptions { limit: Some(images), ..OpenOptions::default() };
    let set = data::open(&format!("cifar10:{}", folder.display()), &options).unwrap();
    let labels = set.labels.clone().unwrap();
    let mut trunk = Trunk::open(&model.to_string_lossy(), Wanted::default()).unwrap();
    assert!(!trunk.is_calibrated());
    let shape = trunk.graph.shape(trunk.graph.input);
    let reals = input::reals(&set.images, shape, trunk.preprocess).unwrap();
    let float = float_outputs(&trunk.graph, &reals).into_iter().map(|o| arg_max(o.into_iter()));
    let percent = |right: usize| 100.0 * right as f64 / images as f64;
    let float = percent(float.zip(&labels).filter(|(a, b)| a == *b).count());
    trunk.calibrate(&reals.slice(0, calibration)).unwrap();
    let program = trunk::prepare(&trunk.graph, &trunk.profile, 8).unwrap();
    let quant = trunk.graph.edge(trunk.graph.input).quant;
    let codes = input::codes(&set.images, shape, trunk.preprocess, quant).unwrap();
    let logits = program.run_all(&codes).unwrap().remove(&trunk.graph.output).unwrap();
    let frozen = (0..images).map(|i| arg_max(logits.image(i).iter().map(|&q| f32::from(q))));
    Some((float, percent(frozen.zip(&labels).filter(|(a, b)| a == *b).count())))
}

#[test]
fn residual_networks_know_cifar10_before_and_after_freezing() {
    for (model, images) in [("resnet20_cifar10", 300), ("resnet56_cifar10", 200)] {
        let Some(path) = common::shared(&format!("models/cifar10_resnets/{model}.onnx")) else { return };
        let Some((float, frozen)) = accuracies(&path, images, 64) else { return };
        println!("{model} on {images} lossless training images: float {float:.2} %, int8 {frozen:.2} %");
        assert!(float >= 98.5, "{model}: {float}");
        assert!(frozen >= float - 1.5, "{model}: {frozen} against {float}");
    }
}

/// The sample photos as a network's input.
fn photos(shape: Shape, trunk: &Trunk) -> Option<Vec<Image>> {
    let names = ["cat.bmp", "hot_dog.jpg", "owl.jpg", "parrot.jpg"];
    let read = |name: &str| {
        let path = common::shared(&format!("models/coral/{name}"))?;
        let format = if name.ends_with("bmp") { ImageFormat::Bmp } else { ImageFormat::Jpeg };
        Some(Image::decode(&std::fs::read(path).unwrap(), format).unwrap().resized(shape.h, shape.w))
    };
    assert!(!trunk.is_calibrated());
    names.into_iter().map(read).collect()
}

/// How many photos the frozen network gives the class that the float network gives them.
fn agreement(spec: &str) -> Option<(usize, usize)> {
    let mut trunk = Trunk::open(spec, Wanted::default()).unwrap();
    let shape = trunk.graph.shape(trunk.graph.input);
    let photos = photos(shape, &trunk)?;
    let reals = input::reals(&photos, shape, trunk.preprocess).unwrap();
    let float = float_outputs(&trunk.graph, &reals);
    trunk.calibrate(&reals).unwrap();
    let program = trunk::prepare(&trunk.graph, &trunk.profile, 8).unwrap();
    let codes = input::codes(&photos, shape, trunk.preprocess, trunk.graph.edge(trunk.graph.input).quant).unwrap();
    let frozen = program.run_all(&codes).unwrap().remove(&trunk.graph.output).unwrap();
    let quant = trunk.graph.edge(trunk.graph.output).quant.unwrap();
    let mut same = 0;
    for (i, float) in float.iter().enumerate() {
        let real = |q: &i8| quant.scale * (i32::from(*q) - quant.zero_point) as f32;
        let frozen: Vec<f32> = frozen.image(i).iter().map(real).collect();
        let classes = (arg_max(float.iter().copied()), arg_max(frozen.iter().copied()));
        let power: f32 = float.iter().map(|v| v * v).sum();
        let noise: f32 = float.iter().zip(&frozen).map(|(a, b)| (a - b) * (a - b)).sum();
        println!("{spec}: photo {i}: classes {classes:?}, SQNR {:.1} dB", 10.0 * (power / noise).log10());
        same += usize::from(classes.0 == classes.1);
    }
    Some((same, photos.len()))
}

#[test]
fn imagenet_networks_freeze_whole() {
    for (model, how, kept) in
        [("tiny_darknet/tiny_darknet_imagenet", "unit", 4), ("stm_mobilenetv1/mobilenet_v1_0.25_224", "signed", 4)]
    {
        let Some(path) = common::shared(&format!("models/{model}.onnx")) else { continue };
        let Some((same, photos)) = agreement(&format!("{}:normalise={how}", path.display())) else { continue };
        println!("{model}: {same} of {photos} photos keep their first rank");
        assert!(same >= kept, "{model}: {same} of {photos}");
    }
}

#[test]
fn options_of_a_float_model_are_checked() {
    let refused = |spec: &str| Trunk::open(spec, Wanted::default()).unwrap_err().to_string();
    assert!(refused("x/none.onnx:normalise=rgb").contains("imagenet|centred|signed|unit"));
    assert!(refused("x/none.onnx:size=3").contains("normalise="));
    assert!(refused("x/none.onnx:normalise=unit").contains("none.onnx"));
    assert!(refused("x/none.onnx").contains("none.onnx"));
}

#[test]
fn broken_bytes_are_told_and_never_panic() {
    let Some(path) = common::shared("models/cifar10_resnets/resnet20_cifar10.onnx") else { return };
    let whole = std::fs::read(&path).unwrap();
    let import = |bytes: Vec<u8>| onnx::import_bytes(bytes, Path::new("broken.onnx"));
    assert!(import(whole.clone()).is_ok());
    for cut in (0..whole.len()).step_by(whole.len() / 40) {
        assert!(import(whole[..cut].to_vec()).is_err(), "cut at {cut}");
    }
    // The nodes come first in the file: flip bytes there, where structure is.
    for i in 0..400u64 {
        let mut bytes = whole.clone();
        let at = splitmix64(i) as usize % 12_000;
        bytes[at] ^= 1 << (i % 8);
        if let Ok(imported) = import(bytes) {
            imported.graph.check().unwrap();
        }
    }
    for junk in [&b""[..], b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0a\x05hello", &[0xff; 64], &[0x0a; 4096]] {
        assert!(import(junk.to_vec()).is_err());
    }
}
