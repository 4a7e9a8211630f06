//! What flags may be: their readers, and the lists that `--help` prints.

use crate::data;
use crate::data::augment::{AUGMENTATIONS, Augmentation};
use crate::experiment::train::schedule::Schedule;
use crate::experiment::trunk_file::RANDOM;
use crate::model::zoo;
use crate::plan::program::{Optimiser, WeightDecay};
use crate::quant::{Custom, Profile, ProfileError};
use crate::quantise::Calibration;
use crate::scheme::{self, SchemeSpec};
use std::convert::Infallible;
use std::str::FromStr;

/// A trunk that knows something, so that adapters have something to adapt.
pub const TRAINED_TRUNK: &str = "resnet26-pretrained";

/// More threads than any machine has; beyond this it is a typing error.
const MOST_THREADS: usize = 1024;

/// A number of things, of which there is at least one.
pub fn count(text: &str) -> Result<usize, String> {
    match whole(text)? {
        0 => Err("should be at least 1".into()),
        n => Ok(n),
    }
}

/// A number of threads; 0 stands for one per core.
pub fn threads(text: &str) -> Result<usize, String> {
    match whole(text)? {
        n if n > MOST_THREADS => Err(format!("should be 0 to {MOST_THREADS}")),
        n => Ok(n),
    }
}

/// A seed.
pub fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("should be a whole number from 0 to {}", u64::MAX))
}

/// A side of an array of multipliers.
pub fn side(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|n| (1..=1 << 16).contains(n)).ok_or_else(|| "should be 1 to 65536".into())
}

fn whole(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "should be a whole number, such as 8".into())
}

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|n: &f64| n.is_finite() && *n > 0.0);
    read.ok_or_else(|| "should be a number above 0, such as 0.1".into())
}

/// An optimiser's spelling, kept as it is where it is one.
pub fn optimiser(text: &str) -> Result<String, String> {
    text.parse::<Optimiser>().map(|_| text.into())
}

/// A weight decay's spelling, kept as it is where it is one.
pub fn weight_decay(text: &str) -> Result<String, String> {
    text.parse::<WeightDecay>().map(|_| text.into())
}

/// A number from 0 to below 1.
pub fn below_one(text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|n| (0.0..1.0).contains(n));
    read.ok_or_else(|| "should be a number from 0 to below 1".into())
}

/// A recipe of augmentation, kept as it is where there is one of that name.
pub fn augmentation(text: &str) -> Result<String, String> {
    let named = AUGMENTATIONS.iter().map(|(name, ..)| *name);
    let known: Vec<&str> = AUGMENT.iter().map(|(name, _)| *name).chain(named).collect();
    if known.contains(&text) { Ok(text.into()) } else { Err(format!("there are {}", known.join(", "))) }
}

/// The recipe that a name stands for; `auto` is the data set's own.
pub fn recipe(name: &str, auto: Augmentation) -> Augmentation {
    match name {
        "auto" => auto,
        other => Augmentation::named(other).unwrap_or(Augmentation::PLAIN),
    }
}

/// What stands for a recipe beside the recipes' own names.
const AUGMENT: [(&str, &str); 2] = [("none", "resized to the input"), ("auto", "what is usual for the data set")];

pub fn augment_help() -> String {
    let own = AUGMENT.iter().map(|(name, about)| (name.to_string(), about.to_string()));
    let named = AUGMENTATIONS.iter().map(|(name, about, _)| (name.to_string(), about.to_string()));
    listed("What is drawn for every image in every epoch", own.chain(named))
}

/// Bits of a weight or of a map's codes.
pub fn code_bits(text: &str) -> Result<u8, String> {
    bits(text, 2, 8)
}

/// Bits of an accumulator.
pub fn accumulator_bits(text: &str) -> Result<u8, String> {
    bits(text, 16, 64)
}

fn bits(text: &str, least: u8, most: u8) -> Result<u8, String> {
    let read = text.parse().ok().filter(|n| (least..=most).contains(n));
    read.ok_or_else(|| format!("should be {least} to {most} bits"))
}

/// A word of a closed list, as it is serialised.
pub fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    // serde says which words there are.
    serde_json::from_value(text.into()).map_err(|e| e.to_string())
}

pub fn profile(text: &str) -> Result<Profile, ProfileError> {
    text.parse()
}

impl FromStr for SchemeSpec {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(SchemeSpec(text.into()))
    }
}

/// `first`, then one line per entry: its spelling, and what it is.
fn listed(first: &str, entries: impl IntoIterator<Item = (String, String)>) -> String {
    let lines = entries.into_iter().map(|(name, about)| format!("\n- {name}: {about}"));
    format!("{first}:{}", lines.collect::<String>())
}

