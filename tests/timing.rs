//! Trunk timing against what was published or simulated elsewhere: SCALE-Sim, NVDLA's sheet, Eyeriss,
//! TPU v1, the Edge TPU; and what must hold for any trunk and layer.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use trunkline::graph::Graph;
use trunkline::hw::scalesim::{Config, Topology, export, run};
use trunkline::hw::timing::layers::{self, Layer};
use trunkline::hw::timing::nvdla::{Engine, sheet};
use trunkline::hw::timing::spatial::Spatial;
use trunkline::hw::timing::systolic::{Array, Dataflow, FoldMode};
use trunkline::hw::timing::{LayerKind, Residency, StepTime, TrunkTiming, TrunkWork, Window};
use trunkline::hw::{Access, Body, Kind, State, System, TapAccess, Trunk, library};
use trunkline::model::zoo::ZooSpec;
use trunkline::plan::schedule;
use trunkline::plan::tap::{TapPrecision, taps};
use trunkline::plan::tap_format::TapFormat;
use trunkline::scheme::{self, Request, SchemeSpec};

mod common;

fn trunk(name: &str) -> Trunk {
    let Body::Trunk(trunk) = library::load(Kind::Trunk, name).unwrap().body else { panic!("{name} is no trunk") };
    *trunk
}

fn network(spec: &str) -> Graph {
    ZooSpec::parse(spec, None, None, 0).unwrap().build().unwrap()
}

/// Rows of a CSV as maps from column to cell.
fn table(path: &str) -> Option<Vec<BTreeMap<String, String>>> {
    let text = fs::read_to_string(common::shared(path)?).unwrap();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    Some(reader.deserialize().map(Result::unwrap).collect())
}

fn number(row: &BTreeMap<String, String>, column: &str) -> f64 {
    row[column].trim().trim_end_matches('%').parse().unwrap_or_else(|_| panic!("{column}: {}", row[column]))
}

/// Every layer of a network on a trunk, and the sum of their times.
fn time(graph: &Graph, trunk: &Trunk) -> (Vec<StepTime>, u64) {
    let (timing, mut residency) = (TrunkTiming::new(trunk), Residency::new(trunk));
    let steps: Vec<StepTime> =
        layers::of(graph).unwrap().iter().map(|layer| timing.step(&residency.place(layer.work))).collect();
    let total_ps = steps.iter().map(|step| step.total_ps).sum();
    (steps, total_ps)
}

fn dataflow(name: &str) -> Dataflow {
    *Dataflow::ALL.iter().find(|d| d.to_string() == name).unwrap()
}

#[test]
fn scalesim_agrees_with_every_row_of_the_oracle() {
    let Some(rows) = table("reference/scalesim/oracle_micro.csv") else { return };
    let topology = Topology::open(&common::shared("reference/scalesim/micro.csv").unwrap()).unwrap();
    assert_eq!(rows.len(), 216);
    for row in &rows {
        let whole = |column: &str| row[column].parse::<u64>().unwrap();
        let config = format!("reference/scalesim/configs/{}_{}x{}_calc.cfg", row["dataflow"], row["R"], row["C"]);
        let config = Config::open(&common::shared(&config).unwrap()).unwrap();
        assert_eq!((config.rows, config.cols, config.dataflow), (whole("R"), whole("C"), dataflow(&row["dataflow"])));
        let array = Array { rows: config.rows, cols: config.cols, dataflow: config.dataflow, mode: FoldMode::Scalesim };
        let report = run(&topology, &array);
        let ours = report.layers.iter().find(|l| l.name == row["layer"]).unwrap();
        assert_eq!([ours.m, ours.n, ours.k, ours.macs], ["M", "N", "K", "macs"].map(whole), "{row:?}");
        assert_eq!(
            [ours.folds, ours.total_cycles, ours.stall_cycles],
            ["folds", "reported_total_cycles", "stall_cycles"].map(whole),
            "{row:?}"
        );
        let accesses = ["sram_ifmap_reads", "sram_filter_reads", "sram_ofmap_writes"].map(whole);
        assert_eq!([ours.ifmap_reads, ours.filter_reads, ours.ofmap_writes], accesses, "{row:?}");
        assert!((ours.overall_util_pct - number(row, "overall_util_pct")).abs() < 1e-5, "{row:?}");
        assert!((ours.mapping_efficiency_pct - number(row, "mapping_eff_pct")).abs() < 1e-5, "{row:?}");
        let drained = run(&topology, &Array { mode: FoldMode::Drain, ..array });
        assert_eq!(drained.layers[ours.layer_id].total_cycles, whole("rtl_lines"), "{row:?}");
    }
}

