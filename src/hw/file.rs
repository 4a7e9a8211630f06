//! One hardware file, read and checked: every key known, every figure with source and confidence.
//!
//! What a file does not say is not guessed: asking for a figure that is absent gives the same
//! answer as one marked `unknown`.

use super::HwError;
use super::estimate::{Confidence, Estimate};
use super::schema::{Holds, Kind, required};
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A figure as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// `None` if it is marked unknown.
    pub value: Option<Known>,
    pub note: String,
}

/// The value of a figure that is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub v: f64,
    pub lo: f64,
    pub hi: f64,
    pub confidence: Confidence,
    /// A key of `[sources]`.
    pub source: String,
}

/// A structural choice.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    Text(String),
    Whole(u64),
    Flag(bool),
}

/// A checked file.
#[derive(Clone, Debug, PartialEq)]
pub struct HwFile {
    pub kind: Kind,
    pub name: String,
    /// Where it came from: a path, or `embedded:…`.
    pub origin: String,
    /// By dotted key.
    pub figures: BTreeMap<String, Figure>,
    pub settings: BTreeMap<String, Setting>,
    pub sources: BTreeMap<String, String>,
}

impl HwFile {
    /// Reads a file of `kind`, or of whatever kind its schema says.
    pub fn parse(text: &str, origin: &str, kind: Option<Kind>) -> Result<Self, HwError> {
        let reader = Reader { text, origin };
        let table =
            DeTable::parse(text).map_err(|e| reader.fault(e.span().map(|s| s.start), e.message().to_string()))?;
        let said = table.get_ref().get("schema").and_then(|v| v.get_ref().as_str()).unwrap_or("");
        let found = Kind::ALL.into_iter().find(|k| k.schema() == said);
        let kind = match (kind, found) {
            (Some(wanted), Some(found)) if wanted == found => found,
            (None, Some(found)) => found,
            (wanted, _) => {
                let all: Vec<String> =
                    wanted.map_or(Kind::ALL.to_vec(), |k| vec![k]).iter().map(|k| k.schema()).collect();
                return Err(
                    reader.fault(Some(0), format!("schema is \"{said}\", should be \"{}\"", all.join("\" or \"")))
                );
            }
        };
        let mut file = Self {
            kind,
            name: String::new(),
            origin: origin.into(),
            figures: BTreeMap::new(),
            settings: BTreeMap::new(),
            sources: BTreeMap::new(),
        };
        reader.table(&mut file, "", table.get_ref())?;
        reader.finish(&mut file)?;
        Ok(file)
    }

    /// The figure at a dotted key, named after this file where it is unknown.
    pub fn figure(&self, key: &str) -> Estimate {
        match self.figures.get(key).and_then(|f| f.value.as_ref()) {
            Some(k) => {
                Estimate { v: k.v, lo: k.lo, hi: k.hi, confidence: Some(k.confidence), unknown: BTreeSet::new() }
            }
            None => Estimate::unknown(&format!("{}/{}: {key}", self.kind.name(), self.name)),
        }
    }

    /// The value of a figure, if it is known.
    pub fn value(&self, key: &str) -> Option<f64> {
        self.figures.get(key).and_then(|f| f.value.as_ref()).map(|k| k.v)
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        match self.settings.get(key) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub fn flag(&self, key: &str) -> bool {
        self.settings.get(key) == Some(&Setting::Flag(true))
    }

    pub fn whole(&self, key: &str) -> Option<u64> {
        match self.settings.get(key) {
            Some(Setting::Whole(n)) => Some(*n),
            _ => None,
        }
    }

    /// Sources that no figure names, and figures that are unknown.
    pub fn loose_ends(&self) -> (Vec<String>, Vec<String>) {
        let known = self.figures.values().filter_map(|f| f.value.as_ref());
        let used: BTreeSet<&str> = known.map(|k| k.source.as_str()).collect();
        let unused = self.sources.keys().filter(|s| !used.contains(s.as_str())).cloned().collect();
        let unknown = self.figures.iter().filter(|(_, f)| f.value.is_none()).map(|(k, _)| k.clone()).collect();
        (unused, unknown)
    }
}

struct Reader<'a> {
    text: &'a str,
    origin: &'a str,
}

