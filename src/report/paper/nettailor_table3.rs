//! Table 3 of Morgado and Vasconcelos (2019), "NetTailor": the visual decathlon on ResNet-26.
//!
//! Parameters and FLOPs are per task, on average over ten tasks of which ImageNet needs nothing added.
//! FLOPs are those of rule `nettailor` on a 64×64 image; the public code charges the 3×3 stem as if it
//! were 7×7. What pruning leaves of NetTailor's own networks, and accuracies, come from training.

use super::{Cell, Match, PaperError, Table, compare, modules};
use crate::graph::structure::Structure;
use crate::graph::{Graph, GraphError};
use crate::model::zoo::ZooSpec;
use crate::op::Op;
use crate::plan::macs::{self, MacRule};
use crate::scheme::{self, BatchNormMode, Request, SchemeSpec, Sites};
use serde_json::Value;

const COLUMNS: [&str; 12] =
    ["ImNet", "Airc", "C100", "DPed", "DTD", "GTSR", "Flwr", "OGlt", "SVHN", "UCF", "Mean", "Score"];

/// Classes of the ten tasks, in the order of the columns.
const CLASSES: [usize; 10] = [1000, 100, 100, 2, 47, 43, 102, 1623, 10, 101];

/// The share of tasks that are adapted: all but ImageNet.
const ADAPTED: f64 = 9.0 / 10.0;

/// What a row stores and computes for a task.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    /// A whole network.
    Whole,
    /// One bit per weight of a shared network.
    Masks,
    Recombined,
    Parallel,
    /// What training leaves of the student.
    Pruned,
}

/// A row of the table: its name, its method, the parameters in millions and FLOPs in billions that it
/// prints, its results.
type Row = (&'static str, Method, [&'static str; 2], [&'static str; 12]);

#[rustfmt::skip]
const ROWS: [Row; 5] = [
    ("LwF", Method::Whole, ["5.86", "0.87"], ["59.87", "61.15", "82.23", "92.34", "58.83", "97.57", "83.05", "88.08", "96.10", "50.04", "76.93", "2515"]),
    ("Piggyback", Method::Masks, ["6.04", "0.87"], ["57.69", "65.29", "79.87", "96.99", "57.45", "97.27", "79.09", "87.63", "97.24", "47.48", "76.60", "2838"]),
    ("DAN", Method::Recombined, ["6.54", "0.97"], ["57.74", "64.12", "80.07", "91.30", "56.54", "98.46", "86.05", "89.67", "96.77", "49.38", "77.01", "2851"]),
    ("ResAdapt", Method::Parallel, ["6.44", "0.96"], ["60.32", "64.21", "81.91", "94.73", "58.83", "99.38", "84.68", "89.21", "96.54", "50.94", "78.07", "3412"]),
    ("NetTailor", Method::Pruned, ["3.67", "0.61"], ["61.42", "75.07", "81.84", "94.68", "61.28", "99.52", "86.53", "90.09", "96.44", "49.54", "79.64", "3744"]),
];

const INPUT: usize = 64;
const PROXIES: usize = 3;
/// Kernel of the stem in the public code's count.
const CHARGED_STEM: usize = 7;
const WEIGHT_BITS: f64 = 32.0;

const MILLION: f64 = 1e6;
const BILLION: f64 = 1e9;

/// Parameters and FLOPs of a task.
#[derive(Clone, Copy)]
struct Cost {
    params: f64,
    flops: f64,
}

/// What each row prints of its trainings: ten accuracies, their mean and the score.
pub(super) fn results() -> Vec<(&'static str, [&'static str; 12])> {
    ROWS.iter().map(|(row, _, _, results)| (*row, *results)).collect()
}

/// The table with its conventions.
pub fn table() -> Result<Table, PaperError> {
    let trunk = ZooSpec::parse("resnet26", Some(INPUT), None, 0)?.build()?;
    let whole = whole(&trunk)?;
    let mut cells = Vec::new();
    for (row, method, [params, flops], results) in ROWS {
        cells.extend(COLUMNS.iter().zip(results).map(|(column, printed)| Cell::not_counted(row, column, printed)));
        match added(&trunk, method)? {
            None => {
                cells.push(Cell::not_counted(row, "Avg Params", params));
                cells.push(Cell::not_counted(row, "Avg FLOPS", flops));
            }
            Some(added) => {
                cells.push(counted(row, "Avg Params", params, whole.params + added.params, MILLION));
                if method != Method::Whole {
                    let over = over(params, ROWS[0].2[0]);
                    cells.push(counted(row, "Avg Params over LwF", &over, added.params, MILLION));
                }
                cells.push(counted(row, "Avg FLOPS", flops, whole.flops + added.flops, BILLION));
            }
        }
    }
    let student = modules::student(&trunk, PROXIES)?;
    let (params, flops) = (modules::added(&student, &trunk) as f64, flops(&student, &trunk)? - flops(&trunk, &trunk)?);
    for (column, value) in [("Avg Params", whole.params + params), ("Avg FLOPS", whole.flops + flops)] {
        cells.push(Cell::not_printed("NetTailor, nothing pruned", column, Value::from(value)));
    }
    Ok(Table {
        title: "NetTailor (Morgado & Vasconcelos 2019), Table 3",
        cells,
        notes: vec![
            "ResNet-26 at 64x64; rule nettailor, the 3x3 stem charged as 7x7; classifiers by their mean over ten tasks",
            "the printed 5.86 M lies between 5.81 without and 5.90 with the classifiers; 'over LwF' compares differences, which need none",
            "DAN's 0.68 M is 0.117 of the network, by the 2.17 networks for ten tasks that its authors print; its filters' recombination is less",
            "NetTailor's own cells, accuracies and scores depend on training and are not counted; before pruning every block has up to 3 proxies",
        ],
    })
}

