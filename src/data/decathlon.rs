//! The Visual Decathlon: annotation files in the manner of COCO, joined with their images by id.
//!
//! A folder holds `annotations/SET_train.json`, `SET_val.json` and `SET_test.json` (or
//! `SET_test_stripped.json`, whose classes are not told), with `images` (`id`, `file_name`),
//! `annotations` (`image_id`, `category_id`) and `categories` (`id`, `name`). The order of the lists
//! means nothing. Refused: ids that are there twice, annotations of images that are not there,
//! categories of another set, and paths that leave the folder.

use super::augment::Augmentation;
use super::catalogue::{Catalogue, Item, Statistics, Store};
use super::image::Image;
use super::listed::{Named, stays_inside};
use super::read::read;
use super::split::Split;
use super::{Ask, DataError, Is, Source};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const SOURCE: Source = Source {
    kind: "decathlon",
    argument: "DIR[:set=NAME]",
    about: "the Visual Decathlon: annotations/SET_train.json, …; set= is aircraft, cifar100, daimlerpedcls, dtd, gtsrb, imagenet12, omniglot, svhn, ucf101, vgg-flowers, or another",
    argument_is: Is::Path,
    keys: &["set"],
    open,
};

/// ImageNet's training file has some 200 MB.
const MAX_JSON_BYTES: u64 = 1 << 30;
const MAX_CLASSES: usize = 100_000;

/// One of the ten.
struct Known {
    name: &'static str,
    /// The category of class 0 is one more.
    base: u64,
    classes: u64,
    /// Rebuffi's recipe.
    augmentation: Augmentation,
    statistics: Statistics,
}

const fn known(name: &'static str, base: u64, classes: u64, mean: [f32; 3], std: [f32; 3]) -> Known {
    let augmentation = Augmentation::CROP_FLIP;
    Known { name, base: base * 10_000_000, classes, augmentation, statistics: Statistics { mean, std } }
}

/// Signs and characters are neither cropped at random nor mirrored.
const fn whole(known: Known) -> Known {
    Known { augmentation: Augmentation::MIDDLE, ..known }
}

