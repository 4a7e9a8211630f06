//! The metrics of a run, three times: `metrics.csv`, `metrics.jsonl` and a TensorBoard event file.
//!
//! Rows are appended whole. A resumed run first drops what it wrote after its checkpoint, so that the
//! files become those of a run that was never stopped (wall times of events apart).

use super::file::FileError;
use super::tensorboard::{self, EventFile};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

pub const CSV: &str = "metrics.csv";
pub const JSON_LINES: &str = "metrics.jsonl";

/// What is known after a step, or after an epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Steps done.
    pub step: u64,
    /// Counted from 1.
    pub epoch: u64,
    /// Mean over the step's images.
    #[serde(rename = "train/loss")]
    pub train_loss: Option<f64>,
    #[serde(rename = "train/acc")]
    pub train_accuracy: Option<f64>,
    /// Mean over the epoch's images, each before the step that it was part of.
    #[serde(rename = "train/epoch_loss")]
    pub epoch_loss: Option<f64>,
    #[serde(rename = "train/epoch_acc")]
    pub epoch_accuracy: Option<f64>,
    #[serde(rename = "val/loss")]
    pub validation_loss: Option<f64>,
    #[serde(rename = "val/acc")]
    pub validation_accuracy: Option<f64>,
    pub lr: Option<f64>,
    /// Payload from the trunk to the adapter device, over the step.
    #[serde(rename = "bus/bytes_down")]
    pub bytes_down: Option<u64>,
    /// Payload from the adapter device into the trunk, over the step.
    #[serde(rename = "bus/bytes_up")]
    pub bytes_up: Option<u64>,
    #[serde(rename = "energy/pJ_per_image")]
    pub energy_pj_per_image: Option<f64>,
    #[serde(rename = "mem/peak_bytes")]
    pub peak_bytes: Option<u64>,
    #[serde(rename = "quant/saturations")]
    pub saturations: Option<u64>,
    /// Of the above by node; in the JSON lines and the events.
    #[serde(skip)]
    pub saturations_by_node: Vec<(String, u64)>,
}

impl Row {
    /// Every column with its value, in the order in which they are declared.
    fn columns(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(columns)) => columns,
            _ => Map::new(),
        }
    }

    /// The columns that have a value.
    fn known(&self) -> Map<String, Value> {
        self.columns().into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    fn csv(&self) -> String {
        line(self.columns().values().map(|value| if value.is_null() { String::new() } else { value.to_string() }))
    }

    fn json_line(&self) -> String {
        let mut known = self.known();
        if !self.saturations_by_node.is_empty() {
            let by_node = self.saturations_by_node.iter().map(|(node, n)| (node.clone(), (*n).into())).collect();
            known.insert("quant/saturations_by_node".into(), Value::Object(by_node));
        }
        Value::Object(known).to_string() + "\n"
    }

    fn scalars(&self) -> impl Iterator<Item = (String, f64)> {
        let known = self.known().into_iter().filter(|(tag, _)| tag != "step");
        let by_node = self.saturations_by_node.iter();
        let by_node = by_node.map(|(node, n)| (format!("quant/saturations/{node}"), *n as f64));
        known.filter_map(|(tag, value)| Some((tag, value.as_f64()?))).chain(by_node)
    }
}

/// Column names and numbers need no quotes.
fn line(cells: impl Iterator<Item = String>) -> String {
    cells.collect::<Vec<_>>().join(",") + "\n"
}

/// A text file that grows by lines.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    fn create(path: PathBuf) -> Result<Self, FileError> {
        let file = File::create_new(&path).map_err(FileError::writing(&path))?;
        Ok(Self { path, file })
    }

    /// Opens a file to go on after its first `count` lines.
    fn reopen(path: PathBuf, count: u64) -> Result<Self, FileError> {
        let opened = OpenOptions::new().read(true).append(true).open(&path);
        let file = opened.map_err(FileError::writing(&path))?;
        let end = end_of_lines(&file, count).map_err(FileError::reading(&path))?;
        let end = end.ok_or_else(|| {
            FileError::malformed(&path, "lines", format!("there are fewer than the {count} that the checkpoint counts"))
        })?;
        file.set_len(end).map_err(FileError::writing(&path))?;
        Ok(Self { path, file })
    }

    fn append(&mut self, line: &str) -> Result<(), FileError> {
        self.file.write_all(line.as_bytes()).map_err(FileError::writing(&self.path))
    }
}

/// Where the first `count` lines end; nothing if there are fewer.
fn end_of_lines(file: &File, count: u64) -> std::io::Result<Option<u64>> {
    if count == 0 {
        return Ok(Some(0));
    }
    let mut left = count;
    for (at, byte) in BufReader::new(file).bytes().enumerate() {
        left -= u64::from(byte? == b'\n');
        if left == 0 {
            return Ok(Some(at as u64 + 1));
        }
    }
    Ok(None)
}

