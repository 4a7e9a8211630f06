//! Parquet files with a column of encoded images, as the Hugging Face `datasets` library writes them.
//!
//! A file, or a folder of them (`data/train-00000-of-00002.parquet`: the name begins with the split).
//! Images are bytes, or a structure with the field `bytes`; labels are whole numbers or text, classes
//! sorted. Row groups are read a page at a time. Refused: rows without an image, labels below 0,
//! nested columns, and whatever claims more than its bytes hold.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item, Store};
use super::image::Image;
use super::split::Split;
use super::{Ask, DataError, Is, Source};
use file::{File, Label};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod file;
mod pages;

pub(super) const SOURCE: Source = Source {
    kind: "parquet",
    argument: "FILE_OR_DIR",
    about: "parquet files with a column of encoded images and one of labels, as on Hugging Face: data/train-*.parquet",
    argument_is: Is::Path,
    keys: &[],
    open,
};

/// What every parquet file begins with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// No data set has more classes.
const MAX_CLASSES: i64 = 100_000;

/// Files, and the number of the first row of each.
struct Files {
    files: Vec<(u64, PathBuf, File)>,
}

impl Files {
    fn of(&self, key: u64) -> (&Path, &File, usize) {
        let at = self.files.partition_point(|(first, ..)| *first <= key) - 1;
        let (first, path, file) = &self.files[at];
        (path, file, (key - first) as usize)
    }
}

impl Store for Files {
    fn read(&self, key: u64) -> Result<Image, DataError> {
        let (_, file, row) = self.of(key);
        let image = file.image(row).and_then(|bytes| Image::decode_any(bytes.data()));
        image.map_err(|why| self.fault(key, why))
    }

    fn fault(&self, key: u64, why: String) -> DataError {
        let (path, _, row) = self.of(key);
        DataError::Member { archive: path.into(), member: format!("row {row}"), why }
    }
}

/// Whether a folder holds such files.
pub(super) fn is_at(folder: &Path) -> bool {
    !paths(folder).is_empty()
}

/// The files of a folder or of its folder `data`, sorted.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_parquet = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "parquet");
    let mut found: Vec<PathBuf> =
        [folder.to_path_buf(), folder.join("data")].iter().flat_map(|f| entries(f)).map(|e| e.path()).collect();
    found.retain(is_parquet);
    found.sort();
    found
}

/// The split that a file's name begins with.
fn split_of(path: &Path) -> Split {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let word: String = name.chars().take_while(|c| c.is_ascii_alphabetic()).collect();
    Split::of_folder(&word).unwrap_or(Split::Train)
}

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let path = Path::new(&ask.argument.path);
    let paths = if path.is_dir() { paths(path) } else { vec![path.into()] };
    if paths.is_empty() {
        return Err(DataError::File { path: path.into(), why: "holds no .parquet file".into() });
    }
    let (mut rows, mut files, mut labelled, mut names) = (0, vec![], vec![], None);
    for path in paths {
        let refused = |why: String| DataError::File { path: path.clone(), why };
        std::fs::metadata(&path).map_err(|source| DataError::Io { path: path.clone(), source })?;
        let file = File::open(&path).map_err(refused)?;
        let labels = file.labels().map_err(refused)?;
        names = names.or_else(|| file.class_names());
        labelled.push((split_of(&path), rows, labels.unwrap_or_else(|| vec![None; file.rows()])));
        rows += file.rows() as u64;
        files.push((rows - file.rows() as u64, path, file));
    }
    let refused = |why: String| DataError::File { path: path.into(), why };
    let classes = Classes::of(labelled.iter().flat_map(|(.., labels)| labels.iter().flatten()), names);
    let classes = classes.map_err(refused)?;
    let mut items = [vec![], vec![], vec![]];
    for (split, first, labels) in &labelled {
        let label = |label: &Option<Label>| label.as_ref().and_then(|label| classes.label(label));
        items[*split as usize].extend((*first..).zip(labels).map(|(key, l)| Item { key, label: label(l) }));
    }
    let usual = Augmentation::usual(&classes.names);
    Ok(Catalogue::new(SOURCE.kind, classes.names, Arc::new(Files { files }), items).augmented(usual))
}

/// The classes that labels name.
struct Classes {
    names: Vec<String>,
    /// Of text; numbers are their own.
    by_name: BTreeMap<String, u32>,
}

impl Classes {
    /// Of all labels that there are. `known` are the file's own names of numbers.
    fn of<'a>(labels: impl Iterator<Item = &'a Label>, known: Option<Vec<String>>) -> Result<Self, String> {
        let (mut most, mut by_name) = (None, BTreeMap::new());
        for label in labels {
            match label {
                // What has no class yet is -1 where others have their numbers.
                Label::Number(-1) => {}
                Label::Number(n) if !(0..MAX_CLASSES).contains(n) => {
                    return Err(format!("has label {n}; they are 0 to {}", MAX_CLASSES - 1));
                }
                Label::Number(n) => most = most.max(Some(*n as usize)),
                Label::Name(name) if !by_name.contains_key(name) => drop(by_name.insert(name.clone(), 0)),
                Label::Name(_) => {}
            }
        }
        if by_name.is_empty() {
            let count = most.map_or(0, |most| most + 1);
            let known = known.filter(|names| names.len() >= count);
            return Ok(Self { names: known.unwrap_or_else(|| (0..count).map(|n| n.to_string()).collect()), by_name });
        }
        if most.is_some() {
            return Err("has labels that are numbers in one file and text in another".into());
        }
        by_name.values_mut().zip(0..).for_each(|(label, n)| *label = n);
        Ok(Self { names: by_name.keys().cloned().collect(), by_name })
    }

    fn label(&self, label: &Label) -> Option<u32> {
        match label {
            Label::Number(n) => u32::try_from(*n).ok(),
            Label::Name(name) => self.by_name.get(name).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_their_own_labels_and_text_is_sorted() {
        let numbers = [2, -1, 0].map(Label::Number);
        let classes = Classes::of(numbers.iter(), None).unwrap();
        assert_eq!(
            (classes.names.join(" "), numbers.map(|n| classes.label(&n))),
            ("0 1 2".into(), [Some(2), None, Some(0)])
        );
        let known = vec!["a".to_string(), "b".into(), "c".into(), "d".into()];
        assert_eq!(Classes::of([Label::Number(2)].iter(), Some(known.clone())).unwrap().names, known);
        assert_eq!(Classes::of([Label::Number(4)].iter(), Some(known)).unwrap().names.len(), 5);
        let names = ["dog", "cat", "dog"].map(|n| Label::Name(n.into()));
        let classes = Classes::of(names.iter(), None).unwrap();
        assert_eq!(
            (classes.names.join(" "), names.map(|n| classes.label(&n))),
            ("cat dog".into(), [Some(1), Some(0), Some(1)])
        );
        assert!(Classes::of([Label::Number(-2)].iter(), None).err().unwrap().contains("label -2"));
        assert!(Classes::of([Label::Number(0), Label::Name("x".into())].iter(), None).is_err());
    }

    #[test]
    fn splits_are_the_beginnings_of_names() {
        let split = |name: &str| split_of(Path::new(name));
        assert_eq!(split("data/train-00000-of-00002.parquet"), Split::Train);
        assert_eq!(split("validation-0.parquet"), Split::Val);
        assert_eq!((split("test.parquet"), split("part-1.parquet")), (Split::Test, Split::Train));
    }
}
