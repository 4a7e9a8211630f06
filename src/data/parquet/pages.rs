//! The pages of a column, found by reading their headers alone: where the rows of each are, and whether
//! it claims a size that its bytes justify. The reader allocates what a header says before it looks at
//! a byte, so that headers are looked at first.
//!
//! Headers are Thrift's compact protocol, of which only sizes and counts are taken. Refused: pages
//! larger than their bytes can hold, with more values than the row group has rows, or beyond the file.

use crate::data::at::ReadAt;
use std::io::{Read, Seek, SeekFrom};

/// A page with values: those of rows `first..first + rows` of its row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub first: usize,
    pub rows: usize,
    /// In memory, its dictionary included.
    pub bytes: usize,
}

/// A header with its statistics is never longer.
const MAX_HEADER_BYTES: u64 = 16 << 20;
/// What a page may unfold to, whatever its bytes: pages of equal labels are small.
const SMALL_BYTES: u64 = 5 << 18;
/// Beyond that, for every byte that it has in the file.
const EXPANSION: u64 = 32;
/// Entries of a dictionary page.
const MAX_ENTRIES: u64 = 1 << 17;
const MAX_DEPTH: usize = 8;

const DATA: i64 = 0;
const DICTIONARY: i64 = 2;
const DATA_V2: i64 = 3;

/// The pages of a column chunk, which has one value for each of `rows` rows.
pub fn pages(file: &ReadAt, start: u64, length: u64, rows: usize) -> Result<Vec<Page>, String> {
    let end = start.checked_add(length).ok_or("a column beyond the end of the file")?;
    let (mut at, mut first, mut dictionary_bytes, mut found) = (start, 0, 0, vec![]);
    while at < end && first < rows {
        let mut file = file.clone();
        file.seek(SeekFrom::Start(at)).map_err(|e| e.to_string())?;
        let limit = (end - at).min(MAX_HEADER_BYTES);
        let mut header = Header::default();
        let mut thrift = Thrift { from: file.take(limit) };
        thrift.structure(&mut |path, value| header.take(path, value), &mut vec![])?;
        let header_bytes = limit - thrift.from.limit();
        let compressed = header.check(at)?;
        if header_bytes + compressed > end - at {
            return Err(format!("the page at {at} is longer than its column"));
        }
        at += header_bytes + compressed;
        let bytes = header.uncompressed as usize;
        match header.kind {
            DATA | DATA_V2 => {
                let rows_here = header.values as usize;
                if rows_here > rows - first {
                    return Err(format!("a page has {rows_here} values, its row group has {rows} rows"));
                }
                found.push(Page { first, rows: rows_here, bytes: bytes + dictionary_bytes });
                first += rows_here;
            }
            DICTIONARY => dictionary_bytes = bytes,
            _ => {}
        }
    }
    if first != rows {
        return Err(format!("its pages have {first} values, its row group has {rows} rows"));
    }
    // Pages without a value would be met for ever.
    found.retain(|page| page.rows > 0);
    Ok(found)
}

/// What matters of a page's header.
#[derive(Default)]
struct Header {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    values: i64,
}

impl Header {
    fn take(&mut self, path: &[i16], value: i64) {
        match path {
            [1] => self.kind = value,
            [2] => self.uncompressed = value,
            [3] => self.compressed = value,
            // The number of values comes first in the header of every kind of page.
            [5 | 7 | 8, 1] => self.values = value,
            _ => {}
        }
    }

    /// The bytes that follow the header.
    fn check(&self, at: u64) -> Result<u64, String> {
        let claims = |why: String| Err(format!("the page at {at} {why}"));
        let sizes = [self.compressed, self.uncompressed, self.values].map(u64::try_from);
        let [Ok(compressed), Ok(uncompressed), Ok(values)] = sizes else {
            return claims("claims a negative size".into());
        };
        if uncompressed > SMALL_BYTES.saturating_add(compressed.saturating_mul(EXPANSION)) {
            return claims(format!("claims {uncompressed} bytes, more than its {compressed} can hold"));
        }
        if self.kind == DICTIONARY && (values > MAX_ENTRIES || values > uncompressed) {
            return claims(format!("claims {values} entries in {uncompressed} bytes"));
        }
        Ok(compressed)
    }
}

