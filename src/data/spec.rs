//! What follows `KIND:` in a data spec: a path, then perhaps `:key=value,…`.

use super::DataError;

pub(super) struct Argument {
    pub path: String,
    spec: String,
    options: Vec<(String, String)>,
}

impl Argument {
    /// Splits off the options at the last colon, if what follows it looks like some: paths may
    /// have colons of their own.
    pub fn parse(kind: &str, argument: &str, keys: &[&str]) -> Result<Self, DataError> {
        let mut parsed = Self { path: argument.into(), spec: format!("{kind}:{argument}"), options: vec![] };
        let Some((path, options)) = argument.rsplit_once(':').filter(|(_, tail)| tail.contains('=')) else {
            return Ok(parsed);
        };
        for pair in options.split(',') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !keys.contains(&key) || value.is_empty() {
                return Err(parsed.refused(format!("'{pair}' is no option; there are {}=…", keys.join("=…, "))));
            }
            parsed.options.push((key.into(), value.into()));
        }
        parsed.path = path.into();
        Ok(parsed)
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
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
        let argument = Argument::parse("idx", r"C:\data\mnist", &["split"]).unwrap();
        assert_eq!((argument.path.as_str(), argument.get("split")), (r"C:\data\mnist", None));
        let argument = Argument::parse("idx", "a:b:split=test", &["split"]).unwrap();
        assert_eq!((argument.path.as_str(), argument.get("split")), ("a:b", Some("test")));
        let error = Argument::parse("idx", "a:slit=test", &["split"]).err().unwrap().to_string();
        assert!(error.contains("idx:a:slit=test") && error.contains("split=…"), "{error}");
    }
}