#[test]
fn scalesim_totals_of_resnet18() {
    let Some(whole) = common::shared("reference/scalesim/resnet18_cifar32.csv") else { return };
    let whole = Topology::open(&whole).unwrap();
    let exact = Topology::open(&common::shared("reference/scalesim/resnet18_cifar32_s2.csv").unwrap()).unwrap();
    let mut replaced = whole.clone();
    for layer in &mut replaced.layers {
        if let Some(exact) = exact.layers.iter().find(|e| e.name == layer.name) {
            *layer = exact.clone();
        }
    }
    let totals = |topology: &Topology, side| {
        ["os", "ws", "is"].map(|name| {
            let array = Array { rows: side, cols: side, dataflow: dataflow(name), mode: FoldMode::Scalesim };
            run(topology, &array).total_cycles_reported
        })
    };
    assert_eq!(totals(&replaced, 16), [2_242_121, 4_177_595, 2_932_203]);
    assert_eq!(totals(&whole, 16), [2_385_641, 4_255_995, 3_090_683]);
    assert_eq!(totals(&replaced, 32), [713_705, 1_568_631, 1_087_531]);
}

/// A golden of our own: the reported cycles of a topology as SCALE-Sim 3.0.0 gave them, on 8x32.
#[test]
fn scalesim_cycles_of_a_topology_of_ours() {
    let text = "name,h,w,kh,kw,c,n,s,\nsquare,8,4,1,1,32,32,1,\none,1,1,1,1,1,1,1,\n";
    let topology = Topology::parse(text, "own".into(), "own.csv").unwrap();
    let cycles = ["os", "ws", "is"].map(|name| {
        let array = Array { rows: 8, cols: 32, dataflow: dataflow(name), mode: FoldMode::Scalesim };
        run(&topology, &array).layers.iter().map(|l| l.total_cycles).collect::<Vec<_>>()
    });
    assert_eq!(cycles, [vec![279, 38], vec![311, 46], vec![311, 46]]);
}

#[test]
fn an_exported_trunk_keeps_its_work() {
    for spec in ["resnet26", "mobilenetv3-large", "alexnet", "vgg16", "resnet50-v1"] {
        let graph = network(spec);
        let made = export::topology(&graph).unwrap();
        let topology = Topology::parse(&made.csv, spec.into(), "export").unwrap();
        let macs: u64 = topology.layers.iter().map(|l| l.gemm()).map(|g| g.m * g.n * g.k).sum();
        assert_eq!(macs, graph.node_ids().map(|id| graph.macs(id)).sum::<u64>(), "{spec}");
        assert!(made.left_out > 0, "{spec} has pools");
    }
}

const NVDLA: &str = "hardware/validation/nvdla_full_resnet50_layers.csv";

fn engine() -> Engine {
    Engine { atomic_c: 64, atomic_k: 32, winograd_gain: Some(2.25) }
}

/// A row of NVDLA's sheet as a layer: its shape, and what is fused into it.
fn sheet_layer(row: &BTreeMap<String, String>) -> Layer {
    let whole = |column: &str| row[column].parse::<u64>().unwrap();
    let window = Window {
        in_h: whole("H"),
        in_w: whole("W"),
        // The sheet stores the image as four channels and counts three.
        in_c: whole("C"),
        out_h: whole("P"),
        out_w: whole("Q"),
        out_c: whole("K"),
        kernel: [whole("R"), whole("S")],
        stride: [whole("stride"); 2],
        groups: 1,
    };
    let name = row["layer"].split(" +").next().unwrap();
    let kind = if name == "fc1000" { LayerKind::Linear } else { LayerKind::Conv };
    let pooled = match name {
        "Conv1" => Some([56, 56]),
        "Res5c_branch2c" => Some([1, 1]),
        _ => None,
    };
    let adds_operand = row["type"].contains("elwise");
    Layer { name: our_name(name), work: TrunkWork::of_window(kind, window), adds_operand, pooled }
}

/// What our network calls a layer of the sheet.
fn our_name(name: &str) -> String {
    match name {
        "Conv1" => "stem".to_string(),
        "fc1000" => "fc".to_string(),
        _ => {
            let (block, branch) = name.strip_prefix("Res").and_then(|n| n.split_once("_branch")).expect(name);
            let stage = block[..1].parse::<usize>().unwrap() - 1;
            let number = block.as_bytes()[1] - b'a' + 1;
            let part = match branch {
                "1" => ".shortcut",
                "2a" => "c1",
                "2b" => "c2",
                _ => "c3",
            };
            format!("s{stage}b{number}{part}")
        }
    }
}

