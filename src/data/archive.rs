//! A zip archive of images, of which neither names nor sizes are trusted.
//!
//! One file is open however many threads read: every read goes to its own place in it.

use super::DataError;
use super::at::ReadAt;
use std::io::Read;
use std::path::{Path, PathBuf};
use zip::ZipArchive;

pub struct Archive {
    path: PathBuf,
    zip: ZipArchive<ReadAt>,
}

/// A file in the archive.
pub struct Member {
    pub index: usize,
    pub name: String,
}

impl Archive {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = ReadAt::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
        let zip = ZipArchive::new(file);
        let zip = zip.map_err(|error| DataError::File { path: path.into(), why: error.to_string() })?;
        Ok(Self { path: path.into(), zip })
    }

    /// Every file, in the archive's order.
    pub fn members(&self) -> Result<Vec<Member>, DataError> {
        let mut members = vec![];
        for index in 0..self.zip.len() {
            let nameless = |why: String| self.error(&format!("number {index}"), why);
            let entry = self.zip.by_index_data(index).map_err(|error| nameless(error.to_string()))?;
            let name = entry.name().map_err(|error| nameless(error.to_string()))?.into_owned();
            if entry.enclosed_name().is_none() || name.split(['/', '\\']).any(|part| part == "..") {
                return Err(self.error(&name, "its path leaves the archive"));
            }
            if entry.is_file() {
                members.push(Member { index, name });
            }
        }
        Ok(members)
    }

    /// A member's bytes, at most `limit_bytes` of them.
    pub fn read(&self, member: &Member, limit_bytes: u64) -> Result<Vec<u8>, DataError> {
        let mut bytes = vec![];
        // The directory is shared by clones, the place to read from is not.
        let mut zip = self.zip.clone();
        let outcome = match zip.by_index(member.index) {
            Ok(entry) => entry.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(_) if bytes.len() as u64 <= limit_bytes => Ok(bytes),
            Ok(_) => Err(self.error(&member.name, format!("is larger than {limit_bytes} bytes"))),
            Err(why) => Err(self.error(&member.name, why)),
        }
    }

    pub fn error(&self, member: &str, why: impl Into<String>) -> DataError {
        let member = member.chars().take(120).flat_map(char::escape_debug).collect();
        DataError::Member { archive: self.path.clone(), member, why: why.into() }
    }
}
