//! Image files in folders by class, in a folder or a zip archive: `[SPLIT/]CLASS/…/NAME.png`.
//!
//! What all paths have in common in front is no class. If what is left begins with a split
//! (`train`, `val`, `test`) everywhere, one split is taken. Classes are sorted by name; images come
//! class by class in turn, so that the first N are as balanced as N allows. Refused: files that are
//! images by name and not by content, and sizes that differ, unless a size is asked for.

use super::image::Image;
use super::spec::Argument;
use super::tree::Tree;
use super::{DataError, Dataset, OpenOptions, Source, fits_in_memory};
use crate::tensor::Shape;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const SOURCE: Source = Source {
    kind: "images",
    argument: "DIR_OR_ZIP[:split=train|val|test]",
    about: "PNG, JPEG and BMP files in a folder per class, in a folder or a zip archive, with or without split folders",
    open,
};

/// No image file is larger.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Images that are decoded together, and what their files may take together. Without a size asked for,
/// every one of them may be as large as an image can be.
const CHUNK: usize = 512;
const CHUNK_ANY_SIZE: usize = 16;
const CHUNK_BYTES: usize = 64 << 20;
/// Folder names that are splits, and the split that they are.
const SPLITS: [(&str, &str); 8] = [
    ("train", "train"),
    ("training", "train"),
    ("val", "val"),
    ("valid", "val"),
    ("validation", "val"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "val"),
];

fn open(argument: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
    let argument = Argument::parse(SOURCE.kind, argument, &["split"])?;
    let mut tree = Tree::open(Path::new(&argument.path))?;
    let files = classified(&tree, &argument)?;
    let mut set = load(&mut tree, files, options)?;
    set.name = match argument.get("split") {
        Some(split) => format!("{}:split={split}", SOURCE.kind),
        None => SOURCE.kind.into(),
    };
    Ok(set)
}

/// Whether a path is an image's by its ending.
pub(super) fn is_image(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or("").to_ascii_lowercase();
    ["png", "jpg", "jpeg", "bmp"].contains(&ending.as_str())
}

/// The image files of a tree by class.
pub(super) type ByClass = BTreeMap<String, Vec<usize>>;

fn classified(tree: &Tree, argument: &Argument) -> Result<ByClass, DataError> {
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
    let split_of = |parts: &[&str]| {
        let folder = (parts.len() > common + 1).then(|| parts[common]);
        SPLITS.iter().find(|(name, _)| folder == Some(*name)).map(|(_, split)| *split)
    };
    let has_splits = found.iter().all(|(_, parts)| split_of(parts).is_some());
    let wanted = wanted_split(argument, has_splits)?;
    let mut by_class = ByClass::new();
    for (index, parts) in &found {
        if has_splits && split_of(parts) != wanted {
            continue;
        }
        let folders = &parts[common + usize::from(has_splits)..parts.len() - 1];
        by_class.entry(folders.join("/")).or_default().push(*index);
    }
    if by_class.is_empty() {
        return Err(argument.refused(format!("has no image in split '{}'", wanted.unwrap_or("train"))));
    }
    Ok(by_class)
}

/// The split to take, if there are any.
fn wanted_split(argument: &Argument, has_splits: bool) -> Result<Option<&str>, DataError> {
    match argument.get("split") {
        Some(split) if !SPLITS.iter().any(|(_, known)| *known == split) => {
            Err(argument.refused(format!("there is no split '{split}'; there are train, val and test")))
        }
        Some(split) if !has_splits => {
            Err(argument.refused(format!("has no split folders (train, val, test), so none called '{split}'")))
        }
        asked => Ok(has_splits.then(|| asked.unwrap_or("train"))),
    }
}