/// Our ResNet-50 v1 has the sheet's shapes, fused additions and pools, but for one row in which the
/// sheet gives the first block the input of the second.
#[test]
fn nvdla_sheet_has_the_shapes_of_our_network() {
    let Some(rows) = table(NVDLA) else { return };
    let ours = layers::fused(&network("resnet50-v1")).unwrap();
    assert_eq!((rows.len(), ours.len()), (54, 54));
    let differing: Vec<String> =
        rows.iter().map(sheet_layer).filter(|row| !ours.contains(row)).map(|l| l.name).collect();
    assert_eq!(differing, ["s1b1c1"]);
}

#[test]
fn nvdla_cost_rule_meets_every_row_of_the_sheet() {
    let Some(rows) = table(NVDLA) else { return };
    let (mut sum_10, mut sum_20, mut sum_sram) = (0.0, 0.0, 0.0);
    for row in &rows {
        let cycles = |column: &str| number(row, column) as u64;
        let mac = cycles("mac_cycles_nosram");
        let (longest, waits) = sheet::cost(mac, cycles("dram_cycles_10GBps_nosram"), 0, 0);
        assert_eq!(
            (longest, waits.name()),
            (cycles("max_cycles_nosram"), row["bottleneck_nosram"].as_str()),
            "{row:?}"
        );
        let sram =
            ["mac_cycles_4MBsram", "dram_cycles_10GBps_4MBsram", "sram_rd_cycles_25GBps", "sram_wr_cycles_25GBps"];
        let [mac_sram, dram, read, write] = sram.map(cycles);
        let (longest_sram, waits) = sheet::cost(mac_sram, dram, read, write);
        assert_eq!(
            (longest_sram, waits.name()),
            (cycles("max_cycles_4MBsram"), row["bottleneck_4MBsram"].as_str()),
            "{row:?}"
        );
        sum_10 += longest as f64;
        sum_sram += longest_sram as f64;
        sum_20 += number(row, "mac_cycles_nosram").max(number(row, "dram_cycles_10GBps_nosram") / 2.0);
    }
    assert_eq!(rows.len(), 54);
    let fps = [sum_20, sum_10, sum_sram].map(|ns| format!("{:.2}", 1e9 / ns));
    assert_eq!(fps, ["268.80", "140.57", "193.74"]);
}

#[test]
fn nvdla_rows_follow_from_shapes_in_compatibility_mode() {
    let Some(rows) = table(NVDLA) else { return };
    let (mut plain_differs, mut ns) = (0, 0);
    for row in &rows {
        let layer = sheet_layer(row);
        let ours = sheet::counts(&engine(), &layer);
        assert_eq!(ours.mac_cycles_sram as f64, number(row, "mac_cycles_4MBsram"), "{row:?}");
        assert_eq!(ours.counts.mac_cycles as f64, number(row, "mac_cycles_nosram"), "{row:?}");
        assert_eq!(ours.counts.traffic_b as f64 / 1024.0, number(row, "dram_traffic_KB_nosram"), "{row:?}");
        let dram = sheet::dram_cycles(ours.counts.traffic_b, 10.0);
        assert_eq!(dram as f64, number(row, "dram_cycles_10GBps_nosram"), "{row:?}");
        ns += sheet::cost(ours.counts.mac_cycles, dram, 0, 0).0;
        // The plain model differs from the sheet exactly where a quirk says why.
        let plain = engine().counts(&layer);
        let differs = (plain.mac_cycles, plain.traffic_b) != (ours.counts.mac_cycles, ours.counts.traffic_b);
        assert_eq!(differs, !ours.quirks.is_empty(), "{}: {plain:?} {ours:?}", row["layer"]);
        if differs {
            plain_differs += 1;
            let reasons: Vec<&str> = ours.quirks.iter().map(|q| q.reason()).collect();
            println!("{}: {}", row["layer"], reasons.join("; "));
        }
    }
    assert_eq!(format!("{:.2}", 1e9 / ns as f64), "140.57");
    println!("{plain_differs} of 54 rows deviate");
    // The stem, six layers of 64 filters, six 1x1 of stride 2, the last convolution, the classifier.
    assert_eq!(plain_differs, 15);
}

