//! Whole files in memory, up to a size.

use super::DataError;
use crate::door::open_file;
use std::io::Read;
use std::path::Path;

/// The bytes of a file, which may have at most `limit_bytes`.
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, DataError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let mut bytes = vec![];
    open_file(path).map_err(io)?.0.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit_bytes {
        return Err(DataError::File { path: path.into(), why: format!("is larger than {limit_bytes} bytes") });
    }
    Ok(bytes)
}
