//! Trunks against what was published of whole networks and of layers.

use super::sheet::Sheet;
use super::{Point, ValidateError, Verdict};
use crate::graph::Graph;
use crate::hw::timing::layers::{self, Layer};
use crate::hw::timing::nvdla::{Engine, sheet};
use crate::hw::timing::spatial::Spatial;
use crate::hw::timing::{LayerKind, Residency, TrunkTiming, TrunkWork, Window};
use crate::hw::trunk::TrunkKind;
use crate::hw::{Body, Kind, PointRole, Trunk, Validation, library};
use crate::model::zoo::ZooSpec;
use crate::price::{Activity, price};
use std::path::Path;

/// A network of the zoo; none that it lacks.
fn network(point: &Validation) -> Option<Graph> {
    // As `3x224x224`.
    let size = point.input.as_deref()?.rsplit('x').next()?.parse().ok()?;
    ZooSpec::parse(point.model.as_deref()?, Some(size), Some(1000), 0).ok()?.build().ok()
}

/// A network of the zoo as it is published.
fn published_network(name: &str) -> Option<Graph> {
    ZooSpec::parse(name, None, None, 0).ok()?.build().ok()
}

fn trunk(body: &Body) -> Option<&Trunk> {
    match body {
        Body::Trunk(trunk) => Some(trunk),
        _ => None,
    }
}

fn carried(name: &str) -> Result<Trunk, ValidateError> {
    match library::load(Kind::Trunk, name)?.body {
        Body::Trunk(trunk) => Ok(*trunk),
        _ => unreachable!("a model of kind trunk was asked for"),
    }
}

/// Time of one image, layer after layer.
fn network_ps(trunk: &Trunk, graph: &Graph) -> Option<f64> {
    if trunk.kind == TrunkKind::SimdNpu {
        return sheet_ps(trunk, graph);
    }
    let (timing, mut residency) = (TrunkTiming::new(trunk), Residency::new(trunk));
    let layers = layers::of(graph).ok()?;
    let total_ps: u64 = layers.into_iter().map(|layer| timing.step(&residency.place(layer.work)).total_ps).sum();
    (total_ps > 0).then_some(total_ps as f64)
}

/// The same by the rules of NVDLA's published sheet, quirks included: its own numbers are from there.
fn sheet_ps(trunk: &Trunk, graph: &Graph) -> Option<f64> {
    let compute = &trunk.compute;
    let engine = Engine {
        atomic_c: compute.atomic_c.value()? as u64,
        atomic_k: compute.atomic_k.value()? as u64,
        winograd_gain: compute.winograd_3x3_s1_gain.value(),
    };
    let cycles = sheet_cycles(&engine, trunk.dram()?.bandwidth_gb_per_s.value()?, graph)?;
    Some(cycles as f64 * 1e6 / trunk.clock().value().unwrap_or(1000.0))
}

fn sheet_cycles(engine: &Engine, gb_per_s: f64, graph: &Graph) -> Option<u64> {
    let cycles = |layer: &Layer| {
        let counts = sheet::counts(engine, layer).counts;
        sheet::cost(counts.mac_cycles, sheet::dram_cycles(counts.traffic_b, gb_per_s), 0, 0).0
    };
    let total: u64 = layers::fused(graph).ok()?.iter().map(cycles).sum();
    (total > 0).then_some(total)
}

pub fn fps(body: &Body, point: &Validation) -> Option<f64> {
    network_ps(trunk(body)?, &network(point)?).map(|ps| 1e12 / ps)
}

pub fn latency_ms(body: &Body, point: &Validation) -> Option<f64> {
    network_ps(trunk(body)?, &network(point)?).map(|ps| ps / 1e9)
}

/// Processing of a batch's convolutions on a row-stationary array.
pub fn conv_processing_ms(body: &Body, point: &Validation) -> Option<f64> {
    let (trunk, graph) = (trunk(body)?, network(point)?);
    conv_ms(trunk, &graph, point.batch?).map(|layers| layers.iter().sum())
}