#[test]
fn nvdla_as_a_trunk_in_compatibility_mode_reaches_the_published_rate() {
    let mut nvdla = trunk("nvdla-full-16nm");
    nvdla.compute.compat = Some(trunkline::hw::timing::nvdla::Compat::NvdlaXlsx);
    let timing = TrunkTiming::new(&nvdla);
    // Without what is fused (additions, pools), traffic is less and the rate higher than 268.8.
    let layers = layers::fused(&network("resnet50-v1")).unwrap();
    let alone: u64 = layers.iter().map(|l| timing.step(&l.work).total_ps).sum();
    let fps = 1e12 / alone as f64;
    assert!((268.8..330.0).contains(&fps), "{fps}");
}

/// Processing latency of the five convolutions, batch of 4, at 200 MHz.
#[test]
fn eyeriss_layers_are_within_a_fifth() {
    let Some(rows) = table("hardware/validation/eyeriss_v1_alexnet.csv") else { return };
    let eyeriss = Spatial::new(&trunk("eyeriss-v1-65nm"));
    let pes = eyeriss.pes.unwrap();
    let layers = layers::of(&network("alexnet")).unwrap();
    let convs: Vec<&Layer> = layers.iter().filter(|l| l.work.kind == LayerKind::Conv).collect();
    assert_eq!(convs.len(), 5);
    for (row, layer) in rows.iter().zip(convs) {
        let mapping = pes.map(&layer.work.window);
        let ms = 4.0 * mapping.cycles as f64 * 5e-6;
        let published = number(row, "Processing Latency (ms)");
        let error = ms / published - 1.0;
        println!("{}: {ms:.1} ms, published {published}, {:+.1} %", row["Layer"], 100.0 * error);
        assert!(error.abs() < 0.2, "{row:?}: {ms} ms");
        assert!((mapping.active_pes / number(row, "Num. of Active PEs") - 1.0).abs() < 0.02, "{row:?}: {mapping:?}");
        let macs = 4.0 * layer.work.macs as f64 / 1e9;
        assert!((macs / number(row, "Num. of MACs (G)") - 1.0).abs() < 0.02, "{row:?}: {macs}");
        // Accesses of the global buffer steer energy: within a factor of two.
        let moved = 4.0 * (mapping.buffer_reads + mapping.buffer_writes) as f64 * pes.word_b as f64 / 1e6;
        let published = number(row, "Global Buffer Accesses (MB)");
        assert!((0.5..2.0).contains(&(moved / published)), "{row:?}: {moved} MB");
    }
}

/// Neither the published rates nor ours are above the roofline of 92 TOPS and 34 GB/s.
#[test]
fn tpu_v1_stays_below_its_roofline() {
    let Some(rows) = table("hardware/validation/tpu_v1_isca2017_table1_3.csv") else { return };
    let tpu = trunk("tpu-v1");
    let timing = TrunkTiming::new(&tpu);
    let roofline = |ops_per_b: f64| (2.0 * ops_per_b * 34.0 / 1e3).min(92.0);
    assert_eq!(rows.len(), 6);
    for row in &rows {
        let ops_per_b = number(row, "ops_per_weight_byte");
        assert!(number(row, "teraops") <= roofline(ops_per_b), "{row:?}");
        // A layer of 2048 x 2048 weights on so many rows at once.
        let m = ops_per_b as u64;
        let window = Window {
            in_h: m,
            in_w: 1,
            in_c: 2048,
            out_h: m,
            out_w: 1,
            out_c: 2048,
            kernel: [1; 2],
            stride: [1; 2],
            groups: 1,
        };
        let work = TrunkWork::of_window(LayerKind::Linear, window);
        let ours = 2.0 * work.macs as f64 / timing.step(&work).total_ps as f64;
        assert!(ours <= roofline(ops_per_b) * 1.0001, "{row:?}: {ours}");
        assert!(ours > 0.5 * roofline(ops_per_b), "{row:?}: {ours}");
    }
}

/// A fit: the rate of the cable was inferred from these two.
#[test]
fn edge_tpu_streams_what_does_not_fit() {
    let Some(rows) = table("hardware/validation/coral_edgetpu_latency_ms.csv") else { return };
    for (name, zoo) in [("VGG16 224x224", "vgg16"), ("VGG19 224x224", "vgg19")] {
        let row = rows.iter().find(|r| r["model"] == name).unwrap();
        let (steps, total_ps) = time(&network(zoo), &trunk("edge-tpu"));
        let ms = total_ps as f64 / 1e9;
        println!("{zoo}: {ms:.1} ms");
        assert!((ms / number(row, "usb3_edgetpu_ms") - 1.0).abs() < 0.01, "{zoo}: {ms} ms");
        assert_eq!(steps[0].dram_b, 0, "the first weights stay");
    }
}

