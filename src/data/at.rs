//! A file that many threads read at once, each from a place of its own.

use crate::door::open_file;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// Small reads are served from a piece of the file of this size.
const PIECE_BYTES: usize = 4096;

pub struct ReadAt {
    file: Arc<File>,
    length: u64,
    at: u64,
    /// A piece of the file, and where it begins.
    piece: Vec<u8>,
    piece_at: u64,
}

impl ReadAt {
    pub fn open(path: &Path) -> Result<Self> {
        let (file, length) = open_file(path)?;
        Ok(Self { file: Arc::new(file), length, at: 0, piece: vec![], piece_at: 0 })
    }

    /// Of the whole file.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn fill(&self, into: &mut [u8]) -> Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&*self.file, into, self.at);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&*self.file, into, self.at);
    }

    /// What the piece holds from here on.
    fn held(&self) -> &[u8] {
        let skip = self.at.checked_sub(self.piece_at).and_then(|n| usize::try_from(n).ok());
        skip.and_then(|n| self.piece.get(n..)).unwrap_or_default()
    }
}

impl Clone for ReadAt {
    /// The same file, from its beginning.
    fn clone(&self) -> Self {
        Self { file: self.file.clone(), length: self.length, at: 0, piece: vec![], piece_at: 0 }
    }
}

impl Read for ReadAt {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.held().is_empty() {
            if into.len() >= PIECE_BYTES {
                let count = self.fill(into)?;
                self.at += count as u64;
                return Ok(count);
            }
            let mut piece = std::mem::take(&mut self.piece);
            piece.resize(PIECE_BYTES, 0);
            let count = self.fill(&mut piece)?;
            piece.truncate(count);
            (self.piece, self.piece_at) = (piece, self.at);
        }
        let count = self.held().len().min(into.len());
        into[..count].copy_from_slice(&self.held()[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for ReadAt {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a place before the beginning"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Cursor, Write};

    #[test]
    fn it_reads_like_a_cursor() {
        let bytes: Vec<u8> = (0..20_000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let (mut ours, mut plain) = (ReadAt::open(file.path()).unwrap(), Cursor::new(&bytes));
        for (to, count) in [
            (SeekFrom::Start(3), 10),
            (SeekFrom::Current(5), 4090),
            (SeekFrom::Current(-4000), 9000),
            (SeekFrom::End(-7), 30),
            (SeekFrom::Start(30_000), 5),
            (SeekFrom::Start(0), 4),
        ] {
            assert_eq!(ours.seek(to).unwrap(), plain.seek(to).unwrap());
            let read = |from: &mut dyn Read| {
                let mut into = vec![];
                from.take(count).read_to_end(&mut into).unwrap();
                into
            };
            assert_eq!(read(&mut ours), read(&mut plain));
        }
        assert!(ours.seek(SeekFrom::Current(-100)).is_err());
        assert_eq!(ours.clone().read(&mut [0; 9000]).unwrap(), 9000);
    }
}
