//! `trunkline account`: counting without executing, and the papers' tables.

use super::Failure;
use super::output::{self, Format, Output};
use super::values;
use crate::experiment::account::{Account as Row, AccountError, account};
use crate::experiment::decathlon::Accuracies;
use crate::experiment::trace::trace;
use crate::experiment::training_account::training_account;
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::{System, library};
use crate::plan::macs::MacRule;
use crate::plan::tap_format::TapFormat;
use crate::quant::Profile;
use crate::quant::error_code::GradFormat;
use crate::report;
use crate::report::paper::{Match, Table, aswani_table3, decathlon_score, nettailor, nettailor_table3, rebuffi_table1};
use crate::report::render::Section;
use crate::report::run::{account_sections, accounts};
use crate::report::trace::{perfetto, vcd};
use crate::scheme::{self, BatchNormMode, Request, SchemeError, SchemeSpec, Sites};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};

/// The tables that can be recomputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Paper {
    /// Table 3 of Aswani et al. 2021: cost of five ways of adapting ResNet-26
    AswaniTable3,
    /// Table 1 of NetTailor (2019): ResNet-34 fine-tuned
    NettailorTable1,
    /// Table 2 of NetTailor (2019): ResNet-50 on five tasks
    NettailorTable2,
    /// Table 3 of NetTailor (2019): five methods on the visual decathlon
    NettailorTable3,
    /// Table 1 of Rebuffi et al. (2018): sizes of residual adapters on the visual decathlon
    RebuffiTable1,
    /// The decathlon scores of three papers from the accuracies beside them; or your own, see --reference
    DecathlonScore,
}

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Account {
    /// The frozen network: a .tflite or .onnx file, or a network of the zoo such as resnet26
    #[arg(long, value_name = "FILE|ZOO", default_value = "resnet26", long_help = values::trunk_help())]
    trunk: String,
    /// Schemes: NAME[:key=value,…] separated by commas, or all
    #[arg(long, value_name = "S[,S…]|all", default_value = "all", long_help = schemes_help())]
    scheme: String,
    /// Where the adapters sit [default: where each scheme's paper has them]
    #[arg(long, value_name = "SITES", long_help = values::sites_help())]
    sites: Option<Sites>,
    /// Batch norm per task: frozen (in silicon), registers (loadable), registers+stats (and measured on the trunk) or adapter-device [default: what the scheme's paper does]
    #[arg(long, value_name = "MODE")]
    batch_norm: Option<BatchNormMode>,
    /// Hardware to price it on: a system from `trunkline hw list`, or a .toml file
    #[arg(long, value_name = "FILE|NAME", default_value = "asic-h200-pcie")]
    system: String,
    /// Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]
    #[arg(long, value_name = "PROFILE", value_parser = values::profile, long_help = values::profile_help("Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]"))]
    profile: Option<Profile>,
    /// Classes of the head [default: 10 for the zoo, its own for a file]
    #[arg(long, value_name = "K", value_parser = values::count)]
    classes: Option<usize>,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H", value_parser = values::count)]
    input: Option<usize>,
    /// How MACs are counted: conv (what a MAC array executes), ptflops, nettailor
    #[arg(long, value_name = "RULE", default_value = "conv")]
    mac_rule: MacRule,
    /// How values enter the trunk: as codes of 8 or 16 bits (of 16 only into accumulators), or as f16 or f32 that it rounds
    #[arg(long, value_name = "FORMAT", default_value = "8")]
    tap_bits: TapFormat,
    /// Also count a training step: backward MACs and traffic, bytes kept by layer and side
    #[arg(long)]
    train: bool,
    /// How errors are carried through the trunk and across the bus: f32, int16, int12, int8
    #[arg(long, value_name = "FORMAT", default_value = "int16", requires = "train")]
    grad: GradFormat,
    /// Recompute a paper's table instead, under the paper's own conventions
    #[arg(long, value_enum, value_name = "TABLE", conflicts_with_all = NOT_WITH_PAPER)]
    paper: Option<Paper>,
    /// With --paper decathlon-score: score the accuracies of this file against its own reference instead,
    /// in percent by task: tables [reference] and [accuracies.NAME]
    #[arg(long, value_name = "FILE.toml", requires = "paper")]
    reference: Option<PathBuf>,
    /// Write the timeline of one scheme: .json for Perfetto, .vcd for what the bus carries
    #[arg(long, value_name = "FILE.json|FILE.vcd")]
    trace: Option<PathBuf>,
    /// Images in flight in the timeline
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count, requires = "trace")]
    trace_images: usize,
    #[command(flatten)]
    output: Output,
}

/// A paper's table has its own trunk and conventions.
const NOT_WITH_PAPER: [&str; 12] = [
    "trace",
    "trunk",
    "profile",
    "scheme",
    "sites",
    "batch_norm",
    "system",
    "classes",
    "input",
    "mac_rule",
    "tap_bits",
    "train",
];

fn schemes_help() -> String {
    format!("{}\n\nSeveral are separated by commas; all of them: all", values::scheme_help())
}

