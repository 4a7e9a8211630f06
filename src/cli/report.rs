//! `trunkline report`: runs and sweeps put together, as Markdown, one page of HTML, and figures.

use super::Failure;
use super::output::{check, write_text, write_whole};
use crate::experiment::findings;
use crate::report::page::{self, Page};
use crate::report::render;
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub struct Report {
    /// Folders of sweeps (or their points.jsonl) and of trainings; several are put together
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Write one page with tables and figures, which needs no network and nothing beside it
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Write every figure as SVG into a folder
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Rows of the comparison to draw with their taps and timelines [default: the best of each scheme]
    #[arg(long, value_name = "ROW[,ROW…]", value_delimiter = ',')]
    draw: Vec<usize>,
    /// Write the Markdown to a file instead of standard output, whole or not at all
    #[arg(long, value_name = "FILE.md")]
    out: Option<PathBuf>,
}

impl Report {
    pub fn execute(&self) -> Result<(), Failure> {
        for path in [&self.html, &self.out].into_iter().flatten() {
            check(path)?;
        }
        let findings = findings::read(&self.paths)?;
        let rows = findings.all.len();
        if let Some(row) = self.draw.iter().find(|row| !(1..=rows).contains(row)) {
            return Err(Failure::Usage(format!("--draw {row}: the comparison has rows 1 to {rows}")));
        }
        if self.html.is_some() || self.svg.is_some() {
            let page = Page::new(&findings, &self.draw);
            if let Some(folder) = &self.svg {
                std::fs::create_dir_all(folder)
                    .map_err(|e| Failure::Failed(format!("cannot make '{}': {e}", folder.display())))?;
                for figure in page.figures() {
                    write_whole(&folder.join(format!("{}.svg", figure.name)), figure.file().as_bytes())?;
                }
            }
            if let Some(path) = &self.html {
                write_whole(path, page.html().as_bytes())?;
            }
            // The page has the tables; who asked for it alone wants no others.
            if self.out.is_none() {
                return Ok(());
            }
        }
        write_text(self.out.as_deref(), &render::markdown(&page::sections(&findings)))
    }
}
