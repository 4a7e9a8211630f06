//! What follows `KIND:` in a data spec: a path, then perhaps `:key=value,…`.

use super::DataError;
use super::split::Split;

/// Keys that every kind of source has, and what they take.
pub(super) const COMMON: [(&str, &str); 7] = [
    ("split", "train|val|test"),
    ("val", "FRACTION"),
    ("test", "FRACTION"),
    ("subset", "FRACTION"),
    ("noise", "FRACTION"),
    ("seed", "N"),
    ("bad", "stop|skip"),
];

pub(super) struct Argument {
    pub path: String,
    spec: String,
    options: Vec<(String, String)>,
}

impl Argument {
    /// Splits off the options at the last colon, if what follows it looks like some: paths may
    /// have colons of their own.
    pub fn of_path(kind: &str, argument: &str, own: &[&str]) -> Result<Self, DataError> {
        match argument.rsplit_once(':').filter(|(_, tail)| tail.contains('=')) {
            Some((path, options)) => Self::parse(kind, argument, path, options, own),
            None => Self::parse(kind, argument, argument, "", own),
        }
    }

    /// Splits off the options at the first colon: names have none.
    pub fn of_name(kind: &str, argument: &str, own: &[&str]) -> Result<Self, DataError> {
        let (name, options) = argument.split_once(':').unwrap_or((argument, ""));
        Self::parse(kind, argument, name, options, own)
    }

    fn parse(kind: &str, argument: &str, path: &str, options: &str, own: &[&str]) -> Result<Self, DataError> {
        let mut parsed = Self { path: path.into(), spec: format!("{kind}:{argument}"), options: vec![] };
        let common = COMMON.iter().map(|(key, _)| *key).filter(|key| !own.contains(key));
        let known: Vec<&str> = own.iter().copied().chain(common).collect();
        for pair in options.split(',').filter(|pair| !pair.is_empty()) {
            let Some((key, value)) = pair.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                return Err(parsed.refused(format!("'{pair}' is not key=value")));
            };
            if !known.contains(&key) {
                return Err(parsed.refused(format!("there is no key '{key}'; there are {}", known.join(", "))));
            }
            parsed.options.push((key.into(), value.into()));
        }
        Ok(parsed)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        // Said twice, the last counts.
        self.options.iter().rfind(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The whole number behind a key.
    pub fn number(&self, key: &str) -> Result<Option<u64>, DataError> {
        let read = |text: &str| text.parse().map_err(|_| self.refused(format!("{key}={text} is not a number")));
        self.get(key).map(read).transpose()
    }

    /// The part of a whole behind a key: a number from 0 to 1.
    pub fn fraction(&self, key: &str) -> Result<Option<f64>, DataError> {
        let read = |text: &str| {
            let value = text.parse().ok().filter(|f| (0.0..=1.0).contains(f));
            value.ok_or_else(|| self.refused(format!("{key}={text} should be a fraction from 0 to 1, such as 0.1")))
        };
        self.get(key).map(read).transpose()
    }

    pub fn split(&self) -> Result<Option<Split>, DataError> {
        let read = |name: &str| {
            let why = || self.refused(format!("there is no split '{name}'; there are train, val and test"));
            Split::named(name).ok_or_else(why)
        };
        self.get("split").map(read).transpose()
    }

    pub fn refused(&self, why: String) -> DataError {
        DataError::Spec { spec: self.spec.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_a_path_is_a_path() {
        let argument = Argument::of_path("idx", r"C:\data\mnist", &[]).unwrap();
        assert_eq!((argument.path.as_str(), argument.get("split")), (r"C:\data\mnist", None));
        let argument = Argument::of_path("idx", "a:b:split=test", &[]).unwrap();
        assert_eq!((argument.path.as_str(), argument.split().unwrap()), ("a:b", Some(Split::Test)));
        let error = Argument::of_path("idx", "a:slit=test", &["x"]).err().unwrap().to_string();
        assert!(error.contains("idx:a:slit=test") && error.contains("there are x, split"), "{error}");
    }

    #[test]
    fn values_are_read_and_others_told_what_is_right() {
        let argument = Argument::of_path("idx", "a:val=0.1,seed=3,noise=1.5,split=vol", &[]).unwrap();
        assert_eq!((argument.fraction("val").unwrap(), argument.number("seed").unwrap()), (Some(0.1), Some(3)));
        assert!(argument.fraction("noise").unwrap_err().to_string().contains("0 to 1"));
        assert!(argument.split().unwrap_err().to_string().contains("train, val and test"));
        assert!(argument.number("noise").is_err() && argument.number("subset").unwrap().is_none());
        let nan = Argument::of_path("idx", "a:val=NaN", &[]).unwrap();
        assert!(nan.fraction("val").is_err());
    }
}