/// How many folders in front all paths share; a lone class stays a class.
fn common_folders(found: &[(usize, Vec<&str>)]) -> usize {
    let (_, first) = &found[0];
    let shared = |depth: usize| found.iter().all(|(_, parts)| parts.len() > depth + 1 && parts[depth] == first[depth]);
    let all = (0..first.len()).take_while(|&depth| shared(depth)).count();
    let is_split = |name: &str| SPLITS.iter().any(|(split, _)| *split == name);
    // What follows may be the files themselves: then the last shared folder is their class.
    let files_follow = found.iter().all(|(_, parts)| parts.len() == all + 1);
    let kept = first[..all].iter().position(|part| is_split(part)).unwrap_or(all);
    if files_follow { kept.min(all.saturating_sub(1)) } else { kept }
}

/// Reads and decodes the files of a tree.
pub(super) fn load(tree: &mut Tree, by_class: ByClass, options: &OpenOptions) -> Result<Dataset, DataError> {
    let classes: Vec<String> = by_class.keys().cloned().collect();
    let has_classes = classes.iter().any(|name| !name.is_empty());
    let mut files = in_turn(by_class.into_values().collect());
    files.truncate(options.limit.unwrap_or(usize::MAX));
    let mut images: Vec<Image> = vec![];
    while images.len() < files.len() {
        let chunk = &files[images.len()..];
        let decoded = decode_chunk(tree, chunk, options.size)?;
        let first = images.first().or(decoded.first()).expect("a chunk has an image");
        let odd = decoded.iter().position(|i| (i.height, i.width) != (first.height, first.width));
        if let Some(odd) = odd {
            let [a, b] = [first, &decoded[odd]].map(|i| format!("{} x {}", i.height, i.width));
            return Err(tree.error(chunk[odd].1, format!("is {b}, others are {a}; ask for a size to bring all to it")));
        }
        fits_in_memory(files.len(), first.height, first.width, 3)
            .map_err(|why| DataError::File { path: tree.path().into(), why })?;
        images.extend(decoded);
    }
    let channels = images.iter().map(|i| i.channels).max().unwrap_or(3);
    images.iter_mut().filter(|i| i.channels < channels).for_each(|i| *i = i.to_rgb());
    let shape = Shape::new(images[0].height, images[0].width, channels);
    let labels = has_classes.then(|| files.iter().map(|(label, _)| *label).collect());
    let classes = if has_classes { classes } else { vec![] };
    Ok(Dataset { name: SOURCE.kind.into(), classes, images, labels, shape })
}

/// Labels and files, classes taking turns.
fn in_turn(by_class: Vec<Vec<usize>>) -> Vec<(u32, usize)> {
    let mut turns: Vec<(usize, u32, usize)> = vec![];
    for (label, files) in by_class.into_iter().enumerate() {
        turns.extend(files.into_iter().enumerate().map(|(turn, file)| (turn, label as u32, file)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, label, file)| (label, file)).collect()
}

/// Decodes the first of these files: reads in order, decodes in parallel, and reports the first fault
/// in order.
fn decode_chunk(tree: &mut Tree, files: &[(u32, usize)], size: Option<[usize; 2]>) -> Result<Vec<Image>, DataError> {
    let (mut bytes, mut held) = (vec![], 0);
    for (_, file) in files.iter().take(if size.is_some() { CHUNK } else { CHUNK_ANY_SIZE }) {
        bytes.push(tree.read(*file, MAX_FILE_BYTES)?);
        held += bytes.last().map_or(0, Vec::len);
        if held >= CHUNK_BYTES {
            break;
        }
    }
    let fitted = |image: Image| match size {
        Some([h, w]) => image.resized(h, w),
        None => image,
    };
    let decode = |bytes: &Vec<u8>| Image::decode_any(bytes).map(fitted);
    let decoded: Vec<Result<Image, String>> = bytes.par_iter().map(decode).collect();
    decoded.into_iter().zip(files).map(|(image, (_, file))| image.map_err(|why| tree.error(*file, why))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::{GrayImage, Rgb, RgbImage};

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
        assert!(read(&dir, ":split=test").unwrap_err().to_string().contains("no split folders"));
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
