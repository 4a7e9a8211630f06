//! `trunkline validate`.

use super::Failure;
use super::output::Output;
use crate::experiment::validate::{NOT_MODELLED, Point, Verdict, carried, shared};
use crate::report::validation::{not_modelled, points};
use clap::Args;
use serde_json::json;
use std::path::PathBuf;

#[derive(Args)]
pub struct Validate {
    /// Folder of published tables, with `hardware/` and `reference/` in it [default: ../shared where it is]
    #[arg(long, value_name = "FOLDER")]
    tables: Option<PathBuf>,
    /// Only the points that stand in the hardware models
    #[arg(long, conflicts_with = "tables")]
    carried: bool,
    #[command(flatten)]
    output: Output,
}

impl Validate {
    pub fn execute(&self) -> Result<(), Failure> {
        self.output.check()?;
        let of_models = carried()?;
        let of_tables = self.tables()?;
        let mut sections = vec![points("Points that the hardware models carry", &of_models)];
        if let Some(of_tables) = &of_tables {
            sections.push(points("Points of published tables", of_tables));
        }
        sections.push(not_modelled());
        let all: Vec<&Point> = of_models.iter().chain(of_tables.iter().flatten()).collect();
        let rows: Vec<_> = all.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let json = json!({ "schema": "trunkline/validate/1", "points": rows, "not_modelled": NOT_MODELLED });
        self.output.write(&sections, &json, &rows)?;
        if all.iter().any(|point| point.verdict == Verdict::Beyond) {
            return Err(Failure::Mismatch);
        }
        Ok(())
    }

    fn tables(&self) -> Result<Option<Vec<Point>>, Failure> {
        let beside = PathBuf::from("../shared");
        match &self.tables {
            Some(folder) => Ok(Some(shared(folder)?)),
            None if !self.carried && beside.join("hardware/validation").is_dir() => Ok(Some(shared(&beside)?)),
            None => Ok(None),
        }
    }
}
