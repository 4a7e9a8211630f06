//! `points.parquet`: the columns of `points.csv` with their types, every one optional.

use super::columns::{self, Column, Of};
use super::{Records, fault};
use crate::experiment::sweep::SweepError;
use crate::experiment::sweep::record::Record;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Rows that are in memory together.
const ROWS_OF_A_GROUP: usize = 8192;

/// Writes records; those of a group are held, the others were written or are yet to be read.
pub fn write(
    to: &mut dyn Write,
    path: &Path,
    mut records: impl Iterator<Item = Result<Record, SweepError>>,
) -> Result<(), SweepError> {
    let told = |e: ParquetError| fault(path)(e.to_string());
    let schema = Arc::new(parse_message_type(&schema()).map_err(told)?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    // The writer wants to own what it can send to other threads.
    let mut bytes = SerializedFileWriter::new(Vec::new(), schema, properties).map_err(told)?;
    loop {
        let group = group(&mut records)?;
        if group.is_empty() {
            break;
        }
        let mut rows = bytes.next_row_group().map_err(told)?;
        columns::all().try_for_each(|column| one(&mut rows, column, &group)).map_err(told)?;
        rows.close().map_err(told)?;
        let done = std::mem::take(bytes.inner_mut());
        to.write_all(&done).map_err(|e| fault(path)(e.to_string()))?;
    }
    let end = bytes.into_inner().map_err(told)?;
    to.write_all(&end).map_err(|e| fault(path)(e.to_string()))
}

fn group(records: Records) -> Result<Vec<Record>, SweepError> {
    records.take(ROWS_OF_A_GROUP).collect()
}

fn schema() -> String {
    let fields = columns::all().map(|column| {
        let name = column.name;
        match column.of {
            Of::Text(_) => format!("OPTIONAL BYTE_ARRAY {name} (UTF8);"),
            Of::Int(_) => format!("OPTIONAL INT64 {name} (INTEGER(64,false));"),
            Of::Float(_) => format!("OPTIONAL DOUBLE {name};"),
            Of::Flag(_) => format!("OPTIONAL BOOLEAN {name};"),
        }
    });
    format!("message points {{ {} }}", fields.collect::<Vec<_>>().join(" "))
}

type Rows<'a> = SerializedRowGroupWriter<'a, Vec<u8>>;

/// One column of a group.
fn one(rows: &mut Rows, column: &Column, group: &[Record]) -> Result<(), ParquetError> {
    let Some(mut to) = rows.next_column()? else {
        return Err(ParquetError::General("the schema has fewer columns than there are".into()));
    };
    match column.of {
        Of::Text(of) => {
            put::<ByteArrayType>(&mut to, group.iter().map(|r| of(r).map(|t| ByteArray::from(t.as_str()))))?
        }
        // The field is unsigned: the same bits.
        Of::Int(of) => put::<Int64Type>(&mut to, group.iter().map(|r| of(r).map(|n| n as i64)))?,
        Of::Float(of) => put::<DoubleType>(&mut to, group.iter().map(of))?,
        Of::Flag(of) => put::<BoolType>(&mut to, group.iter().map(of))?,
    }
    to.close()
}

fn put<T: DataType>(
    to: &mut SerializedColumnWriter,
    values: impl Iterator<Item = Option<T::T>>,
) -> Result<(), ParquetError> {
    let (mut there, mut levels) = (Vec::new(), Vec::new());
    for value in values {
        levels.push(i16::from(value.is_some()));
        there.extend(value);
    }
    to.typed::<T>().write_batch(&there, Some(&levels), None).map(drop)
}