/// FIGURES 1.3: published devices take 0.28 pJ (NVDLA alone) to 2340 pJ (Cortex-M4) per useful MAC.
#[test]
fn presets_take_a_plausible_energy_per_useful_mac() {
    let graph = network("resnet50-v1");
    let macs: u64 = graph.node_ids().map(|id| graph.macs(id)).sum();
    let mut checked = Vec::new();
    for entry in library::list().into_iter().filter(|e| e.kind == Kind::Trunk) {
        let trunk = trunk(entry.name);
        let (_, total_ps) = time(&graph, &trunk);
        if let Some(mw) = trunk.power.average_mw.value() {
            let pj = mw * total_ps as f64 / 1e3 / macs as f64;
            assert!((0.2..2400.0).contains(&pj), "{}: {pj} pJ/MAC", entry.name);
            checked.push(entry.name);
        }
    }
    assert!(checked.len() >= 5, "{checked:?}");
}

#[test]
fn what_a_chip_cannot_hold_is_named() {
    let max78000 = trunk("max78000");
    let mut residency = Residency::new(&max78000);
    let fits = residency.place(TrunkWork { weight_b: 442_368, ..TrunkWork::default() });
    assert_eq!((fits.loaded_weight_b(), residency.unknown.len()), (0, 0));
    assert_eq!(residency.place(TrunkWork { weight_b: 5, ..TrunkWork::default() }).loaded_weight_b(), 5);
    assert!(residency.unknown.iter().any(|u| u.contains("beyond compute.resident_weight_b")));
    let timing = TrunkTiming::new(&trunk("gemmini"));
    assert!(timing.unknown().iter().any(|u| u == "trunk/gemmini: clock_mhz"), "{:?}", timing.unknown());
    let work = TrunkWork::of_window(LayerKind::Conv, small_window(16, 16, 16, 3));
    let step = timing.step(&work);
    assert!(step.cycles > 0 && step.total_ps == 0, "cycles stand without a clock: {step:?}");
}

/// Every preset in a whole system: weights that stay are not loaded, and what is done in passing is free.
#[test]
fn every_preset_times_a_whole_account() {
    let graph = network("alexnet");
    let request = Request { scheme: SchemeSpec("head-only".into()), sites: None, batch_norm: None, seed: 0 };
    let placed = scheme::place(&graph, &request).unwrap();
    for trunk in trunks() {
        let system = library::compose(&trunk.name, "jetson-orin-nano", "ucie-standard-x16").unwrap();
        let taps = taps(&placed, TapPrecision::on(&system, TapFormat::Int8)).unwrap();
        let timed = schedule::time(&placed.graph, &taps, &system).unwrap();
        let layers = layers::of(&placed.graph).unwrap();
        let weights: u64 = layers.iter().map(|l| l.work.weight_b).sum();
        let dram_b = timed.activity.trunk_dram_b;
        match trunk.name.as_str() {
            "edge-tpu" => assert_eq!(dram_b, weights - 8_000_000),
            "fixed-weight-16nm" => assert_eq!(dram_b, 0),
            "tpu-v1" => assert_eq!(dram_b, weights),
            _ => {}
        }
        let (timing, mut residency) = (TrunkTiming::new(&trunk), Residency::new(&trunk));
        let sum: u64 = layers.iter().map(|l| timing.step(&residency.place(l.work)).total_ps).sum();
        if !trunk.layers_pipelined() {
            assert_eq!(timed.time.busy_ps["trunk"], sum, "{}", trunk.name);
        }
        assert!(timed.time.latency_ps >= timed.time.busy_ps["trunk"], "{}", trunk.name);
    }
}

fn small_window(side: u64, in_c: u64, out_c: u64, kernel: u64) -> Window {
    Window {
        in_h: side,
        in_w: side,
        in_c,
        out_h: side,
        out_w: side,
        out_c,
        kernel: [kernel; 2],
        stride: [1; 2],
        groups: 1,
    }
}

fn trunks() -> Vec<Trunk> {
    library::list().into_iter().filter(|e| e.kind == Kind::Trunk).map(|e| trunk(e.name)).collect()
}