impl Account {
    pub fn execute(&self) -> Result<(), Failure> {
        self.output.check()?;
        self.trace.as_deref().map_or(Ok(()), output::check)?;
        if self.reference.is_some() && self.paper != Some(Paper::DecathlonScore) {
            return Err(Failure::Usage("--reference goes with --paper decathlon-score".into()));
        }
        match self.paper {
            Some(Paper::AswaniTable3) => self.paper(&aswani_table3::table()?),
            Some(Paper::NettailorTable1) => self.paper(&nettailor::table1()?),
            Some(Paper::NettailorTable2) => self.paper(&nettailor::table2()?),
            Some(Paper::NettailorTable3) => self.paper(&nettailor_table3::table()?),
            Some(Paper::RebuffiTable1) => self.paper(&rebuffi_table1::table()?),
            Some(Paper::DecathlonScore) => match &self.reference {
                Some(file) => self.paper(&decathlon_score::own(&Accuracies::read(file)?)),
                None => self.paper(&decathlon_score::table()),
            },
            None => self.accounts(),
        }
    }

    fn accounts(&self) -> Result<(), Failure> {
        let trunk = Trunk::open(&self.trunk, Wanted { input: self.input, classes: self.classes, seed: 0 })?;
        let trunk = trunk.with_profile(self.profile.clone())?;
        let system = library::load_system(&self.system)?;
        let all = self.scheme == "all";
        let mut rows: Vec<Row> = Vec::new();
        let mut left_out = Vec::new();
        for spec in schemes(&self.scheme) {
            let request =
                Request { scheme: spec.clone(), sites: self.sites.clone(), batch_norm: self.batch_norm, seed: 0 };
            match account(&trunk, &request, &system, self.tap_bits, self.mac_rule) {
                Ok((mut row, placed)) => {
                    if self.train {
                        row.training = Some(training_account(&placed, &row.taps, self.grad)?);
                    }
                    rows.push(row);
                }
                // Of all schemes, those that this trunk has no place for are told and left out.
                Err(AccountError::Scheme(e @ SchemeError::Sites { .. })) if all => left_out.push(e),
                Err(e) => return Err(e.into()),
            }
        }
        if rows.is_empty()
            && let Some(why) = left_out.pop()
        {
            return Err(why.into());
        }
        if let Some(path) = &self.trace {
            self.write_trace(path, &trunk, &system)?;
        }
        let values: Vec<_> = rows.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let mut overview = accounts(&rows);
        for why in left_out {
            match self.output.format {
                Format::Table | Format::Md => overview.note(format!("left out: {why}")),
                // These have no place for it.
                Format::Csv | Format::Json => eprintln!("note: left out: {why}"),
            }
        }
        let mut sections = vec![overview];
        sections.extend(self.train.then(|| report::training::overview(&rows)));
        if let [one] = &rows[..] {
            sections.extend(account_sections(one));
        }
        self.output.write(&sections, &json!(values), &values)
    }

    fn write_trace(&self, path: &Path, trunk: &Trunk, system: &System) -> Result<(), Failure> {
        let [scheme] = &schemes(&self.scheme)[..] else {
            return Err(Failure::Usage("a timeline is of one scheme: name it with --scheme".into()));
        };
        let request =
            Request { scheme: scheme.clone(), sites: self.sites.clone(), batch_norm: self.batch_norm, seed: 0 };
        let trace = trace(trunk, &request, system, self.tap_bits, self.trace_images)?;
        let text = match path.extension().and_then(|end| end.to_str()) {
            Some("json") => serde_json::to_string(&perfetto(&trace))?,
            Some("vcd") => vcd(&trace),
            _ => return Err(Failure::Usage(format!("'{}' ends neither in .json nor in .vcd", path.display()))),
        };
        output::write_whole(path, text.as_bytes())
    }

    fn paper(&self, table: &Table) -> Result<(), Failure> {
        let values: Vec<_> = table.cells.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let count = |m: Match| table.cells.iter().filter(|c| c.agreement == m).count();
        let mut section = Section::new(table.title, &["row", "column", "printed", "computed", "match", "unfiltered"]);
        for cell in &table.cells {
            let how = serde_json::to_value(cell.agreement)?;
            section.row([
                cell.row.clone(),
                cell.column.clone(),
                cell.printed.clone(),
                if cell.computed.is_null() { String::new() } else { cell.computed.to_string() },
                how.as_str().unwrap_or_default().into(),
                cell.unfiltered.map_or(String::new(), |n| n.to_string()),
            ]);
        }
        let (rounds, truncates, within) = (count(Match::Rounds), count(Match::Truncates), count(Match::WithinRounding));
        let compared = rounds + truncates + within + count(Match::Differs);
        if compared > 0 {
            section.note(format!(
                "{rounds} of {compared} cells by rounding, {} by rounding or truncation",
                rounds + truncates
            ));
        }
        if within > 0 {
            section.note(format!("{within} more within what the rounding of printed inputs allows"));
        }
        let others = table.cells.len() - compared;
        if others > 0 {
            section.note(format!(
                "{} more are not counted, {} not printed",
                count(Match::NotCounted),
                count(Match::NotPrinted)
            ));
        }
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