/// The three files.
#[derive(Debug)]
pub struct Metrics {
    csv: Lines,
    json_lines: Lines,
    events: EventFile,
    rows: u64,
}

impl Metrics {
    /// Begins the metrics of a run, or goes on after the first `rows`, which a checkpoint counts.
    pub fn open(folder: &Path, rows: u64) -> Result<Self, FileError> {
        let [csv, json_lines, events] = [CSV, JSON_LINES, tensorboard::NAME].map(|name| folder.join(name));
        if rows == 0 {
            // A run that was stopped before its first row has files, but nothing in them.
            for path in [&csv, &json_lines, &events] {
                remove(path)?;
            }
            let mut csv = Lines::create(csv)?;
            csv.append(&line(Row::default().columns().keys().cloned()))?;
            let (json_lines, events) = (Lines::create(json_lines)?, EventFile::create(&events)?);
            return Ok(Self { csv, json_lines, events, rows });
        }
        let csv = Lines::reopen(csv, rows.saturating_add(1))?;
        let (json_lines, events) = (Lines::reopen(json_lines, rows)?, EventFile::reopen(&events, rows)?);
        Ok(Self { csv, json_lines, events, rows })
    }

    /// Rows that there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn append(&mut self, row: &Row) -> Result<(), FileError> {
        self.csv.append(&row.csv())?;
        self.json_lines.append(&row.json_line())?;
        self.events.scalars(row.step, row.scalars())?;
        self.rows += 1;
        Ok(())
    }

    /// Waits until the disk has every row: a checkpoint counts them.
    pub fn sync(&self) -> Result<(), FileError> {
        for lines in [&self.csv, &self.json_lines] {
            lines.file.sync_data().map_err(FileError::writing(&lines.path))?;
        }
        self.events.sync()
    }
}

fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(FileError::writing(path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64) -> Row {
        Row {
            step,
            epoch: 1,
            train_loss: Some(0.5),
            lr: Some(0.1),
            bytes_up: Some(1 << 40),
            saturations: Some(3),
            saturations_by_node: vec![("join".into(), 3)],
            ..Row::default()
        }
    }

    #[test]
    fn rows_are_written_under_the_tags_that_users_know() {
        let folder = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(folder.path(), 0).unwrap();
        metrics.append(&step(1)).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let (csv, lines) = (read(CSV), read(JSON_LINES));
        let tags = "step,epoch,train/loss,train/acc,train/epoch_loss,train/epoch_acc,val/loss,val/acc,lr,\
                    bus/bytes_down,bus/bytes_up,energy/pJ_per_image,mem/peak_bytes,quant/saturations";
        assert_eq!(csv, format!("{tags}\n1,1,0.5,,,,,,0.1,,1099511627776,,,3\n"));
        assert_eq!(
            lines,
            "{\"step\":1,\"epoch\":1,\"train/loss\":0.5,\"lr\":0.1,\"bus/bytes_up\":1099511627776,\
             \"quant/saturations\":3,\"quant/saturations_by_node\":{\"join\":3}}\n"
        );
        let scalars: Vec<_> = step(1).scalars().map(|(tag, _)| tag).collect();
        assert_eq!(scalars.last().map(String::as_str), Some("quant/saturations/join"));
        assert!(!scalars.contains(&"step".to_string()) && scalars.contains(&"train/loss".to_string()));
    }

    #[test]
    fn rows_after_the_checkpoint_are_dropped() {
        let texts = |at: &Path| [CSV, JSON_LINES].map(|name| std::fs::read_to_string(at.join(name)).unwrap());
        let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut metrics = Metrics::open(whole.path(), 0).unwrap();
        (1..=4).for_each(|i| metrics.append(&step(i)).unwrap());
        let mut metrics = Metrics::open(stopped.path(), 0).unwrap();
        (1..=3).for_each(|i| metrics.append(&step(i)).unwrap());
        // Killed in the middle of a row.
        metrics.csv.append("4,1,0.").unwrap();
        let mut metrics = Metrics::open(stopped.path(), 2).unwrap();
        (3..=4).for_each(|i| metrics.append(&step(i)).unwrap());
        assert_eq!((texts(stopped.path()), metrics.rows()), (texts(whole.path()), 4));
        let refusal = Metrics::open(stopped.path(), 5).unwrap_err().to_string();
        assert!(refusal.contains(CSV) && refusal.contains("fewer than the 6"), "{refusal}");
        assert_eq!(Metrics::open(stopped.path(), 0).unwrap().rows(), 0);
        assert_eq!(texts(stopped.path())[1], "");
    }
}
