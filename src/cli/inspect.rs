//! `trunkline inspect`: what a model is made of.

use super::Failure;
use super::output::Output;
use super::values;
use crate::experiment::trunk::{Trunk, Wanted};
use crate::graph::structure::Structure;
use crate::graph::{Graph, NodeId, ParamKind};
use crate::report::render::{Section, grouped};
use crate::report::silicon;
use crate::trunk::prepare;
use clap::Args;
use serde_json::{Value, json};

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Inspect {
    /// A model file (.tflite, float .onnx, or a trunk file), or a network of the zoo
    #[arg(value_name = "FILE|ZOO", long_help = values::trunk_help())]
    trunk: String,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H", value_parser = values::count)]
    input: Option<usize>,
    #[command(flatten)]
    output: Output,
}

impl Inspect {
    pub fn execute(&self) -> Result<(), Failure> {
        let trunk = Trunk::open(&self.trunk, Wanted { input: self.input, ..Wanted::default() })?;
        let structure = Structure::find(&trunk.graph)?;
        let order = trunk.graph.order()?;
        let layers: Vec<Value> = order.iter().map(|&id| layer(&trunk.graph, id)).collect();
        let mut json = json!({
            "schema": "trunkline/inspect/1",
            "trunk": trunk.name,
            "profile": trunk.profile.to_string(),
            "provenance": trunk.provenance,
            "input": trunk.graph.shape(trunk.graph.input),
            "output": trunk.graph.shape(trunk.graph.output),
            "layers": layers,
            "stages": stages(&trunk.graph, &structure),
            "notes": trunk.notes,
        });
        let mut sections = vec![summary(&trunk, &structure), table(&trunk.graph, &order)];
        if trunk.is_calibrated() {
            let program = prepare(&trunk.graph, &trunk.profile, 8)?;
            let rows = silicon::rows(&program);
            sections.push(silicon::section(&program, &trunk.provenance, &rows));
            json["trunk_sha256"] = silicon::sha256(&program).into();
            json["silicon"] = serde_json::to_value(&rows)?;
        }
        self.output.write(&sections, &json, &layers)
    }
}

fn params(graph: &Graph, id: NodeId) -> usize {
    let counted = graph.node(id).params.iter().map(|&p| graph.param(p)).filter(|p| p.kind != ParamKind::NormStats);
    counted.map(|p| p.value.len()).sum()
}

fn layer(graph: &Graph, id: NodeId) -> Value {
    let node = graph.node(id);
    let edge = graph.edge(node.output);
    json!({
        "name": node.name,
        "op": node.op.name(),
        "inputs": node.inputs.iter().map(|&e| graph.edge(e).name.clone()).collect::<Vec<_>>(),
        "shape": edge.shape,
        "params": params(graph, id),
        "macs": graph.macs(id),
        "quant": edge.quant,
        "tensor": edge.origin,
    })
}

fn stages(graph: &Graph, structure: &Structure) -> Vec<Value> {
    let stage = |s: &crate::graph::structure::Stage| json!({ "entry": graph.edge(s.entry).name, "entry_shape": graph.shape(s.entry), "blocks": s.blocks.len() });
    structure.stages.iter().map(stage).collect()
}

fn summary(trunk: &Trunk, structure: &Structure) -> Section {
    let graph = &trunk.graph;
    let mut section =
        Section::new(&format!("{} ({})", trunk.name, trunk.profile), &["stage", "reads", "shape", "blocks"]);
    for (i, stage) in structure.stages.iter().enumerate() {
        let entry = graph.edge(stage.entry);
        section.row([(i + 1).to_string(), entry.name.clone(), entry.shape.to_string(), stage.blocks.len().to_string()]);
    }
    let names = |nodes: &[NodeId]| nodes.iter().map(|&n| graph.node(n).name.as_str()).collect::<Vec<_>>().join(", ");
    section.note(format!("input {}, output {}", graph.shape(graph.input), graph.shape(graph.output)));
    section.note(format!("stem: {}", structure.stem.as_ref().map_or("none".into(), |s| names(&s.convs))));
    section.note(format!("head: {}", if structure.head.is_empty() { "none".into() } else { names(&structure.head) }));
    trunk.notes.iter().for_each(|n| section.note(n.clone()));
    section
}

fn table(graph: &Graph, order: &[NodeId]) -> Section {
    let mut section = Section::new("layers", &["name", "op", "shape", "params", "MACs", "scale", "zero point"]);
    for &id in order {
        let node = graph.node(id);
        let edge = graph.edge(node.output);
        let (scale, zero) = match edge.quant {
            Some(q) => (format!("{:.6}", q.scale), (q.zero_point + q.codes.offset()).to_string()),
            None => ("-".into(), "-".into()),
        };
        let macs = grouped(graph.macs(id));
        let shape = edge.shape.to_string();
        let row =
            [node.name.clone(), node.op.name().into(), shape, grouped(params(graph, id) as u64), macs, scale, zero];
        section.row(row);
    }
    section
}
