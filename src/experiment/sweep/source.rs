//! The text of a sweep file, and where in it something is wrong.

use super::error::SweepError;
use crate::door::open_file;
use crate::experiment::train::file::{FileError, shown};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// A grid that somebody wrote; a larger file is something else.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A file as it was read.
#[derive(Clone, Debug)]
pub struct Source {
    /// What errors call it.
    pub label: String,
    pub text: String,
}

impl Source {
    pub fn read(path: &Path) -> Result<Self, SweepError> {
        let fault = FileError::reading(path);
        let (file, size_bytes) = open_file(path).map_err(&fault)?;
        if size_bytes > MAX_FILE_BYTES {
            let why = format!("has {size_bytes} bytes; a sweep file has at most {MAX_FILE_BYTES}");
            return Err(FileError::malformed(path, "file", why).into());
        }
        let mut bytes = Vec::with_capacity(size_bytes as usize);
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(&fault)?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let place = format!("byte {}", e.utf8_error().valid_up_to());
            FileError::malformed(path, place, "is not UTF-8; a sweep file is TOML text")
        })?;
        Ok(Self { label: path.display().to_string(), text })
    }

    /// What stands at `span` under `key` is wrong, and what would be right.
    pub fn wrong(&self, span: Range<usize>, key: &str, wrong: impl ToString, right: impl ToString) -> SweepError {
        let (line, column) = place(&self.text, span.start);
        SweepError::Wrong {
            file: self.label.clone(),
            line,
            column,
            key: key.into(),
            wrong: shown(&wrong.to_string()),
            right: right.to_string(),
        }
    }

    /// The reader's own complaint.
    pub fn syntax(&self, error: &toml::de::Error) -> SweepError {
        let span = error.span().unwrap_or(0..0);
        let message = error.message().replace('\n', " ");
        let right = "see `trunkline sweep --help` and examples/analytic_placements.toml";
        let key = self.text.get(span.clone()).map_or(String::new(), |t| t.lines().next().unwrap_or("").to_string());
        self.wrong(span, if key.is_empty() { "the file" } else { key.trim() }, message, right)
    }
}

/// Line and column, from 1, of a byte.
fn place(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_on_a_line_and_in_a_column() {
        assert_eq!((place("ab\ncd", 0), place("ab\ncd", 4), place("ä\n", 99)), ((1, 1), (2, 2), (2, 1)));
        assert_eq!(place("ä", 1), (1, 1), "never within a character");
    }
}
