//! Opening files that a user names: regular files only, so that no door waits for a pipe; and the drafts
//! that become files when they are whole.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a regular file; also gives its size in bytes. Asked before it is opened, because opening
/// a pipe waits for its other end.
pub fn open_file(path: &Path) -> Result<(File, u64)> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "is a folder, not a file" } else { "is not a regular file" };
        return Err(Error::new(ErrorKind::InvalidInput, what));
    }
    Ok((File::open(path)?, metadata.len()))
}

/// A new file in `folder` under a name of no importance, gone unless it is persisted, and as readable as
/// any other file.
pub fn draft(folder: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
