//! What findings are compared by.

use crate::experiment::findings::Finding;
use crate::experiment::sweep::summary::Spread;

/// A figure of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    Accuracy,
    Connections,
    Bytes,
    Energy,
    Trainable,
    Memory,
    Latency,
}

impl Metric {
    /// The papers' five metrics.
    const COSTS: [Self; 5] = [Self::Connections, Self::Bytes, Self::Energy, Self::Trainable, Self::Memory];

    pub fn label(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy, learned",
            Self::Connections => "connections per image",
            Self::Bytes => "bytes per image, out and in",
            Self::Energy => "energy per image, modelled",
            Self::Trainable => "trainable parameters, without head",
            Self::Memory => "training memory, published rule",
            Self::Latency => "latency of an image, modelled",
        }
    }

    /// In the name of a file.
    pub fn key(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Connections => "connections",
            Self::Bytes => "bytes",
            Self::Energy => "energy",
            Self::Trainable => "trainable",
            Self::Memory => "memory",
            Self::Latency => "latency",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Accuracy => "%",
            Self::Connections | Self::Trainable => "",
            Self::Bytes | Self::Memory => "B",
            Self::Energy => "J",
            Self::Latency => "s",
        }
    }

    /// In the unit.
    pub fn of(self, finding: &Finding) -> Option<f64> {
        let (counted, modelled) = (finding.counted.as_ref(), finding.modelled.as_ref());
        match self {
            Self::Accuracy => Spread::of(&finding.accuracies).map(|s| 100.0 * s.mean),
            Self::Connections => counted.map(|c| c.connections.total as f64),
            Self::Bytes => counted.map(|c| (c.forward.tap_out_bytes + c.forward.tap_in_bytes) as f64),
            // A bound of 0 says nothing: every figure that it needs is unknown.
            Self::Energy => modelled.filter(|m| m.energy_pj > 0.0 || !m.energy_lower_bound).map(|m| m.energy_pj / 1e12),
            Self::Trainable => counted.map(|c| c.params.trainable_without_head as f64),
            Self::Memory => counted.and_then(|c| c.training.as_ref()).map(|t| t.kept_published_b as f64),
            Self::Latency => modelled.map(|m| m.latency_ps as f64 / 1e12),
        }
    }

    /// Whether it is a lower bound, because something that it needs is unknown.
    pub fn is_bound(self, finding: &Finding) -> bool {
        let modelled = finding.modelled.as_ref();
        match self {
            Self::Energy => modelled.is_some_and(|m| m.energy_lower_bound),
            Self::Latency => modelled.is_some_and(|m| m.time_lower_bound),
            _ => false,
        }
    }

    /// A finding's figure as it is told.
    pub fn told(self, finding: &Finding, value: f64) -> String {
        if self.is_bound(finding) { format!("≥ {}", self.text(value)) } else { self.text(value) }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::Accuracy => format!("{value:.2} %"),
            _ => super::svg::si(value, self.unit()),
        }
    }

    /// The plots of some findings, across and up: costs against accuracy, or against each other where nothing
    /// was learned.
    pub fn plots(all: &[Finding]) -> Vec<(Self, Self)> {
        if all.iter().any(|f| !f.accuracies.is_empty()) {
            return Self::COSTS.map(|cost| (cost, Self::Accuracy)).to_vec();
        }
        let costs = [Self::Bytes, Self::Connections, Self::Trainable, Self::Memory];
        costs.map(|cost| (cost, Self::Energy)).into_iter().chain([(Self::Bytes, Self::Latency)]).collect()
    }

    /// Whether more of it is better.
    pub fn rises(self) -> bool {
        self == Self::Accuracy
    }
}
