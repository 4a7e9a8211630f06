//! The sweep file: TOML, read with the place of every value, so that whatever turns out wrong later is
//! told where it stands.
//!
//! Refused: unknown keys and types, empty axes, a value that an axis has twice, choices that the mode has
//! not. Whether names mean something is asked when the plan is made.

use super::error::SweepError;
use super::source::Source;
use crate::experiment::train::schedule::Schedule;
use crate::plan::tap_format::TapFormat;
use crate::quant::error_code::GradFormat;
use crate::trunk::backward::ExponentMode;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use toml::Spanned;

/// Whether points are counted only, or trained too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Analytic,
    Trained,
}

/// The values of one axis.
pub type Axis<T> = Spanned<Vec<Spanned<T>>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SweepFile {
    pub name: Option<String>,
    pub mode: Spanned<Mode>,
    pub sample: Option<Sample>,
    pub grid: Spanned<Grid>,
    pub train: Option<Spanned<Train>>,
}

/// So many points of the grid, drawn by a seed, instead of all of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub count: Spanned<u64>,
    #[serde(default)]
    pub seed: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grid {
    pub trunks: Axis<String>,
    pub schemes: Axis<Entry<SchemeEntry>>,
    /// Placements, `default` for the scheme's own and `every` for each that the scheme supports.
    pub sites: Option<Axis<String>>,
    pub batch_norm: Option<Axis<String>>,
    pub tap_bits: Option<Axis<TapFormat>>,
    pub grad: Option<Axis<GradFormat>>,
    pub systems: Option<Axis<Entry<SystemEntry>>>,
    /// Systems put together from every trunk, adapter device and link.
    pub hardware: Option<Hardware>,
    pub data: Option<Axis<Entry<DataEntry>>>,
    pub subset: Option<Axis<f64>>,
    pub noise: Option<Axis<f64>>,
    pub seeds: Option<Axis<u64>>,
}

/// A scheme, perhaps with places and batch norm modes of its own instead of the grid's.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SchemeEntry {
    pub scheme: String,
    pub sites: Option<Axis<String>>,
    pub batch_norm: Option<Axis<String>>,
    /// Its own learning rate.
    pub lr: Option<Spanned<f64>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Parts")]
pub enum SystemEntry {
    Parts(Parts),
    Named(String),
}

/// A system's parts, each a name or a path.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    pub trunk: String,
    pub adapter: String,
    pub link: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    pub trunks: Axis<String>,
    pub adapters: Axis<String>,
    pub links: Axis<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataEntry {
    pub train: String,
    pub val: Option<String>,
}

/// How every point trains; the flags of `trunkline train`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Train {
    pub epochs: Spanned<u64>,
    pub batch: Spanned<usize>,
    pub micro_batch: Spanned<usize>,
    pub optimizer: Spanned<String>,
    pub lr: Option<Spanned<f64>>,
    pub schedule: Schedule,
    pub weight_decay: Spanned<String>,
    pub label_smoothing: Spanned<f64>,
    pub clip: Option<Spanned<f64>>,
    pub grad_rounding: GradRounding,
    pub grad_exponent: ExponentMode,
    pub device: Spanned<String>,
    pub calibration: Option<Spanned<String>>,
    pub profile: Option<Spanned<String>>,
    /// Images that measure a training on a procedural set.
    pub val_images: Spanned<usize>,
}

impl Default for Train {
    fn default() -> Self {
        fn at<T>(value: T) -> Spanned<T> {
            Spanned::new(0..0, value)
        }
        Self {
            epochs: at(10),
            batch: at(32),
            micro_batch: at(8),
            optimizer: at("sgd".into()),
            lr: None,
            schedule: Schedule::Constant,
            weight_decay: at("0".into()),
            label_smoothing: at(0.0),
            clip: None,
            grad_rounding: GradRounding::default(),
            grad_exponent: ExponentMode::default(),
            device: at("cpu".into()),
            calibration: None,
            profile: None,
            val_images: at(200),
        }
    }
}

/// How bits of errors are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradRounding {
    #[default]
    NearestEven,
    /// Up or down by chance, which the point's seed fixes.
    Stochastic,
    PseudoStochastic,
}

/// A text, or a table that says more.
#[derive(Clone, Debug)]
pub struct Entry<T>(pub T);

impl From<String> for SchemeEntry {
    fn from(scheme: String) -> Self {
        Self { scheme, sites: None, batch_norm: None, lr: None }
    }
}

impl From<String> for SystemEntry {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl From<Parts> for SystemEntry {
    fn from(parts: Parts) -> Self {
        Self::Parts(parts)
    }
}

impl From<String> for DataEntry {
    fn from(train: String) -> Self {
        Self { train, val: None }
    }
}

struct TextOrTable<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de> + From<String>> Visitor<'de> for TextOrTable<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a text or a table")
    }
    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::from(text.into()))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

impl<'de, T: Deserialize<'de> + From<String>> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextOrTable(PhantomData)).map(Entry)
    }
}

impl SystemEntry {
    /// As it is written.
    pub fn label(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::Parts(Parts { trunk, adapter, link }) => format!("{trunk}+{adapter}+{link}"),
        }
    }
}

