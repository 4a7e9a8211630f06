//! One physical number of a hardware model, and the walk over all of them in a file.
//!
//! A figure that a file does not mention is [`State::Absent`], one that it declares unknown is
//! [`State::Unknown`]. Whoever needs either gets an estimate of 0 that names it.

use super::confidence::Confidence;
use super::estimate::Estimate;
use super::unit;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;

/// What a file says of a figure.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum State {
    #[default]
    Absent,
    Unknown,
    Known(Known),
}

/// A value with its interval and where it is from.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub v: f64,
    pub lo: f64,
    pub hi: f64,
    pub conf: Confidence,
    /// Key into the file's `[sources]`.
    pub src: String,
    /// What that key stands for.
    pub source: String,
}

/// A physical number of a hardware model. Its unit is the end of its key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figure {
    /// The model that it belongs to, as `link/pcie-gen3-x8`.
    pub model: Arc<str>,
    /// Dotted key in the model's file.
    pub key: String,
    pub state: State,
    pub note: Option<String>,
    /// What the file holds, until it is checked.
    raw: Option<Box<Raw>>,
}

impl Figure {
    /// As reports name it: `link/pcie-gen3-x8: energy.wire_pj_per_bit`.
    pub fn path(&self) -> String {
        format!("{}: {}", self.model, self.key)
    }

    pub fn known(&self) -> Option<&Known> {
        match &self.state {
            State::Known(known) => Some(known),
            State::Absent | State::Unknown => None,
        }
    }

    pub fn value(&self) -> Option<f64> {
        self.known().map(|known| known.v)
    }

    /// Whether the file mentions it at all.
    pub fn is_given(&self) -> bool {
        self.state != State::Absent
    }

    pub fn is_unknown(&self) -> bool {
        self.state == State::Unknown
    }

    /// Multiplies what is known.
    pub(crate) fn scale(&mut self, by: f64) {
        if let State::Known(Known { v, lo, hi, .. }) = &mut self.state {
            (*v, *lo, *hi) = (*v * by, *lo * by, *hi * by);
        }
    }

    /// Another value of what is known, exactly: for a parameter that a comparison varies.
    pub(crate) fn vary(&mut self, to: f64) {
        if let State::Known(Known { v, lo, hi, .. }) = &mut self.state {
            (*v, *lo, *hi) = (to, to, to);
        }
    }

    /// Its value and interval; 0 and its name if it is unknown or absent.
    pub fn estimate(&self) -> Estimate {
        match &self.state {
            State::Known(Known { v, lo, hi, conf, .. }) => {
                Estimate { v: *v, lo: *lo, hi: *hi, conf: *conf, unknown: Default::default() }
            }
            State::Absent | State::Unknown => Estimate::unknown(self.path()),
        }
    }

    pub fn unit(&self) -> &'static str {
        unit::rule_of(last(&self.key)).map_or("", |rule| rule.unit)
    }

    /// Checks what the file holds and keeps it: wrong things come back as (what, what would be right).
    pub(super) fn settle(&mut self, sources: &BTreeMap<String, String>) -> Result<(), (String, String)> {
        let Some(raw) = self.raw.take() else { return Ok(()) };
        let raw = raw.0.into_inner();
        self.note = raw.note.clone();
        self.state = raw.state(last(&self.key), sources)?;
        Ok(())
    }

    /// Where its value stands in the file's text, until it is settled.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        self.raw.as_ref().map(|raw| raw.0.span())
    }
}

/// The last part of a dotted key.
pub(super) fn last(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

#[derive(Clone, Debug, PartialEq)]
struct Raw(Spanned<RawFigure>);

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a figure: { v = 1.5, src = \"a key of [sources]\", conf = \"primary\" } or { unknown = true }"
)]
struct RawFigure {
    v: Option<f64>,
    unknown: Option<bool>,
    lo: Option<f64>,
    hi: Option<f64>,
    src: Option<String>,
    conf: Option<Confidence>,
    note: Option<String>,
}

impl<'de> Deserialize<'de> for Figure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Spanned::<RawFigure>::deserialize(deserializer)?;
        Ok(Figure { raw: Some(Box::new(Raw(raw))), ..Figure::default() })
    }
}

type Fault = (String, String);

fn fault<T>(wrong: impl Into<String>, right: impl Into<String>) -> Result<T, Fault> {
    Err((wrong.into(), right.into()))
}

