//! From TOML text to a checked model file: syntax, schema, figures, sources.

use super::error::HwError;
use super::figure::{Figure, Section, figures, join, resolve};
use super::place;
use super::schema::{Kind, Validation};
use super::sheet::Sheet;
use super::source::Source;
use super::unit;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;

/// One kind of hardware model file.
pub(super) trait ModelFile: Section + DeserializeOwned {
    const KIND: Kind;
    fn name(&self) -> &str;
    fn sources(&self) -> &BTreeMap<String, String>;
    fn validations(&self) -> &[Validation] {
        &[]
    }
    /// What no single figure can tell: keys that need or exclude each other.
    fn check(&self, source: &Source) -> Result<(), HwError>;
    /// Becomes the variant that the source's name asks for, once it is checked.
    fn vary(&mut self, _source: &Source) {}
}

#[derive(Deserialize)]
struct Head {
    schema: Option<Spanned<toml::Value>>,
}

/// The kind that a file says it is.
pub(super) fn kind_of(source: &Source) -> Result<Kind, HwError> {
    let head: Head = toml::from_str(&source.text).map_err(|e| syntax(source, &e))?;
    let all = || Kind::ALL.iter().map(|kind| format!("\"{}\"", kind.schema())).collect::<Vec<_>>().join(", ");
    let Some(schema) = head.schema else {
        return Err(source.wrong("schema", "it is missing", format!("one of {}", all())));
    };
    let text = schema.get_ref().as_str();
    text.and_then(Kind::of_schema).ok_or_else(|| {
        source.wrong("schema", format!("{} is no schema", schema.get_ref()), format!("one of {}", all()))
    })
}

/// Reads and checks a file of one kind.
pub(super) fn read<T: ModelFile>(source: &Source) -> Result<(T, Sheet), HwError> {
    let kind = kind_of(source)?;
    if kind != T::KIND {
        let right = format!("a {} (\"{}\") is wanted here", T::KIND, T::KIND.schema());
        return Err(source.wrong("schema", format!("this is a {kind}"), right));
    }
    let mut model: T = toml::from_str(&source.text).map_err(|e| syntax(source, &e))?;
    check_name(source, model.name())?;
    settle(source, &mut model)?;
    check_validations(source, &model)?;
    model.check(source)?;
    model.vary(source);
    // A variant has a name of its own, which its figures carry.
    let owner: Arc<str> = format!("{}/{}", T::KIND, model.name()).into();
    model.visit_mut("", &mut |_, figure: &mut Figure| figure.model = owner.clone());
    let sheet = Sheet::new(source, T::KIND, model.name(), model.sources(), figures(&model), model.validations());
    Ok((model, sheet))
}

fn check_name(source: &Source, name: &str) -> Result<(), HwError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) {
        let right = "1 to 64 letters, digits, `-`, `_` or `.`, such as \"pcie-gen3-x8\"";
        return Err(source.wrong("name", format!("{name:?} is no name"), right));
    }
    Ok(())
}

/// Gives every figure its key and model, and checks its value and source.
fn settle<T: ModelFile>(source: &Source, model: &mut T) -> Result<(), HwError> {
    let owner: Arc<str> = format!("{}/{}", T::KIND, model.name()).into();
    let sources = model.sources().clone();
    let mut first = None;
    model.visit_mut("", &mut |key, figure: &mut Figure| {
        figure.model = owner.clone();
        figure.key = key.to_string();
        let span = figure.span();
        if let Err((wrong, right)) = figure.settle(&sources)
            && first.is_none()
        {
            let line = span.map(|span| place::locate(&source.text, span).0);
            first = Some(HwError::Wrong { file: source.label.clone(), line, key: key.into(), wrong, right });
        }
    });
    first.map_or(Ok(()), Err)
}

fn check_validations<T: ModelFile>(source: &Source, model: &T) -> Result<(), HwError> {
    for validation in model.validations() {
        resolve(&validation.src, model.sources()).map_err(|(wrong, right)| source.wrong("validation", wrong, right))?;
        for (key, x) in [("value", validation.value), ("tolerance_frac", validation.tolerance_frac)] {
            if !x.is_finite() || x < 0.0 {
                let key = format!("validation.{key}");
                return Err(source.wrong(&key, format!("it is {x}"), "a finite number, not negative"));
            }
        }
    }
    Ok(())
}

/// An error of the TOML reader or of a key's type, with what may have been meant.
fn syntax(source: &Source, error: &toml::de::Error) -> HwError {
    let span: Range<usize> = error.span().unwrap_or(0..0);
    let root = span.start == 0;
    let (line, mut key) = place::locate(&source.text, span);
    let message = error.message().replace('\n', " ");
    if let Some(missing) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
        key = if root { missing.to_string() } else { join(&key, missing) };
    }
    let right = meant(&message).unwrap_or_else(|| format!("see {} in the shipped files", key));
    HwError::Wrong { file: source.label.clone(), line: error.span().map(|_| line), key, wrong: message, right }
}

/// A guess at what was meant, from the reader's message.
fn meant(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (wrong, expected) = quoted.split_first()?;
    if message.starts_with("unknown field") {
        let same_stem = expected.iter().find(|e| unit::stem(e) == unit::stem(wrong));
        if let Some(key) = same_stem {
            return Some(format!("`{key}` is meant? the unit is part of the key"));
        }
        let near = expected.iter().min_by_key(|e| distance(e, wrong)).filter(|e| distance(e, wrong) <= 3);
        return Some(match near {
            Some(key) => format!("`{key}` is meant?"),
            None => "take one of the expected keys".into(),
        });
    }
    if message.starts_with("missing field") {
        return Some(format!("add `{wrong} = ...`"));
    }
    message.starts_with("duplicate").then(|| "each key stands once".into())
}

/// How many letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("lanes", "lanes"), 0);
        assert_eq!(distance("lane", "lanes"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_wrong_unit_is_told_from_a_wrong_word() {
        let message = "unknown field `setup_us`, expected one of `setup_ns`, `write_posted_ns`";
        assert!(meant(message).unwrap().contains("`setup_ns` is meant? the unit"));
        let message = "unknown field `write_postd_ns`, expected one of `setup_ns`, `write_posted_ns`";
        assert_eq!(meant(message).unwrap(), "`write_posted_ns` is meant?");
    }
}