/// Reads a file and checks what can be checked without opening anything that it names.
pub fn parse(source: &Source) -> Result<SweepFile, SweepError> {
    let file: SweepFile = toml::from_str(&source.text).map_err(|e| source.syntax(&e))?;
    let check = Check { source };
    let grid = file.grid.get_ref();
    check.axis("grid.trunks", &grid.trunks, |t| t.clone())?;
    check.axis("grid.schemes", &grid.schemes, |s| s.0.told())?;
    check.some("grid.sites", &grid.sites, Clone::clone)?;
    check.some("grid.batch-norm", &grid.batch_norm, Clone::clone)?;
    check.some("grid.tap-bits", &grid.tap_bits, |bits| *bits)?;
    check.some("grid.grad", &grid.grad, |g| g.bits())?;
    check.some("grid.systems", &grid.systems, |s| s.0.label())?;
    check.some("grid.data", &grid.data, |d| format!("{:?}", d.0))?;
    check.some("grid.subset", &grid.subset, |f| f.to_bits())?;
    check.some("grid.noise", &grid.noise, |f| f.to_bits())?;
    check.some("grid.seeds", &grid.seeds, |s| *s)?;
    if let Some(hardware) = &grid.hardware {
        check.axis("grid.hardware.trunks", &hardware.trunks, Clone::clone)?;
        check.axis("grid.hardware.adapters", &hardware.adapters, Clone::clone)?;
        check.axis("grid.hardware.links", &hardware.links, Clone::clone)?;
    }
    for entry in grid.schemes.get_ref() {
        let scheme = &entry.get_ref().0;
        check.some("grid.schemes.sites", &scheme.sites, Clone::clone)?;
        check.some("grid.schemes.batch-norm", &scheme.batch_norm, Clone::clone)?;
        if let Some(lr) = &scheme.lr {
            check.positive("grid.schemes.lr", lr)?;
        }
    }
    for (key, axis, above_zero) in [("grid.subset", &grid.subset, true), ("grid.noise", &grid.noise, false)] {
        for part in axis.iter().flat_map(Spanned::get_ref) {
            let value = *part.get_ref();
            if !(0.0..=1.0).contains(&value) || (above_zero && value == 0.0) {
                let right = if above_zero { "a part above 0, up to 1" } else { "a part from 0 to 1" };
                return Err(source.wrong(part.span(), key, value, right));
            }
        }
    }
    check.mode(&file)?;
    Ok(file)
}

struct Check<'a> {
    source: &'a Source,
}

impl Check<'_> {
    fn axis<T, K: Ord>(&self, key: &str, axis: &Axis<T>, of: impl Fn(&T) -> K) -> Result<(), SweepError> {
        let values = axis.get_ref();
        if values.is_empty() {
            return Err(self.source.wrong(axis.span(), key, "the axis is empty", "give at least one value"));
        }
        let mut seen = BTreeSet::new();
        for value in values {
            if !seen.insert(of(value.get_ref())) {
                let text = &self.source.text[value.span()];
                let wrong = format!("{text} is there twice");
                return Err(self.source.wrong(value.span(), key, wrong, "a value stands once on its axis"));
            }
        }
        Ok(())
    }

    fn some<T, K: Ord>(&self, key: &str, axis: &Option<Axis<T>>, of: impl Fn(&T) -> K) -> Result<(), SweepError> {
        axis.as_ref().map_or(Ok(()), |axis| self.axis(key, axis, of))
    }

    fn positive(&self, key: &str, value: &Spanned<f64>) -> Result<(), SweepError> {
        let n = *value.get_ref();
        if n.is_finite() && n > 0.0 {
            return Ok(());
        }
        Err(self.source.wrong(value.span(), key, n, "should be a number above 0, such as 0.01"))
    }

    /// What the mode wants and what it has no use for.
    fn mode(&self, file: &SweepFile) -> Result<(), SweepError> {
        let grid = file.grid.get_ref();
        let wrong = |span, key: &str, wrong: &str, right: &str| Err(self.source.wrong(span, key, wrong, right));
        if grid.systems.is_none() && grid.hardware.is_none() {
            let right = "name systems, or give [grid.hardware] trunks, adapters and links";
            return wrong(file.grid.span(), "grid.systems", "it is missing", right);
        }
        if *file.mode.get_ref() == Mode::Trained {
            if grid.data.is_none() {
                return wrong(file.grid.span(), "grid.data", "it is missing", "a trained point needs data to learn");
            }
            return self.train(file.train.as_ref().map(Spanned::get_ref));
        }
        const RIGHT: &str = "take it out, or set mode = \"trained\"";
        if let Some(train) = &file.train {
            return wrong(train.span(), "train", "an analytic sweep trains nothing", RIGHT);
        }
        for (key, axis) in [("grid.subset", &grid.subset), ("grid.noise", &grid.noise)] {
            if let Some(axis) = axis {
                return wrong(axis.span(), key, "an analytic point sees no images", RIGHT);
            }
        }
        if let Some(axis) = &grid.seeds {
            return wrong(axis.span(), "grid.seeds", "an analytic point depends on no seed", RIGHT);
        }
        let rate = |entry: &Spanned<Entry<SchemeEntry>>| entry.get_ref().0.lr.as_ref().map(Spanned::span);
        if let Some(span) = grid.schemes.get_ref().iter().find_map(rate) {
            return wrong(span, "grid.schemes.lr", "an analytic point learns nothing", RIGHT);
        }
        Ok(())
    }

    fn train(&self, train: Option<&Train>) -> Result<(), SweepError> {
        let Some(train) = train else { return Ok(()) };
        let whole = [
            ("train.epochs", *train.epochs.get_ref(), train.epochs.span()),
            ("train.batch", *train.batch.get_ref() as u64, train.batch.span()),
            ("train.micro-batch", *train.micro_batch.get_ref() as u64, train.micro_batch.span()),
            ("train.val-images", *train.val_images.get_ref() as u64, train.val_images.span()),
        ];
        const MOST: u64 = 1 << 32;
        for (key, n, span) in whole {
            if !(1..=MOST).contains(&n) {
                return Err(self.source.wrong(span, key, n, "should be at least 1, and no typing error"));
            }
        }
        for (key, value) in [("train.lr", &train.lr), ("train.clip", &train.clip)] {
            value.as_ref().map_or(Ok(()), |value| self.positive(key, value))?;
        }
        let smoothing = &train.label_smoothing;
        if !(0.0..1.0).contains(smoothing.get_ref()) {
            let right = "should be a number from 0 to below 1";
            return Err(self.source.wrong(smoothing.span(), "train.label-smoothing", smoothing.get_ref(), right));
        }
        Ok(())
    }
}

