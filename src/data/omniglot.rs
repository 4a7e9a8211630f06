//! Omniglot: one or more of its zips, `…/ALPHABET/characterNN/NNNN_MM.png`, a class per character.
//!
//! Some alphabets occur in several of its archives; a character that was read already is passed
//! over. Refused: archives without a single character.

use super::images::{self, ByClass, is_image};
use super::tree::Tree;
use super::{DataError, Dataset, OpenOptions, Source};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(super) const SOURCE: Source = Source {
    kind: "omniglot",
    argument: "DIR_OR_ZIP",
    about: "Omniglot's images_*.zip (every one in the folder), or one of them: a class per character",
    open,
};

fn open(path: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
    let mut read = BTreeSet::new();
    let mut whole: Option<Dataset> = None;
    for archive in archives(Path::new(path))? {
        let mut tree = Tree::open(&archive)?;
        let mut by_class = characters(&tree);
        by_class.retain(|name, _| read.insert(name.clone()));
        if by_class.is_empty() {
            continue;
        }
        let part = images::load(&mut tree, by_class, &OpenOptions { limit: None, ..options.clone() })?;
        whole = Some(match whole {
            None => part,
            Some(whole) if whole.shape == part.shape => joined(whole, part),
            Some(_) => {
                let why = "has images of another size than the archive before it; ask for a size".into();
                return Err(DataError::File { path: archive, why });
            }
        });
    }
    let none = || DataError::File { path: path.into(), why: "holds no ALPHABET/characterNN/*.png".into() };
    let mut set = whole.ok_or_else(none)?;
    set.name = SOURCE.kind.into();
    set.truncate(options.limit.unwrap_or(usize::MAX));
    Ok(set)
}

/// The archives in a folder, or the one that is named.
fn archives(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !path.is_dir() {
        return Ok(vec![path.into()]);
    }
    let io = |source| DataError::Io { path: path.into(), source };
    let mut found = vec![];
    for entry in std::fs::read_dir(path).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let name = file.file_name().and_then(|n| n.to_str()).unwrap_or("");
        if name.starts_with("images_") && name.ends_with(".zip") {
            found.push(file);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(DataError::File { path: path.into(), why: "holds no images_*.zip".into() });
    }
    Ok(found)
}

/// `ALPHABET/characterNN` to the files under it.
fn characters(tree: &Tree) -> ByClass {
    let mut by_class = ByClass::new();
    for (index, name) in tree.names().enumerate().filter(|(_, name)| is_image(name)) {
        if let [.., alphabet, character, _] = name.split('/').collect::<Vec<_>>()[..]
            && character.starts_with("character")
        {
            by_class.entry(format!("{alphabet}/{character}")).or_default().push(index);
        }
    }
    by_class
}

/// Classes of `more` after those of `set`; the turns of the images are taken together.
fn joined(mut set: Dataset, more: Dataset) -> Dataset {
    let offset = set.classes.len() as u32;
    set.classes.extend(more.classes);
    let labels = set.labels.take().into_iter().flatten().chain(more.labels.into_iter().flatten().map(|l| l + offset));
    let mut seen = vec![0usize; set.classes.len()];
    let mut all: Vec<_> = labels
        .zip(set.images.into_iter().chain(more.images))
        .map(|(label, image)| {
            seen[label as usize] += 1;
            (seen[label as usize], label, image)
        })
        .collect();
    all.sort_by_key(|(turn, label, _)| (*turn, *label));
    set.labels = Some(all.iter().map(|(_, label, _)| *label).collect());
    set.images = all.into_iter().map(|(_, _, image)| image).collect();
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shared_archives_are_joined_without_repeats() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/omniglot_small");
        if !Path::new(folder).exists() {
            assert!(std::env::var("TRUNKLINE_REQUIRE_SHARED").is_err(), "{folder} is required");
            println!("SKIPPED: {folder} is absent");
            return;
        }
        let set = open(folder, &OpenOptions { size: Some([32, 32]), ..OpenOptions::default() }).unwrap();
        assert_eq!((set.classes.len(), set.len(), set.shape.c), (242, 4840, 1));
        let labels = set.labels.unwrap();
        assert_eq!(labels[..243], (0..242).chain([0]).collect::<Vec<u32>>());
        let one = open(&format!("{folder}/images_background_small1.zip"), &OpenOptions::default()).unwrap();
        assert_eq!((one.classes.len(), one.len(), one.shape.h, one.shape.w), (136, 2720, 105, 105));
        let ink: usize = one.images[0].pixels.iter().filter(|&&p| p == 0).count();
        assert!(one.images[0].pixels.iter().all(|p| [0, 255].contains(p)) && ink > 50, "black strokes on white");
    }
}
