//! Image files in folders by class, in a folder or a zip archive: `[SPLIT/]CLASS/…/NAME.png`.
//!
//! What all paths have in common in front is no class. If what is left begins with a split
//! (`train`, `val`, `test`) everywhere, one split is taken. Classes are sorted by name; images come
//! class by class in turn, so that the first N are as balanced as N allows. Refused: files that are
//! images by name and not by content, and sizes that differ, unless a size is asked for.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item};
use super::split::Split;
use super::store::Files;
use super::tree::Tree;
use super::{Ask, DataError, Is, Source};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "images",
    argument: "DIR_OR_ZIP",
    about: "PNG, JPEG and BMP files in a folder per class, in a folder or a zip archive, with or without split folders",
    argument_is: Is::Path,
    keys: &[],
    open,
};

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let tree = Tree::open(Path::new(&ask.argument.path))?;
    let splits = classified(&tree)?;
    // A class that a split lacks keeps its label there.
    let names: BTreeSet<String> = splits.iter().flat_map(|by_class| by_class.keys().cloned()).collect();
    let classes: Vec<String> = names.into_iter().collect();
    let has_classes = classes.iter().any(|name| !name.is_empty());
    let (mut files, mut items) = (vec![], [vec![], vec![], vec![]]);
    for (by_class, items) in splits.into_iter().zip(&mut items) {
        let mut by_class = by_class;
        let lists = classes.iter().map(|name| by_class.remove(name).unwrap_or_default()).collect();
        for (label, file) in in_turn(lists) {
            items.push(Item { key: files.len() as u64, label: has_classes.then_some(label) });
            files.push(file);
        }
    }
    let classes = if has_classes { classes } else { vec![] };
    let set = Catalogue::new(SOURCE.kind, classes, Arc::new(Files::of(tree, files)), items);
    let usual = Augmentation::usual(&set.classes);
    Ok(set.augmented(usual))
}

/// Whether a path is an image's by its ending.
pub(super) fn is_image(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or("").to_ascii_lowercase();
    ["png", "jpg", "jpeg", "bmp"].contains(&ending.as_str())
}

/// The image files of a tree by class.
pub(super) type ByClass = BTreeMap<String, Vec<usize>>;

/// Those of every split; all are for training if there are no split folders.
fn classified(tree: &Tree) -> Result<[ByClass; 3], DataError> {
    let found: Vec<(usize, Vec<&str>)> = tree
        .names()
        .enumerate()
        .filter(|(_, name)| is_image(name))
        .map(|(i, name)| (i, name.split('/').collect::<Vec<_>>()))
        .collect();
    if found.is_empty() {
        let why = "holds no .png, .jpg, .jpeg or .bmp file".into();
        return Err(DataError::File { path: tree.path().into(), why });
    }
    let common = common_folders(&found);
    let split_of = |parts: &[&str]| (parts.len() > common + 1).then(|| Split::of_folder(parts[common])).flatten();
    let has_splits = found.iter().all(|(_, parts)| split_of(parts).is_some());
    let mut splits = [ByClass::new(), ByClass::new(), ByClass::new()];
    for (index, parts) in &found {
        let split = split_of(parts).filter(|_| has_splits).unwrap_or(Split::Train);
        let folders = &parts[common + usize::from(has_splits)..parts.len() - 1];
        splits[split as usize].entry(folders.join("/")).or_default().push(*index);
    }
    Ok(splits)
}

/// How many folders in front all paths share; a lone class stays a class.
fn common_folders(found: &[(usize, Vec<&str>)]) -> usize {
    let (_, first) = &found[0];
    let shared = |depth: usize| found.iter().all(|(_, parts)| parts.len() > depth + 1 && parts[depth] == first[depth]);
    let all = (0..first.len()).take_while(|&depth| shared(depth)).count();
    let is_split = |name: &str| Split::of_folder(name).is_some();
    // What follows may be the files themselves: then the last shared folder is their class.
    let files_follow = found.iter().all(|(_, parts)| parts.len() == all + 1);
    let kept = first[..all].iter().position(|part| is_split(part)).unwrap_or(all);
    if files_follow { kept.min(all.saturating_sub(1)) } else { kept }
}