/// Divides the rate of the memory off the chip by two.
fn halve_bandwidth(trunk: &mut Trunk) {
    for level in trunk.memory.values_mut() {
        for figure in [&mut level.bandwidth_gb_per_s, &mut level.bytes_per_cycle] {
            if let State::Known(known) = &mut figure.state {
                known.v /= 2.0;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// More channels never take fewer cycles or bytes; half the bandwidth never takes less time.
    #[test]
    fn time_grows_with_work_and_shrinks_with_bandwidth(
        side in 1u64..60, in_c in 1u64..300, out_c in 1u64..300, kernel in 1u64..6, more in 0u64..200,
    ) {
        for trunk in trunks() {
            let timing = TrunkTiming::new(&trunk);
            // Images are another mode: they stay images, or are none.
            let in_c = in_c + 4;
            let work = TrunkWork::of_window(LayerKind::Conv, small_window(side, in_c, out_c, kernel));
            let step = timing.step(&work);
            for window in [small_window(side, in_c, out_c + more, kernel), small_window(side, in_c + more, out_c, kernel), small_window(side + more, in_c, out_c, kernel)] {
                let larger = timing.step(&TrunkWork::of_window(LayerKind::Conv, window));
                prop_assert!(larger.dram_b >= step.dram_b, "{}: {window:?}", trunk.name);
                prop_assert!(larger.cycles >= step.cycles, "{}: {window:?} {larger:?} {step:?}", trunk.name);
            }
            let mut slower = trunk.clone();
            halve_bandwidth(&mut slower);
            let slow = TrunkTiming::new(&slower).step(&work);
            prop_assert!(slow.total_ps >= step.total_ps && slow.dram_b == step.dram_b, "{}", trunk.name);
        }
    }

    #[test]
    fn mutated_topologies_and_configurations_never_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, any::<prop::sample::Index>()), 1..5),
    ) {
        let scraps = ["", ",", "\n", "0", "-1", "99999999999999999999", "DP", "1:2", ":", "[", "]", "=", "\u{0}", "é", "M", "ws"];
        for original in [
            "name,h,w,kh,kw,c,n,s,\na,8,8,3,3,4,4,1,\nbDP,9,9,3,3,4,1,2,\n",
            "Layer, M, N, K,\na,3,4,5,\n",
            "[architecture_presets]\nArrayHeight: 8\nArrayWidth: 8\nDataflow: os\n[run_presets]\nInterfaceBandwidth: CALC\n",
        ] {
            let mut text: Vec<char> = original.chars().collect();
            for (at, removed, scrap) in &edits {
                let at = at.index(text.len() + 1);
                let end = (at + removed).min(text.len());
                text.splice(at..end, scrap.get(&scraps).chars());
            }
            let text: String = text.into_iter().collect();
            let array = Config::parse(&text, "a.cfg").map(|c| (c.rows, c.cols, c.dataflow)).unwrap_or((3, 5, Dataflow::Weight));
            let array = Array { rows: array.0, cols: array.1, dataflow: array.2, mode: FoldMode::Pipelined };
            match Topology::parse(&text, "t".into(), "t.csv") {
                Ok(topology) => prop_assert_eq!(run(&topology, &array).layers.len(), topology.layers.len()),
                Err(error) => prop_assert!(error.to_string().contains("t.csv:"), "{}", error),
            }
        }
    }
}

/// Maps that the adapter device reads wait for its requests, which take the other direction's wires.
#[test]
fn taps_that_are_read_wait_for_requests() {
    let graph = network("resnet26");
    let request = Request { scheme: SchemeSpec("parallel".into()), sites: None, batch_norm: None, seed: 0 };
    let placed = scheme::place(&graph, &request).unwrap();
    let written = library::load_system("asic-h200-pcie").unwrap();
    let read = System { access: TapAccess { tap_out: Access::Read, ..written.access }, ..written.clone() };
    let taps = taps(&placed, TapPrecision::on(&written, TapFormat::default())).unwrap();
    let [w, r] = [&written, &read].map(|system| schedule::time(&placed.graph, &taps, system).unwrap());
    assert_eq!(w.link.tap_out.payload_bytes, r.link.tap_out.payload_bytes);
    // FIGURES 2.1: a request is a header that carries nothing.
    let requests = 24 * r.link.tap_out.transactions;
    assert_eq!(r.link.tap_in.wire_bytes, w.link.tap_in.wire_bytes + requests);
    assert!(r.time.latency_ps > w.time.latency_ps, "{} and {}", r.time.latency_ps, w.time.latency_ps);
}
