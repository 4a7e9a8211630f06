//! The data that a point learns: specs put together from what the file says, and what they open as.

use super::error::SweepError;
use super::file::{Axis, DataEntry, Entry};
use super::source::Source;
use crate::data::split::Split;
use crate::data::{self, DataError, Dataset, OpenOptions};

/// A visual domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub train: String,
    val: Option<String>,
    pub classes: usize,
}

const SYNTHETIC: &str = "synth:";

impl Task {
    /// Opens every data set of an axis as far as its classes. `adds` if subsets or noise will be added.
    pub fn open_all(source: &Source, axis: &Axis<Entry<DataEntry>>, adds: bool) -> Result<Vec<Self>, SweepError> {
        let open = |entry: &toml::Spanned<Entry<DataEntry>>| {
            let wrong = |why: String, right: &str| source.wrong(entry.span(), "grid.data", why, right);
            let DataEntry { train, val } = &entry.get_ref().0;
            let own = option(train, "subset").or(option(train, "noise"));
            if let Some(own) = own.filter(|_| adds) {
                let right = "say it in the spec or on the axes, not both";
                return Err(wrong(format!("'{train}' has '{own}' of its own"), right));
            }
            Self::open(train, val.as_deref()).map_err(|why| wrong(why, "name data as `trunkline train` does"))
        };
        axis.get_ref().iter().map(open).collect()
    }

    fn open(train: &str, val: Option<&str>) -> Result<Self, String> {
        let told = |e: DataError| e.to_string();
        let catalogue = data::catalogue(train, &OpenOptions::default()).map_err(told)?;
        if Split::ALL.iter().all(|&split| catalogue[split].labels().is_none_or(|l| l.is_empty())) {
            return Err(format!("data '{train}' has no labels to learn from"));
        }
        if let Some(val) = val {
            data::catalogue(val, &OpenOptions::default()).map_err(told)?;
        } else if !train.starts_with(SYNTHETIC) && catalogue[Split::Val].is_empty() {
            return Err(format!(
                "data '{train}' has no validation split: hold some out (val=0.1), or give {{ train = …, val = … }}"
            ));
        }
        Ok(Self { train: train.into(), val: val.map(String::from), classes: catalogue.classes.len() })
    }

    /// What a training on it is measured on: what the file says, else the validation split. A procedural
    /// set has as many images there as are wanted.
    pub fn val_spec(&self, images: usize) -> String {
        if let Some(val) = &self.val {
            return val.clone();
        }
        let bare = without(&self.train, &["split", "subset", "noise"]);
        if !bare.starts_with(SYNTHETIC) {
            return with(&bare, "split", "val");
        }
        // The split has a fifth of what there is to train on.
        let count = images.saturating_mul(5).to_string();
        with(&with(&without(&bare, &["count"]), "count", &count), "split", "val")
    }

    /// The images to learn from, at the trunk's size.
    pub fn train_set(&self, subset: f64, noise: f64, seed: u64, size: [usize; 2]) -> Result<Dataset, DataError> {
        let mut spec = self.train.clone();
        for (key, value, nothing) in [("subset", subset, 1.0), ("noise", noise, 0.0)] {
            if value != nothing {
                spec = with(&spec, key, &value.to_string());
            }
        }
        data::open(&spec, &OpenOptions { limit: None, seed, size: Some(size) })
    }
}

/// The options of a spec: what follows its last colon, if that looks like some.
fn options(spec: &str) -> Option<(&str, &str)> {
    spec.rsplit_once(':').filter(|(_, tail)| tail.contains('='))
}

fn option<'a>(spec: &'a str, key: &str) -> Option<&'a str> {
    let (_, tail) = options(spec)?;
    tail.split(',').find(|pair| pair.split('=').next() == Some(key))
}

fn with(spec: &str, key: &str, value: &str) -> String {
    let between = if options(spec).is_some() { ',' } else { ':' };
    format!("{spec}{between}{key}={value}")
}

fn without(spec: &str, keys: &[&str]) -> String {
    let Some((head, tail)) = options(spec) else { return spec.into() };
    let is_kept = |pair: &&str| pair.split('=').next().is_none_or(|key| !keys.contains(&key));
    let kept: Vec<&str> = tail.split(',').filter(is_kept).collect();
    if kept.is_empty() { head.into() } else { format!("{head}:{}", kept.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_are_put_together() {
        assert_eq!(with("synth:signs", "subset", "0.1"), "synth:signs:subset=0.1");
        assert_eq!(with("synth:signs:count=5", "noise", "0.1"), "synth:signs:count=5,noise=0.1");
        assert_eq!(with(r"idx:C:\mnist", "noise", "0.1"), r"idx:C:\mnist:noise=0.1");
        assert_eq!(without("synth:signs:count=5,subset=0.5", &["subset"]), "synth:signs:count=5");
        assert_eq!(without("synth:signs:count=5", &["count"]), "synth:signs");
        assert_eq!(option("synth:signs:count=5,noise=0.5", "noise"), Some("noise=0.5"));
    }

    #[test]
    fn what_is_learned_is_not_what_it_is_measured_on() {
        let task = Task::open("synth:signs:count=40", None).unwrap();
        assert_eq!(task.val_spec(30), "synth:signs:count=150,split=val");
        let val = data::open(&task.val_spec(30), &OpenOptions::default()).unwrap();
        let train = task.train_set(1.0, 0.0, 0, [32, 32]).unwrap();
        assert_eq!((val.len(), train.len(), task.classes), (30, 40, 10));
        assert!(val.images.iter().all(|image| !train.images.contains(image)));
        assert_eq!(task.train_set(0.25, 0.0, 0, [32, 32]).unwrap().len(), 10);
        let noisy = task.train_set(1.0, 0.25, 0, [32, 32]).unwrap();
        let (clean, noisy) = (train.labels.unwrap(), noisy.labels.unwrap());
        assert_eq!(clean.iter().zip(&noisy).filter(|(a, b)| a != b).count(), 10);
    }
}