fn conv_ms(trunk: &Trunk, graph: &Graph, batch: u32) -> Option<Vec<f64>> {
    let (pes, mhz) = (Spatial::new(trunk).pes?, trunk.clock().value()?);
    let layers = layers::of(graph).ok()?;
    let convs = layers.iter().filter(|layer| layer.work.kind == LayerKind::Conv);
    Some(convs.map(|l| f64::from(batch) * pes.map(&l.work.window).cycles as f64 / (mhz * 1e3)).collect())
}

/// The rate of a product of `rows` by 2048 by 2048 on a chip that loads its weights, in TOPS.
fn product_tops(trunk: &Trunk, rows: u64) -> Option<f64> {
    let side = 2048;
    let window = Window {
        in_h: rows,
        in_w: 1,
        in_c: side,
        out_h: rows,
        out_w: 1,
        out_c: side,
        kernel: [1; 2],
        stride: [1; 2],
        groups: 1,
    };
    let work = TrunkWork::of_window(LayerKind::Linear, window);
    let total_ps = TrunkTiming::new(trunk).step(&work).total_ps;
    (total_ps > 0).then(|| 2.0 * work.macs as f64 / total_ps as f64)
}

/// The sums of NVDLA's sheet by its own columns: 20 GB/s, 10 GB/s, 10 GB/s with 4 MB of SRAM.
pub fn nvdla_sheet(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet_ = Sheet::read(&folder.join("hardware/validation/nvdla_full_resnet50_layers.csv"))?;
    let columns = [
        "mac_cycles_nosram",
        "dram_cycles_10GBps_nosram",
        "mac_cycles_4MBsram",
        "dram_cycles_10GBps_4MBsram",
        "sram_rd_cycles_25GBps",
        "sram_wr_cycles_25GBps",
    ];
    let mut at = Vec::new();
    for column in columns {
        at.push(sheet_.column(column)?);
    }
    let mut sums_ns = [0.0; 3];
    for row in sheet_.rows() {
        let mut x = [0.0; 6];
        for (x, &column) in x.iter_mut().zip(&at) {
            *x = sheet_.number(row, column)?;
        }
        let [mac, dram, mac_sram, dram_sram, read, write] = x;
        sums_ns[0] += mac.max(dram / 2.0);
        sums_ns[1] += sheet::cost(mac as u64, dram as u64, 0, 0).0 as f64;
        sums_ns[2] += sheet::cost(mac_sram as u64, dram_sram as u64, read as u64, write as u64).0 as f64;
    }
    let published = [(268.8, "20 GB/s"), (140.57, "10 GB/s"), (193.74, "10 GB/s and 4 MB of SRAM")];
    let of = |(&(fps, what), ns): (&(f64, &str), f64)| {
        let what = format!("the cost rule on the sheet's own 54 rows, {what}");
        let point = Point::new("trunk/nvdla-full-16nm", "fps", fps, Some(1e9 / ns)).within(0.0001);
        point.of(what, PointRole::Test, "nvdla_full_resnet50_layers.csv")
    };
    Ok(published.iter().zip(sums_ns).map(of).collect())
}

/// NVDLA in seven sizes at 1 GHz. The table gives multipliers, not how many of them are channels and how
/// many filters: a square, or twice as many channels. Winograd is known of the largest alone.
pub fn nvdla_primer(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet_ = Sheet::read(&folder.join("hardware/validation/nvdla_primer_resnet50.csv"))?;
    let (macs, buffer) = (sheet_.column("macs")?, sheet_.column("cbuf_KB")?);
    let (dram, fps) = (sheet_.column("dram_GBps")?, sheet_.column("int8_resnet50_fps_1GHz")?);
    let graph = published_network("resnet50-v1");
    let full = carried("nvdla-full-16nm")?.compute;
    let mut points = Vec::new();
    for row in sheet_.rows() {
        let units = sheet_.number(row, macs)? as u64;
        let atomic_k = 1 << (units.max(1).ilog2() / 2);
        let winograd_gain = full.winograd_3x3_s1_gain.value().filter(|_| full.mac_units.value() == Some(units as f64));
        let engine = Engine { atomic_c: units / atomic_k, atomic_k, winograd_gain };
        let gb_per_s = sheet_.number(row, dram)?;
        let cycles = graph.as_ref().and_then(|graph| sheet_cycles(&engine, gb_per_s, graph));
        let point = Point::new("trunk/nvdla", "fps", sheet_.number(row, fps)?, cycles.map(|c| 1e9 / c as f64));
        let mut what = format!("resnet50-v1, {} x {atomic_k} multipliers, {gb_per_s} GB/s", engine.atomic_c);
        let small = sheet_.number(row, buffer)? < 256.0;
        if small {
            what += ", maps read again for a small buffer: not modelled";
        }
        points.push(point.within(if small { 0.6 } else { 0.15 }).of(
            what,
            PointRole::Test,
            "nvdla_primer_resnet50.csv",
        ));
    }
    Ok(points)
}

