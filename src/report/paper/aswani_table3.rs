//! Table 3 of Aswani, Kanse, Bhatnagar, Sethi (2021): cost of five ways of adapting ResNet-26.
//!
//! Its conventions, none of them a number: MACs by the ptflops rule on a 224×224 image,
//! connections by `aswani2021` on a 72×72 image, 47 classes, every batch norm trainable, one α
//! filter per 32 channels in the adaptive modules.

use super::{Cell, PaperError, Table, compare};
use crate::graph::Graph;
use crate::model::zoo::{ZooError, ZooSpec};
use crate::plan::connections::{self, Connections};
use crate::plan::macs::{self, MacRule};
use crate::plan::params::{self, ParamCounts};
use crate::plan::tap::{TapPrecision, taps};
use crate::scheme::{self, BatchNormMode, Request, SchemeSpec};
use serde_json::Value;

const CLASSES: usize = 47;
const MACS_INPUT: usize = 224;
const CONNECTIONS_INPUT: usize = 72;

const COLUMNS: [&str; 8] =
    ["Giga MACs", "delta", "Total", "Train.", "Total w/o FC", "Train. w/o FC", "Train. %", "Conn.s"];

/// A row of the table: its name, the scheme that it is, what it prints.
type Row = (&'static str, &'static str, [&'static str; 8]);

const ROWS: [Row; 5] = [
    ("FineTune", "fine-tune", ["10.48", "0", "5827", "5827", "5815", "5815", "100.00", "16"]),
    ("Final Conv.", "final-conv", ["10.48", "0", "5827", "610", "5815", "597", "10.28", "21"]),
    ("Par.Res.Adpt.", "parallel", ["11.64", "1.16", "6472", "665", "6460", "653", "10.11", "2249"]),
    ("Spa. Attn.", "spatial-attention", ["10.49", "0.01", "5827", "20", "5816", "8", "0.14", "297"]),
    ("Adpt. Attn.", "adaptive-attention:m=c/32", ["10.49", "0.01", "5827", "21", "5816", "9", "0.15", "297"]),
];

/// What the counters give for one row.
struct Counted {
    macs: u64,
    params: ParamCounts,
    connections: Connections,
}

/// The table with its conventions.
pub fn table() -> Result<Table, PaperError> {
    Ok(Table {
        title: "Aswani et al. 2021, Table 3",
        cells: cells()?,
        notes: vec![
            "MACs: ptflops rule at 224x224; connections: aswani2021 at 72x72; 47 classes; one α filter per 32 channels",
            "the paper prints 5,827k with and 5,816k without the classifier's 12,079 parameters: both cannot hold",
        ],
    })
}

/// Every cell, in the table's order.
pub fn cells() -> Result<Vec<Cell>, PaperError> {
    let large = resnet26(MACS_INPUT)?;
    let small = resnet26(CONNECTIONS_INPUT)?;
    let bare = macs::count(&large, MacRule::Ptflops).total;
    let mut cells = Vec::new();
    for (row, scheme, printed) in ROWS {
        let counted = count(&large, &small, scheme)?;
        for (column, (printed, value)) in COLUMNS.iter().zip(printed.iter().zip(values(&counted, bare))) {
            cells.push(Cell {
                row: row.into(),
                column: (*column).into(),
                printed: (*printed).into(),
                computed: value.0,
                agreement: compare(printed, value.1),
                unfiltered: (*column == "Conn.s").then_some(counted.connections.unfiltered),
            });
        }
    }
    Ok(cells)
}

fn resnet26(input: usize) -> Result<Graph, ZooError> {
    ZooSpec::parse("resnet26", Some(input), Some(CLASSES), 0)?.build()
}

fn count(large: &Graph, small: &Graph, scheme: &str) -> Result<Counted, PaperError> {
    let request =
        Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: Some(BatchNormMode::Registers), seed: 0 };
    let large = scheme::place(large, &request)?;
    let small = scheme::place(small, &request)?;
    Ok(Counted {
        macs: macs::count(&large.graph, MacRule::Ptflops).total,
        params: params::count(&large),
        connections: connections::count(&small, &taps(&small, TapPrecision::codes(8))?),
    })
}

/// The exact count of each column, and the same in the unit that the table prints.
fn values(counted: &Counted, bare_macs: u64) -> [(Value, f64); 8] {
    let giga = |n: u64| (Value::from(n), n as f64 / 1e9);
    let kilo = |n: u64| (Value::from(n), n as f64 / 1e3);
    let p = &counted.params;
    [
        giga(counted.macs),
        giga(counted.macs - bare_macs),
        kilo(p.total),
        kilo(p.trainable),
        kilo(p.total_without_head),
        kilo(p.trainable_without_head),
        (Value::from(p.trainable_percent), p.trainable_percent),
        kilo(counted.connections.total),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::Match;
    use super::*;

    #[test]
    fn thirty_six_cells_round_and_three_truncate() {
        let cells = cells().unwrap();
        let count = |m: Match| cells.iter().filter(|c| c.agreement == m).count();
        assert_eq!(cells.len(), 40);
        assert_eq!((count(Match::Rounds), count(Match::Truncates), count(Match::Differs)), (36, 3, 1));
        let of = |row: &str, column: &str| {
            cells.iter().find(|c| c.row == row && c.column == column).unwrap().computed.clone()
        };
        let connections: Vec<_> = ROWS.iter().map(|r| of(r.0, "Conn.s")).collect();
        assert_eq!(connections, [15_552, 20_736, 2_249_856, 297_108, 297_108]);
        assert_eq!(of("FineTune", "Giga MACs"), 10_482_781_999u64);
        assert_eq!(of("Par.Res.Adpt.", "delta"), 1_160_871_936u64);
        assert_eq!(of("Spa. Attn.", "delta"), 6_453_888u64);
        assert_eq!(of("Adpt. Attn.", "Total w/o FC"), 5_815_703u64);
    }
}
