//! Tables 1 and 2 of Morgado and Vasconcelos (2019), "NetTailor": the cells that can be counted.
//!
//! The paper's rule charges convolutions, 2 per batch norm output, and the classifier, on a 224×224
//! image. Table 1 charges the stem as if it ran behind its maximum pool, at half the height and
//! width; Table 2 charges it where it is. What depends on training (accuracy, the blocks that
//! pruning leaves) is not here.

use super::{Cell, PaperError, Table, compare, modules};
use crate::graph::structure::Structure;
use crate::graph::{Graph, NodeId};
use crate::model::zoo::ZooSpec;
use crate::op::Op;
use crate::plan::macs::{self, MacRule};
use serde_json::Value;

/// The tasks of Table 1 and their classes.
const TABLE1: [(&str, usize); 3] = [("SVHN", 10), ("Flowers", 102), ("VOC", 20)];

/// The tasks of Table 2, their classes, and the FLOPs printed for fine-tuned features.
const TABLE2: [(&str, usize, &str); 5] = [
    ("CUB", 200, "4.11"),
    ("Cars", 196, "4.11"),
    ("Flowers", 102, "24.0"),
    ("WikiArt", 195, "4.11"),
    ("Sketch", 250, "4.11"),
];

/// Rows of Table 2 that hold one whole ResNet-50 per task, the parameters they print, and the bits
/// that they add to each of its weights.
const ROWS2: [(&str, &str, u64); 4] =
    [("Feature", "23.9", 0), ("PackNet ->", "23.9", 0), ("PackNet <-", "23.9", 0), ("Piggyback", "24.3", 1)];

/// Bits of a weight, by which a mask is charged.
const WEIGHT_BITS: f64 = 32.0;

/// ResNet-34 fine-tuned on three tasks.
pub fn table1() -> Result<Table, PaperError> {
    let mut cells = Vec::new();
    for (task, classes) in TABLE1 {
        let graph = network("resnet34", classes)?;
        let blocks = Structure::find(&graph)?.blocks.len() + 2;
        let row = format!("{task} / Fine-tuning");
        let flops = macs::count(&graph, MacRule::Nettailor).total - stem(&graph) * 3 / 4;
        let mut cell = |column: &str, printed: &str, value: u64, unit: f64| {
            cells.push(cell(&row, column, printed, Value::from(value), value as f64 / unit));
        };
        cell("# Parameters", "21.29", params(&graph), 1e6);
        cell("# FLOPS", "3.58", flops, 1e9);
        cell("# Blocks", "18", blocks as u64, 1.0);
    }
    Ok(Table {
        title: "NetTailor (Morgado & Vasconcelos 2019), Table 1",
        cells,
        notes: vec![
            "ResNet-34 at 224x224; rule nettailor, the stem charged at 56x56; blocks: stem, 16 residual, classifier",
            "21.29 M fits SVHN's and VOC's classifiers; Flowers' 102 classes make 21.34 M",
        ],
    })
}

/// ResNet-50 on five tasks and on average.
pub fn table2() -> Result<Table, PaperError> {
    let mut counted = Vec::new();
    for (task, classes, feature_flops) in TABLE2 {
        let graph = network("resnet50", classes)?;
        let flops = macs::count(&graph, MacRule::Nettailor).total;
        let whole = params(&graph);
        let without_classifier = whole - classifier(&graph);
        counted.push((task, feature_flops, whole, without_classifier, flops));
    }
    let mut cells = Vec::new();
    for (row, printed, mask_bits) in ROWS2 {
        let mut sums = (0.0, 0.0);
        for &(task, feature_flops, whole, without_classifier, flops) in &counted {
            let params = whole as f64 + without_classifier as f64 * mask_bits as f64 / WEIGHT_BITS;
            let printed_flops = if row == "Feature" { feature_flops } else { "4.11" };
            cells.push(cell(row, &format!("{task} Params"), printed, Value::from(params), params / 1e6));
            cells.push(cell(row, &format!("{task} FLOPs"), printed_flops, Value::from(flops), flops as f64 / 1e9));
            sums = (sums.0 + params, sums.1 + flops as f64);
        }
        let (params, flops) = (sums.0 / counted.len() as f64, sums.1 / counted.len() as f64);
        cells.push(cell(row, "Avg Params", printed, Value::from(params), params / 1e6));
        cells.push(cell(row, "Avg FLOPs", "4.11", Value::from(flops), flops / 1e9));
    }
    Ok(Table {
        title: "NetTailor (Morgado & Vasconcelos 2019), Table 2",
        cells,
        notes: vec![
            "ResNet-50 at 224x224; rule nettailor, the stem charged at 112x112",
            "the paper prints one parameter count for all tasks: it is their average",
            "24.0 FLOPs for Feature on Flowers is taken for a misprint of 4.11",
            "Piggyback: one bit per weight of 32 gives 24.6 M; the printed 24.3 is not reproduced",
        ],
    })
}

fn network(name: &str, classes: usize) -> Result<Graph, PaperError> {
    Ok(ZooSpec::parse(name, Some(224), Some(classes), 0)?.build()?)
}

fn cell(row: &str, column: &str, printed: &str, computed: Value, in_unit: f64) -> Cell {
    let agreement = compare(printed, in_unit);
    Cell { row: row.into(), column: column.into(), printed: printed.into(), computed, agreement, unfiltered: None }
}

fn params(graph: &Graph) -> u64 {
    modules::elements(graph, |_| true)
}

fn classifier(graph: &Graph) -> u64 {
    modules::elements(graph, |id| matches!(graph.node(id).op, Op::Linear(_)))
}

/// What the layers before the maximum pool cost.
fn stem(graph: &Graph) -> u64 {
    let before = |&id: &NodeId| !matches!(graph.node(id).op, Op::MaxPool(_));
    graph.node_ids().take_while(before).map(|id| macs::node(graph, id, MacRule::Nettailor)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::Match;
    use super::*;

    fn of<'a>(table: &'a Table, row: &str, column: &str) -> &'a Cell {
        table.cells.iter().find(|c| c.row == row && c.column == column).unwrap()
    }

    #[test]
    fn table_1_is_reproduced_but_for_the_classifier_of_flowers() {
        let table = table1().unwrap();
        assert_eq!(table.cells.len(), 9);
        let differ: Vec<_> =
            table.cells.iter().filter(|c| c.agreement != Match::Rounds).map(|c| (&c.row[..], &c.column[..])).collect();
        assert_eq!(differ, [("Flowers / Fine-tuning", "# Parameters")]);
        assert_eq!(of(&table, "VOC / Fine-tuning", "# Parameters").computed, 21_294_932u64);
    }

    #[test]
    fn table_2_agrees_on_average() {
        let table = table2().unwrap();
        assert_eq!(table.cells.len(), 48);
        for row in ["Feature", "PackNet ->", "PackNet <-"] {
            assert_eq!(of(&table, row, "Avg Params").agreement, Match::Rounds);
            assert_eq!(of(&table, row, "Avg Params").computed, 23_894_473.4);
        }
        assert_eq!(of(&table, "Feature", "Flowers FLOPs").agreement, Match::Differs);
        assert_eq!(of(&table, "Piggyback", "Avg Params").agreement, Match::Differs);
        assert_eq!(of(&table, "Piggyback", "CUB Params").computed, 24_652_458.0);
        let flops = table.cells.iter().filter(|c| c.column.ends_with("FLOPs") && c.agreement == Match::Rounds);
        assert_eq!(flops.count(), 23);
    }
}
