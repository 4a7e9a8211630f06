//! One parquet file: its column of images, read a page at a time from any thread, and its labels.
//!
//! The crate that reads pages is fed from places of its own in the file, and only after the sizes in
//! the pages' headers were checked. Should it panic all the same, that is an error like any other.

use super::pages::{Page, pages};
use crate::data::at::ReadAt;
use ::parquet::basic::Type;
use ::parquet::column::reader::{ColumnReaderImpl, get_typed_column_reader};
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use ::parquet::errors::{ParquetError, Result as ParquetResult};
use ::parquet::file::metadata::RowGroupMetaData;
use ::parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Pages that are held decoded, beside the one that was read last.
const HELD_BYTES: usize = 64 << 20;

/// Names that columns of images have: whole, or as a structure with the field `bytes`.
const IMAGES: [&str; 7] = ["image", "img", "images", "picture", "pixel_values", "jpg", "png"];
const LABELS: [&str; 8] = ["label", "labels", "fine_label", "class", "target", "category", "character", "digit"];

/// The file's own class names are in this entry of its metadata.
const HUGGING_FACE: &str = "huggingface";

pub struct File {
    reader: SerializedFileReader<At>,
    /// The leaf columns.
    images: usize,
    labels: Option<usize>,
    /// Pages of images, in the order of their rows.
    blocks: Vec<Block>,
    rows: usize,
    held: Mutex<VecDeque<(usize, Held)>>,
}

/// The images of a page; a row may have none.
type Held = Arc<Vec<Option<ByteArray>>>;

/// A page of images, and where its rows begin among all of the file.
struct Block {
    group: usize,
    page: Page,
    first: usize,
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    Number(i64),
    Name(String),
}

impl File {
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = ReadAt::open(path).map_err(|e| e.to_string())?;
        guarded(|| Self::of(file))
    }

    fn of(file: ReadAt) -> Result<Self, String> {
        let length = file.length();
        let reader = SerializedFileReader::new(At(file.clone())).map_err(|e| e.to_string())?;
        let (images, labels) = columns(&reader)?;
        let (mut blocks, mut rows) = (vec![], 0);
        for (group, meta) in reader.metadata().row_groups().iter().enumerate() {
            // An image has a byte at least; what has fewer would only take memory.
            let here = usize::try_from(meta.num_rows()).ok().filter(|&n| ((rows + n) as u64) < length);
            let here = here.ok_or_else(|| format!("claims {} rows in {length} bytes", meta.num_rows()))?;
            let found = column_pages(&file, meta, images, here)?;
            blocks.extend(found.into_iter().map(|page| Block { group, page, first: rows + page.first }));
            if let Some(labels) = labels {
                column_pages(&file, meta, labels, here)?;
            }
            rows += here;
        }
        Ok(Self { reader, images, labels, blocks, rows, held: Mutex::default() })
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The bytes of the image in a row.
    pub fn image(&self, row: usize) -> Result<ByteArray, String> {
        let at = self.blocks.partition_point(|block| block.first <= row) - 1;
        let values = match self.held_block(at) {
            Some(values) => values,
            None => self.read_block(at)?,
        };
        let value = values.get(row - self.blocks[at].first).cloned().flatten();
        value.ok_or_else(|| "there is no image".into())
    }

    fn held_block(&self, at: usize) -> Option<Held> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|(block, _)| *block == at).map(|(_, values)| values.clone())
    }

    /// Decodes a page, and holds it until later ones need its room.
    fn read_block(&self, at: usize) -> Result<Held, String> {
        let Block { group, page, .. } = self.blocks[at];
        let values = guarded(|| self.values::<ByteArrayType>(group, self.images, page.first, page.rows))?;
        let values: Held = Arc::new(values);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push_back((at, values.clone()));
        let bytes =
            |held: &VecDeque<(usize, Held)>| held.iter().map(|(b, _)| self.blocks[*b].page.bytes).sum::<usize>();
        while held.len() > 1 && bytes(&held) > HELD_BYTES {
            held.pop_front();
        }
        Ok(values)
    }

    /// Every row's label, if the file has such a column.
    pub fn labels(&self) -> Result<Option<Vec<Option<Label>>>, String> {
        let Some(column) = self.labels else { return Ok(None) };
        let groups = self.reader.metadata().row_groups().iter().enumerate();
        let mut labels = Vec::with_capacity(self.rows);
        for (group, meta) in groups {
            let rows = usize::try_from(meta.num_rows()).unwrap_or(0);
            labels.extend(guarded(|| self.group_labels(group, column, rows))?);
        }
        Ok(Some(labels))
    }

    fn group_labels(&self, group: usize, column: usize, rows: usize) -> Result<Vec<Option<Label>>, String> {
        fn of<T>(values: Vec<Option<T>>, read: impl Fn(T) -> Label) -> Vec<Option<Label>> {
            values.into_iter().map(|value| value.map(&read)).collect()
        }
        let name = |bytes: ByteArray| Label::Name(String::from_utf8_lossy(bytes.data()).into_owned());
        let schema = self.reader.metadata().file_metadata().schema_descr();
        match schema.column(column).physical_type() {
            Type::INT32 => Ok(of(self.values::<Int32Type>(group, column, 0, rows)?, |n| Label::Number(n.into()))),
            Type::INT64 => Ok(of(self.values::<Int64Type>(group, column, 0, rows)?, Label::Number)),
            Type::BYTE_ARRAY => Ok(of(self.values::<ByteArrayType>(group, column, 0, rows)?, name)),
            other => Err(format!("its labels are {other}; whole numbers and text are read")),
        }
    }

    /// Some values of a column, `None` where there is none.
    fn values<T: DataType>(
        &self,
        group: usize,
        column: usize,
        first: usize,
        rows: usize,
    ) -> Result<Vec<Option<T::T>>, String> {
        let read = || -> ParquetResult<Vec<Option<T::T>>> {
            let reader = self.reader.get_row_group(group)?.get_column_reader(column)?;
            let mut reader: ColumnReaderImpl<T> = get_typed_column_reader(reader);
            let (mut values, mut levels) = (vec![], vec![]);
            let skipped = reader.skip_records(first)?;
            let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values)?;
            if (skipped, read) != (first, rows) {
                return Err(ParquetError::General(format!("has {read} values where {rows} should be")));
            }
            let whole = self.reader.metadata().file_metadata().schema_descr().column(column).max_def_level();
            if whole == 0 {
                return Ok(values.into_iter().map(Some).collect());
            }
            let mut values = values.into_iter();
            Ok(levels.into_iter().map(|level| if level == whole { values.next() } else { None }).collect())
        };
        read().map_err(|e| e.to_string())
    }

    /// The class names that the file itself gives its labels, as the `datasets` library writes them.
    pub fn class_names(&self) -> Option<Vec<String>> {
        let meta = self.reader.metadata().file_metadata();
        let column = meta.schema_descr().column(self.labels?).name().to_string();
        let entry = meta.key_value_metadata()?.iter().find(|entry| entry.key == HUGGING_FACE)?;
        let info: serde_json::Value = serde_json::from_str(entry.value.as_deref()?).ok()?;
        let names = info["info"]["features"][column]["names"].as_array()?;
        names.iter().map(|name| name.as_str().map(String::from)).collect()
    }
}

