//! What a step does once, after its last micro-batch: gradients are clipped, parameters updated.

use super::training::Learning;
use crate::graph::{Graph, ParamKind};
use crate::kernel::{
    BufferId, KernelCall, adam_moment, adam_step, clip_factor, scale, sgd_step, sgd_velocity, sum_squares,
};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How gradients become updates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "name")]
pub enum Optimiser {
    Sgd { momentum: f32, nesterov: bool },
    Adam { betas: [f64; 2], epsilon: f64 },
    AdamW { betas: [f64; 2], epsilon: f64 },
}

impl Optimiser {
    pub const SGD: Self = Self::Sgd { momentum: 0.9, nesterov: false };
    pub const ADAM: Self = Self::Adam { betas: [0.9, 0.999], epsilon: 1e-8 };
    pub const ADAMW: Self = Self::AdamW { betas: [0.9, 0.999], epsilon: 1e-8 };

    /// Buffers that it keeps for each parameter.
    pub fn moments(self) -> usize {
        match self {
            Self::Sgd { momentum, .. } => usize::from(momentum != 0.0),
            Self::Adam { .. } | Self::AdamW { .. } => 2,
        }
    }
}

impl FromStr for Optimiser {
    type Err = String;

    /// `sgd`, `sgd:momentum=0.9,nesterov`, `adam`, `adamw`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let mut found = match name {
            "sgd" => Self::SGD,
            "adam" => Self::ADAM,
            "adamw" => Self::ADAMW,
            _ => return Err(format!("'{name}' is no optimiser; there are sgd, adam, adamw")),
        };
        for option in options.split(',').filter(|o| !o.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let number = || value.parse::<f64>().ok().filter(|v| (0.0..1.0).contains(v));
            let wrong = || format!("'{option}' of optimiser {name}: give {key} a number from 0 to below 1");
            match (&mut found, key) {
                (Self::Sgd { momentum, .. }, "momentum") => *momentum = number().ok_or_else(wrong)? as f32,
                (Self::Sgd { nesterov, .. }, "nesterov") if value.is_empty() => *nesterov = true,
                (Self::Adam { betas, .. } | Self::AdamW { betas, .. }, "beta1") => {
                    betas[0] = number().ok_or_else(wrong)?;
                }
                (Self::Adam { betas, .. } | Self::AdamW { betas, .. }, "beta2") => {
                    betas[1] = number().ok_or_else(wrong)?;
                }
                (Self::Adam { epsilon, .. } | Self::AdamW { epsilon, .. }, "epsilon") => {
                    *epsilon = number().ok_or_else(wrong)?;
                }
                _ => return Err(format!("optimiser {name} has no option '{option}'")),
            }
        }
        match found {
            Self::Sgd { momentum: 0.0, nesterov: true } => Err("nesterov needs a momentum above 0".into()),
            _ => Ok(found),
        }
    }
}

/// Weight decay by group (SPEC 1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WeightDecay {
    /// Of everything but adapters' weights.
    pub base: f32,
    /// Of adapters' weights.
    pub adapters: f32,
    /// As the residual adapters' published code has it: the decay is chosen by a weight's kernel, 1×1
    /// or larger, and sticks for the parameters after it.
    pub sticky: bool,
}

impl FromStr for WeightDecay {
    type Err = String;

    /// `1e-4`, or `1e-4,adapters=5e-4[,sticky]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| t.parse::<f32>().ok().filter(|v| v.is_finite() && *v >= 0.0);
        let wrong = |t: &str| format!("'{t}' is no weight decay; write 1e-4, or 1e-4,adapters=5e-4[,sticky]");
        let mut parts = text.split(',');
        let base = parts.next().and_then(number).ok_or_else(|| wrong(text))?;
        let mut decay = Self::uniform(base);
        for part in parts {
            match part.split_once('=') {
                Some(("adapters", value)) => decay.adapters = number(value).ok_or_else(|| wrong(part))?,
                None if part == "sticky" => decay.sticky = true,
                _ => return Err(wrong(part)),
            }
        }
        Ok(decay)
    }
}

impl WeightDecay {
    pub fn uniform(decay: f32) -> Self {
        Self { base: decay, adapters: decay, sticky: false }
    }

    /// The decay of each trained parameter.
    pub fn of(&self, graph: &Graph, learning: &Learning) -> Vec<f32> {
        let mut stuck = self.base;
        let decay = |trained: &super::Trained| {
            let param = graph.param(trained.param);
            if self.sticky {
                if let (ParamKind::Weight, [_, h, w, _]) = (param.kind, &param.dims[..]) {
                    stuck = if (*h, *w) == (1, 1) { self.adapters } else { self.base };
                }
                return stuck;
            }
            let mut owners = graph.nodes.iter().filter(|n| n.params.contains(&trained.param));
            let of_adapter = param.kind == ParamKind::Weight && owners.any(|n| n.site.is_some());
            if of_adapter { self.adapters } else { self.base }
        };
        learning.trained.iter().map(decay).collect()
    }
}