/// Labels and files, classes taking turns.
pub(super) fn in_turn(by_class: Vec<Vec<usize>>) -> Vec<(u32, usize)> {
    let mut turns: Vec<(usize, u32, usize)> = vec![];
    for (label, files) in by_class.into_iter().enumerate() {
        turns.extend(files.into_iter().enumerate().map(|(turn, file)| (turn, label as u32, file)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, label, file)| (label, file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, OpenOptions};
    use crate::tensor::Shape;
    use ::image::{GrayImage, Rgb, RgbImage};

    fn open(argument: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
        crate::data::open(&format!("images:{argument}"), options)
    }

    /// One-coloured images under these paths.
    fn folder(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (i, path) in paths.iter().enumerate() {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            RgbImage::from_pixel(4, 3, Rgb([i as u8, 9, 9])).save(path).unwrap();
        }
        dir
    }

    fn read(dir: &tempfile::TempDir, options: &str) -> Result<Dataset, DataError> {
        open(&format!("{}{options}", dir.path().display()), &OpenOptions::default())
    }

    fn firsts(set: &Dataset) -> Vec<u8> {
        set.images.iter().map(|i| i.pixels[0]).collect()
    }

    #[test]
    fn classes_are_sorted_and_take_turns() {
        let set = read(&folder(&["b/0.png", "b/1.png", "a/x/0.bmp", "a/x/1.png"]), "").unwrap();
        assert_eq!((set.classes.clone(), set.shape), (vec!["a/x".into(), "b".into()], Shape::new(3, 4, 3)));
        assert_eq!((firsts(&set), set.labels.unwrap()), (vec![2, 0, 3, 1], vec![0, 1, 0, 1]));
    }

    #[test]
    fn splits_and_what_is_common_are_no_classes() {
        let dir = folder(&["set/train/a/0.png", "set/train/b/0.png", "set/test/a/0.png", "set/test/b/0.png"]);
        assert_eq!(firsts(&read(&dir, "").unwrap()), [0, 1]);
        let test = read(&dir, ":split=test").unwrap();
        assert_eq!((firsts(&test), test.classes), (vec![2, 3], vec!["a".to_string(), "b".into()]));
        assert!(read(&dir, ":split=val").unwrap_err().to_string().contains("no image in split 'val'"));
        assert!(read(&dir, ":split=vol").unwrap_err().to_string().contains("train, val and test"));
        let dir = folder(&["set/a/0.png", "set/b/0.png"]);
        assert_eq!(read(&dir, "").unwrap().classes, ["a", "b"]);
        assert!(
            read(&dir, ":split=test").unwrap_err().to_string().contains("no image in split 'test'; there is train")
        );
        let dir = folder(&["only/0.png", "only/1.png"]);
        assert_eq!(read(&dir, "").unwrap().classes, ["only"]);
        let dir = folder(&["train/only/0.png", "train/only/1.png"]);
        assert_eq!(read(&dir, "").unwrap().classes, ["only"]);
        let dir = folder(&["0.png", "1.png"]);
        assert_eq!(read(&dir, "").unwrap().labels, None);
    }

    #[test]
    fn another_size_needs_a_size_and_grey_joins_colour() {
        let dir = folder(&["a/0.png", "b/0.png"]);
        GrayImage::from_pixel(8, 8, ::image::Luma([70])).save(dir.path().join("b/1.png")).unwrap();
        let error = read(&dir, "").unwrap_err().to_string();
        assert!(error.contains("1.png: is 8 x 8, others are 3 x 4"), "{error}");
        let options = OpenOptions { size: Some([2, 2]), ..OpenOptions::default() };
        let set = open(&dir.path().to_string_lossy(), &options).unwrap();
        assert_eq!((set.shape, set.images[2].pixels.clone()), (Shape::new(2, 2, 3), vec![70; 12]));
    }

    #[test]
    fn a_file_that_is_no_image_is_named() {
        let dir = folder(&["a/0.png"]);
        std::fs::write(dir.path().join("a/1.jpg"), "no image").unwrap();
        assert!(read(&dir, "").unwrap_err().to_string().contains("1.jpg: "));
        assert!(read(&tempfile::tempdir().unwrap(), "").unwrap_err().to_string().contains("holds no .png"));
    }

    #[test]
    fn the_shared_hands_open() {
        let zip = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/sign_digits/sign_digits_jpg.zip");
        if !Path::new(zip).exists() {
            assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").is_err(), "{zip} is required");
            println!("SKIPPED: {zip} is absent");
            return;
        }
        let set = open(zip, &OpenOptions { limit: Some(600), ..OpenOptions::default() }).unwrap();
        assert_eq!((set.len(), set.shape), (600, Shape::new(100, 100, 3)));
        assert_eq!(set.classes, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(set.labels.unwrap()[..12], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    }
}
