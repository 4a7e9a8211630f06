//! Omniglot: one or more of its zips, `…/ALPHABET/characterNN/NNNN_MM.png`, a class per character.
//!
//! Some alphabets occur in several of its archives; a character that was read already is passed
//! over. Refused: archives without a single character.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item};
use super::images::{ByClass, in_turn, is_image};
use super::split::Split;
use super::store::Files;
use super::tree::Tree;
use super::{Ask, DataError, Is, Source};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "omniglot",
    argument: "DIR_OR_ZIP",
    about: "Omniglot's images_*.zip (every one in the folder), or one of them: a class per character",
    argument_is: Is::Path,
    keys: &[],
    open,
};

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let path = Path::new(&ask.argument.path);
    let (mut read, mut trees, mut classes, mut files, mut lists) = (BTreeSet::new(), vec![], vec![], vec![], vec![]);
    for archive in archives(path)? {
        let tree = Tree::open(&archive)?;
        for (name, members) in characters(&tree) {
            if read.insert(name.clone()) {
                classes.push(name);
                lists.push((files.len()..files.len() + members.len()).collect());
                files.extend(members.into_iter().map(|member| (trees.len(), member)));
            }
        }
        trees.push(tree);
    }
    if files.is_empty() {
        return Err(DataError::File { path: path.into(), why: "holds no ALPHABET/characterNN/*.png".into() });
    }
    let item = |(label, file)| Item { key: file as u64, label: Some(label) };
    let items = in_turn(lists).into_iter().map(item).collect();
    let set = Catalogue::of_one(SOURCE.kind, classes, Arc::new(Files::of_trees(trees, files)), Split::Train, items);
    Ok(set.augmented(Augmentation::MIDDLE))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Dataset, OpenOptions};

    fn open(argument: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
        crate::data::open(&format!("omniglot:{argument}"), options)
    }

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
