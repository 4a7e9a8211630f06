//! The zoo's networks have the parameters, work and structure that the literature prints.

use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::graph::structure::Structure;
use trunkline::graph::{Graph, ParamKind};
use trunkline::model::zoo::{NETWORKS, SHAPES, ZooSpec};
use trunkline::op::Op;
use trunkline::plan::macs::{self, MacRule};
use trunkline::scheme::{self, Request, SCHEMES, SchemeSpec};
use trunkline::tensor::Tensor;

fn build(name: &str, classes: usize) -> Graph {
    let graph = ZooSpec::parse(name, None, Some(classes), 0).unwrap().build().unwrap();
    graph.check().unwrap();
    graph
}

/// Parameters with and without the classifier.
fn params(graph: &Graph) -> (usize, usize) {
    let counted = |of_head: bool| {
        let nodes = graph.nodes.iter().filter(move |n| matches!(n.op, Op::Linear(_)) == of_head);
        let params = nodes.flat_map(|n| &n.params).map(|&p| graph.param(p)).filter(|p| p.kind != ParamKind::NormStats);
        params.map(|p| p.value.len()).sum::<usize>()
    };
    (counted(false) + counted(true), counted(false))
}

/// Under NetTailor's rule, and what its stem would cost at half the height and width.
fn nettailor(graph: &Graph) -> (u64, u64) {
    let stem = graph.node_ids().filter(|&n| ["stem", "stem.bn"].contains(&graph.node(n).name.as_str()));
    let stem: u64 = stem.map(|n| macs::node(graph, n, MacRule::Nettailor)).sum();
    let total = macs::count(graph, MacRule::Nettailor).total;
    (total, total - stem * 3 / 4)
}

#[test]
fn imagenet_forms_have_torchvisions_counts() {
    for (name, total, without_classifier, work) in [
        ("resnet18", 11_689_512, 11_176_512, 1_814_073_344),
        ("resnet34", 21_797_672, 21_284_672, 3_663_761_408),
        ("resnet50", 25_557_032, 23_508_032, 4_089_184_256),
    ] {
        let graph = build(name, 1000);
        assert_eq!(params(&graph), (total, without_classifier), "{name}");
        assert_eq!(macs::count(&graph, MacRule::Conv).total, work, "{name}");
    }
}

/// Counts that are printed everywhere; AlexNet's with its groups and without normalisation.
#[test]
fn networks_of_shape_only_have_their_published_counts() {
    for (name, total, work) in [
        ("vgg16", 138_357_544, 15_470_264_320),
        ("vgg19", 143_667_240, 19_632_062_464),
        ("alexnet", 60_965_224, 724_406_816),
        ("resnet50-v1", 25_557_032, 3_857_973_248),
    ] {
        let graph = build(name, 1000);
        assert_eq!((params(&graph).0, macs::count(&graph, MacRule::Conv).total), (total, work), "{name}");
        assert!(SHAPES.iter().any(|n| n.name == name) && !NETWORKS.iter().any(|n| n.name == name));
    }
    let mut vgg = Trunk::open("vgg16:input=32", Wanted::default()).unwrap();
    assert_eq!(vgg.graph.shape(vgg.graph.output).elements(), 1000);
    let shape = vgg.graph.shape(vgg.graph.input);
    let error = vgg.calibrate(&Tensor::zeros(1, shape)).unwrap_err().to_string();
    assert!(error.contains("'vgg16'") && error.contains("not executed"), "{error}");
}

/// PAPER_TABLES section 6. Without the classifier means without both linear layers; MACs are those of
/// convolutions (squeeze-excite among them) and linear layers.
#[test]
fn mobilenetv3_large_has_torchvisions_counts() {
    let graph = build("mobilenetv3-large", 1000);
    assert_eq!(params(&graph), (5_483_032, 2_971_952));
    let affine = graph.params.iter().filter(|p| p.kind == ParamKind::NormAffine);
    assert_eq!(affine.map(|p| p.value.len()).sum::<usize>(), 24_400);
    assert_eq!(macs::count(&graph, MacRule::Conv).total, 216_589_760);
    let count = |name: &str| graph.nodes.iter().filter(|n| n.op.name() == name).count();
    // Eight gates; swish in the stem, nine bottlenecks (twice), the last convolution and the classifier.
    assert_eq!((count("hard-sigmoid"), count("mul"), count("hard-swish"), count("add")), (8, 8, 21, 10));
    assert_eq!(graph.shape(graph.nodes.iter().find(|n| n.name == "pool").unwrap().inputs[0]).to_string(), "7x7x960");
    // torchvision's small width rounds channels to multiples of 8.
    let narrow = build("mobilenetv3-large:width=0.75", 1000);
    let channels = |name: &str| narrow.shape(narrow.nodes.iter().find(|n| n.name == name).unwrap().output).c;
    assert_eq!(["stem", "b4.project", "b11.project", "b15.project", "last"].map(channels), [16, 32, 88, 120, 720]);
}

