//! A CSV list of image files and their classes.
//!
//! Columns are found by the header (`path`, `file`, `file_name`, `image`; `label`, `class`; perhaps
//! `split`); without one, the first is the path and the second the class. Paths are relative to the
//! list's folder. Classes are sorted: as numbers if all are, else as text. Refused: paths that leave
//! the folder, by `..`, from the root, or through a link.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item, Store};
use super::image::Image;
use super::images::is_image;
use super::read::read;
use super::split::Split;
use super::store::MAX_FILE_BYTES;
use super::tree::within;
use super::{Ask, DataError, Is, Source};
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "csv",
    argument: "FILE",
    about: "a list of image files and classes: path,label[,split], with or without a header",
    argument_is: Is::Path,
    keys: &[],
    open,
};

const MAX_LIST_BYTES: u64 = 1 << 30;

const PATHS: [&str; 6] = ["path", "file", "file_name", "filename", "image", "img"];
const LABELS: [&str; 4] = ["label", "class", "target", "category"];
const SPLITS: [&str; 2] = ["split", "subset"];

/// One line of the list.
struct Row {
    path: String,
    label: Option<String>,
    split: Split,
}

/// Image files below a folder, by name.
pub(super) struct Named {
    pub folder: PathBuf,
    pub paths: Vec<String>,
}

/// Whether bytes begin like such a list.
pub(super) fn is_in(start: &[u8]) -> bool {
    let text = String::from_utf8_lossy(start);
    let first = text.lines().next().unwrap_or("").to_ascii_lowercase();
    let cells: Vec<&str> = first.split(',').map(str::trim).collect();
    cells.iter().any(|cell| PATHS.contains(cell)) || is_image(cells[0])
}

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let list = Path::new(&ask.argument.path);
    let rows = rows(list)?;
    let names: BTreeSet<&str> = rows.iter().filter_map(|row| row.label.as_deref()).collect();
    let mut classes: Vec<String> = names.into_iter().map(String::from).collect();
    if classes.iter().all(|name| name.parse::<i64>().is_ok()) {
        classes.sort_by_key(|name| name.parse::<i64>().unwrap_or(0));
    }
    let label_of: std::collections::BTreeMap<&str, u32> = classes.iter().map(String::as_str).zip(0..).collect();
    let mut items = [vec![], vec![], vec![]];
    for (key, row) in (0..).zip(&rows) {
        let label = row.label.as_deref().map(|name| label_of[name]);
        items[row.split as usize].push(Item { key, label });
    }
    let folder = list.parent().filter(|f| !f.as_os_str().is_empty()).unwrap_or(Path::new(".")).into();
    let paths = rows.into_iter().map(|row| row.path).collect();
    let set = Catalogue::new(SOURCE.kind, classes, Arc::new(Named { folder, paths }), items);
    let usual = Augmentation::usual(&set.classes);
    Ok(set.augmented(usual))
}

fn rows(list: &Path) -> Result<Vec<Row>, DataError> {
    let refused = |line: usize, why: String| DataError::File { path: list.into(), why: format!("line {line}: {why}") };
    let bytes = read(list, MAX_LIST_BYTES)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&bytes[..]);
    let mut columns = (0, Some(1), None);
    let mut rows = vec![];
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|error| refused(at + 1, error.to_string()))?;
        if at == 0
            && let Some(found) = header(&record)
        {
            columns = found;
            continue;
        }
        let cell = |column: usize| record.get(column).map(str::trim).filter(|text| !text.is_empty());
        let path = cell(columns.0).ok_or_else(|| refused(at + 1, "has no path".into()))?.replace('\\', "/");
        stays_inside(&path).map_err(|why| refused(at + 1, why))?;
        let split = match columns.2.and_then(cell) {
            Some(name) => Split::of_folder(name).ok_or_else(|| refused(at + 1, format!("'{name}' is no split")))?,
            None => Split::Train,
        };
        rows.push(Row { path, label: columns.1.and_then(cell).map(String::from), split });
    }
    if rows.is_empty() {
        return Err(DataError::File { path: list.into(), why: "lists no image".into() });
    }
    Ok(rows)
}

