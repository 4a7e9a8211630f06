//! Sections of named columns as aligned text or Markdown, and JSON rows as CSV.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle, presets};
use serde_json::Value;

/// A titled table of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Said below the table.
    pub notes: Vec<String>,
}

impl Section {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|c| (*c).to_string()).collect();
        Self { title: title.into(), columns, rows: vec![], notes: vec![] }
    }

    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Whether a column holds numbers, which are set flush right.
    fn is_numeric(&self, column: usize) -> bool {
        let number =
            |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit() || "-≥?".contains(c)) && !cell.contains('x');
        !self.rows.is_empty() && self.rows.iter().filter_map(|r| r.get(column)).all(number)
    }

    fn table(&self, style: TableStyle) -> Table {
        let mut table = Table::new();
        table.load_style(style).set_header(self.columns.clone()).add_rows(self.rows.clone());
        for (i, column) in table.column_iter_mut().enumerate() {
            if self.is_numeric(i) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn text(&self, style: TableStyle, heading: &str) -> String {
        let mut text = format!("{heading}{}\n", self.title);
        if !self.columns.is_empty() {
            let table = self.table(style);
            text += &format!("\n{}\n", if heading.is_empty() { table.trim_fmt() } else { table.to_string() });
        }
        if !self.notes.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text += &format!("{}{note}\n", if heading.is_empty() { "  " } else { "- " });
        }
        text
    }
}

/// Columns under a rule.
const PLAIN: TableStyle = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Sections as aligned text for a terminal.
pub fn text(sections: &[Section]) -> String {
    sections.iter().map(|s| s.text(PLAIN, "")).collect::<Vec<_>>().join("\n")
}

/// Sections as Markdown.
pub fn markdown(sections: &[Section]) -> String {
    sections.iter().map(|s| s.text(presets::ASCII_MARKDOWN, "## ")).collect::<Vec<_>>().join("\n")
}

/// Digits in groups of three.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// JSON objects as CSV, nested keys joined by dots. A list of plain values becomes one cell; lists
/// of objects (taps) have no place in a line and are left out.
pub fn csv(rows: &[Value]) -> Result<String, csv::Error> {
    let flat: Vec<Vec<(String, String)>> = rows.iter().map(|row| flatten("", row)).collect();
    let mut columns: Vec<String> = Vec::new();
    for (key, _) in flat.iter().flatten() {
        if !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&columns)?;
    for row in &flat {
        writer.write_record(columns.iter().map(|c| row.iter().find(|(k, _)| k == c).map_or("", |(_, v)| v)))?;
    }
    let bytes = writer.into_inner().map_err(|e| e.into_error())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn flatten(prefix: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, v)| flatten(&if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") }, v))
            .collect(),
        Value::Array(items) if items.iter().any(Value::is_object) => vec![],
        Value::Array(items) => {
            let cells: Vec<String> = items.iter().map(plain).collect();
            vec![(prefix.into(), cells.join("; "))]
        }
        other => vec![(prefix.into(), plain(other))],
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn csv_joins_nested_keys_and_quotes() {
        let rows = [
            json!({"a": {"b": 1, "c": "x,y"}, "taps": [{"n": 1}], "u": ["p", "q"]}),
            json!({"a": {"b": 2}, "d": null}),
        ];
        assert_eq!(csv(&rows).unwrap(), "a.b,a.c,u,d\n1,\"x,y\",p; q,\n2,,,\n");
    }

    #[test]
    fn markdown_and_text_have_title_table_and_notes() {
        let mut s = Section::new("MACs", &["where", "per image"]);
        s.row(["trunk", "1,234"]);
        s.note("counted by the conv rule");
        assert!(markdown(&[s.clone()]).contains("| where | per image |"));
        assert!(text(&[s]).contains("counted by the conv rule"));
    }
}
