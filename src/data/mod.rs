//! Data sets: 8-bit images and their labels, through a closed list of doors.
//!
//! A set is named by a spec, `KIND:PATH[:key=value,…]` or `synth:NAME[:key=value,…]`. It opens as a
//! [`Catalogue`], whose images are read when they are asked for, and from which a [`loader::Loader`]
//! makes batches; or as a [`Dataset`], decoded as a whole. Images come out exactly as stored, or
//! resized where a size is asked for; how a model wants its input coded is not known here. Order is
//! fixed by the source, never by the machine. Refused, with archive, member and reason: broken
//! images, images of another size than the set's, members outside the archive, and sizes that the
//! bytes do not justify.

use crate::model::ModelError;
use spec::Argument;
use std::path::{Path, PathBuf};
use thiserror::Error;

mod archive;
mod at;
pub mod augment;
mod catalogue;
mod cifar10;
mod cifar10_jpeg;
mod cifar_binary;
mod dataset;
mod decathlon;
mod detect;
mod idx;
pub mod image;
mod images;
pub mod jpeg;
mod kept;
mod listed;
pub mod loader;
pub mod mixture;
mod npz;
mod omniglot;
pub mod order;
mod parquet;
mod protocol;
mod read;
pub mod sheet;
mod spec;
pub mod split;
mod store;
mod subset;
pub mod summary;
pub mod synth;
mod tree;

pub use catalogue::{Broken, Catalogue, Item, Samples, Statistics};
pub use dataset::Dataset;
use split::Split;
pub use subset::Subset;

/// What to take of a source.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The first so many images; all of them if absent.
    pub limit: Option<usize>,
    /// The seed of a procedural set whose spec has none.
    pub seed: u64,
    /// Height and width that every image comes out with: procedural images are drawn so unless
    /// their spec has a size, all others are resized (bilinear).
    pub size: Option<[usize; 2]>,
}

/// Why a data set did not open.
#[derive(Debug, Error)]
pub enum DataError {
    #[error("data '{spec}': {why}")]
    Spec { spec: String, why: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("{}: member '{member}': {why}", archive.display())]
    Member { archive: PathBuf, member: String, why: String },
    #[error(transparent)]
    Array(#[from] ModelError),
}

/// A kind of source.
pub struct Source {
    pub kind: &'static str,
    /// What follows `KIND:`.
    pub argument: &'static str,
    pub about: &'static str,
    argument_is: Is,
    /// Its own keys, beside those that all kinds have.
    keys: &'static [&'static str],
    open: fn(&Ask) -> Result<Catalogue, DataError>,
}

/// What stands between the kind and the options.
enum Is {
    Path,
    Name,
}

/// What a source is asked for.
struct Ask<'a> {
    argument: &'a Argument,
    options: &'a OpenOptions,
    /// Only this split will be looked at.
    only: Option<Split>,
    /// Only so many of its first images.
    most: usize,
}

/// Every door, in the order in which help lists them.
pub const SOURCES: &[Source] = &[
    cifar10::SOURCE,
    cifar10_jpeg::SOURCE,
    cifar_binary::SOURCE,
    idx::SOURCE,
    omniglot::SOURCE,
    images::SOURCE,
    npz::SOURCE,
    parquet::SOURCE,
    listed::SOURCE,
    decathlon::SOURCE,
    synth::SOURCE,
];

/// Opens the data set that `spec` names, with all its splits, as the spec's protocol leaves them.
/// Its procedural images are drawn at the size that is asked for; all others come as stored.
pub fn catalogue(spec: &str, options: &OpenOptions) -> Result<Catalogue, DataError> {
    let (source, argument) = parsed(spec)?;
    opened(source, &Ask { argument: &argument, options, only: None, most: usize::MAX })
}

/// Opens the data set that `spec` names and decodes one split of it: the one that the spec asks
/// for, or the first that it has.
pub fn open(spec: &str, options: &OpenOptions) -> Result<Dataset, DataError> {
    subset(spec, options)?.load(options.size)
}

/// The same, to be read image by image: nothing is decoded yet. A size that is asked for is that of
/// procedural images; all others come as stored.
pub fn subset(spec: &str, options: &OpenOptions) -> Result<Subset, DataError> {
    let (set, split) = chosen(spec, options)?;
    Ok(Subset::of(&set, split, options.limit.unwrap_or(usize::MAX)))
}