/// What a step updates with.
#[derive(Clone, Debug)]
pub struct Update<'a> {
    pub optimiser: Optimiser,
    pub rate: f64,
    /// By trained parameter.
    pub decay: &'a [f32],
    /// Largest norm of all gradients together.
    pub clip: Option<f32>,
    /// Number of the step, the first being 1.
    pub step: u64,
}

impl Update<'_> {
    /// The calls of one update, on any slot.
    pub fn calls(&self, learning: &Learning) -> Vec<KernelCall> {
        let mut calls = self.clip.map_or(vec![], |norm| clip(learning, norm));
        for (trained, &decay) in learning.trained.iter().zip(self.decay) {
            let (gradient, value, n) = (trained.gradient, trained.value, trained.elements);
            calls.extend(self.one(n, decay, gradient, &trained.moments, value));
        }
        calls
    }

    fn one(&self, n: usize, decay: f32, g: BufferId, moments: &[BufferId], value: BufferId) -> Vec<KernelCall> {
        let rate = self.rate as f32;
        match self.optimiser {
            Optimiser::Sgd { momentum: 0.0, .. } => {
                vec![sgd_step::call(sgd_step::Params::plain(n, rate, decay), g, None, value)]
            }
            Optimiser::Sgd { momentum, nesterov } => {
                let step = match nesterov {
                    true => sgd_step::Params::nesterov(n, rate, decay, momentum),
                    false => sgd_step::Params::momentum(n, rate),
                };
                let velocity = sgd_velocity::Params::new(n, momentum, decay);
                vec![
                    sgd_velocity::call(velocity, g, value, moments[0]),
                    sgd_step::call(step, g, Some(moments[0]), value),
                ]
            }
            Optimiser::Adam { betas, epsilon } => self.adam(n, [decay, 0.0], betas, epsilon, [g, value], moments),
            Optimiser::AdamW { betas, epsilon } => self.adam(n, [0.0, decay], betas, epsilon, [g, value], moments),
        }
    }

    /// `decay`: what enters the gradient, and what acts apart from it.
    fn adam(
        &self,
        n: usize,
        decay: [f32; 2],
        betas: [f64; 2],
        epsilon: f64,
        [g, value]: [BufferId; 2],
        moments: &[BufferId],
    ) -> Vec<KernelCall> {
        let settings = adam_step::Settings { rate: self.rate, betas, epsilon, decoupled_decay: f64::from(decay[1]) };
        vec![
            adam_moment::call(adam_moment::Params::mean(n, betas[0], decay[0]), g, value, moments[0]),
            adam_moment::call(adam_moment::Params::variance(n, betas[1], decay[0]), g, value, moments[1]),
            adam_step::call(adam_step::Params::new(n, &settings, self.step), moments[0], moments[1], value),
        ]
    }
}

/// Scales all gradients so that their norm is at most `most`.
fn clip(learning: &Learning, most: f32) -> Vec<KernelCall> {
    let (mut calls, mut first) = (vec![], 0);
    for trained in &learning.trained {
        let params = sum_squares::Params::new(trained.elements, first);
        first += params.sums();
        calls.push(sum_squares::call(params, trained.gradient, learning.norm_parts));
    }
    calls.push(clip_factor::call(clip_factor::Params::new(first, most), learning.norm_parts, learning.norm));
    let scaled = learning.trained.iter();
    calls.extend(scaled.map(|t| scale::call(scale::Params::new(t.elements), learning.norm, t.gradient)));
    calls
}

/// Sums of squares that the gradients' norm has as parts.
pub(super) fn norm_parts(elements: impl Iterator<Item = usize>) -> usize {
    elements.map(|n| sum_squares::Params::new(n, 0).sums()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn optimisers_are_read_with_their_options() {
        assert_eq!("sgd".parse(), Ok(Optimiser::SGD));
        let plain = Optimiser::Sgd { momentum: 0.0, nesterov: false };
        assert_eq!("sgd:momentum=0".parse(), Ok(plain));
        assert_eq!((plain.moments(), Optimiser::SGD.moments(), Optimiser::ADAM.moments()), (0, 1, 2));
        assert_eq!("adamw:beta2=0.99".parse(), Ok(Optimiser::AdamW { betas: [0.9, 0.99], epsilon: 1e-8 }));
        for wrong in ["rmsprop", "sgd:beta1=0.9", "sgd:momentum=1", "adam:beta1=x", "sgd:momentum=0,nesterov"] {
            assert!(wrong.parse::<Optimiser>().is_err(), "{wrong}");
        }
    }
}
