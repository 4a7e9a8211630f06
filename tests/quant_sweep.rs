//! The what-if sweep: what must fall falls, what must overflow overflows, and on a graph small
//! enough to count by hand the counts are those.

use std::sync::atomic::{AtomicBool, Ordering};
use trunkline::data::image::Image;
use trunkline::data::{self, Dataset, OpenOptions};
use trunkline::experiment::input::Preprocess;
use trunkline::experiment::quant_sweep::{Grid, Row, Stage, Sweep, Watch, sweep};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::graph::{Graph, ParamKind, ParamValue};
use trunkline::model::trunk_file::Provenance;
use trunkline::op::{Linear, Op};
use trunkline::quant::{CodeType, Granularity, Overflow, Profile, QuantParams, Round};
use trunkline::tensor::Shape;

mod common;

/// int8 on 32 bits.
fn plain() -> Grid {
    Grid {
        weight_bits: vec![8],
        activation_bits: vec![8],
        accumulator_bits: vec![32],
        overflow: vec![Overflow::Wrap],
        rounding: vec![Round::HalfAway],
        granularity: vec![Granularity::PerChannel],
    }
}

fn swept(trunk: Trunk, data: &Dataset, grid: &Grid) -> Sweep {
    let mut progress = |_, _| {};
    sweep(trunk, data, grid, &mut Watch { progress: &mut progress, stop: &AtomicBool::new(false) }).unwrap()
}

fn resnet8() -> Trunk {
    Trunk::open("resnet8", Wanted { seed: 1, ..Wanted::default() }).unwrap()
}

fn shapes(trunk: &Trunk, limit: usize) -> Dataset {
    let shape = trunk.graph.shape(trunk.graph.input);
    data::open("synth:shapes", &OpenOptions { limit: Some(limit), seed: 0, size: Some([shape.h, shape.w]) }).unwrap()
}

#[test]
fn fewer_bits_are_more_noise() {
    let trunk = resnet8();
    let data = shapes(&trunk, 8);
    let grid = Grid { weight_bits: vec![8, 6, 4], activation_bits: vec![8, 5], ..plain() };
    let rows = swept(trunk, &data, &grid).rows;
    let sqnr = |weights: u8, activations: u8| {
        let row = rows.iter().find(|r| (r.point.weight_bits, r.point.activation_bits) == (weights, activations));
        row.unwrap().output_sqnr_db.unwrap()
    };
    assert!(
        sqnr(8, 8) > sqnr(6, 8) + 3.0 && sqnr(6, 8) > sqnr(4, 8) + 3.0,
        "{} {} {}",
        sqnr(8, 8),
        sqnr(6, 8),
        sqnr(4, 8)
    );
    assert!(sqnr(8, 8) > sqnr(8, 5) + 3.0, "{} {}", sqnr(8, 8), sqnr(8, 5));
    assert!(sqnr(8, 8) > 20.0, "{}", sqnr(8, 8));
    // The first layer reads exact codes: its noise is its own.
    let first = |weights: u8| rows.iter().find(|r| r.point.weight_bits == weights).unwrap().layers[0].sqnr_db.unwrap();
    assert!(first(8) > first(6) && first(6) > first(4), "{} {} {}", first(8), first(6), first(4));
    for row in &rows {
        let least = row.layers.iter().filter_map(|l| l.sqnr_db).fold(f64::INFINITY, f64::min);
        assert_eq!(row.least_sqnr_db, Some(least));
    }
}

