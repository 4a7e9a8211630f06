//! Arrays out of a numpy .npz archive: recorded inputs and outputs of models.
//!
//! Only what numpy itself writes for plain arrays is read: little-endian integers, floats and
//! unicode strings in C order. Pickled objects, records, big-endian data and column order are
//! refused. A member is decompressed as far as its header justifies and no further, whatever the
//! archive claims; the header is read by a scanner of its own, because a general reader of Python
//! literals has more depth than a door should offer.

use super::{Fault, ModelError, printable};
use crate::door::open_file;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;
use zip::result::ZipError;

/// Bytes of one array; recorded layers of the largest shared model are a hundredth of it.
const MAX_ARRAY_BYTES: usize = 1 << 30;
/// Numpy's own limit on the length of a header.
const MAX_HEADER_BYTES: usize = 10_000;

/// An array as it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct NpyArray<T> {
    pub shape: Vec<usize>,
    pub data: Vec<T>,
    /// Whether codes were stored as uint8; they are held minus 128.
    pub was_unsigned: bool,
}

/// An element type by numpy's name for it.
pub trait Element: Sized {
    const DESCR: &'static str;
    const BYTES: usize;
    /// From exactly [`Self::BYTES`] little-endian bytes.
    fn decode(bytes: &[u8]) -> Self;
}

macro_rules! elements {
    ($($ty:ident $descr:literal),+) => { $(
        impl Element for $ty {
            const DESCR: &'static str = $descr;
            const BYTES: usize = size_of::<$ty>();
            fn decode(bytes: &[u8]) -> Self {
                let mut raw = [0; size_of::<$ty>()];
                raw.copy_from_slice(bytes);
                $ty::from_le_bytes(raw)
            }
        }
    )+ };
}
elements!(i16 "<i2", i32 "<i4", i64 "<i8", u32 "<u4", f32 "<f4", f64 "<f8");

/// An open archive.
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
}

impl Npz {
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let (file, _) = open_file(path).map_err(|source| ModelError::Io { path: path.to_path_buf(), source })?;
        let archive = ZipArchive::new(BufReader::new(file));
        let archive = archive.map_err(|error| Fault::malformed("archive", error.to_string()).in_file(path))?;
        Ok(Self { path: path.to_path_buf(), archive })
    }

    /// The arrays' names, in the archive's order.
    pub fn names(&self) -> Vec<String> {
        let names = self.archive.file_names().flatten();
        names.filter_map(|name| name.strip_suffix(".npy").map(String::from)).collect()
    }

    /// 8-bit codes; unsigned ones are held minus 128, as everywhere in the engine.
    pub fn read_i8(&mut self, name: &str) -> Result<NpyArray<i8>, ModelError> {
        let (header, bytes) = self.member(name)?;
        let was_unsigned = match header.descr.as_str() {
            "|i1" | "<i1" => false,
            "|u1" | "<u1" => true,
            other => return Err(self.wrong_type(name, other, "8-bit codes ('|i1' or '|u1')")),
        };
        let flip = if was_unsigned { 0x80 } else { 0 };
        let data = bytes.iter().map(|byte| (byte ^ flip) as i8).collect();
        Ok(NpyArray { shape: header.shape, data, was_unsigned })
    }

    /// Numbers of exactly one type.
    pub fn read<T: Element>(&mut self, name: &str) -> Result<NpyArray<T>, ModelError> {
        let (header, bytes) = self.member(name)?;
        if header.descr != T::DESCR {
            return Err(self.wrong_type(name, &header.descr, T::DESCR));
        }
        let data = bytes.chunks_exact(T::BYTES).map(T::decode).collect();
        Ok(NpyArray { shape: header.shape, data, was_unsigned: false })
    }

    /// Unicode strings, without the zeros that pad them.
    pub fn read_strings(&mut self, name: &str) -> Result<NpyArray<String>, ModelError> {
        let (header, bytes) = self.member(name)?;
        if !header.descr.starts_with("<U") {
            return Err(self.wrong_type(name, &header.descr, "unicode strings ('<U…')"));
        }
        let decode = |units: &[u8]| {
            let chars = units.chunks_exact(4).map(|u| u32::from_le_bytes([u[0], u[1], u[2], u[3]]));
            let text: Option<String> = chars.map(char::from_u32).collect();
            text.map(|text| text.trim_end_matches('\0').to_string())
        };
        let data: Option<Vec<String>> = match header.item_bytes {
            0 => Some(vec![]),
            item_bytes => bytes.chunks_exact(item_bytes).map(decode).collect(),
        };
        let data = data.ok_or_else(|| {
            Fault::malformed(place(name), "holds a code point that is not a character").in_file(&self.path)
        })?;
        Ok(NpyArray { shape: header.shape, data, was_unsigned: false })
    }

    fn wrong_type(&self, name: &str, got: &str, wanted: &str) -> ModelError {
        let why = format!("has type '{}', not {wanted}", printable(got));
        Fault::unsupported(place(name), why).in_file(&self.path)
    }

    fn member(&mut self, name: &str) -> Result<(Header, Vec<u8>), ModelError> {
        let path = self.path.clone();
        let entry = self.archive.by_name(&format!("{name}.npy")).map_err(|error| match error {
            ZipError::FileNotFound => Fault::malformed("archive", format!("has no member '{}.npy'", printable(name))),
            error => Fault::malformed(place(name), error.to_string()),
        });
        entry.and_then(|entry| read_npy(name, entry.size(), entry)).map_err(|fault| fault.in_file(&path))
    }
}