/// The columns of images and of labels.
fn columns(reader: &SerializedFileReader<At>) -> Result<(usize, Option<usize>), String> {
    let schema = reader.metadata().file_metadata().schema_descr();
    let leaves: Vec<(usize, Vec<&str>)> =
        schema.columns().iter().map(|c| c.path().parts().iter().map(String::as_str).collect()).enumerate().collect();
    let flat = |column: usize| schema.column(column).max_rep_level() == 0;
    let is_bytes = |column: usize| flat(column) && schema.column(column).physical_type() == Type::BYTE_ARRAY;
    let named = |names: &[&str], path: &[&str]| names.iter().position(|name| path.first() == Some(name));
    // By the order of the names, so that `image` goes before `png`.
    let image = leaves
        .iter()
        .filter(|(column, path)| is_bytes(*column) && (path.len() == 1 || (path.len() == 2 && path[1] == "bytes")));
    let image = image.filter_map(|(column, path)| Some((named(&IMAGES, path)?, *column))).min();
    let label = leaves.iter().filter(|(column, path)| flat(*column) && path.len() == 1);
    let label = label.filter_map(|(column, path)| Some((named(&LABELS, path)?, *column))).min();
    let all = || leaves.iter().map(|(_, path)| path.join(".")).collect::<Vec<_>>().join(", ");
    let none = || {
        format!("has no column of images ({} as bytes, or with a field 'bytes'); it has {}", IMAGES.join(", "), all())
    };
    Ok((image.ok_or_else(none)?.1, label.map(|(_, column)| column)))
}

/// The pages of a column of a row group.
fn column_pages(file: &ReadAt, group: &RowGroupMetaData, column: usize, rows: usize) -> Result<Vec<Page>, String> {
    let chunk = group.columns().get(column).ok_or("a row group lacks a column")?;
    let start = chunk.dictionary_page_offset().unwrap_or(chunk.data_page_offset());
    let range = [start, chunk.data_page_offset(), chunk.compressed_size()].map(u64::try_from);
    let [Ok(start), Ok(_), Ok(length)] = range else { return Err("a column has a negative place".into()) };
    if start.checked_add(length).is_none_or(|end| end > file.length()) {
        return Err("a column is beyond the end of the file".into());
    }
    pages(file, start, length, rows)
}

/// Sizes are checked before the reader is let at them; should something be left that makes it panic,
/// the file is at fault and not the program.
fn guarded<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("is damaged: its reader gave up".into()))
}

/// The file for the reader: every read goes to a place of its own.
struct At(ReadAt);

impl Length for At {
    fn len(&self) -> u64 {
        self.0.length()
    }
}

impl ChunkReader for At {
    type T = ReadAt;

    fn get_read(&self, start: u64) -> ParquetResult<ReadAt> {
        let mut file = self.0.clone();
        file.seek(SeekFrom::Start(start))?;
        Ok(file)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // Nothing is allocated for bytes that are not there.
        if start.checked_add(length as u64).is_none_or(|end| end > self.0.length()) {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} are beyond the end of the file")));
        }
        let mut bytes = Vec::with_capacity(length);
        self.get_read(start)?.take(length as u64).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }
}