#[rustfmt::skip]
const KNOWN: [Known; 10] = [
    known("aircraft", 1, 100, [0.479830, 0.510741, 0.534380], [0.210702, 0.205089, 0.237297]),
    known("cifar100", 2, 100, [0.507059, 0.486667, 0.440784], [0.267451, 0.256471, 0.276078]),
    known("daimlerpedcls", 3, 2, [0.482035; 3], [0.236126; 3]),
    known("dtd", 4, 47, [0.526965, 0.470252, 0.423967], [0.252269, 0.240918, 0.249941]),
    whole(known("gtsrb", 5, 43, [0.339213, 0.311784, 0.320470], [0.275603, 0.265761, 0.270899])),
    known("imagenet12", 6, 1000, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    whole(known("omniglot", 7, 1623, [0.080998; 3], [0.270469; 3])),
    whole(known("svhn", 8, 10, [0.437682, 0.443770, 0.472804], [0.198030, 0.201016, 0.197036])),
    known("ucf101", 9, 101, [0.499531, 0.498804, 0.499820], [0.108987, 0.108102, 0.106799]),
    known("vgg-flowers", 10, 102, [0.434147, 0.383099, 0.297148], [0.285098, 0.238423, 0.263963]),
];

#[derive(Deserialize)]
struct Document {
    images: Vec<ImageEntry>,
    #[serde(default)]
    annotations: Vec<Annotation>,
    #[serde(default)]
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct ImageEntry {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    category_id: u64,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    #[serde(default)]
    name: Option<String>,
}

const ANNOTATIONS: &str = "annotations";

/// What the names of annotation files end with; of two for a split the first that is there.
const FILES: [(Split, &str); 4] = [
    (Split::Train, "_train.json"),
    (Split::Val, "_val.json"),
    (Split::Test, "_test.json"),
    (Split::Test, "_test_stripped.json"),
];

/// Whether a folder looks like this.
pub(super) fn is_at(folder: &Path) -> bool {
    !sets(folder).is_empty()
}

/// The sets that a folder has annotations of.
fn sets(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(ANNOTATIONS)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let set = |name: String| FILES.iter().find_map(|(_, ending)| name.strip_suffix(ending).map(String::from));
    let mut sets: Vec<String> = names.filter_map(set).collect();
    sets.sort();
    sets.dedup();
    sets
}

fn open(ask: &Ask) -> Result<Catalogue, DataError> {
    let folder = Path::new(&ask.argument.path);
    let set = chosen(ask, folder)?;
    let known = KNOWN.iter().find(|known| known.name == set);
    let mut documents = vec![];
    for (split, ending) in FILES {
        let path = folder.join(ANNOTATIONS).join(format!("{set}{ending}"));
        let has_it = documents.iter().any(|(other, ..): &(Split, PathBuf, Document)| *other == split);
        if path.exists() && !has_it && ask.only.is_none_or(|only| only == split) {
            let document = parsed(&path)?;
            documents.push((split, path, document));
        }
    }
    if documents.is_empty() {
        let why = format!("holds no {ANNOTATIONS}/{set}_train.json, _val.json or _test.json that was asked for");
        return Err(DataError::File { path: folder.into(), why });
    }
    let categories = Categories::of(known, &documents).map_err(|why| DataError::File { path: folder.into(), why })?;
    let (mut paths, mut ids, mut items) = (vec![], vec![], [vec![], vec![], vec![]]);
    for (split, path, document) in documents {
        let refused = |why: String| DataError::File { path: path.clone(), why };
        let labels = joined(&document, &categories).map_err(refused)?;
        for (image, label) in document.images.into_iter().zip(labels) {
            stays_inside(&image.file_name).map_err(refused)?;
            items[split as usize].push(Item { key: paths.len() as u64, label });
            paths.push(image.file_name);
            ids.push(image.id);
        }
    }
    let store = Arc::new(Numbered { named: Named { folder: folder.into(), paths }, ids });
    let usual = known.map_or_else(|| Augmentation::usual(&categories.names), |known| known.augmentation);
    let mut catalogue = Catalogue::new(&set, categories.names, store, items).augmented(usual);
    catalogue.published = known.map(|known| known.statistics);
    catalogue.category_ids = Some(categories.ids);
    Ok(catalogue)
}

/// The set that is asked for, or the only one.
fn chosen(ask: &Ask, folder: &Path) -> Result<String, DataError> {
    if let Some(set) = ask.argument.get("set") {
        stays_inside(set).map_err(|why| ask.argument.refused(format!("set={set}: {why}")))?;
        return Ok(set.into());
    }
    match &sets(folder)[..] {
        [one] => Ok(one.clone()),
        [] => Err(DataError::File {
            path: folder.into(),
            why: format!("holds no {ANNOTATIONS}/SET_train.json, SET_val.json or SET_test.json"),
        }),
        several => Err(ask.argument.refused(format!("say which with set=; there are {}", several.join(", ")))),
    }
}

fn parsed(path: &Path) -> Result<Document, DataError> {
    let refused = |why: String| DataError::File { path: path.into(), why };
    let document: Document =
        serde_json::from_slice(&read(path, MAX_JSON_BYTES)?).map_err(|e| refused(e.to_string()))?;
    if document.images.is_empty() {
        return Err(refused("lists no image".into()));
    }
    Ok(document)
}

/// Classes, and the categories that they are in the files.
struct Categories {
    names: Vec<String>,
    ids: Vec<u64>,
    labels: BTreeMap<u64, u32>,
}

impl Categories {
    /// Of a known set as published; of another the categories that its files list, or use.
    fn of(known: Option<&Known>, documents: &[(Split, PathBuf, Document)]) -> Result<Self, String> {
        let mut names: BTreeMap<u64, Option<&str>> = BTreeMap::new();
        for (.., document) in documents {
            names.extend(document.categories.iter().map(|c| (c.id, c.name.as_deref())));
        }
        let ids: Vec<u64> = match known {
            Some(known) => (1..=known.classes).map(|class| known.base + class).collect(),
            None if names.is_empty() => {
                let used = documents.iter().flat_map(|(.., d)| &d.annotations).map(|a| a.category_id);
                used.collect::<std::collections::BTreeSet<u64>>().into_iter().collect()
            }
            None => names.keys().copied().collect(),
        };
        if ids.len() > MAX_CLASSES {
            return Err(format!("has {} categories; there are at most {MAX_CLASSES}", ids.len()));
        }
        let name = |id: &u64| names.get(id).copied().flatten().map_or_else(|| id.to_string(), String::from);
        Ok(Self { names: ids.iter().map(name).collect(), labels: ids.iter().copied().zip(0..).collect(), ids })
    }
}

/// The label of every image, by id.
fn joined(document: &Document, categories: &Categories) -> Result<Vec<Option<u32>>, String> {
    let mut labels: BTreeMap<u64, Option<u32>> = BTreeMap::new();
    for image in &document.images {
        if labels.insert(image.id, None).is_some() {
            return Err(format!("image {} is there twice", image.id));
        }
    }
    for Annotation { image_id, category_id } in &document.annotations {
        let label = categories.labels.get(category_id);
        let label =
            label.ok_or_else(|| format!("image {image_id} has category {category_id}, which is not of this set"))?;
        match labels.entry(*image_id) {
            Entry::Vacant(_) => return Err(format!("there is an annotation of image {image_id}, which is not listed")),
            Entry::Occupied(mut entry) => match entry.insert(Some(*label)) {
                Some(other) if other != *label => return Err(format!("image {image_id} has two categories")),
                _ => {}
            },
        }
    }
    Ok(document.images.iter().map(|image| labels[&image.id]).collect())
}

/// Files by name, known to the data set by numbers of its own.
struct Numbered {
    named: Named,
    ids: Vec<u64>,
}

impl Store for Numbered {
    fn read(&self, key: u64) -> Result<Image, DataError> {
        self.named.read(key)
    }
    fn fault(&self, key: u64, why: String) -> DataError {
        self.named.fault(key, why)
    }
    fn id(&self, key: u64) -> u64 {
        self.ids[key as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, catalogue};

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(ANNOTATIONS)).unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(ANNOTATIONS).join(name), text).unwrap();
        }
        for tone in [1, 2, 3] {
            ::image::GrayImage::from_pixel(2, 2, ::image::Luma([tone]))
                .save(dir.path().join(format!("{tone}.png")))
                .unwrap();
        }
        dir
    }

    fn open(dir: &tempfile::TempDir, options: &str) -> Result<Catalogue, String> {
        let spec = format!("decathlon:{}{options}", dir.path().display());
        catalogue(&spec, &OpenOptions::default()).map_err(|e| e.to_string())
    }

    const SVHN: &str = r#"{"info": {"year": 2017}, "images": [{"id": 80000007, "file_name": "2.png", "width": 2, "height": 2},
        {"id": 80000003, "file_name": "1.png", "width": 2, "height": 2}],
        "annotations": [{"id": 1, "image_id": 80000003, "category_id": 80000001},
        {"id": 2, "image_id": 80000007, "category_id": 80000010}], "categories": [{"id": 80000010, "name": "nine"}]}"#;

    #[test]
    fn images_and_annotations_are_joined_by_id() {
        let stripped = r#"{"images": [{"id": 9, "file_name": "3.png"}]}"#;
        let dir = folder(&[("svhn_train.json", SVHN), ("svhn_test_stripped.json", stripped)]);
        let set = open(&dir, "").unwrap();
        let train = &set[Split::Train];
        assert_eq!((set.name.as_str(), set.classes.len(), set.classes[9].as_str()), ("svhn", 10, "nine"));
        assert_eq!((train.labels(), train.id(0), train.id(1)), (Some(vec![9, 0]), 80000007, 80000003));
        assert_eq!([0, 1].map(|i| train.image(i).unwrap().pixels[0]), [2, 1]);
        assert_eq!((set[Split::Test].labels(), set[Split::Test].id(0)), (None, 9));
        assert_eq!(set.category_ids.as_ref().unwrap()[9], 80000010);
        assert_eq!((set.augmentation, set.published.unwrap().mean[0]), (Augmentation::MIDDLE, 0.437682));
        assert!(is_at(dir.path()));
    }

    #[test]
    fn another_set_has_the_categories_of_its_files() {
        let own = r#"{"images": [{"id": 1, "file_name": "1.png"}], "annotations": [{"image_id": 1, "category_id": 30}],
            "categories": [{"id": 30, "name": "b"}, {"id": 20, "name": "a"}]}"#;
        let dir = folder(&[("own_val.json", own), ("svhn_train.json", SVHN)]);
        assert!(open(&dir, "").err().unwrap().contains("there are own, svhn"));
        let set = open(&dir, ":set=own").unwrap();
        assert_eq!((set.classes.join(" "), set[Split::Val].label(0)), ("a b".into(), Some(1)));
        assert!(open(&dir, ":set=dtd").err().unwrap().contains("dtd_train.json"));
        assert!(open(&dir, ":set=../x").err().unwrap().contains("leaves"));
    }

    #[test]
    fn what_does_not_join_is_refused_with_file_and_id() {
        let refused = |text: &str| open(&folder(&[("svhn_train.json", text)]), "").err().unwrap();
        let twice = SVHN.replacen("80000007", "80000003", 1);
        assert!(refused(&twice).contains("svhn_train.json: image 80000003 is there twice"), "{}", refused(&twice));
        let other = SVHN.replace("80000001}", "70000001}");
        assert!(refused(&other).contains("category 70000001"), "{}", refused(&other));
        let absent = SVHN.replace("\"image_id\": 80000003", "\"image_id\": 5");
        assert!(refused(&absent).contains("image 5, which is not listed"), "{}", refused(&absent));
        let out = SVHN.replace("1.png", "../1.png");
        assert!(refused(&out).contains("leaves"), "{}", refused(&out));
        assert!(refused("{").contains("svhn_train.json"));
        assert!(refused(r#"{"images": []}"#).contains("lists no image"));
    }
}