/// Thrift's compact protocol, read as far as a structure goes.
struct Thrift<R> {
    from: R,
}

impl<R: Read> Thrift<R> {
    fn byte(&mut self) -> Result<u8, String> {
        let mut byte = [0];
        self.from.read_exact(&mut byte).map_err(|_| "a page's header is cut off")?;
        Ok(byte[0])
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a page's header has a number that does not end".into())
    }

    fn integer(&mut self) -> Result<i64, String> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Tells `take` of every whole number by the field numbers that lead to it.
    fn structure(&mut self, take: &mut dyn FnMut(&[i16], i64), path: &mut Vec<i16>) -> Result<(), String> {
        if path.len() > MAX_DEPTH {
            return Err("a page's header is nested too deep".into());
        }
        path.push(0);
        loop {
            let head = self.byte()?;
            if head == 0 {
                path.pop();
                return Ok(());
            }
            let field = match head >> 4 {
                0 => self.integer()? as i16,
                step => path[path.len() - 1].wrapping_add(i16::from(step)),
            };
            *path.last_mut().expect("just pushed") = field;
            self.value(head & 15, take, path)?;
        }
    }

    fn value(&mut self, kind: u8, take: &mut dyn FnMut(&[i16], i64), path: &mut Vec<i16>) -> Result<(), String> {
        match kind {
            // A truth value is its type.
            1 | 2 => Ok(()),
            3 => self.byte().map(drop),
            4..=6 => {
                let value = self.integer()?;
                take(path, value);
                Ok(())
            }
            7 => self.skip(8),
            8 => {
                let length = self.varint()?;
                self.skip(length)
            }
            12 => self.structure(take, path),
            // Page headers have no lists: what has one is something else.
            other => Err(format!("a page's header has a field of type {other}")),
        }
    }

    fn skip(&mut self, count: u64) -> Result<(), String> {
        let skipped = std::io::copy(&mut (&mut self.from).take(count), &mut std::io::sink());
        match skipped {
            Ok(n) if n == count => Ok(()),
            _ => Err("a page's header is cut off".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// A data page's header: 3 values, of these sizes.
    fn header(uncompressed: u8, compressed: u8) -> Vec<u8> {
        // Fields 1 to 3 and 5 are i32, i32, i32 and a structure whose field 1 is an i32.
        vec![0x15, 0, 0x15, uncompressed, 0x15, compressed, 0x2c, 0x15, 6, 0, 0]
    }

    fn found(bytes: &[u8], rows: usize) -> Result<Vec<Page>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        pages(&ReadAt::open(file.path()).unwrap(), 0, bytes.len() as u64, rows)
    }

    #[test]
    fn pages_are_found_one_after_another() {
        // 4 bytes each: zigzag doubles them.
        let page = [header(8, 8), vec![9; 4]].concat();
        let both = [page.clone(), page.clone()].concat();
        let [a, b] = [0, 3].map(|first| Page { first, rows: 3, bytes: 4 });
        assert_eq!(found(&both, 6).unwrap(), [a, b]);
        assert!(found(&both, 7).unwrap_err().contains("6 values, its row group has 7 rows"));
        assert!(found(&page, 2).unwrap_err().contains("a page has 3 values"));
        assert!(found(&page[..12], 3).unwrap_err().contains("longer than its column"));
        assert!(found(&page[..7], 3).unwrap_err().contains("cut off"));
        // -1, then 20 bytes that do not follow.
        assert!(found(&header(1, 8), 3).unwrap_err().contains("negative"));
    }

    #[test]
    fn a_page_cannot_claim_what_its_bytes_do_not_hold() {
        // 2,000,000 as a zigzag number.
        let mut claim = vec![0x15, 0, 0x15, 0x80, 0x92, 0xf4, 0x01, 0x15, 8, 0x2c, 0x15, 6, 0, 0];
        claim.extend([0; 4]);
        assert!(found(&claim, 3).unwrap_err().contains("claims 2000000 bytes"), "{:?}", found(&claim, 3));
    }
}
