//! Which kind of data set lies at a path, by what is there and not by what it is called.

use super::archive::Archive;
use super::{DataError, cifar_binary, decathlon, listed, parquet};
use crate::door::open_file;
use std::io::Read;
use std::path::Path;

/// Enough of a file to tell what it is.
const START_BYTES: u64 = 4096;

/// The kind of source that reads a path.
pub(super) fn kind(path: &Path) -> Result<&'static str, DataError> {
    if path.is_dir() {
        return Ok(of_folder(path));
    }
    let io = |source| DataError::Io { path: path.into(), source };
    let mut start = vec![];
    open_file(path).map_err(io)?.0.take(START_BYTES).read_to_end(&mut start).map_err(io)?;
    match start[..] {
        [b'P', b'K', ..] => of_archive(path),
        _ if start.starts_with(parquet::MAGIC) => Ok("parquet"),
        [0x1f, 0x8b, ..] | [0, 0, 8, ..] => Ok("idx"),
        _ if cifar_binary::is_at(path) => Ok("cifar-binary"),
        _ if listed::is_in(&start) => Ok("csv"),
        _ => {
            let why = "is no data set that is known by its content; say KIND:PATH";
            Err(DataError::File { path: path.into(), why: why.into() })
        }
    }
}

fn of_folder(path: &Path) -> &'static str {
    let has = |name: &str| path.join(name).exists();
    let has_idx = |stem: &str| has(stem) || has(&format!("{stem}.gz"));
    let archives = std::fs::read_dir(path).into_iter().flatten().flatten();
    let is_omniglot = |name: String| name.starts_with("images_") && name.ends_with(".zip");
    if has("cifar10_train_batch_labels.txt") {
        "cifar10"
    } else if has_idx("train-images-idx3-ubyte") || has_idx("t10k-images-idx3-ubyte") {
        "idx"
    } else if cifar_binary::is_at(path) {
        "cifar-binary"
    } else if archives.into_iter().any(|entry| entry.file_name().into_string().is_ok_and(is_omniglot)) {
        "omniglot"
    } else if decathlon::is_at(path) {
        "decathlon"
    } else if parquet::is_at(path) {
        "parquet"
    } else {
        "images"
    }
}

fn of_archive(path: &Path) -> Result<&'static str, DataError> {
    let members = Archive::open(path)?.members()?;
    let any = |is: fn(&str) -> bool| members.iter().any(|member| is(&member.name));
    Ok(if any(|name| name.ends_with(".npy")) {
        "npz"
    } else if any(|name| name.contains("/character") && name.ends_with(".png")) {
        "omniglot"
    } else {
        "images"
    })
}
