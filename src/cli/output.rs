//! Where a report goes and in which form.

use super::Failure;
use crate::door;
use crate::report::render::{self, Section};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned text.
    #[value(alias = "text")]
    Table,
    /// Markdown.
    #[value(alias = "markdown")]
    Md,
    /// One line per report, nested keys joined by dots, without the list of taps.
    Csv,
    /// Everything.
    Json,
}

#[derive(Args)]
pub struct Output {
    /// The form of the report
    #[arg(long, value_enum, default_value = "table", value_name = "FORM")]
    pub format: Format,
    /// Write the report to a file instead of standard output, whole or not at all
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl Output {
    /// Refuses a place that cannot be written, before any work is done.
    pub fn check(&self) -> Result<(), Failure> {
        self.out.as_deref().map_or(Ok(()), check)
    }

    /// Writes a report: `sections` for people, `json` for programs, `rows` of it for CSV.
    pub fn write(&self, sections: &[Section], json: &Value, rows: &[Value]) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => render::text(sections),
            Format::Md => render::markdown(sections),
            Format::Csv => render::csv(rows)?,
            Format::Json => serde_json::to_string_pretty(json)? + "\n",
        };
        write_text(self.out.as_deref(), &text)
    }
}

/// Writes a finished text to a file, or prints it.
pub fn write_text(out: Option<&Path>, text: &str) -> Result<(), Failure> {
    match out {
        Some(path) => write_whole(path, text.as_bytes()),
        None => print(text),
    }
}

/// Prints to standard output; a reader that has seen enough (`| head`) is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Failed(format!("cannot write to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

fn fault(path: &Path, why: impl std::fmt::Display) -> Failure {
    Failure::Failed(format!("cannot write '{}': {why}", path.display()))
}

/// The folder that holds a file, and the file's own name where `path` is a link to it.
fn place(path: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    let target = match path.canonicalize() {
        Ok(target) => target,
        // It is not there yet.
        Err(e) if e.kind() == ErrorKind::NotFound => path.into(),
        Err(e) => return Err(fault(path, e)),
    };
    let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if target.is_dir() || target.file_name().is_none() {
        return Err(fault(path, "it is a folder; name a file in it"));
    }
    if !folder.is_dir() {
        return Err(fault(path, format!("there is no folder '{}'", folder.display())));
    }
    Ok((folder.into(), target))
}

/// Whether a path is a device or a pipe, which cannot be replaced by a finished file.
fn is_stream(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir())
}

/// Finds out before the work whether its result can be written.
pub fn check(path: &Path) -> Result<(), Failure> {
    if is_stream(path) {
        return Ok(());
    }
    let (folder, _) = place(path)?;
    door::draft(&folder).map(drop).map_err(|e| fault(path, cause(&e)))
}

/// Writes a file under another name beside it and renames it when it is complete.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if is_stream(path) {
        return std::fs::write(path, bytes).map_err(|e| fault(path, e));
    }
    let (folder, target) = place(path)?;
    let mut file = door::draft(&folder).map_err(|e| fault(path, cause(&e)))?;
    file.write_all(bytes).map_err(|e| fault(path, cause(&e)))?;
    file.as_file().sync_all().map_err(|e| fault(path, e))?;
    file.persist(target).map_err(|e| fault(path, e.error))?;
    Ok(())
}

/// An error's kind in words, without the name of the draft, which nobody asked for.
fn cause(error: &std::io::Error) -> String {
    let mut text = error.to_string();
    if let Some(at) = text.find(" at path ") {
        text.truncate(at);
    }
    text
}
