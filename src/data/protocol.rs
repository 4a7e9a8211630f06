//! What an experiment does to a data set before it looks at it: hold images out of the training
//! split, train on a fraction of them, mislabel some.
//!
//! All choices depend on the data set's order and the spec's `seed` (0 unless given) alone. A
//! smaller fraction is a part of every larger one, so that curves over fractions compare. The
//! order is: hold out, then the subset, then noise; noise never touches what is held out.

use super::DataError;
use super::catalogue::{Catalogue, Item};
use super::spec::Argument;
use super::split::Split;
use crate::seed::{Noise, named};

/// Applies what a spec asks for.
pub(super) fn apply(set: &mut Catalogue, argument: &Argument) -> Result<(), DataError> {
    let seed = argument.number("seed")?.unwrap_or(0);
    for split in [Split::Test, Split::Val] {
        if let Some(fraction) = argument.fraction(split.name())? {
            if !set[split].is_empty() {
                let why = format!("{split}={fraction}: the set has a {split} split of its own");
                return Err(argument.refused(why));
            }
            set.hold_out(split, fraction, seed);
        }
    }
    if let Some(fraction) = argument.fraction("subset")? {
        set.keep_fraction(fraction, seed);
    }
    if let Some(fraction) = argument.fraction("noise")? {
        let labelled = set[Split::Train].labels().is_some() && set.classes.len() > 1;
        if !labelled {
            return Err(argument.refused("noise: there are no labels to be wrong".into()));
        }
        set.mislabel(fraction, seed);
    }
    Ok(())
}

impl Catalogue {
    /// Moves a fraction of the training images of every class into a split.
    pub fn hold_out(&mut self, split: Split, fraction: f64, seed: u64) {
        let train = &self[Split::Train];
        let chosen = chosen_by_class(train.items(), fraction, 0, named(seed, &format!("hold out {split}")));
        let (held, kept) = parted(train.items(), &chosen);
        self[split] = train.with_items(held);
        *self[Split::Train].items_mut() = kept;
    }

    /// Holds out what the source has no split for: a fifth for test, then a tenth for validation.
    pub fn hold_out_missing(&mut self, seed: u64) {
        for (split, fraction) in [(Split::Test, 0.2), (Split::Val, 0.1)] {
            if self[split].is_empty() {
                self.hold_out(split, fraction, seed);
            }
        }
    }

    /// Keeps a fraction of the training images of every class, at least one of each.
    pub fn keep_fraction(&mut self, fraction: f64, seed: u64) {
        let items = self[Split::Train].items();
        let chosen = chosen_by_class(items, fraction, 1, named(seed, "subset"));
        *self[Split::Train].items_mut() = parted(items, &chosen).0;
    }

    /// Gives a fraction of all training images another class, drawn from the others.
    pub fn mislabel(&mut self, fraction: f64, seed: u64) {
        let classes = self.classes.len() as u64;
        let items = self[Split::Train].items_mut();
        let (order, draw) = (named(seed, "mislabelled"), named(seed, "wrong labels"));
        let all: Vec<usize> = (0..items.len()).collect();
        for at in first_of(&all, items, part(items.len(), fraction, 0), order) {
            let item = &mut items[at];
            if let Some(label) = &mut item.label {
                let by = 1 + draw.below(item.key, classes - 1);
                *label = ((u64::from(*label) + by) % classes) as u32;
            }
        }
    }
}

/// How many of `count` a fraction is.
fn part(count: usize, fraction: f64, least: usize) -> usize {
    ((count as f64 * fraction).round() as usize).max(least).min(count)
}

/// The first `count` of some images by their random numbers; these depend on the image, not on its place.
fn first_of(among: &[usize], items: &[Item], count: usize, order: Noise) -> Vec<usize> {
    let mut among = among.to_vec();
    among.sort_by_cached_key(|&at| (order.bits(items[at].key), at));
    among.truncate(count);
    among
}

/// Which images a fraction of every class is.
fn chosen_by_class(items: &[Item], fraction: f64, least: usize, order: Noise) -> Vec<bool> {
    let mut by_class = std::collections::BTreeMap::<Option<u32>, Vec<usize>>::new();
    for (at, item) in items.iter().enumerate() {
        by_class.entry(item.label).or_default().push(at);
    }
    let mut chosen = vec![false; items.len()];
    for class in by_class.values() {
        first_of(class, items, part(class.len(), fraction, least), order).into_iter().for_each(|at| chosen[at] = true);
    }
    chosen
}

/// The chosen images and the others, each in their order.
fn parted(items: &[Item], chosen: &[bool]) -> (Vec<Item>, Vec<Item>) {
    let of = |wanted| items.iter().zip(chosen).filter(move |(_, c)| **c == wanted).map(|(item, _)| *item).collect();
    (of(true), of(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{OpenOptions, catalogue};

    fn set(options: &str) -> Catalogue {
        catalogue(&format!("synth:shapes:count=200{options}"), &OpenOptions::default()).unwrap()
    }

    fn keys(set: &Catalogue, split: Split) -> Vec<u64> {
        set[split].items().iter().map(|item| item.key).collect()
    }

    fn per_class(set: &Catalogue, split: Split) -> Vec<usize> {
        let count = |class| set[split].items().iter().filter(|i| i.label == Some(class)).count();
        (0..10).map(count).collect()
    }

    #[test]
    fn what_is_held_out_is_gone_and_every_class_gives_its_part() {
        let mut held = set("");
        held.hold_out(Split::Val, 0.1, 3);
        assert_eq!((per_class(&held, Split::Val), per_class(&held, Split::Train)), (vec![2; 10], vec![18; 10]));
        let val = keys(&held, Split::Val);
        assert!(keys(&held, Split::Train).iter().all(|key| !val.contains(key)));
        let mut other = set("");
        other.hold_out(Split::Val, 0.1, 4);
        assert_ne!(keys(&other, Split::Val), val);
    }

    #[test]
    fn a_smaller_subset_is_a_part_of_a_larger_one() {
        let (tenth, quarter) = (set(",subset=0.1"), set(",subset=0.25"));
        let larger = keys(&quarter, Split::Train);
        assert_eq!((tenth[Split::Train].len(), larger.len()), (20, 50));
        assert!(keys(&tenth, Split::Train).iter().all(|key| larger.contains(key)));
        assert_eq!(per_class(&set(",subset=0"), Split::Train), [1; 10], "a class keeps an image");
    }

    #[test]
    fn noise_makes_exactly_its_part_of_the_training_labels_wrong() {
        let (clean, noisy) = (set(""), set(",noise=0.15"));
        let wrong = |split: Split| {
            clean[split].items().iter().zip(noisy[split].items()).filter(|(a, b)| a.label != b.label).count()
        };
        assert_eq!((wrong(Split::Train), wrong(Split::Val), wrong(Split::Test)), (30, 0, 0));
        assert_eq!(keys(&clean, Split::Train), keys(&noisy, Split::Train));
        assert!(noisy[Split::Train].items().iter().all(|i| i.label < Some(10)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |spec: &str| catalogue(spec, &OpenOptions::default()).err().unwrap().to_string();
        assert!(refused("synth:shapes:val=0.1").contains("a val split of its own"));
        assert!(refused("synth:shapes:subset=2").contains("0 to 1"));
    }
}