impl RawFigure {
    fn state(self, key: &str, sources: &BTreeMap<String, String>) -> Result<State, Fault> {
        let Some(rule) = unit::rule_of(key) else {
            return fault("the key ends in no unit that is known", format!("end it in one of {}", unit::endings()));
        };
        match (self.v, self.unknown) {
            (Some(_), Some(_)) => fault("both `v` and `unknown` are given", "give exactly one of them"),
            (None, Some(true)) => self.into_unknown(sources),
            (None, Some(false)) => fault("`unknown = false` without a value", "give `v = ...` instead"),
            (None, None) => fault("there is neither a value nor `unknown = true`", "give exactly one of them"),
            (Some(v), None) => Ok(State::Known(self.into_known(v, rule, sources)?)),
        }
    }

    fn into_unknown(self, sources: &BTreeMap<String, String>) -> Result<State, Fault> {
        if self.lo.is_some() || self.hi.is_some() || self.conf.is_some() {
            return fault("an unknown figure has bounds or a confidence", "leave `lo`, `hi` and `conf` out");
        }
        if let Some(src) = &self.src {
            resolve(src, sources)?;
        }
        Ok(State::Unknown)
    }

    fn into_known(self, v: f64, rule: unit::Rule, sources: &BTreeMap<String, String>) -> Result<Known, Fault> {
        let (lo, hi) = (self.lo.unwrap_or(v), self.hi.unwrap_or(v));
        for (name, x) in [("v", v), ("lo", lo), ("hi", hi)] {
            in_range(name, x, rule)?;
        }
        if lo > v || v > hi {
            return fault(format!("lo = {lo}, v = {v}, hi = {hi}"), "lo <= v <= hi must hold");
        }
        let Some(src) = self.src else {
            return fault("the value has no `src`", "name a key of [sources] that says where it is from");
        };
        let Some(conf) = self.conf else {
            return fault(
                "the value has no `conf`",
                "one of measured, primary, second-hand, derived, borrowed, recalled-unverified, assumed",
            );
        };
        let source = resolve(&src, sources)?;
        Ok(Known { v, lo, hi, conf, src, source })
    }
}

fn in_range(name: &str, x: f64, rule: unit::Rule) -> Result<(), Fault> {
    let unit = if rule.unit.is_empty() { String::new() } else { format!(" {}", rule.unit) };
    if !x.is_finite() {
        return fault(format!("{name} = {x}"), "a figure is a finite number, or { unknown = true }");
    }
    if x < 0.0 {
        return fault(format!("{name} = {x} is negative"), "a figure is not negative");
    }
    if x < rule.min || x > rule.max {
        return fault(
            format!("{name} = {x}{unit} is beyond any hardware"),
            format!("between {} and {}{unit}; is the unit right?", rule.min, rule.max),
        );
    }
    if rule.whole && x.fract() != 0.0 {
        return fault(format!("{name} = {x} is not a whole number"), format!("a whole number{unit}"));
    }
    Ok(())
}

/// What a source key stands for.
pub(super) fn resolve(src: &str, sources: &BTreeMap<String, String>) -> Result<String, Fault> {
    match sources.get(src) {
        Some(source) => Ok(source.clone()),
        None if sources.is_empty() => fault(format!("src = \"{src}\" is not in [sources]"), "add a [sources] table"),
        None => {
            let keys: Vec<_> = sources.keys().map(String::as_str).collect();
            fault(format!("src = \"{src}\" is not in [sources]"), format!("one of {}, or add it", keys.join(", ")))
        }
    }
}

/// Something that holds figures under dotted keys.
pub trait Section {
    fn visit<'a>(&'a self, key: &str, f: &mut dyn FnMut(&'a Figure));
    fn visit_mut(&mut self, key: &str, f: &mut dyn FnMut(&str, &mut Figure));
}

impl Section for Figure {
    fn visit<'a>(&'a self, _key: &str, f: &mut dyn FnMut(&'a Figure)) {
        f(self);
    }
    fn visit_mut(&mut self, key: &str, f: &mut dyn FnMut(&str, &mut Figure)) {
        f(key, self);
    }
}

impl<K: Display + Ord, S: Section> Section for BTreeMap<K, S> {
    fn visit<'a>(&'a self, key: &str, f: &mut dyn FnMut(&'a Figure)) {
        for (name, section) in self {
            section.visit(&join(key, &name.to_string()), f);
        }
    }
    fn visit_mut(&mut self, key: &str, f: &mut dyn FnMut(&str, &mut Figure)) {
        for (name, section) in self {
            section.visit_mut(&join(key, &name.to_string()), f);
        }
    }
}

pub(super) fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_string() } else { format!("{key}.{name}") }
}