impl SchemeEntry {
    /// What makes it another entry of its axis.
    fn told(&self) -> String {
        fn values(axis: &Option<Axis<String>>) -> Option<Vec<&String>> {
            axis.as_ref().map(|a| a.get_ref().iter().map(Spanned::get_ref).collect())
        }
        let lr = self.lr.as_ref().map(Spanned::get_ref);
        format!("{:?}", (&self.scheme, values(&self.sites), values(&self.batch_norm), lr))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SweepFile, String> {
        parse(&Source { label: "s.toml".into(), text: text.into() }).map_err(|e| e.to_string())
    }

    const GRID: &str = "[grid]\ntrunks = [\"resnet8\"]\nschemes = [\"parallel\", { scheme = \"head-only\", batch-norm = [\"frozen\"] }]\nsystems = [\"asic-h200-pcie\", { trunk = \"a\", adapter = \"b\", link = \"c\" }]\n";

    #[test]
    fn entries_are_texts_or_tables() {
        let file = read(&format!("mode = \"analytic\"\n{GRID}")).unwrap();
        let grid = file.grid.get_ref();
        assert_eq!(grid.schemes.get_ref()[1].get_ref().0.scheme, "head-only");
        assert_eq!(grid.systems.as_ref().unwrap().get_ref()[1].get_ref().0.label(), "a+b+c");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let analytic = |more: &str| read(&format!("mode = \"analytic\"\n{GRID}{more}")).unwrap_err();
        let has = |error: String, parts: &[&str]| {
            assert!(error.starts_with("s.toml:") && parts.iter().all(|p| error.contains(p)), "{error}");
        };
        has(analytic("tap-bits = [8, 12]\n"), &["s.toml:6:12", "12", "8 or 16"]);
        has(analytic("tap-bits = []\n"), &["s.toml:6:12", "empty"]);
        has(analytic("tap-bits = [8, 8]\n"), &["s.toml:6:16", "twice"]);
        has(analytic("tap-bit = [8]\n"), &["s.toml:6:1", "tap-bit", "tap-bits"]);
        has(analytic("sites = \"all\"\n"), &["s.toml:6:9", "sequence"]);
        has(analytic("seeds = [1]\n"), &["s.toml:6:9", "no seed", "trained"]);
        has(analytic("[train]\nepochs = 3\n"), &["s.toml:6:1", "trains nothing"]);
        has(read(&format!("mode = \"guessed\"\n{GRID}")).unwrap_err(), &["s.toml:1:8", "analytic"]);
        has(read(&format!("mode = \"trained\"\n{GRID}")).unwrap_err(), &["grid.data", "missing"]);
        has(read("mode = \"trained\"\n").unwrap_err(), &["grid"]);
        let trained = |more: &str| {
            read(&format!("mode = \"trained\"\n{GRID}data = [\"synth:signs\"]\n{more}")).map(drop).unwrap_err()
        };
        has(trained("subset = [0.0]\n"), &["s.toml:7:11", "above 0"]);
        has(trained("noise = [nan]\n"), &["s.toml:7:10", "0 to 1"]);
        has(trained("[train]\nepochs = 0\n"), &["s.toml:8:10", "at least 1"]);
        has(trained("[train]\nlr = -1.0\n"), &["s.toml:8:6", "above 0"]);
        has(trained("[train]\nschedule = \"linear\"\n"), &["s.toml:8", "cosine"]);
    }
}