pub fn trunk_help() -> String {
    let networks = zoo::NETWORKS.iter().chain(zoo::SHAPES).map(|n| {
        let name = format!("{}[:width=W,classes=K,input=H]", n.name);
        (name, format!("{}, input {} unless told otherwise", n.about, n.default_input))
    });
    let file = ("FILE.tflite".to_string(), "an int8 or uint8 TFLite model".to_string());
    let own = ("FILE.safetensors".to_string(), "a trunk file that `trunkline import` wrote".to_string());
    let onnx = "FILE.onnx[:normalise=imagenet|centred|signed|unit]".to_string();
    let onnx = (
        onnx,
        "an ONNX model: quantised (QDQ, QOperator), or float and quantised by us on the first images".to_string(),
    );
    let trained = zoo::PRETRAINED.iter().map(|p| (p.name.to_string(), format!("{}, input {}", p.about, p.input)));
    listed(
        "The frozen network: a model file, a trunk trained by us, or a network of the zoo with random weights",
        [file, onnx, own].into_iter().chain(trained).chain(networks),
    )
}

pub fn scheme_help() -> String {
    let schemes = scheme::SCHEMES.iter().map(|s| {
        let options: Vec<String> = s.options.iter().map(|(key, values)| format!("{key}={values}")).collect();
        let name = if options.is_empty() { s.name.into() } else { format!("{}[:{}]", s.name, options.join(",")) };
        let sites = s.default_sites.as_ref().map_or(String::new(), |sites| format!("; sites: {sites}"));
        (name, format!("{}{sites}", s.about))
    });
    listed("How to adapt it", schemes)
}

pub fn data_help() -> String {
    let sources = data::SOURCES.iter().map(|s| (format!("{}:{}", s.kind, s.argument), s.about.to_string()));
    listed("What to look at; repeat for several tasks, which run one after another", sources)
}

pub fn tasks_help() -> String {
    let first = "Several data sets to learn instead of one, separated by semicolons (their specs have commas): each gets \
                 an adapter, a head and checkpoints of its own in RUN/tasks/NAME. They take turns on one trunk, a step \
                 each; the first one's images fix the scales of a float trunk";
    let sources = data::SOURCES.iter().map(|s| (format!("{}:{}", s.kind, s.argument), s.about.to_string()));
    listed(first, sources)
}

pub fn calibrate_help() -> String {
    let sources = data::SOURCES.iter().map(|s| (format!("{}:{}", s.kind, s.argument), s.about.to_string()));
    let random = (RANDOM.to_string(), "pixels without meaning".to_string());
    listed("Images that fix the scales of a float model", sources.chain([random]))
}

pub fn sites_help() -> String {
    let entries = [
        ("all, all-but-stem", "beside the trunk's convolutions"),
        ("early, mid, late", "in that third of the stages"),
        ("half", "beside the second convolution of every block, or across every second block"),
        ("before-each-stage, after-each-stage", "on the maps at stage boundaries"),
        ("after-each-kernel-size", "after each run of depthwise convolutions of one size: MobileNetV3's four stages"),
        ("each-block", "on the map of every block's convolutions, or across it"),
        ("a comma-separated list", "convolutions by name (see `trunkline inspect`), or before:1,after:2,block:3,…"),
    ];
    listed("Where the adapters sit", entries.map(|(name, about)| (name.to_string(), about.to_string())))
}

pub fn calibration_help() -> String {
    let first = format!("How the scales of a float network are chosen [default: {}]", Calibration::default());
    listed(&first, Calibration::ALL.map(|(name, about)| (name.to_string(), about.to_string())))
}

pub fn schedule_help() -> String {
    let entries = Schedule::ALL.map(|(spelling, about)| (spelling.to_string(), about.to_string()));
    listed("How the learning rate changes over the steps", entries)
}

pub fn profile_help(first: &str) -> String {
    let named = Profile::all().map(|p| (p.name().to_string(), p.about().to_string()));
    listed(first, named.chain([(Custom::SYNTAX.to_string(), "every choice, in any order; each has a default".into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_and_others_told_what_is_right() {
        assert_eq!(count("3"), Ok(3));
        assert!(count("0").unwrap_err().contains("at least 1"));
        assert!(count("-1").unwrap_err().contains("whole number"));
        assert_eq!(threads("0"), Ok(0));
        assert!(threads("1025").unwrap_err().contains("0 to 1024"));
        assert!(seed("x").unwrap_err().contains("from 0"));
        assert!(weight_decay("0.5").is_ok() && weight_decay("-1").is_err());
        assert!(augmentation("zoom").unwrap_err().contains("none, auto, plain, pad-crop"));
        assert_eq!(recipe("auto", Augmentation::CROP), Augmentation::CROP);
        assert_eq!(recipe("none", Augmentation::CROP), Augmentation::PLAIN);
        assert!(optimiser("lion").unwrap_err().contains("adamw"));
    }

    #[test]
    fn help_lists_everything_there_is() {
        assert!(scheme::SCHEMES.iter().all(|s| scheme_help().contains(s.name)));
        assert!(zoo::NETWORKS.iter().all(|n| trunk_help().contains(n.name)));
        assert!(data::SOURCES.iter().all(|s| data_help().contains(s.kind)));
        assert!(AUGMENTATIONS.iter().all(|(name, ..)| augment_help().contains(name)));
        assert!(Calibration::ALL.iter().all(|(name, _)| calibration_help().contains(name)));
        assert!(Profile::all().all(|p| profile_help("").contains(p.name())));
    }
}