/// Declares a table of a hardware model file once: its figures (and tables of them), which are
/// optional and walked over, and its plain keys, which are structure.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident {
        figures { $($figure:ident: $figure_type:ty),* $(,)? }
        plain { $($(#[$plain_doc:meta])* $plain:ident: $plain_type:ty),* $(,)? }
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(#[serde(default)] pub $figure: $figure_type,)*
            $($(#[$plain_doc])* pub $plain: $plain_type,)*
        }

        impl $crate::hw::figure::Section for $name {
            #[allow(unused_variables)]
            fn visit<'a>(&'a self, key: &str, f: &mut dyn FnMut(&'a $crate::hw::figure::Figure)) {
                $($crate::hw::figure::Section::visit(
                    &self.$figure, &$crate::hw::figure::join(key, stringify!($figure)), f);)*
            }
            #[allow(unused_variables)]
            fn visit_mut(&mut self, key: &str, f: &mut dyn FnMut(&str, &mut $crate::hw::figure::Figure)) {
                $($crate::hw::figure::Section::visit_mut(
                    &mut self.$figure, &$crate::hw::figure::join(key, stringify!($figure)), f);)*
            }
        }
    };
}
pub(crate) use section;

/// All figures of a section.
pub fn figures(section: &dyn Section) -> Vec<&Figure> {
    let mut all = Vec::new();
    section.visit("", &mut |figure| all.push(figure));
    all
}

/// Tells figures that no file was read for whose they are.
pub(super) fn claim(section: &mut dyn Section, key: &str, owner: &str) {
    section.visit_mut(key, &mut |key, figure| {
        figure.model = owner.into();
        figure.key = key.to_string();
    });
}

/// Gives the figures that `into` lacks from `from`, by the last part of their keys.
///
/// One that `into` declares unknown stays unknown: that is a statement, not a gap.
pub(super) fn fill(into: &mut dyn Section, from: &dyn Section) {
    let from: BTreeMap<&str, &Figure> = figures(from).into_iter().map(|f| (last(&f.key), f)).collect();
    into.visit_mut("", &mut |key, figure| {
        if let Some(found) = from.get(last(key)).filter(|found| found.is_given() && !figure.is_given()) {
            *figure = (*found).clone();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{Body, library};

    #[test]
    fn every_key_of_the_schema_has_a_unit_or_is_a_number() {
        let mut seen = 0;
        for entry in library::list() {
            let body = library::load(entry.kind, entry.name).unwrap().body;
            let all = match &body {
                Body::Trunk(trunk) => figures(trunk.as_ref()),
                Body::Adapter(adapter) => figures(adapter.as_ref()),
                Body::Link(link) => figures(link.as_ref()),
                Body::Memory(memory) => figures(memory.as_ref()),
                Body::Table(table) => figures(table.as_ref()),
                Body::System(system) => figures(&system.host),
            };
            for figure in all {
                assert!(unit::rule_of(last(&figure.key)).is_some(), "{}", figure.path());
                seen += 1;
            }
        }
        assert!(seen > 200, "{seen}");
    }

    #[test]
    fn a_level_keeps_what_it_declares_unknown_and_takes_what_it_does_not_mention() {
        let known = |v: f64| {
            State::Known(Known {
                v,
                lo: v,
                hi: v,
                conf: Confidence::Primary,
                src: "s".into(),
                source: "a source".into(),
            })
        };
        let figure = |key: &str, state| Figure { key: key.into(), state, ..Figure::default() };
        let section = |states: [State; 3]| -> BTreeMap<String, Figure> {
            let keys = ["a_ns", "b_ns", "c_ns"];
            keys.into_iter().zip(states).map(|(key, state)| (key.into(), figure(key, state))).collect()
        };
        let mut level = section([State::Absent, State::Unknown, known(1.0)]);
        fill(&mut level, &section([known(7.0), known(8.0), known(9.0)]));
        assert_eq!(level["a_ns"].value(), Some(7.0));
        assert_eq!(level["b_ns"].state, State::Unknown);
        assert_eq!(level["c_ns"].value(), Some(1.0));
    }
}
