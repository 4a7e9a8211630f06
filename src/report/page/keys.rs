//! What findings are told apart and filtered by: a class for each value, such as `s0` for the first scheme.

use crate::experiment::findings::Finding;

/// The values of all findings, in the order in which they come.
pub struct Keys {
    pub dimensions: [Dimension; 4],
}

pub struct Dimension {
    pub name: &'static str,
    pub letter: char,
    pub values: Vec<String>,
    of: fn(&Finding) -> &str,
}

impl Keys {
    pub fn of(all: &[Finding]) -> Self {
        let dimension = |name, letter, of: fn(&Finding) -> &str| {
            let mut values: Vec<String> = Vec::new();
            for finding in all {
                if values.iter().all(|known| known != of(finding)) {
                    values.push(of(finding).into());
                }
            }
            Dimension { name, letter, values, of }
        };
        Self {
            dimensions: [
                dimension("scheme", 's', |f| &f.scheme),
                dimension("trunk", 't', |f| &f.trunk),
                dimension("data", 'd', |f| f.data.as_deref().unwrap_or("none")),
                dimension("system", 'y', |f| &f.system),
            ],
        }
    }

    pub fn schemes(&self) -> &[String] {
        &self.dimensions[0].values
    }

    /// Which scheme it is.
    pub fn scheme(&self, finding: &Finding) -> usize {
        self.dimensions[0].place(finding)
    }

    /// `s0 t0 d1 y0`.
    pub fn classes(&self, finding: &Finding) -> String {
        self.classes_of(0, finding)
    }

    /// What may be compared: everything but the scheme.
    pub fn group(&self, finding: &Finding) -> String {
        self.classes_of(1, finding)
    }

    fn classes_of(&self, first: usize, finding: &Finding) -> String {
        let class = |d: &Dimension| format!("{}{}", d.letter, d.place(finding));
        self.dimensions[first..].iter().map(class).collect::<Vec<_>>().join(" ")
    }
}

impl Dimension {
    fn place(&self, finding: &Finding) -> usize {
        self.values.iter().position(|known| known == (self.of)(finding)).unwrap_or(0)
    }
}