#[test]
fn sixteen_bits_overflow_on_resnet8_and_thirty_two_do_not() {
    let trunk = resnet8();
    let data = shapes(&trunk, 4);
    let overflow = vec![Overflow::Wrap, Overflow::Saturate];
    let grid = Grid { accumulator_bits: vec![16, 20, 24, 32], overflow, ..plain() };
    let rows = swept(trunk, &data, &grid).rows;
    let counts: Vec<u64> = rows.iter().map(|r| r.overflows).collect();
    let [wrap16, saturate16, wrap20, _, wrap24, _, wrap32, saturate32] = counts[..] else { panic!("{counts:?}") };
    assert!(wrap16 > 0 && saturate16 > 0 && wrap16 >= wrap20 && wrap20 >= wrap24, "{counts:?}");
    assert_eq!((wrap32, saturate32), (0, 0), "{counts:?}");
    let of =
        |row: &Row| row.layers.iter().map(|l| (l.overflows, l.saturations)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert!(rows.iter().all(|r| of(r) == (r.overflows, r.saturations)));
    // What wrapped is nonsense; what saturated is only small.
    assert!(rows[1].output_sqnr_db > rows[0].output_sqnr_db, "{:?}", (rows[1].output_sqnr_db, rows[0].output_sqnr_db));
    assert_eq!(rows[6].output_sqnr_db, rows[7].output_sqnr_db);
}

#[test]
fn the_trained_network_keeps_its_answers_on_eight_bits() {
    let (Some(model), Some(cifar)) =
        (common::shared("models/cifar10_resnets/resnet20_cifar10.onnx"), common::shared("data/cifar10"))
    else {
        return;
    };
    let mut trunk = Trunk::open(&model.display().to_string(), Wanted::default()).unwrap();
    let spec = format!("cifar10:{}", cifar.display());
    trunk.calibrate_on(&spec, 8, 0).unwrap();
    let data = data::open(&spec, &OpenOptions { limit: Some(24), seed: 0, size: Some([32, 32]) }).unwrap();
    let sweep = swept(trunk.clone(), &data, &Grid { weight_bits: vec![8, 2], ..plain() });
    assert!(sweep.float_top1.unwrap() > 0.7, "{:?}", sweep.float_top1);
    let [eight, two] = &sweep.rows[..] else { panic!("{} rows", sweep.rows.len()) };
    assert!(eight.float_agreement > 0.85 && eight.float_agreement > two.float_agreement, "{}", eight.float_agreement);
    assert!(eight.top1 > two.top1);
    // The channels of a trained layer differ, which one scale for all of them cannot follow.
    let granularity = vec![Granularity::PerChannel, Granularity::PerTensor];
    let rows = swept(trunk, &data, &Grid { weight_bits: vec![4], granularity, ..plain() }).rows;
    assert!(
        rows[0].output_sqnr_db > rows[1].output_sqnr_db,
        "{:?} {:?}",
        rows[0].output_sqnr_db,
        rows[1].output_sqnr_db
    );
}

/// One linear layer of two outputs on three bytes: 127 times their sum, and the first byte.
fn by_hand() -> Trunk {
    let mut graph = Graph::new("by-hand", Shape::vector(3));
    let weights = ParamValue::F32(vec![127.0, 127.0, 127.0, 1.0, 0.0, 0.0]);
    let weight = graph.add_param("fc.weight", &[2, 3], ParamKind::Weight, weights);
    graph.add_node("fc", Op::Linear(Linear { inputs: 3, outputs: 2 }), &[graph.input], &[weight]).unwrap();
    let (input, output) = (graph.input, graph.output);
    let quant = |scale| Some(QuantParams { scale, zero_point: -128, codes: CodeType::I8 });
    // The byte is its value; an output of more than 255 steps saturates.
    graph.edge_mut(input).quant = quant(1.0);
    graph.edge_mut(output).quant = quant(190.5);
    Trunk {
        name: "by-hand".into(),
        graph,
        profile: Profile::default(),
        preprocess: Preprocess::Codes,
        calibration: trunkline::quantise::Calibration::default(),
        provenance: Provenance::default(),
        notes: vec![],
    }
}

#[test]
fn counts_are_those_of_a_hand_count() {
    // Bytes whose sums lie on both sides of every limit below.
    let bytes = [[0, 0, 0], [86, 86, 86], [86, 86, 87], [127, 128, 128], [128, 128, 128], [172, 172, 172], [255; 3]];
    let sums: Vec<u64> = bytes.iter().map(|b| b.iter().map(|&v| u64::from(v)).sum()).collect();
    let image = |b: &[u8; 3]| Image { width: 1, height: 1, channels: 3, pixels: b.to_vec() };
    let data = Dataset {
        name: "bytes".into(),
        classes: vec!["sum".into(), "first".into()],
        images: bytes.iter().map(image).collect(),
        labels: Some(vec![0, 0, 0, 1, 1, 1, 1]),
        shape: Shape::new(1, 1, 3),
        broken: Default::default(),
    };
    let grid = Grid { accumulator_bits: vec![16, 17, 18, 32], ..plain() };
    let sweep = swept(by_hand(), &data, &grid);
    // Only the first output, 127 codes times the sum, can leave 16 bits.
    for (row, bits) in sweep.rows.iter().zip([16u32, 17, 18, 32]) {
        let beyond = sums.iter().filter(|&&s| 127 * s > (1 << (bits - 1)) - 1).count() as u64;
        assert_eq!((row.overflows, row.layers.len()), (beyond, 1), "{bits} bits");
    }
    assert_eq!(sweep.rows.iter().map(|r| r.overflows).collect::<Vec<_>>(), [5, 1, 0, 0]);
    // In units of 190.5 the first output is two thirds of the sum: saturated from 384 on.
    assert_eq!(sweep.rows[3].saturations, sums.iter().filter(|&&s| s >= 384).count() as u64);
    assert_eq!(sweep.rows[3].saturations, 3);
    // 127 times the sum is never less than its first byte: always the first class.
    assert_eq!((sweep.float_top1, sweep.rows[3].top1), (Some(3.0 / 7.0), Some(3.0 / 7.0)));
    assert_eq!(sweep.rows[3].float_agreement, 1.0);
}

#[test]
fn a_sweep_that_is_stopped_keeps_what_is_finished() {
    let trunk = resnet8();
    let data = shapes(&trunk, 2);
    let stop = AtomicBool::new(false);
    let mut progress = |stage, _| stop.store(stage == Stage::Point(1), Ordering::Relaxed);
    let grid = Grid { weight_bits: vec![8, 7, 6, 5], ..plain() };
    let whole = swept(trunk.clone(), &data, &grid);
    let part = sweep(trunk, &data, &grid, &mut Watch { progress: &mut progress, stop: &stop }).unwrap();
    assert_eq!((part.points, part.rows.len()), (4, 2));
    assert_eq!(part.rows, whole.rows[..2]);
}

#[test]
fn a_trunk_file_is_swept_like_its_source() {
    let mut trunk = resnet8();
    let data = shapes(&trunk, 2);
    trunk.calibrate_on("synth:shapes", 4, 0).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    trunk.to_file().unwrap().write(&path, false).unwrap();
    let grid = Grid { weight_bits: vec![8, 5], ..plain() };
    assert_eq!(swept(Trunk::import(&path).unwrap(), &data, &grid), swept(trunk, &data, &grid));
}
