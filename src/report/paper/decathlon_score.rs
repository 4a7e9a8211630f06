//! The decathlon scores that three papers print, recomputed from the accuracies that they print beside
//! them; or the scores of a user's own accuracies.
//!
//! Accuracies are printed with one or two decimals, and 0.1 % of GTSR is about 35 points: what the printed
//! digits allow is an interval, and a printed score inside it agrees.

use super::{Cell, Match, Table, compare, nettailor_table3, rebuffi_table1};
use crate::experiment::decathlon::{Accuracies, points, score};
use serde_json::Value;

/// Fine-tuned accuracies of Rebuffi et al. 2017 in percent, on which 2500 is scored.
const REFERENCE: [f64; 10] = [59.87, 60.34, 82.12, 92.82, 55.53, 97.53, 81.41, 87.69, 96.55, 51.20];

/// Accuracies in the order ImNet, Airc, C100, DPed, DTD, GTSR, Flwr, OGlt, SVHN, UCF; then the score.
type Row = (&'static str, [&'static str; 10], &'static str);

#[rustfmt::skip]
const ASWANI: [Row; 8] = [
    ("FT", ["60.3", "43.7", "80.7", "96.3", "51.2", "99.1", "71.7", "86.0", "96.2", "48.4"], "2642"),
    ("Conv", ["60.3", "36.6", "77.9", "97.1", "52.1", "97.4", "68.7", "82.7", "94.2", "40.6"], "1808"),
    ("P.R.A.*", ["60.3", "20.7", "78.2", "97.6", "39.4", "98.6", "41.1", "87.3", "91.1", "33.1"], "2050"),
    ("Org. P.R.A.", ["60.3", "64.2", "81.9", "94.7", "58.5", "99.3", "84.7", "89.2", "96.5", "50.9"], "3412"),
    ("S.Atn.", ["60.3", "46.8", "76.8", "97.4", "48.5", "97.5", "71.3", "82.4", "92.9", "44.6"], "1899"),
    ("Ad.Atn.", ["60.3", "43.4", "77.7", "96.9", "50.1", "99.7", "70.3", "83.6", "94.8", "44.2"], "2565"),
    ("MPNAS (MobileNetV3)", ["57.0", "29.7", "81.2", "96.0", "36.6", "99.8", "79.2", "74.2", "92.3", "71.8"], "2677"),
    ("Ad.Atn. (MobileNetV3)", ["74.3", "29.4", "70.0", "96.2", "46.5", "97.8", "61.5", "82.5", "93.7", "69.8"], "2075"),
];

const COLUMN: &str = "S";

/// Every printed score beside what its row's accuracies give.
pub fn table() -> Table {
    let aswani = ASWANI.iter().map(|(row, accuracies, printed)| cell("Aswani 2021", row, accuracies, printed));
    let others = [("Rebuffi 2018", rebuffi_table1::results()), ("NetTailor 2019", nettailor_table3::results())];
    let others = others.into_iter().flat_map(|(paper, rows)| {
        // Ten accuracies, their mean, the score.
        rows.into_iter().map(move |(row, printed)| cell(paper, row, &printed[..10], printed[11]))
    });
    Table {
        title: "Decathlon scores",
        cells: aswani.chain(others).collect(),
        notes: vec![
            "S = sum over ten tasks of 1000 (max(0, Emax - E) / Emax)^2, Emax twice the error of fine-tuning in Rebuffi et al. 2017",
            "within-rounding: accuracies that round to the printed ones give the printed score",
            "Org. P.R.A. is Rebuffi's parallel row with GTSR cut to 99.3 and DTD misprinted as 58.5",
        ],
    }
}

fn cell(paper: &str, row: &str, accuracies: &[&str], printed: &str) -> Cell {
    let values: Vec<f64> = accuracies.iter().map(|a| percent(a)).collect();
    let computed = score(&REFERENCE, &values);
    let off = |by: f64| {
        let moved: Vec<f64> = accuracies.iter().zip(&values).map(|(a, v)| v + by * last_digit(a)).collect();
        score(&REFERENCE, &moved)
    };
    let target = percent(printed);
    let agreement = match compare(printed, computed) {
        Match::Differs if (off(-0.5) - 0.5..=off(0.5) + 0.5).contains(&target) => Match::WithinRounding,
        other => other,
    };
    Cell {
        row: format!("{paper}: {row}"),
        column: COLUMN.into(),
        printed: printed.into(),
        computed: Value::from((computed * 100.0).round() / 100.0),
        agreement,
        unfiltered: None,
    }
}

fn percent(digits: &str) -> f64 {
    digits.parse().unwrap_or(f64::NAN)
}

/// What one of the last printed digit is worth.
fn last_digit(digits: &str) -> f64 {
    10f64.powi(-(digits.split_once('.').map_or(0, |(_, decimals)| decimals.len()) as i32))
}

/// Scores of a user's own accuracies, with the points of each task.
pub fn own(accuracies: &Accuracies) -> Table {
    let mut cells = Vec::new();
    for (method, values) in &accuracies.methods {
        let total = score(&accuracies.reference, values);
        cells.push(Cell::not_printed(method, COLUMN, Value::from(total)));
        for ((task, reference), value) in accuracies.tasks.iter().zip(&accuracies.reference).zip(values) {
            cells.push(Cell::not_printed(method, task, Value::from(points(*reference, *value))));
        }
    }
    let notes = vec!["the reference has 250 points a task; a task without errors has 1000"];
    Table { title: "Decathlon scores against your own reference", cells, notes }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PAPER_TABLES section 5: 22 of 23 lie in what the printed rounding allows.
    #[test]
    fn printed_scores_come_out_of_printed_accuracies() {
        let table = table();
        assert_eq!(table.cells.len(), 23);
        let differ: Vec<&str> =
            table.cells.iter().filter(|c| c.agreement == Match::Differs).map(|c| c.row.as_str()).collect();
        assert_eq!(differ, ["Aswani 2021: Org. P.R.A."]);
        let computed =
            |row: &str| table.cells.iter().find(|c| c.row.ends_with(row)).unwrap().computed.as_f64().unwrap();
        let golden = [("Finetuning", 3096.06), ("Parallel SVD", 3396.81), ("NetTailor", 3743.6), ("S.Atn.", 1899.29)];
        for (row, expected) in golden.into_iter().chain([("Ad.Atn.", 2564.93), ("Parallel (half)", 3061.4)]) {
            assert_eq!(computed(row), expected, "{row}");
        }
        assert_eq!(score(&REFERENCE, &REFERENCE), 2500.0);
    }

    #[test]
    fn a_misprint_is_not_excused_by_rounding() {
        let exact = ["60.32", "60.34", "82.12", "92.82", "55.53", "99.42", "81.41", "89.12", "96.55", "51.20"];
        assert_eq!(cell("", "", &exact, "3096").agreement, Match::Rounds);
        assert_eq!(cell("", "", &exact, "3097").agreement, Match::WithinRounding);
        assert_eq!(cell("", "", &exact, "3106").agreement, Match::Differs);
    }
}
