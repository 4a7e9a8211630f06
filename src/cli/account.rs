//! `trunkline account`: counting without executing, and the papers' tables.

use super::Failure;
use super::output::Output;
use super::run::tap_bits;
use crate::experiment::account::{Account as Row, account};
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::library;
use crate::plan::macs::MacRule;
use crate::report::paper::{Match, Table, aswani_table3, nettailor};
use crate::report::render::Section;
use crate::report::run::{account_sections, accounts};
use crate::scheme::{self, BatchNormMode, Request, SchemeError, SchemeSpec, Sites};
use clap::{Args, ValueEnum};
use serde_json::json;

/// The tables that can be recomputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Paper {
    /// Table 3 of Aswani et al. 2021: cost of five ways of adapting ResNet-26
    AswaniTable3,
    /// Table 1 of NetTailor (2019): ResNet-34 fine-tuned
    NettailorTable1,
    /// Table 2 of NetTailor (2019): ResNet-50 on five tasks
    NettailorTable2,
}

#[derive(Args)]
pub struct Account {
    /// A model file (.tflite), or a network of the zoo
    #[arg(long, value_name = "FILE|ZOO", default_value = "resnet26")]
    trunk: String,
    /// Schemes: NAME[:key=value,…] separated by commas, or all
    #[arg(long, value_name = "S[,S…]|all", default_value = "all")]
    scheme: String,
    /// Where the adapters sit
    #[arg(long, value_name = "SITES")]
    sites: Option<Sites>,
    /// Batch norm per task: frozen or registers
    #[arg(long, value_name = "MODE")]
    batch_norm: Option<BatchNormMode>,
    /// Hardware to price it on
    #[arg(long, value_name = "FILE|NAME", default_value = "asic-h200-pcie")]
    system: String,
    /// Classes of the head
    #[arg(long, value_name = "K")]
    classes: Option<usize>,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H")]
    input: Option<usize>,
    /// How MACs are counted: conv, ptflops, nettailor
    #[arg(long, value_name = "RULE", default_value = "conv")]
    mac_rule: MacRule,
    /// Bits of a sum that enters a trunk accumulator: 8 or 16
    #[arg(long, value_name = "BITS", default_value = "8", value_parser = tap_bits)]
    tap_bits: u32,
    /// Recompute a paper's table instead
    #[arg(long, value_enum, value_name = "TABLE", conflicts_with_all = ["scheme", "trunk", "sites", "system"])]
    paper: Option<Paper>,
    #[command(flatten)]
    output: Output,
}

impl Account {
    pub fn execute(&self) -> Result<(), Failure> {
        match self.paper {
            Some(Paper::AswaniTable3) => self.paper(&aswani_table3::table()?),
            Some(Paper::NettailorTable1) => self.paper(&nettailor::table1()?),
            Some(Paper::NettailorTable2) => self.paper(&nettailor::table2()?),
            None => self.accounts(),
        }
    }

    fn accounts(&self) -> Result<(), Failure> {
        let trunk = Trunk::open(&self.trunk, Wanted { input: self.input, classes: self.classes, seed: 0 })?;
        let system = library::load_system(&self.system)?;
        let all = self.scheme == "all";
        let mut rows: Vec<Row> = Vec::new();
        let mut left_out = Vec::new();
        for spec in schemes(&self.scheme) {
            let request =
                Request { scheme: spec.clone(), sites: self.sites.clone(), batch_norm: self.batch_norm, seed: 0 };
            match account(&trunk, &request, &system, self.tap_bits, self.mac_rule) {
                Ok((row, _)) => rows.push(row),
                // Of all schemes, those that this trunk has no place for are told and left out.
                Err(crate::experiment::account::AccountError::Scheme(e @ SchemeError::Sites { .. })) if all => {
                    left_out.push(format!("left out: {e}"));
                }
                Err(e) => return Err(e.into()),
            }
        }
        let values: Vec<_> = rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let mut sections = match &rows[..] {
            [one] => account_sections(one),
            _ => vec![accounts(&rows)],
        };
        if let Some(section) = sections.first_mut() {
            left_out.into_iter().for_each(|n| section.note(n));
        }
        self.output.write(&sections, &json!(values), &values)
    }

    fn paper(&self, table: &Table) -> Result<(), Failure> {
        let values: Vec<_> = table.cells.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let count = |m: Match| table.cells.iter().filter(|c| c.agreement == m).count();
        let mut section = Section::new(table.title, &["row", "column", "printed", "computed", "match"]);
        for cell in &table.cells {
            let how = serde_json::to_value(cell.agreement)?;
            section.row([
                cell.row.clone(),
                cell.column.clone(),
                cell.printed.clone(),
                cell.computed.to_string(),
                how.as_str().unwrap_or_default().into(),
            ]);
        }
        section.note(format!(
            "{} of {} cells by rounding, {} by rounding or truncation",
            count(Match::Rounds),
            table.cells.len(),
            count(Match::Rounds) + count(Match::Truncates)
        ));
        table.notes.iter().for_each(|note| section.note(*note));
        self.output.write(&[section], &json!(values), &values)
    }
}

/// The schemes of a list. A comma separates schemes where a scheme's name follows it, and options
/// of one scheme elsewhere.
fn schemes(text: &str) -> Vec<SchemeSpec> {
    if text == "all" {
        return scheme::SCHEMES.iter().map(|s| SchemeSpec(s.name.into())).collect();
    }
    let mut list: Vec<String> = Vec::new();
    for part in text.split(',') {
        match list.last_mut() {
            Some(last) if part.contains('=') && !part.contains(':') && last.contains(':') => {
                *last += &format!(",{part}")
            }
            _ => list.push(part.into()),
        }
    }
    list.into_iter().map(SchemeSpec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_schemes_keeps_their_options_together() {
        let names = |text: &str| schemes(text).into_iter().map(|s| s.0).collect::<Vec<_>>();
        assert_eq!(names("head-only,parallel"), ["head-only", "parallel"]);
        assert_eq!(
            names("adaptive-attention:m=2,gate=2sigmoid,parallel:init=zero,fine-tune"),
            ["adaptive-attention:m=2,gate=2sigmoid", "parallel:init=zero", "fine-tune"]
        );
        assert_eq!(names("all").len(), scheme::SCHEMES.len());
    }
}
