//! SCALE-Sim's configuration (`.cfg`): an INI file of which the array and its dataflow matter here.

use super::ScalesimError;
use crate::hw::timing::systolic::Dataflow;
use std::path::Path;

/// An array as a configuration describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub rows: u64,
    pub cols: u64,
    pub dataflow: Dataflow,
}

/// Sides beyond this are no array.
const LARGEST_SIDE: u64 = 1 << 16;

impl Config {
    pub fn open(path: &Path) -> Result<Self, ScalesimError> {
        Self::parse(&super::read(path)?, &path.display().to_string())
    }

    /// Reads a text; `file` is what errors call it.
    pub fn parse(text: &str, file: &str) -> Result<Self, ScalesimError> {
        let ini = Ini { text, file };
        ini.must_be("run_presets", "InterfaceBandwidth", "CALC", "a bandwidth of one's own is not modelled: CALC")?;
        ini.must_be("sparsity", "SparsitySupport", "false", "only dense layers are modelled: false")?;
        let section = "architecture_presets";
        let dataflow = ini.value(section, "Dataflow")?;
        let known = Dataflow::ALL.iter().find(|d| d.to_string() == dataflow);
        Ok(Self {
            rows: ini.side("ArrayHeight")?,
            cols: ini.side("ArrayWidth")?,
            dataflow: *known
                .ok_or_else(|| ini.wrong(section, "Dataflow", format!("it is '{dataflow}'"), "one of os, ws, is"))?,
        })
    }
}

struct Ini<'a> {
    text: &'a str,
    file: &'a str,
}

impl<'a> Ini<'a> {
    /// The value of a key, whatever its case, as Python's configparser reads it.
    fn find(&self, section: &str, key: &str) -> Option<&'a str> {
        let mut inside = false;
        let mut found = None;
        for line in self.text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                inside = name == section;
            } else if inside
                && !line.starts_with(['#', ';'])
                && let Some((name, value)) = line.split_once([':', '='])
                && name.trim().eq_ignore_ascii_case(key)
            {
                found = Some(value.trim());
            }
        }
        found
    }

    fn wrong(&self, section: &str, key: &str, wrong: String, right: &str) -> ScalesimError {
        let key = format!("[{section}] {key}");
        ScalesimError::Key { file: self.file.into(), key, wrong, right: right.into() }
    }

    fn value(&self, section: &str, key: &str) -> Result<&'a str, ScalesimError> {
        self.find(section, key).ok_or_else(|| self.wrong(section, key, "it is missing".into(), "add it"))
    }

    /// Refuses another value; a key that is not there is as good.
    fn must_be(&self, section: &str, key: &str, only: &str, right: &str) -> Result<(), ScalesimError> {
        match self.find(section, key) {
            Some(value) if !value.eq_ignore_ascii_case(only) => {
                Err(self.wrong(section, key, format!("it is '{value}'"), right))
            }
            _ => Ok(()),
        }
    }

    fn side(&self, key: &str) -> Result<u64, ScalesimError> {
        let section = "architecture_presets";
        let value = self.value(section, key)?;
        let side = value.parse().ok().filter(|n| (1..=LARGEST_SIDE).contains(n));
        side.ok_or_else(|| self.wrong(section, key, format!("it is '{value}'"), "a whole number, 1 to 65536"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[general]\nrun_name = x\n[architecture_presets]\narrayheight:    8\nArrayWidth = 32\n\
        # ArrayWidth: 9\nDataflow : ws\n[run_presets]\nInterfaceBandwidth: CALC\n";

    #[test]
    fn the_array_is_read_and_other_things_refused() {
        let config = Config::parse(TEXT, "a.cfg").unwrap();
        assert_eq!(config, Config { rows: 8, cols: 32, dataflow: Dataflow::Weight });
        for (from, to, part) in [
            (": CALC", ": USER", "a.cfg: [run_presets] InterfaceBandwidth: it is 'USER'; a bandwidth"),
            ("    8", "    0", "[architecture_presets] ArrayHeight: it is '0'; a whole number"),
            ("ArrayWidth =", "ArrayWide =", "ArrayWidth: it is missing"),
            (": ws", ": rs", "Dataflow: it is 'rs'; one of os, ws, is"),
            ("run_name = x", "[sparsity]\nSparsitySupport : true", "only dense layers"),
        ] {
            let error = Config::parse(&TEXT.replace(from, to), "a.cfg").unwrap_err().to_string();
            assert!(error.contains(part), "{to}: {error}");
        }
    }
}
