//! The `key=value` options of a scheme, read by name, each at most once.

use super::{Scheme, SchemeError};
use crate::adapter::{Filters, Gate, Init, Return, Tapped};
use std::collections::BTreeMap;

/// Options as written, not yet read by the scheme.
pub struct Options {
    scheme: &'static str,
    given: BTreeMap<String, String>,
}

impl Options {
    /// Splits `key=value,…` and refuses keys that the scheme does not have.
    pub fn parse(scheme: &'static Scheme, text: &str) -> Result<Self, SchemeError> {
        let fault = |why: String| SchemeError::Option { scheme: scheme.name.into(), why };
        let mut given = BTreeMap::new();
        for option in text.split(',').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').ok_or_else(|| fault(format!("'{option}' is not key=value")))?;
            if !scheme.options.iter().any(|(known, _)| *known == key) {
                let known: Vec<String> = scheme.options.iter().map(|(k, v)| format!("{k}={v}")).collect();
                let known =
                    if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
                return Err(fault(format!("no option '{key}'; {known}")));
            }
            if given.insert(key.to_string(), value.to_string()).is_some() {
                return Err(fault(format!("option '{key}' is given twice")));
            }
        }
        Ok(Self { scheme: scheme.name, given })
    }

    /// The value of `key` among named choices.
    pub fn choice<T: Copy>(&self, key: &str, default: T, choices: &[(&str, T)]) -> Result<T, SchemeError> {
        let Some(value) = self.given.get(key) else { return Ok(default) };
        choices.iter().find(|(name, _)| name == value).map(|(_, v)| *v).ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(n, _)| *n).collect();
            self.fault(format!("{key}={value}: should be one of {}", names.join(", ")))
        })
    }

    pub fn fault(&self, why: String) -> SchemeError {
        SchemeError::Option { scheme: self.scheme.into(), why }
    }

    pub fn gate(&self) -> Result<Gate, SchemeError> {
        self.choice("gate", Gate::Sigmoid, &[("sigmoid", Gate::Sigmoid), ("2sigmoid", Gate::TwoSigmoid)])
    }
    pub fn back(&self) -> Result<Return, SchemeError> {
        self.choice("return", Return::Mask, &[("mask", Return::Mask), ("map", Return::Map)])
    }
    pub fn init(&self) -> Result<Init, SchemeError> {
        self.choice("init", Init::He, &[("he", Init::He), ("zero", Init::Zero)])
    }

    /// A probability of being left out; 0 where nothing is.
    pub fn dropout(&self) -> Result<f64, SchemeError> {
        let Some(text) = self.given.get("dropout") else { return Ok(0.0) };
        let read = text.parse().ok().filter(|p| (0.0..1.0).contains(p));
        read.ok_or_else(|| self.fault(format!("dropout={text}: should be a number from 0 to below 1")))
    }

    /// What is tapped.
    pub fn tap(&self) -> Result<Tapped, SchemeError> {
        self.choice("tap", Tapped::Map, &[("map", Tapped::Map), ("pooled", Tapped::Pooled)])
    }

    /// What is tapped and what comes back: a map that is multiplied on the adapter device must be there.
    pub fn tap_and_back(&self) -> Result<(Tapped, Return), SchemeError> {
        match (self.tap()?, self.back()?) {
            (Tapped::Pooled, Return::Map) => {
                Err(self.fault("tap=pooled: the map that return=map sends back never left the trunk".into()))
            }
            both => Ok(both),
        }
    }

    pub fn flag(&self, key: &str, default: bool) -> Result<bool, SchemeError> {
        self.choice(key, default, &[("true", true), ("false", false)])
    }

    /// A whole number of at least 1.
    pub fn count(&self, key: &str, default: usize) -> Result<usize, SchemeError> {
        const MOST: usize = 1024;
        let Some(text) = self.given.get(key) else { return Ok(default) };
        let read = text.parse().ok().filter(|n| (1..=MOST).contains(n));
        read.ok_or_else(|| self.fault(format!("{key}={text}: should be 1..={MOST}")))
    }

    /// A number of channels: a number, or `c/N`.
    pub fn filters(&self, key: &str, default: Filters) -> Result<Filters, SchemeError> {
        let Some(text) = self.given.get(key) else { return Ok(default) };
        text.parse().map_err(|why| self.fault(format!("{key}={text}: {why}")))
    }
}