/// The network itself with the mean classifier.
fn whole(trunk: &Graph) -> Result<Cost, PaperError> {
    let mut sum = Cost { params: 0.0, flops: 0.0 };
    for classes in CLASSES {
        let (graph, _) = scheme::with_classes(trunk, classes, 0)?;
        sum.params += modules::elements(&graph, |_| true) as f64;
        sum.flops += flops(&graph, trunk)?;
    }
    let tasks = CLASSES.len() as f64;
    Ok(Cost { params: sum.params / tasks, flops: sum.flops / tasks })
}

/// What a method adds for a task, on average; `None` where training decides.
fn added(trunk: &Graph, method: Method) -> Result<Option<Cost>, PaperError> {
    let more = |graph: &Graph| -> Result<Option<Cost>, PaperError> {
        let (params, flops) = (modules::added(graph, trunk) as f64, flops(graph, trunk)? - flops(trunk, trunk)?);
        Ok(Some(Cost { params: ADAPTED * params, flops: ADAPTED * flops }))
    };
    match method {
        Method::Whole => Ok(Some(Cost { params: 0.0, flops: 0.0 })),
        Method::Masks => {
            let masked = modules::elements(trunk, |id| !matches!(trunk.node(id).op, Op::Linear(_)));
            Ok(Some(Cost { params: masked as f64 / WEIGHT_BITS, flops: 0.0 }))
        }
        Method::Recombined => more(&modules::recombined(trunk)?),
        Method::Parallel => {
            let request = Request {
                scheme: SchemeSpec("parallel".into()),
                sites: Some(Sites::All),
                batch_norm: Some(BatchNormMode::Frozen),
                seed: 0,
            };
            more(&scheme::place(trunk, &request)?.graph)
        }
        Method::Pruned => Ok(None),
    }
}

/// FLOPs of a graph made from `trunk` by appending nodes, as the public code counts them.
fn flops(graph: &Graph, trunk: &Graph) -> Result<f64, GraphError> {
    let mut charged = graph.clone();
    // An adapter beside the stem hides it, so it is looked for in the trunk.
    for id in Structure::find(trunk)?.stem.iter().flat_map(|b| &b.convs) {
        if let Op::Conv2d(stem) = &mut charged.nodes[id.index()].op {
            stem.kernel = [CHARGED_STEM; 2];
            stem.pad = [CHARGED_STEM / 2; 4];
        }
    }
    Ok(macs::count(&charged, MacRule::Nettailor).total as f64)
}

/// The printed difference of two printed numbers.
fn over(printed: &str, base: &str) -> String {
    let hundredths = |text: &str| text.replace('.', "").parse::<i64>().unwrap_or_default();
    format!("{:.2}", (hundredths(printed) - hundredths(base)) as f64 / 100.0)
}

fn counted(row: &str, column: &str, printed: &str, value: f64, unit: f64) -> Cell {
    let agreement: Match = compare(printed, value / unit);
    Cell {
        row: row.into(),
        column: column.into(),
        printed: printed.into(),
        computed: Value::from(value),
        agreement,
        unfiltered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PAPER_TABLES section 6.
    #[test]
    fn flops_and_most_of_the_differences_are_reproduced() {
        let table = table().unwrap();
        let of = |row: &str, column: &str| table.cells.iter().find(|c| c.row == row && c.column == column).unwrap();
        for (row, printed, gigas) in [
            ("LwF", "0.87", "0.8708"),
            ("Piggyback", "0.87", "0.8708"),
            ("DAN", "0.97", "0.9652"),
            ("ResAdapt", "0.96", "0.9561"),
        ] {
            let cell = of(row, "Avg FLOPS");
            assert_eq!((cell.agreement, cell.printed.as_str()), (Match::Rounds, printed), "{row}");
            assert_eq!(format!("{:.4}", cell.computed.as_f64().unwrap() / 1e9), gigas, "{row}");
        }
        for (row, printed, agreement) in
            [("Piggyback", "0.18", Match::Rounds), ("ResAdapt", "0.58", Match::Rounds), ("DAN", "0.68", Match::Differs)]
        {
            let cell = of(row, "Avg Params over LwF");
            assert_eq!((cell.printed.as_str(), cell.agreement), (printed, agreement), "{row}: {}", cell.computed);
        }
        let base = of("LwF", "Avg Params");
        assert_eq!(format!("{:.4}", base.computed.as_f64().unwrap() / 1e6), "5.8951");
        assert_eq!(of("NetTailor", "Avg Params").agreement, Match::NotCounted);
        let unpruned = of("NetTailor, nothing pruned", "Avg Params");
        assert!(unpruned.agreement == Match::NotPrinted && unpruned.computed.as_f64() > base.computed.as_f64());
    }
}