/// The five convolutions of AlexNet on Eyeriss, a batch of four.
pub fn eyeriss(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("hardware/validation/eyeriss_v1_alexnet.csv"))?;
    let (layer, latency) = (sheet.column("Layer")?, sheet.column("Processing Latency (ms)")?);
    let graph = published_network("alexnet");
    let eyeriss = carried("eyeriss-v1-65nm")?;
    let ours = graph.and_then(|graph| conv_ms(&eyeriss, &graph, 4)).unwrap_or_default();
    let mut points = Vec::new();
    for (row, ours) in sheet.rows().iter().zip(ours) {
        let published = sheet.number(row, latency)?;
        let point = Point::new("trunk/eyeriss-v1-65nm", "processing_ms", published, Some(ours)).within(0.2);
        points.push(point.of(format!("{} of AlexNet, batch 4", row[layer]), PointRole::Test, "eyeriss_v1_alexnet.csv"));
    }
    Ok(points)
}

/// The chip's energy for the same five: published power over the published latency, and our busy time at
/// the average power that the model carries. That power is of this network, so its sum is a fit.
pub fn eyeriss_energy(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("hardware/validation/eyeriss_v1_alexnet.csv"))?;
    let columns = ["Layer", "Power (mW)", "Total Latency (ms)"];
    let [layer, power, latency] = [sheet.column(columns[0])?, sheet.column(columns[1])?, sheet.column(columns[2])?];
    let graph = published_network("alexnet");
    let system = library::compose("eyeriss-v1-65nm", "jetson-orin-nano", "ucie-standard-x16")?;
    let mut busy_ms = graph.and_then(|graph| conv_ms(&system.trunk, &graph, 4)).unwrap_or_default();
    // The sheet's last row is the sum.
    busy_ms.push(busy_ms.iter().sum());
    let mut points = Vec::new();
    for (row, ms) in sheet.rows().iter().zip(busy_ms) {
        let published = sheet.number(row, power)? * sheet.number(row, latency)? / 1e3;
        let busy_ps = (ms * 1e9) as u64;
        let activity = Activity { trunk_busy_ps: busy_ps, elapsed_ps: busy_ps, ..Activity::default() };
        let pj = price(&activity, &system).trunk_pj;
        let point = Point::new("trunk/eyeriss-v1-65nm", "chip_mj", published, Some(pj.v / 1e9));
        let point = point.between(pj.lo / 1e9, pj.hi / 1e9).within_factor(2.0);
        let what = format!("{} of AlexNet, batch 4, without DRAM, at the network's average power", row[layer]);
        points.push(point.of(what, PointRole::Fit, "eyeriss_v1_alexnet.csv"));
    }
    Ok(points)
}

/// Applications of the first TPU against what a layer of theirs can reach on ours: a bound, met where
/// ours is not below.
pub fn tpu_v1(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("hardware/validation/tpu_v1_isca2017_table1_3.csv"))?;
    let (app, ops, tops) = (sheet.column("app")?, sheet.column("ops_per_weight_byte")?, sheet.column("teraops")?);
    let tpu = carried("tpu-v1")?;
    let mut points = Vec::new();
    for row in sheet.rows() {
        let (published, rows) = (sheet.number(row, tops)?, sheet.number(row, ops)? as u64);
        let ours = product_tops(&tpu, rows);
        let mut point = Point::new("trunk/tpu-v1", "tops", published, ours);
        if let Some(ours) = ours {
            point.verdict = if ours >= published { Verdict::Within } else { Verdict::Beyond };
        }
        let what = format!("{}: ours is the bound that it must not exceed", row[app]);
        points.push(point.of(what, PointRole::Test, "tpu_v1_isca2017_table1_3.csv"));
    }
    Ok(points)
}