/// The gates are no place for an adapter, and a stage ends where the resolution does.
#[test]
fn gates_are_no_blocks_of_mobilenetv3() {
    let graph = build("mobilenetv3-large", 10);
    let structure = Structure::find(&graph).unwrap();
    let name = |n: trunkline::graph::NodeId| graph.node(n).name.as_str();
    let convs: Vec<&str> = structure.blocks.iter().flat_map(|b| &b.convs).map(|&n| name(n)).collect();
    assert!(convs.contains(&"b5.expand") && convs.contains(&"b5.depthwise") && convs.contains(&"b4.project"));
    assert!(!convs.iter().any(|c| c.contains("gate")), "{convs:?}");
    assert_eq!(structure.blocks.iter().filter(|b| b.join.is_some()).count(), 10);
    let exits: Vec<(usize, usize)> = structure.stages.iter().map(|s| graph.shape(s.exit)).map(|s| (s.c, s.h)).collect();
    assert_eq!(exits, [(16, 112), (24, 56), (40, 28), (112, 14), (960, 7)]);
}

/// PAPER_TABLES section 6: the cells of NetTailor's Tables 1 and 2 that can be counted.
#[test]
fn nettailors_tables_come_out_of_the_counters() {
    let in_units = |n: u64, unit: f64| format!("{:.4}", n as f64 / unit);
    // Table 1, ResNet-34, SVHN's ten classes: the stem charged behind the maximum pool.
    let graph = build("resnet34", 10);
    let (whole, half_stem) = nettailor(&graph);
    assert_eq!((in_units(half_stem, 1e9), in_units(whole, 1e9)), ("3.5810".into(), "3.6707".into()));
    assert_eq!(format!("{:.4}", params(&graph).0 as f64 / 1e6), "21.2898");
    // Table 2, ResNet-50: the stem where it is; 2,049 parameters per class.
    for classes in [102, 200] {
        let graph = build("resnet50", classes);
        assert_eq!(params(&graph).0, 23_508_032 + 2049 * classes);
        let (whole, half_stem) = nettailor(&graph);
        assert!((4.1094..=4.1098).contains(&(whole as f64 / 1e9)), "{whole}");
        assert_eq!(format!("{:.2}", half_stem as f64 / 1e9), "4.02");
    }
}

#[test]
fn stages_and_blocks_are_found() {
    for (name, blocks, convs) in
        [("resnet18", [2, 2, 2, 2], 2), ("resnet34", [3, 4, 6, 3], 2), ("resnet50", [3, 4, 6, 3], 3)]
    {
        let graph = build(&format!("{name}:width=0.125,input=64"), 10);
        let structure = Structure::find(&graph).unwrap();
        let stages: Vec<usize> = structure.stages.iter().map(|s| s.blocks.len()).collect();
        assert_eq!(stages, blocks, "{name}");
        assert!(structure.blocks.iter().all(|b| b.convs.len() == convs && b.join.is_some()), "{name}");
        assert!(structure.stem.is_some() && !structure.head.is_empty(), "{name}");
    }
}

#[test]
fn every_network_is_built_at_its_default_size() {
    for network in NETWORKS {
        let graph = build(&format!("{}:width=0.125", network.name), 7);
        assert_eq!(graph.shape(graph.output).elements(), 7, "{}", network.name);
        assert_eq!(graph.shape(graph.input).h, network.default_input);
    }
}

/// Aswani et al.: one module after each of four stages, which are runs of one kernel size.
#[test]
fn modules_sit_after_the_four_stages_of_mobilenetv3() {
    let graph = build("mobilenetv3-large", 10);
    for scheme in ["adaptive-attention", "squeeze-excite", "cbam"] {
        let sites = Some("after-each-kernel-size".parse().unwrap());
        let request = Request { scheme: SchemeSpec(scheme.into()), sites, batch_norm: None, seed: 1 };
        let placed = scheme::place(&graph, &request).unwrap();
        let products = placed.graph.nodes.iter().filter(|n| n.name.ends_with("block3.product"));
        assert_eq!(products.count(), 1, "{scheme}");
        let shapes = placed.graph.crossings().into_iter().filter(|c| c.edge != placed.graph.input && c.shape.h > 1);
        let tapped: Vec<usize> = shapes.filter(|c| c.shape.c > 1).map(|c| c.shape.c).collect();
        assert_eq!(tapped, [24, 40, 112, 160], "{scheme}");
    }
}

/// Every scheme finds its place on a network with gates, and what is left in the trunk is prepared.
#[test]
fn every_scheme_sits_on_mobilenetv3() {
    let graph = build("mobilenetv3-large:width=0.25,input=64", 5);
    for scheme in SCHEMES {
        let spec = SchemeSpec(scheme.name.into());
        let placed = scheme::place(&graph, &Request { scheme: spec, sites: None, batch_norm: None, seed: 1 }).unwrap();
        assert!(macs::count(&placed.graph, MacRule::Conv).total > 0, "{}", scheme.name);
        if scheme.name == "parallel" {
            let beside = placed.graph.nodes.iter().filter_map(|n| n.site.as_deref());
            assert!(beside.clone().any(|s| s == "parallel.b4.expand") && !beside.clone().any(|s| s.contains("gate")));
        }
    }
}
