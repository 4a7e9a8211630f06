//! A model as a sheet to read: every figure with value, interval, confidence and source, as data rows.

use super::confidence::Confidence;
use super::figure::{Figure, Section, figures};
use super::schema::{Kind, Validation};
use super::source::Source;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One figure, ready for a table or for JSON. An unknown one has no value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The model that the figure stands in, as `link/pcie-gen3-x8`.
    pub model: String,
    pub key: String,
    pub value: Option<f64>,
    pub lo: Option<f64>,
    pub hi: Option<f64>,
    pub unit: &'static str,
    pub conf: Option<Confidence>,
    pub source: Option<String>,
    pub note: Option<String>,
}

impl Row {
    fn of(figure: &Figure) -> Row {
        let known = figure.known();
        Row {
            model: figure.model.to_string(),
            key: figure.key.clone(),
            value: known.map(|k| k.v),
            lo: known.map(|k| k.lo),
            hi: known.map(|k| k.hi),
            unit: figure.unit(),
            conf: known.map(|k| k.conf),
            source: known.map(|k| k.source.clone()),
            note: figure.note.clone(),
        }
    }
}

/// The figures that a section gives, known or declared unknown.
pub(super) fn rows(section: &dyn Section) -> Vec<Row> {
    figures(section).into_iter().filter(|f| f.is_given()).map(Row::of).collect()
}

/// What is said about a file beside its figures.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sheet {
    pub kind: Kind,
    pub name: String,
    /// Where it was read from.
    pub file: String,
    /// Structural keys and their values.
    pub facts: Vec<(String, String)>,
    pub sources: BTreeMap<String, String>,
    /// Source keys that nothing in the file uses.
    pub unused_sources: BTreeSet<String>,
}

impl Sheet {
    pub(super) fn new(
        source: &Source,
        kind: Kind,
        name: &str,
        sources: &BTreeMap<String, String>,
        figures: Vec<&Figure>,
        validations: &[Validation],
    ) -> Sheet {
        let used = figures.iter().filter_map(|f| f.known()).map(|k| &k.src);
        let used: BTreeSet<_> = used.chain(validations.iter().map(|v| &v.src)).collect();
        let unused_sources = sources.keys().filter(|key| !used.contains(key)).cloned().collect();
        let mut facts = Vec::new();
        if let Ok(table) = source.text.parse::<toml::Table>() {
            collect_facts("", &table, &mut facts);
        }
        Sheet { kind, name: name.into(), file: source.label.clone(), facts, sources: sources.clone(), unused_sources }
    }
}

/// Plain keys of a file: all that are not figures, sources or what the sheet says itself.
fn collect_facts(prefix: &str, table: &toml::Table, facts: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let key = super::figure::join(prefix, name);
        match value {
            toml::Value::Table(inner) => {
                let is_figure = inner.contains_key("v") || inner.contains_key("unknown");
                if key != "sources" && !is_figure {
                    collect_facts(&key, inner, facts);
                }
            }
            _ if ["schema", "name"].contains(&key.as_str()) => {}
            toml::Value::String(text) => facts.push((key, text.clone())),
            other => facts.push((key, other.to_string())),
        }
    }
}
