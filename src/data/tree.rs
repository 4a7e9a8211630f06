//! Files by relative path: a folder, or a zip archive, which are told apart by what they are.
//!
//! Paths have forward slashes and come sorted, whatever the file system's order. Links to folders
//! are not followed, and hidden files are not seen. Refused: links to files outside the folder.

use super::DataError;
use super::archive::{Archive, Member};
use super::read::read;
use std::path::{Path, PathBuf};

/// More files than any data set here has.
const MAX_FILES: usize = 5_000_000;
/// Folders within folders.
const MAX_DEPTH: usize = 16;

const LEAVES: &str = "is a link that leads nowhere or out of the folder";

/// Where a path below `root` leads once links are followed, if that is still below `root`.
pub(super) fn within(root: &Path, path: &Path) -> Option<PathBuf> {
    let (root, target) = (root.canonicalize().ok()?, path.canonicalize().ok()?);
    target.starts_with(root).then_some(target)
}

pub struct Tree {
    path: PathBuf,
    source: Source,
    files: Vec<(String, usize)>,
}

enum Source {
    Folder,
    Zip(Archive, Vec<Member>),
}

impl Tree {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let mut tree = Self { path: path.into(), source: Source::Folder, files: vec![] };
        if path.is_dir() {
            tree.walk(path, "", 0)?;
        } else {
            let archive = Archive::open(path)?;
            let members = archive.members()?;
            tree.files = members.iter().map(|m| m.name.clone()).zip(0..).collect();
            tree.source = Source::Zip(archive, members);
        }
        tree.files.retain(|(name, _)| !name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX"));
        tree.files.sort();
        Ok(tree)
    }

    fn walk(&mut self, dir: &Path, prefix: &str, depth: usize) -> Result<(), DataError> {
        let io = |source| DataError::Io { path: dir.into(), source };
        if depth > MAX_DEPTH || self.files.len() > MAX_FILES {
            let why = format!("has more than {MAX_FILES} files or folders deeper than {MAX_DEPTH}");
            return Err(DataError::File { path: self.path.clone(), why });
        }
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let relative = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() {
                self.walk(&entry.path(), &format!("{relative}/"), depth + 1)?;
                continue;
            }
            if kind.is_symlink() {
                match within(&self.path, &entry.path()) {
                    Some(target) if target.is_dir() => continue,
                    Some(_) => {}
                    None => return Err(DataError::File { path: entry.path(), why: LEAVES.into() }),
                }
            }
            self.files.push((relative, 0));
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The relative paths, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(name, _)| name.as_str())
    }

    /// The bytes of file `index` of [`Tree::names`], at most `limit_bytes` of them.
    pub fn read(&self, index: usize, limit_bytes: u64) -> Result<Vec<u8>, DataError> {
        let (name, member) = &self.files[index];
        match &self.source {
            Source::Zip(archive, members) => archive.read(&members[*member], limit_bytes),
            Source::Folder => read(&self.path.join(name), limit_bytes),
        }
    }

    /// What is wrong with file `index`.
    pub fn error(&self, index: usize, why: String) -> DataError {
        let name = &self.files[index].0;
        match &self.source {
            Source::Zip(archive, _) => archive.error(name, why),
            Source::Folder => DataError::File { path: self.path.join(name), why },
        }
    }
}
