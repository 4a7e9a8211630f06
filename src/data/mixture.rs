//! Several labelled sets as one: images and classes joined, in the order in which the sets are named.
//! The class `K` of a set is called `SET/K`; grey images become RGB where another set has colours.
//!
//! Refused: a set without labels, a spec that names a split (a mixture trains on the training images
//! and validates on those that are held out), images of several sizes because none was asked for.

use super::catalogue::{Broken, Catalogue};
use super::split::Split;
use super::{DataError, Dataset, OpenOptions, Subset, catalogue, parsed};
use crate::tensor::Shape;

/// Opens the training images of all sets, and the validation images of those that have some.
pub fn open(specs: &[String], options: &OpenOptions) -> Result<(Dataset, Option<Dataset>), DataError> {
    let mut sets = Vec::with_capacity(specs.len());
    for spec in specs {
        if parsed(spec)?.1.split()?.is_some() {
            return Err(refused(spec, "leave split= out: a mixture takes the splits that it needs"));
        }
        sets.push((spec.as_str(), catalogue(spec, options)?));
    }
    let training = joined(&sets, Split::Train, options)?;
    let training = training.ok_or_else(|| refused(&specs.join(" + "), "has no training image"))?;
    Ok((training, joined(&sets, Split::Val, options)?))
}

fn refused(spec: &str, why: &str) -> DataError {
    DataError::Spec { spec: spec.into(), why: why.into() }
}

/// One split of all sets; nothing if it is empty in every one.
fn joined(sets: &[(&str, Catalogue)], split: Split, options: &OpenOptions) -> Result<Option<Dataset>, DataError> {
    let (mut images, mut labels, mut classes) = (vec![], vec![], vec![]);
    let mut broken = Broken::default();
    for (spec, set) in sets {
        let first = classes.len() as u32;
        classes.extend(set.classes.iter().map(|class| format!("{}/{class}", set.name)));
        if set[split].is_empty() {
            continue;
        }
        let loaded = Subset::of(set, split, options.limit.unwrap_or(usize::MAX)).load(options.size)?;
        let own = loaded.labels.ok_or_else(|| refused(spec, "has no labels to learn from"))?;
        labels.extend(own.into_iter().map(|label| first + label));
        images.extend(loaded.images);
        broken.join(&loaded.broken);
    }
    let Some(one) = images.first() else { return Ok(None) };
    let size = [one.height, one.width];
    if images.iter().any(|i| [i.height, i.width] != size) {
        let all = sets.iter().map(|(spec, _)| *spec).collect::<Vec<_>>().join(" + ");
        return Err(refused(&all, "has images of several sizes; ask for one"));
    }
    let channels = images.iter().map(|i| i.channels).max().unwrap_or(1);
    images.iter_mut().filter(|i| i.channels < channels).for_each(|i| *i = i.to_rgb());
    let name = sets.iter().map(|(_, set)| set.name.as_str()).collect::<Vec<_>>().join("+");
    let shape = Shape::new(size[0], size[1], channels);
    Ok(Some(Dataset { name, classes, images, labels: Some(labels), shape, broken }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(all: &[&str]) -> Vec<String> {
        all.iter().map(|spec| spec.to_string()).collect()
    }

    #[test]
    fn images_and_classes_are_joined_in_order() {
        let options = OpenOptions { size: Some([8, 8]), ..OpenOptions::default() };
        let (train, val) = open(&specs(&["synth:glyphs:count=20", "synth:hues:count=10"]), &options).unwrap();
        let val = val.unwrap();
        assert_eq!((train.len(), val.len(), train.classes.len(), val.classes.len()), (30, 6, 20, 20));
        assert_eq!(train.labels.as_ref().unwrap()[18..23], [8, 9, 10, 11, 12]);
        assert_eq!(val.labels.unwrap(), [0, 1, 2, 3, 10, 11]);
        assert!(train.classes[0].starts_with("glyphs/") && train.classes[19].starts_with("hues/"));
        assert!(train.images.iter().all(|i| i.channels == 3 && i.pixels.len() == 8 * 8 * 3));
        let alone = super::super::open("synth:hues:count=10", &options).unwrap();
        assert_eq!(train.images[20..], alone.images[..]);
    }

    #[test]
    fn what_cannot_be_joined_says_why() {
        let refusal = |all: &[&str]| open(&specs(all), &OpenOptions::default()).unwrap_err().to_string();
        assert!(refusal(&["synth:hues:split=test"]).contains("leave split= out"));
        assert!(refusal(&["synth:hues:count=5", "synth:hues:count=5,size=8"]).contains("several sizes"));
        assert!(refusal(&["synth:hues", "synth:clouds"]).contains("clouds"));
    }
}