fn place(name: &str) -> String {
    format!("member '{}.npy'", printable(name))
}

/// Header and data of a member that the archive says has `claimed_bytes`.
fn read_npy(name: &str, claimed_bytes: u64, mut reader: impl Read) -> Result<(Header, Vec<u8>), Fault> {
    let malformed = |why: String| Fault::malformed(place(name), why);
    let io = |error: std::io::Error| malformed(error.to_string());
    let mut start = [0; 8];
    reader.read_exact(&mut start).map_err(io)?;
    let (magic, version) = start.split_at(6);
    if magic != b"\x93NUMPY" {
        return Err(malformed("does not begin like a numpy array".into()));
    }
    let length_bytes = if version == [1, 0] { 2 } else { 4 };
    let mut length = [0; 4];
    reader.read_exact(&mut length[..length_bytes]).map_err(io)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_HEADER_BYTES {
        return Err(malformed(format!("has a header of {length} bytes; at most {MAX_HEADER_BYTES} are read")));
    }
    let mut text = vec![0; length];
    reader.read_exact(&mut text).map_err(io)?;
    let header = Header::parse(&text).map_err(malformed)?;
    let bytes = header.data_bytes().map_err(malformed)?;
    let described = start.len() + length_bytes + length + bytes;
    if described as u64 != claimed_bytes {
        return Err(malformed(format!("its header describes {described} bytes, the archive holds {claimed_bytes}")));
    }
    let mut data = vec![];
    (&mut reader).take(bytes as u64).read_to_end(&mut data).map_err(io)?;
    // Reading past the end is what makes the archive compare its checksum.
    let surplus = reader.read(&mut [0]).map_err(io)?;
    if data.len() != bytes || surplus != 0 {
        return Err(malformed(format!("does not hold the {bytes} bytes of data that its header describes")));
    }
    Ok((header, data))
}

/// What numpy says about an array.
#[derive(Debug, PartialEq)]
struct Header {
    descr: String,
    shape: Vec<usize>,
    item_bytes: usize,
}

impl Header {
    /// Reads `{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }`, keys in any order.
    fn parse(text: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(text).map_err(|_| "its header is not text")?.trim();
        let mut rest =
            text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or("its header is not a dictionary")?;
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        loop {
            rest = rest.trim_start_matches([' ', ',']);
            if rest.is_empty() {
                break;
            }
            let (key, after) = quoted(rest)?;
            let value =
                after.trim_start().strip_prefix(':').ok_or("its header has a key without a value")?.trim_start();
            rest = match key {
                "descr" => {
                    let (text, rest) = quoted(value).map_err(|_| "has a record type; plain arrays are read")?;
                    descr = Some(text);
                    rest
                }
                "fortran_order" => {
                    let end = value.find([',', ' ']).unwrap_or(value.len());
                    fortran = Some(&value[..end]);
                    &value[end..]
                }
                "shape" => {
                    let (dims, rest) = value
                        .strip_prefix('(')
                        .and_then(|v| v.split_once(')'))
                        .ok_or("its header has a shape that is not a tuple")?;
                    shape = Some(parse_dims(dims)?);
                    rest
                }
                other => return Err(format!("its header has an unknown key '{}'", printable(other))),
            };
        }
        let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
            return Err("its header lacks descr, fortran_order or shape".into());
        };
        if fortran != "False" && shape.len() > 1 {
            return Err("is stored column by column; save it in C order".into());
        }
        Ok(Self { descr: descr.into(), item_bytes: item_bytes(descr)?, shape })
    }

    fn data_bytes(&self) -> Result<usize, String> {
        let bytes = self.shape.iter().try_fold(self.item_bytes, |n, &dim| n.checked_mul(dim));
        bytes.filter(|&n| n <= MAX_ARRAY_BYTES).ok_or_else(|| format!("describes more than {MAX_ARRAY_BYTES} bytes"))
    }
}