type Value<'i> = Spanned<DeValue<'i>>;

impl Reader<'_> {
    fn fault(&self, at: Option<usize>, why: String) -> HwError {
        let line = at.map(|at| self.text.as_bytes().iter().take(at).filter(|&&b| b == b'\n').count() + 1);
        HwError::File { file: self.origin.into(), line, why }
    }

    fn at(&self, value: &Value, why: impl Into<String>) -> HwError {
        self.fault(Some(value.span().start), why.into())
    }

    fn table(&self, file: &mut HwFile, prefix: &str, table: &DeTable) -> Result<(), HwError> {
        for (key, value) in table {
            let path =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            match holds(file.kind, &path) {
                Some(held) => self.entry(file, &path, held, value)?,
                None => match value.get_ref() {
                    DeValue::Table(inner) if is_prefix(file.kind, &path) => self.table(file, &path, inner)?,
                    _ => {
                        let why = format!(
                            "'{path}' is no key of a {} file{}",
                            file.kind.name(),
                            suggestion(file.kind, &path)
                        );
                        return Err(self.fault(Some(key.span().start), why));
                    }
                },
            }
        }
        Ok(())
    }

    fn entry(&self, file: &mut HwFile, path: &str, held: Holds, value: &Value) -> Result<(), HwError> {
        let wrong = |what: &str| self.at(value, format!("{path}: should be {what}"));
        match held {
            Holds::Anything => {}
            Holds::Figure => {
                let DeValue::Table(table) = value.get_ref() else {
                    return Err(wrong("a figure: { v, src, conf } or { unknown = true }"));
                };
                let figure = self.figure(path, value, table)?;
                file.figures.insert(path.into(), figure);
            }
            Holds::Flag => {
                let flag = value.get_ref().as_bool().ok_or_else(|| wrong("true or false"))?;
                file.settings.insert(path.into(), Setting::Flag(flag));
            }
            Holds::Whole => {
                let n = value.get_ref().as_integer().and_then(|i| u64::from_str_radix(i.as_str(), i.radix()).ok());
                file.settings
                    .insert(path.into(), Setting::Whole(n.ok_or_else(|| wrong("a whole number, not negative"))?));
            }
            Holds::Text | Holds::Word(_) => {
                let text = value.get_ref().as_str().ok_or_else(|| wrong("text"))?;
                if let Holds::Word(words) = held
                    && !words.contains(&text)
                {
                    return Err(wrong(&format!("one of {}, is \"{text}\"", words.join(", "))));
                }
                match path.strip_prefix("sources.") {
                    Some(source) => drop(file.sources.insert(source.into(), text.into())),
                    None => drop(file.settings.insert(path.into(), Setting::Text(text.into()))),
                }
            }
        }
        Ok(())
    }

    fn figure(&self, path: &str, whole: &Value, table: &DeTable) -> Result<Figure, HwError> {
        let fault = |why: &str| self.at(whole, format!("{path}: {why}"));
        const PARTS: [&str; 7] = ["v", "lo", "hi", "src", "conf", "note", "unknown"];
        if let Some((key, _)) = table.iter().find(|(k, _)| !PARTS.contains(&k.get_ref().as_ref())) {
            return Err(fault(&format!("'{}' is no part of a figure; there are {}", key.get_ref(), PARTS.join(", "))));
        }
        let text = |part: &str| -> Result<Option<String>, HwError> {
            let value = table.get(part).map(|v| v.get_ref().as_str().map(str::to_string));
            value.map(|v| v.ok_or_else(|| fault(&format!("{part} should be text")))).transpose()
        };
        let number = |part: &str| -> Result<Option<f64>, HwError> {
            let Some(value) = table.get(part) else { return Ok(None) };
            let n = as_number(value.get_ref()).ok_or_else(|| fault(&format!("{part} should be a number")))?;
            let fine = n.is_finite() && n >= 0.0;
            if fine { Ok(Some(n)) } else { Err(fault(&format!("{part} = {n} should be finite and not negative"))) }
        };
        let note = text("note")?.unwrap_or_default();
        let unknown = table.get("unknown").map(|v| v.get_ref().as_bool());
        let value = match (number("v")?, unknown) {
            (None, Some(Some(true))) if table.keys().all(|k| ["unknown", "note"].contains(&k.get_ref().as_ref())) => {
                None
            }
            (Some(v), None) => {
                let (lo, hi) = (number("lo")?.unwrap_or(v), number("hi")?.unwrap_or(v));
                if !(lo <= v && v <= hi) {
                    return Err(fault(&format!("lo {lo} ≤ v {v} ≤ hi {hi} does not hold")));
                }
                let conf = text("conf")?.ok_or_else(|| fault("has no conf"))?;
                let known = Confidence::ALL.iter().find(|(name, _)| *name == conf);
                let names: Vec<&str> = Confidence::ALL.iter().map(|(n, _)| *n).collect();
                let (_, confidence) =
                    known.ok_or_else(|| fault(&format!("conf \"{conf}\" should be one of {}", names.join(", "))))?;
                let source = text("src")?.ok_or_else(|| fault("has no src: every figure names its source"))?;
                Some(Known { v, lo, hi, confidence: *confidence, source })
            }
            _ => return Err(fault("should have exactly one of v and unknown = true")),
        };
        Ok(Figure { value, note })
    }

    /// What can be checked only when everything is read.
    fn finish(&self, file: &mut HwFile) -> Result<(), HwError> {
        let sources = file.sources.clone();
        for (key, figure) in &file.figures {
            if let Some(known) = figure.value.as_ref().filter(|k| !sources.contains_key(&k.source)) {
                let at = self.text.find(&format!("\"{}\"", known.source));
                return Err(self.fault(at, format!("{key}: src \"{}\" is not in [sources]", known.source)));
            }
            if figure.value.as_ref().is_some_and(|k| k.v == 0.0 && must_be_positive(key)) {
                return Err(
                    self.fault(None, format!("{key}: is 0, which would divide by zero; mark it unknown instead"))
                );
            }
        }
        file.name = file.text("name").unwrap_or_default().to_string();
        if file.name.is_empty() {
            return Err(self.fault(Some(0), "has no name".into()));
        }
        for key in required(file.kind) {
            if !file.settings.contains_key(*key) && !file.figures.contains_key(*key) {
                return Err(self.fault(Some(0), format!("has no '{key}', which a {} file needs", file.kind.name())));
            }
        }
        Ok(())
    }
}

