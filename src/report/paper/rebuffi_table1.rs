//! Table 1 of Rebuffi, Bilen, Vedaldi (2018): residual adapters on the visual decathlon.
//!
//! Its sizes are of everything that the ten tasks need, in multiples of the network trained on
//! ImageNet, which itself needs no adapter; classifiers are left out, batch norms belong to the task.
//! They are printed to the nearest half. Accuracies, means and scores come from training.

use super::{Cell, Match, PaperError, Table, modules};
use crate::graph::{Graph, ParamKind};
use crate::model::zoo::ZooSpec;
use crate::plan::params;
use crate::scheme::{self, BatchNormMode, Request, SchemeSpec, Sites};
use serde_json::Value;

const COLUMNS: [&str; 12] =
    ["ImNet", "Airc", "C100", "DPed", "DTD", "GTSR", "Flwr", "OGlt", "SVHN", "UCF", "mean", "S"];

/// What a row adapts by.
enum Method {
    FineTune,
    Series,
    Parallel(Sites),
    LowRank,
    Recombined,
}

/// A row of the table: its name, its method, the size and the results that it prints.
type Row = (&'static str, Method, &'static str, [&'static str; 12]);

#[rustfmt::skip]
const ROWS: [Row; 10] = [
    ("Finetuning", Method::FineTune, "10x", ["60.32", "60.34", "82.12", "92.82", "55.53", "99.42", "81.41", "89.12", "96.55", "51.20", "76.88", "3096"]),
    ("Series Res. adapt.", Method::Series, "2x", ["60.32", "61.87", "81.22", "93.88", "57.13", "99.27", "81.67", "89.62", "96.57", "50.12", "77.17", "3159"]),
    ("Parallel Res. adapt.", Method::Parallel(Sites::All), "2x", ["60.32", "64.21", "81.91", "94.73", "58.83", "99.38", "84.68", "89.21", "96.54", "50.94", "78.07", "3412"]),
    ("Parallel (early)", Method::Parallel(Sites::Early), "2x", ["60.32", "50.47", "78.58", "93.26", "58.46", "99.00", "82.27", "87.68", "95.39", "47.77", "75.32", "2610"]),
    ("Parallel (mid)", Method::Parallel(Sites::Mid), "2x", ["60.32", "57.88", "79.25", "94.24", "56.65", "98.85", "83.43", "88.47", "95.96", "48.98", "76.40", "2852"]),
    ("Parallel (late)", Method::Parallel(Sites::Late), "2x", ["60.32", "61.06", "80.58", "94.02", "57.87", "99.19", "84.68", "89.06", "96.30", "50.94", "77.40", "3159"]),
    ("Parallel (half)", Method::Parallel(Sites::Half), "1.5x", ["60.32", "61.15", "81.24", "94.36", "58.40", "98.85", "84.76", "88.69", "96.19", "49.99", "77.40", "3061"]),
    ("Parallel SVD", Method::LowRank, "1.5x", ["60.32", "66.04", "81.86", "94.23", "57.82", "99.24", "85.74", "89.25", "96.62", "52.50", "78.36", "3398"]),
    ("Rebuffi et al. [23]", Method::Series, "2x", ["59.23", "63.73", "81.31", "93.30", "57.02", "97.47", "83.43", "89.82", "96.17", "50.28", "77.17", "2643"]),
    ("Rosenfeld & Tsotsos [25]", Method::Recombined, "2x", ["57.74", "64.11", "80.07", "91.29", "56.54", "98.46", "86.05", "89.67", "96.77", "49.38", "77.01", "2851"]),
];

/// Tasks besides ImageNet.
const OTHER_TASKS: u64 = 9;

/// What each row prints of its trainings: ten accuracies, their mean and the score.
pub(super) fn results() -> Vec<(&'static str, [&'static str; 12])> {
    ROWS.iter().map(|(row, _, _, results)| (*row, *results)).collect()
}

/// The table with its conventions.
pub fn table() -> Result<Table, PaperError> {
    let trunk = ZooSpec::parse("resnet26", None, None, 0)?.build()?;
    let mut cells = Vec::new();
    for (row, method, printed, results) in ROWS {
        let size = multiple(&trunk, &method)?;
        cells.push(Cell {
            row: row.into(),
            column: "#par".into(),
            printed: printed.into(),
            computed: Value::from(size),
            agreement: if to_half(size) == printed { Match::Rounds } else { Match::Differs },
            unfiltered: None,
        });
        cells.extend(COLUMNS.iter().zip(results).map(|(column, printed)| Cell::not_counted(row, column, printed)));
    }
    Ok(Table {
        title: "Rebuffi et al. 2018, Table 1",
        cells,
        notes: vec![
            "#par: ten tasks, ImageNet's network and nine times what a task adds, without classifiers; printed to the nearest half",
            "every task has its own batch norms; Parallel SVD shares one factor of rank C/2 among the tasks",
            "early and mid are printed like the whole; a third of the network's adapters are fewer",
            "accuracies, means and scores depend on training and are not counted",
        ],
    })
}

/// A multiple as the table prints it.
fn to_half(multiple: f64) -> String {
    format!("{}x", (2.0 * multiple).round() / 2.0)
}

/// The parameters of ten tasks over those of one network.
fn multiple(trunk: &Graph, method: &Method) -> Result<f64, PaperError> {
    let (own, shared) = match method {
        Method::FineTune => (by_scheme(trunk, "fine-tune", None)?, 0),
        Method::Parallel(sites) => (by_scheme(trunk, "parallel", Some(sites.clone()))?, 0),
        Method::Series => (modules::added(&modules::series(trunk)?, trunk) + norms(trunk), 0),
        Method::Recombined => (modules::added(&modules::recombined(trunk)?, trunk) + norms(trunk), 0),
        Method::LowRank => {
            let graph = modules::low_rank(trunk)?;
            let ending = |end: &str| modules::elements(&graph, |id| graph.node(id).name.ends_with(end));
            (ending(modules::OWN_FACTOR) + norms(trunk), ending(modules::SHARED_FACTOR))
        }
    };
    let whole = by_scheme(trunk, "fine-tune", None)?;
    Ok(1.0 + (OTHER_TASKS * own + shared) as f64 / whole as f64)
}

/// What a scheme of ours trains, without the classifier.
fn by_scheme(trunk: &Graph, scheme: &str, sites: Option<Sites>) -> Result<u64, PaperError> {
    let batch_norm = Some(BatchNormMode::Registers);
    let placed = scheme::place(trunk, &Request { scheme: SchemeSpec(scheme.into()), sites, batch_norm, seed: 0 })?;
    Ok(params::count(&placed).trainable_without_head)
}

/// The trunk's own batch norms, which train under every method.
fn norms(trunk: &Graph) -> u64 {
    let affine = trunk.params.iter().filter(|p| p.kind == ParamKind::NormAffine);
    affine.map(|p| p.value.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PAPER_TABLES section 6: all sizes but those of early and mid.
    #[test]
    fn eight_of_ten_sizes_are_reproduced() {
        let table = table().unwrap();
        assert_eq!(table.cells.len(), 130);
        let sizes: Vec<&Cell> = table.cells.iter().filter(|c| c.column == "#par").collect();
        let computed: Vec<String> = sizes.iter().map(|c| format!("{:.3}", c.computed.as_f64().unwrap())).collect();
        let expected = ["10.000", "2.090", "2.011", "1.060", "1.202", "1.773", "1.545", "1.571", "2.090", "2.079"];
        assert_eq!(computed, expected);
        let differ: Vec<&str> = sizes.iter().filter(|c| c.agreement != Match::Rounds).map(|c| c.row.as_str()).collect();
        assert_eq!(differ, ["Parallel (early)", "Parallel (mid)"]);
        assert!(table.cells.iter().all(|c| (c.column == "#par") == (c.agreement != Match::NotCounted)));
    }
}