/// A quoted string at the start of `text`, and what follows it.
fn quoted(text: &str) -> Result<(&str, &str), String> {
    text.strip_prefix('\'')
        .and_then(|t| t.split_once('\''))
        .ok_or_else(|| "its header is not as numpy writes it".into())
}

fn parse_dims(text: &str) -> Result<Vec<usize>, String> {
    let dims = text.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let parse = |dim: &str| dim.parse().map_err(|_| format!("its header has a dimension '{}'", printable(dim)));
    dims.map(parse).collect()
}

/// The size that a type such as `<i4` or `<U13` asks for.
fn item_bytes(descr: &str) -> Result<usize, String> {
    let refused = || format!("has type '{}'; little-endian numbers and unicode strings are read", printable(descr));
    let kind = descr.get(..2).ok_or_else(refused)?;
    let size: usize = descr[2..].parse().map_err(|_| refused())?;
    match kind {
        "<U" => size.checked_mul(4).ok_or_else(refused),
        "|i" | "|u" | "|b" if size == 1 => Ok(1),
        "<i" | "<u" | "<f" if size <= 8 => Ok(size),
        _ => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};
    use zip::write::SimpleFileOptions;

    /// A .npy member, as numpy writes it.
    fn npy(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn npz(members: &[(&str, Vec<u8>)]) -> tempfile::NamedTempFile {
        let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
        for (name, bytes) in members {
            archive.start_file(*name, SimpleFileOptions::default()).unwrap();
            archive.write_all(bytes).unwrap();
        }
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(archive.finish().unwrap().get_ref()).unwrap();
        file
    }

    #[test]
    fn members_come_back_as_stored() {
        let file = npz(&[
            ("codes.npy", npy("{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), }  \n", &[0, 127, 128, 255])),
            ("ints.npy", npy("{'descr': '<i4', 'fortran_order': False, 'shape': (1,), }\n", &[255, 255, 255, 255])),
            ("text.npy", npy("{'descr': '<U2', 'fortran_order': False, 'shape': (1,), }\n", b"o\0\0\0\0\0\0\0")),
            ("notes.txt", b"not an array".to_vec()),
        ]);
        let mut npz = Npz::open(file.path()).unwrap();
        assert_eq!(npz.names(), ["codes", "ints", "text"]);
        let codes = npz.read_i8("codes").unwrap();
        assert_eq!((codes.shape, codes.data, codes.was_unsigned), (vec![2, 2], vec![-128, -1, 0, 127], true));
        assert_eq!(npz.read::<i32>("ints").unwrap().data, [-1]);
        assert_eq!(npz.read_strings("text").unwrap().data, ["o"]);
        assert!(npz.read::<f32>("ints").unwrap_err().to_string().contains("'<i4', not <f4"));
        assert!(npz.read_i8("missing").unwrap_err().to_string().contains("no member 'missing.npy'"));
    }

    #[test]
    fn headers_that_promise_more_than_there_is_are_refused() {
        let cases = [
            ("{'descr': '|i1', 'fortran_order': False, 'shape': (9,), }", "describes"),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (4611686018427387904, 8), }", "more than"),
            ("{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }", "dimension '-1'"),
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "type '|O'"),
            ("{'descr': '>i4', 'fortran_order': False, 'shape': (1,), }", "type '>i4'"),
            ("{'descr': '|i1', 'fortran_order': True, 'shape': (2, 2), }", "column by column"),
            ("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (2,), }", "record type"),
            ("((((", "not a dictionary"),
        ];
        for (header, expected) in cases {
            let file = npz(&[("x.npy", npy(header, &[1, 2, 3, 4]))]);
            let error = Npz::open(file.path()).unwrap().read_i8("x").unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("x.npy"), "{error}");
        }
    }
}