/// Figures that other numbers are divided by.
fn must_be_positive(key: &str) -> bool {
    let rates = [
        "_mhz",
        "_gtps",
        "_per_s",
        "lanes",
        "encoding_num",
        "encoding_den",
        "mac_units",
        "beat_b",
        "max_payload_b",
        "boundary_b",
        "max_outstanding_reads",
        "bytes_per_cycle",
        "achieved_frac",
    ];
    rates.iter().any(|r| key.ends_with(r))
}

fn as_number(value: &DeValue) -> Option<f64> {
    match value {
        DeValue::Float(f) => f.as_str().replace('_', "").parse().ok(),
        DeValue::Integer(i) => i64::from_str_radix(&i.as_str().replace('_', ""), i.radix()).ok().map(|n| n as f64),
        _ => None,
    }
}

/// Whether a dotted key fits a pattern, in which `*` stands for one name.
fn fits(pattern: &str, path: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), path.split('.').collect());
    a.len() == b.len() && a.iter().zip(&b).all(|(p, k)| *p == "*" || p == k)
}

fn holds(kind: Kind, path: &str) -> Option<Holds> {
    kind.keys().into_iter().find(|(pattern, _)| fits(pattern, path)).map(|(_, held)| held)
}

/// Whether keys lie below a path.
fn is_prefix(kind: Kind, path: &str) -> bool {
    let depth = path.split('.').count();
    let start = |pattern: &str| pattern.split('.').take(depth).collect::<Vec<_>>().join(".");
    kind.keys().iter().any(|(p, _)| p.split('.').count() > depth && fits(&start(p), path))
}