/// The columns of path, label and split, if this is a header.
fn header(record: &csv::StringRecord) -> Option<(usize, Option<usize>, Option<usize>)> {
    let find =
        |names: &[&str]| record.iter().position(|cell| names.contains(&cell.trim().to_ascii_lowercase().as_str()));
    find(&PATHS).map(|path| (path, find(&LABELS), find(&SPLITS)))
}

/// Whether a path that a list names is one below the list's folder.
pub(super) fn stays_inside(path: &str) -> Result<(), String> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    // A drive is a drive on every system.
    let has_drive = path.as_bytes().get(1) == Some(&b':');
    if plain && !has_drive { Ok(()) } else { Err(format!("'{path}' leaves the list's folder")) }
}

impl Store for Named {
    fn read(&self, key: u64) -> Result<Image, DataError> {
        let path = self.folder.join(&self.paths[key as usize]);
        // A file that is not there is told so by reading it.
        if path.exists() && within(&self.folder, &path).is_none() {
            return Err(self.fault(key, "is a link that leads out of the list's folder".into()));
        }
        Image::decode_any(&read(&path, MAX_FILE_BYTES)?).map_err(|why| self.fault(key, why))
    }

    fn fault(&self, key: u64, why: String) -> DataError {
        DataError::File { path: self.folder.join(&self.paths[key as usize]), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, catalogue};

    fn set(list: &str) -> Result<(Catalogue, tempfile::TempDir), DataError> {
        let folder = tempfile::tempdir().unwrap();
        for (name, tone) in [("a.png", 1), ("sub/b.png", 2)] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            ::image::GrayImage::from_pixel(2, 2, ::image::Luma([tone])).save(path).unwrap();
        }
        std::fs::write(folder.path().join("list.csv"), list).unwrap();
        let spec = format!("csv:{}", folder.path().join("list.csv").display());
        catalogue(&spec, &OpenOptions::default()).map(|set| (set, folder))
    }

    #[test]
    fn lists_with_and_without_header_are_read() {
        let (plain, _folder) = set("a.png,dog\nsub/b.png,cat\n").unwrap();
        assert_eq!(
            (plain.classes.clone(), plain[Split::Train].labels()),
            (vec!["cat".into(), "dog".into()], Some(vec![1, 0]))
        );
        assert_eq!(plain[Split::Train].image(1).unwrap().pixels, [2; 4]);
        let (headed, _folder) = set("label,split,path\n10,train,a.png\n9,test,./sub/b.png\n").unwrap();
        assert_eq!(headed.classes, ["9", "10"]);
        assert_eq!((headed[Split::Train].len(), headed[Split::Test].labels()), (1, Some(vec![0])));
        let (bare, _folder) = set("a.png\n").unwrap();
        assert_eq!((bare.classes.len(), bare[Split::Train].labels()), (0, None));
    }

    #[test]
    fn paths_stay_in_the_folder() {
        for path in ["../a.png", "sub/../../a.png", "/etc/a.png", r"..\a.png", r"C:\a.png"] {
            let why = set(&format!("a.png,x\n{path},x\n")).err().unwrap().to_string();
            assert!(why.contains("line 2") && why.contains("leaves"), "{why}");
        }
        #[cfg(unix)]
        {
            let (set, folder) = set("link.png,x\n").unwrap();
            let outside = tempfile::NamedTempFile::new().unwrap();
            std::os::unix::fs::symlink(outside.path(), folder.path().join("link.png")).unwrap();
            let why = set[Split::Train].image(0).err().unwrap().to_string();
            assert!(why.contains("link.png: is a link that leads out"), "{why}");
        }
    }

    #[test]
    fn a_missing_file_is_a_broken_image() {
        let (set, _folder) = set("a.png,x\ngone.png,x\n").unwrap();
        assert!(set[Split::Train].image(0).is_ok());
        assert!(set[Split::Train].image(1).err().unwrap().to_string().contains("gone.png"));
    }
}
