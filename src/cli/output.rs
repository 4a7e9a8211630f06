//! Where a report goes and in which form.

use super::Failure;
use crate::report::render::{self, Section};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned text.
    Table,
    /// Markdown.
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
    /// Writes a report: `sections` for people, `json` for programs, `rows` of it for CSV.
    pub fn write(&self, sections: &[Section], json: &Value, rows: &[Value]) -> Result<(), Failure> {
        let text = match self.format {
            Format::Table => render::text(sections),
            Format::Md => render::markdown(sections),
            Format::Csv => render::csv(rows)?,
            Format::Json => serde_json::to_string_pretty(json)? + "\n",
        };
        match &self.out {
            Some(path) => write_whole(path, text.as_bytes()),
            None => print(&text),
        }
    }
}

/// Prints to standard output; a reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Writes a file under another name beside it and renames it when it is complete.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let fault = |e: std::io::Error| Failure::Failed(format!("cannot write '{}': {e}", path.display()));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fault)?;
    file.write_all(bytes).map_err(fault)?;
    file.as_file().sync_all().map_err(fault)?;
    // A temporary file is private to its owner; a report is as readable as any other file.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(fault)?;
    }
    file.persist(path).map_err(|e| fault(e.error))?;
    Ok(())
}