/// A data set, and the split that its spec asks for or the first that it has.
fn chosen(spec: &str, options: &OpenOptions) -> Result<(Catalogue, Split), DataError> {
    let refused = |why: String| DataError::Spec { spec: spec.into(), why };
    if options.limit == Some(0) {
        return Err(refused("a limit of 0 images leaves nothing; give at least 1".into()));
    }
    if let Some(size) = options.size.filter(|size| size.iter().any(|n| !(1..=image::MAX_SIDE).contains(n))) {
        return Err(refused(format!("images of {} x {}; sides are 1 to {}", size[0], size[1], image::MAX_SIDE)));
    }
    let (source, argument) = parsed(spec)?;
    let asked = argument.split()?;
    // What a protocol chooses from, it must see whole.
    let whole = ["val", "test", "subset", "noise"].iter().any(|key| argument.get(key).is_some());
    let (only, most) = if whole { (None, usize::MAX) } else { (asked, options.limit.unwrap_or(usize::MAX)) };
    let mut set = opened(source, &Ask { argument: &argument, options, only, most })?;
    let split = asked.unwrap_or(set.first_split());
    if set[split].is_empty() {
        let there: Vec<&str> = Split::ALL.into_iter().filter(|&s| !set[s].is_empty()).map(Split::name).collect();
        return Err(refused(format!("has no image in split '{split}'; there is {}", there.join(", "))));
    }
    if let Some(split) = asked {
        set.name = format!("{}:split={split}", set.name);
    }
    Ok((set, split))
}

fn parsed(spec: &str) -> Result<(&'static Source, Argument), DataError> {
    let refused = |why: String| DataError::Spec { spec: spec.into(), why };
    let (kind, argument) = spec.split_once(':').unwrap_or((spec, ""));
    let named = SOURCES.iter().find(|source| source.kind == kind);
    if named.is_none() {
        if let Some(found) = detected(spec)? {
            return Ok(found);
        }
        // What is spelt like a file and is no kind was meant as a file.
        if kind.contains(['/', '\\', '.']) {
            let path = Argument::of_path("path", spec, &[]).map_or_else(|_| spec.into(), |a| a.path);
            let source = std::fs::metadata(&path).err();
            let source = source.unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput));
            return Err(DataError::Io { path: path.into(), source });
        }
    }
    let Some(source) = named else {
        let known: Vec<String> = SOURCES.iter().map(|s| format!("{}:{}", s.kind, s.argument)).collect();
        return Err(refused(format!("'{kind}' is no kind of data; there are {}", known.join(", "))));
    };
    if argument.is_empty() {
        return Err(refused(format!("say what to open: {}:{}", source.kind, source.argument)));
    }
    let argument = match source.argument_is {
        Is::Path => Argument::of_path(kind, argument, source.keys)?,
        Is::Name => Argument::of_name(kind, argument, source.keys)?,
    };
    Ok((source, argument))
}

/// A path without a kind, if something is there.
fn detected(spec: &str) -> Result<Option<(&'static Source, Argument)>, DataError> {
    let argument = Argument::of_path("path", spec, &[]);
    let path = argument.as_ref().map_or(spec, |argument| argument.path.as_str());
    // The root of everything is no data set, and to look for one in it takes long.
    if Path::new(path).parent().is_none() || !Path::new(path).exists() {
        return Ok(None);
    }
    let kind = detect::kind(Path::new(path))?;
    let source = SOURCES.iter().find(|source| source.kind == kind);
    source.map(|source| Ok((source, argument?))).transpose()
}

fn opened(source: &Source, ask: &Ask) -> Result<Catalogue, DataError> {
    let mut set = (source.open)(ask)?;
    protocol::apply(&mut set, ask.argument)?;
    match ask.argument.get("bad") {
        None | Some("stop") => {}
        Some("skip") => set.skip_bad(true),
        Some(other) => return Err(ask.argument.refused(format!("bad={other}: there are stop and skip"))),
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(spec: &str, options: &OpenOptions) -> String {
        open(spec, options).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_spec_says_what_there_is() {
        let options = OpenOptions::default();
        assert!(refusal("imagenet:/x", &options).contains("cifar10:DIR"));
        assert!(refusal("cifar10", &options).contains("say what to open"));
        assert!(refusal("cifar10:/nowhere", &options).contains("/nowhere"));
        assert!(refusal("synth:shapes", &OpenOptions { limit: Some(0), ..options.clone() }).contains("at least 1"));
        assert!(refusal("synth:shapes", &OpenOptions { size: Some([0, 8]), ..options }).contains("sides are 1"));
    }
}
