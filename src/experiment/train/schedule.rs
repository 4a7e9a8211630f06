//! How the learning rate changes over the steps.
//!
//! A schedule is a function of the step and of the number of all steps, so a resumed training needs
//! nothing but its step. Fractions are of all steps: the same schedule fits any number of epochs.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A learning rate over the steps of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Schedule {
    #[default]
    Constant,
    /// Multiplied by `gamma` after each of these fractions of all steps.
    Step { at: Vec<f64>, gamma: f64 },
    /// Half a cosine from the base rate down to nothing, after `warmup`, a fraction of all steps over
    /// which the rate rises in a line.
    Cosine { warmup: f64 },
}

impl Schedule {
    /// Every schedule: how it is written, and what it is.
    pub const ALL: [(&str, &str); 3] = [
        ("constant", "--lr throughout"),
        (
            "step[:at=F+F+…,gamma=G]",
            "times G after each fraction F of all steps; at=0.5+0.75,gamma=0.1 unless told otherwise",
        ),
        (
            "cosine[:warmup=F]",
            "half a cosine down to 0, after a line up over the first fraction F of all steps (none unless told)",
        ),
    ];

    /// The rate of step `step` (from 0) of `total`.
    pub fn rate(&self, base: f64, step: u64, total: u64) -> f64 {
        let all = total as f64;
        match self {
            Self::Constant => base,
            Self::Step { at, gamma } => {
                let passed = at.iter().filter(|&&fraction| step as f64 >= fraction * all).count();
                base * gamma.powi(passed as i32)
            }
            Self::Cosine { warmup } => {
                let rising = (warmup * all).round();
                if (step as f64) < rising {
                    return base * (step + 1) as f64 / rising;
                }
                let falling = (all - rising).max(1.0);
                let done = ((step as f64 - rising) / falling).min(1.0);
                base * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant => f.write_str("constant"),
            Self::Step { at, gamma } => {
                let at: Vec<String> = at.iter().map(f64::to_string).collect();
                write!(f, "step:at={},gamma={gamma}", at.join("+"))
            }
            Self::Cosine { warmup } if *warmup == 0.0 => f.write_str("cosine"),
            Self::Cosine { warmup } => write!(f, "cosine:warmup={warmup}"),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut schedule = match name {
            "constant" => Self::Constant,
            "step" => Self::Step { at: vec![0.5, 0.75], gamma: 0.1 },
            "cosine" => Self::Cosine { warmup: 0.0 },
            _ => {
                let known: Vec<&str> = Self::ALL.iter().map(|(spelling, _)| *spelling).collect();
                return Err(format!("'{name}' is no schedule; there are {}", known.join(", ")));
            }
        };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            match (&mut schedule, key) {
                (Self::Step { at, .. }, "at") => *at = fractions(value)?,
                (Self::Step { gamma, .. }, "gamma") => *gamma = fraction(key, value)?,
                (Self::Cosine { warmup }, "warmup") => *warmup = fraction(key, value)?,
                _ => return Err(format!("schedule {name} has no option '{option}'")),
            }
        }
        Ok(schedule)
    }
}

fn fraction(key: &str, text: &str) -> Result<f64, String> {
    let read = text.parse().ok().filter(|f| (0.0..=1.0).contains(f));
    read.ok_or_else(|| format!("{key}={text}: should be a number from 0 to 1"))
}

/// Fractions that rise, joined by `+`.
fn fractions(text: &str) -> Result<Vec<f64>, String> {
    let read = text.split('+').map(|f| fraction("at", f)).collect::<Result<Vec<_>, _>>()?;
    if !read.is_sorted_by(|a, b| a < b) {
        return Err(format!("at={text}: fractions should rise, as in at=0.5+0.75"));
    }
    Ok(read)
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> Self {
        schedule.to_string()
    }
}

impl TryFrom<String> for Schedule {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str, total: u64) -> Vec<f64> {
        let schedule: Schedule = text.parse().unwrap();
        assert_eq!(schedule.to_string().parse(), Ok(schedule.clone()), "{text}");
        (0..total).map(|step| schedule.rate(0.8, step, total)).collect()
    }

    #[test]
    fn a_step_falls_where_it_is_told_to() {
        assert_eq!(rates("constant", 3), [0.8; 3]);
        let falls = rates("step:at=0.5+0.75,gamma=0.5", 8);
        assert_eq!(falls, [0.8, 0.8, 0.8, 0.8, 0.4, 0.4, 0.2, 0.2]);
        assert_eq!(rates("step", 4)[3], 0.8 * 0.1f64.powi(2));
    }

    /// Against the closed form of PyTorch's CosineAnnealingLR with T_max = 4, eta_min = 0.
    #[test]
    fn a_cosine_falls_to_nothing_after_its_warm_up() {
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let torch = [0.8, 0.4 * (1.0 + half), 0.4, 0.4 * (1.0 - half)];
        for (got, want) in rates("cosine", 4).into_iter().zip(torch) {
            assert!((got - want).abs() < 1e-15, "{got} {want}");
        }
        let warm = rates("cosine:warmup=0.5", 8);
        assert_eq!(warm[..5], [0.2, 0.4, 0.8 * 3.0 / 4.0, 0.8, 0.8]);
        assert!(warm[4..].is_sorted_by(|a, b| a > b));
        assert!(rates("cosine:warmup=1", 3).iter().all(|r| r.is_finite()));
    }

    #[test]
    fn wrong_schedules_are_told_what_is_right() {
        let refusal = |text: &str| text.parse::<Schedule>().unwrap_err();
        assert!(refusal("linear").contains("cosine"));
        assert!(refusal("step:at=0.7+0.5").contains("rise"));
        assert!(refusal("step:at=1.5").contains("0 to 1"));
        assert!(refusal("cosine:gamma=0.1").contains("no option"));
        assert!(refusal("cosine:warmup=nan").contains("0 to 1"));
    }
}
