//! TensorBoard event files: scalars by step, written and continued.
//!
//! A record is its length, the length's checksum, the payload and the payload's checksum; checksums
//! are CRC-32C, masked. Wall times are the only thing that two runs of the same training do not share.

use super::file::FileError;
use prost::Message;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// TensorBoard looks for `tfevents` in a name.
pub const NAME: &str = "events.out.tfevents.trunkline";
/// Larger than any record of scalars.
const MAX_RECORD_BYTES: u64 = 1 << 24;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// An event file that grows.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    pub fn create(path: &Path) -> Result<Self, FileError> {
        let file = File::create_new(path).map_err(FileError::writing(path))?;
        let mut events = Self { path: path.into(), file };
        let version = Some("brain.Event:2".into());
        events.append(&Event { wall_time: now(), file_version: version, ..Event::default() })?;
        Ok(events)
    }

    /// Opens a file to go on after its first `count` events of scalars; what follows is dropped.
    pub fn reopen(path: &Path, count: u64) -> Result<Self, FileError> {
        let file = OpenOptions::new().read(true).append(true).open(path).map_err(FileError::writing(path))?;
        // The version is an event too.
        let end = end_of(&file, count.saturating_add(1), path)?;
        file.set_len(end).map_err(FileError::writing(path))?;
        Ok(Self { path: path.into(), file })
    }

    /// Appends one event with these scalars.
    pub fn scalars(&mut self, step: u64, scalars: impl IntoIterator<Item = (String, f64)>) -> Result<(), FileError> {
        let value = |(tag, value)| Value { tag, simple_value: Some(value as f32) };
        let summary = Summary { value: scalars.into_iter().map(value).collect() };
        self.append(&Event { wall_time: now(), step: step as i64, summary: Some(summary), ..Event::default() })
    }

    fn append(&mut self, event: &Event) -> Result<(), FileError> {
        self.file.write_all(&record(&event.encode_to_vec())).map_err(FileError::writing(&self.path))
    }

    /// Waits until the disk has it.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_data().map_err(FileError::writing(&self.path))
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |passed| passed.as_secs_f64())
}

fn record(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked(crc32c(bytes)).to_le_bytes();
    [&length[..], &checksum(&length), payload, &checksum(payload)].concat()
}

/// Where the first `count` records end.
fn end_of(file: &File, count: u64, path: &Path) -> Result<u64, FileError> {
    let mut reader = BufReader::new(file);
    let mut end = 0;
    for done in 0..count {
        let payload = next_record(&mut reader).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => {
                let why = format!("is cut or changed: {e}; the checkpoint counts {count} whole records");
                FileError::malformed(path, format!("record {done}"), why)
            }
            _ => FileError::reading(path)(e),
        })?;
        end += payload.len() as u64 + 16;
    }
    Ok(end)
}

fn next_record(reader: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let wrong = |what: &str| std::io::Error::new(ErrorKind::InvalidData, what);
    let (mut length, mut checksum) = ([0; 8], [0; 4]);
    reader.read_exact(&mut length)?;
    reader.read_exact(&mut checksum)?;
    if u32::from_le_bytes(checksum) != masked(crc32c(&length)) {
        return Err(wrong("the checksum of its length is another"));
    }
    let bytes = u64::from_le_bytes(length);
    if bytes > MAX_RECORD_BYTES {
        return Err(wrong("it is longer than any record of scalars"));
    }
    let mut payload = vec![0; bytes as usize];
    reader.read_exact(&mut payload)?;
    reader.read_exact(&mut checksum)?;
    if u32::from_le_bytes(checksum) != masked(crc32c(&payload)) {
        return Err(wrong("its checksum is another"));
    }
    Ok(payload)
}

/// CRC-32C (Castagnoli), bit by bit: event files are small.
fn crc32c(bytes: &[u8]) -> u32 {
    const REFLECTED: u32 = 0x82f6_3b78;
    let shift = |crc: u32, _| (crc >> 1) ^ (REFLECTED & (crc & 1).wrapping_neg());
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}

/// A checksum of bytes that hold checksums would be a weak one, so the format turns it.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
    #[test]
    fn known_answers() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
        // The first twelve bytes of every event file that TensorFlow writes: a record of 24 bytes.
        assert_eq!(masked(crc32c(&24u64.to_le_bytes())).to_le_bytes(), [0xa3, 0x7f, 0x4b, 0x22]);
    }

    /// Reads the protobuf fields of a message by hand: (number, wire type, bytes).
    fn fields(mut bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
        let mut found = vec![];
        while let [key, rest @ ..] = bytes {
            let (number, wire) = (key >> 3, key & 7);
            let (skip, length) = match wire {
                0 => (0, rest.iter().position(|b| b & 0x80 == 0).unwrap() + 1),
                1 => (0, 8),
                5 => (0, 4),
                2 => (1, usize::from(rest[0])),
                _ => panic!("wire type {wire}"),
            };
            found.push((number, wire, rest[skip..skip + length].to_vec()));
            bytes = &rest[skip + length..];
        }
        found
    }

    #[test]
    fn events_are_what_the_format_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut events = EventFile::create(&path).unwrap();
        events.scalars(7, [("lr".to_string(), 0.5), ("val/acc".to_string(), 0.25)]).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let first = 12 + usize::from(bytes[0]) + 4;
        let second = &bytes[first..];
        assert_eq!(fields(&bytes[12..first - 4])[1], (3, 2, b"brain.Event:2".to_vec()));
        assert_eq!(usize::from(second[0]), second.len() - 16);
        let event = fields(&second[12..second.len() - 4]);
        assert_eq!(event.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), [(1, 1), (2, 0), (5, 2)]);
        assert_eq!(event[1].2, [7]);
        let values = fields(&event[2].2);
        for ((_, _, value), (tag, number)) in values.iter().zip([("lr", 0.5f32), ("val/acc", 0.25)]) {
            assert_eq!(fields(value), [(1, 2, tag.as_bytes().to_vec()), (2, 5, number.to_le_bytes().to_vec())]);
        }
        assert_eq!(values.len(), 2);
    }

    #[test]
    fn what_follows_a_checkpoint_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut events = EventFile::create(&path).unwrap();
        let mut sizes = vec![];
        for step in 0..3 {
            events.scalars(step, [("lr".to_string(), 0.5)]).unwrap();
            sizes.push(std::fs::metadata(&path).unwrap().len());
        }
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[1, 2, 3]).unwrap();
        EventFile::reopen(&path, 2).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), sizes[1]);
        let refusal = EventFile::reopen(&path, 3).unwrap_err().to_string();
        assert!(refusal.contains("record 3") && refusal.contains("is cut"), "{refusal}");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(EventFile::reopen(&path, 2).unwrap_err().to_string().contains("record 0"));
    }
}