/// A key that may have been meant: one with the same last name, or one that differs in its unit.
fn suggestion(kind: Kind, path: &str) -> String {
    let last = path.rsplit('.').next().unwrap_or(path);
    let stem = last.split('_').next().unwrap_or(last);
    let keys = kind.keys();
    let near = |(pattern, _): &&(&str, Holds)| pattern.rsplit('.').next().is_some_and(|k| k == last);
    let like = |(pattern, _): &&(&str, Holds)| pattern.rsplit('.').next().is_some_and(|k| k.starts_with(stem));
    match keys.iter().find(near).or_else(|| keys.iter().find(like)) {
        Some((key, _)) => format!("; did you mean '{key}'?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = r#"
schema = "hw_models/link/1"
name = "wire"
kind = "stream"
[phy]
duplex = "full"
lanes = { v = 2, src = "us", conf = "assumed" }
[energy]
wire_pj_per_bit = { unknown = true, note = "nobody says" }
[sources]
us = "this test"
"#;

    fn broken(from: &str, to: &str) -> String {
        assert!(LINK.contains(from), "{from}");
        HwFile::parse(&LINK.replacen(from, to, 1), "wire.toml", None).unwrap_err().to_string()
    }

    #[test]
    fn figures_are_read_and_unknown_ones_are_named() {
        let file = HwFile::parse(LINK, "wire.toml", Some(Kind::Link)).unwrap();
        assert_eq!(file.figure("phy.lanes").v, 2.0);
        let unknown = file.figure("energy.wire_pj_per_bit");
        assert_eq!(unknown.unknown.into_iter().collect::<Vec<_>>(), ["link/wire: energy.wire_pj_per_bit"]);
        assert_eq!(file.loose_ends(), (vec![], vec!["energy.wire_pj_per_bit".to_string()]));
    }

    #[test]
    fn every_fault_names_file_line_key_and_remedy() {
        let cases = [
            ("lanes = {", "lane = {", "wire.toml:7: 'phy.lane' is no key of a link file; did you mean 'phy.lanes'?"),
            ("src = \"us\"", "src = \"them\"", "phy.lanes: src \"them\" is not in [sources]"),
            ("v = 2,", "v = -2,", "wire.toml:7: phy.lanes: v = -2 should be finite and not negative"),
            ("v = 2,", "v = nan,", "should be finite"),
            ("v = 2,", "v = 2, lo = 3,", "lo 3 ≤ v 2 ≤ hi 2 does not hold"),
            ("v = 2,", "", "should have exactly one of v and unknown"),
            ("v = 2,", "v = 0,", "mark it unknown instead"),
            ("\"assumed\"", "\"sure\"", "conf \"sure\" should be one of measured, primary"),
            (", src = \"us\"", "", "every figure names its source"),
            ("duplex = \"full\"", "duplex = \"both\"", "should be one of full, half, is \"both\""),
            ("duplex = \"full\"", "", "has no 'phy.duplex', which a link file needs"),
            ("kind = \"stream\"", "kind = \"stream\"\nkind = \"burst\"", "wire.toml:5: duplicate key"),
            ("hw_models/link/1", "hw_models/cable/1", "schema is \"hw_models/cable/1\", should be"),
        ];
        for (from, to, told) in cases {
            let message = broken(from, to);
            assert!(message.contains(told), "{to}: {message}");
        }
    }
}
