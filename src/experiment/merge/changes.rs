//! What merging changed: weight codes layer by layer, outputs image by image.

use super::super::eval::EvalSettings;
use crate::data::Subset;
use crate::experiment::input;
use crate::experiment::loading::{InOrder, in_order};
use crate::experiment::run::{ExperimentError, arg_max};
use crate::experiment::trunk::Trunk;
use crate::graph::EdgeId;
use crate::quant::boundary;
use crate::trunk::TrunkProgram;
use serde::Serialize;

/// The weights of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerChange {
    pub layer: String,
    pub codes: u64,
    pub changed_codes: u64,
    /// The most that a code moved.
    pub largest_change: u32,
    /// The most that the step of a channel's codes grew: 1 where none did.
    pub largest_step_ratio: f32,
}

/// What two networks say of the same images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub data: String,
    pub images: u64,
    /// Fraction of labelled images with the right class; nothing where there is no label.
    pub adapter_top1: Option<f64>,
    pub merged_top1: Option<f64>,
    /// Images that the two take for different things.
    pub changed_answers: u64,
    pub logit_mean_abs: f64,
    pub logit_max_abs: f64,
    /// The largest logit of the network with its adapter apart, for comparison.
    pub logit_largest: f64,
}

/// The layers that both programs have, in the new one's order.
pub fn layers(frozen: &TrunkProgram, merged: &TrunkProgram) -> Vec<LayerChange> {
    let of = |step: &crate::trunk::TrunkStep| {
        let new = step.weights()?;
        let old = frozen.steps.iter().find(|s| s.name == step.name)?.weights()?;
        let moved = || old.codes.iter().zip(&new.codes).map(|(a, b)| a.abs_diff(*b));
        let ratios = old.scales.iter().zip(&new.scales).map(|(a, b)| b / a);
        Some(LayerChange {
            layer: step.name.clone(),
            codes: new.codes.len() as u64,
            changed_codes: moved().filter(|&d| d > 0).count() as u64,
            largest_change: moved().map(u32::from).max().unwrap_or(0),
            largest_step_ratio: ratios.fold(1.0, f32::max),
        })
    };
    merged.steps.iter().filter_map(of).collect()
}

/// What a trunk without adapters makes of a set: the map `edge` of every image.
pub fn outputs(
    trunk: &Trunk,
    program: &TrunkProgram,
    edge: EdgeId,
    data: &Subset,
    settings: &EvalSettings,
) -> Result<Vec<Vec<f32>>, ExperimentError> {
    let graph = &trunk.graph;
    let (quant, made) = (graph.edge(graph.input).quant, graph.edge(edge).quant);
    let loader = in_order(data, graph.shape(graph.input), settings.micro_batch, settings.threads)?;
    let images = InOrder::start(&loader);
    let mut all = vec![];
    for from in (0..images.images()).step_by(settings.micro_batch) {
        let pixels = images.pixels(from, (from + settings.micro_batch).min(images.images()))?;
        let maps = program.run_all(&input::codes_of(&pixels, trunk.preprocess, quant)?)?;
        let (Some(map), Some(q)) = (maps.get(&edge), made) else { continue };
        let real = |&code: &i8| boundary::dequantise(i32::from(code), q.scale, q.zero_point);
        all.extend((0..map.batch).map(|i| map.image(i).iter().map(real).collect()));
    }
    Ok(all)
}

impl Difference {
    /// Of the outputs of two networks on the same images.
    pub fn of(data: &str, apart: &[Vec<f32>], together: &[Vec<f32>], label: impl Fn(usize) -> Option<u32>) -> Self {
        let top1 = |outputs: &[Vec<f32>]| {
            let labelled = outputs.iter().enumerate().filter_map(|(i, o)| Some((arg_max(o), label(i)? as usize)));
            let (hits, all) = labelled.fold((0u64, 0u64), |(h, n), (a, l)| (h + u64::from(a == l), n + 1));
            (all > 0).then(|| hits as f64 / all as f64)
        };
        let pairs = || apart.iter().zip(together);
        let off = || pairs().flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| f64::from((a - b).abs()));
        let logits = apart.iter().flatten();
        Self {
            data: data.into(),
            images: apart.len() as u64,
            adapter_top1: top1(apart),
            merged_top1: top1(together),
            changed_answers: pairs().filter(|(a, b)| arg_max(a) != arg_max(b)).count() as u64,
            logit_mean_abs: off().sum::<f64>() / off().count().max(1) as f64,
            logit_max_abs: off().fold(0.0, f64::max),
            logit_largest: logits.fold(0.0, |m, v| f64::from(v.abs()).max(m)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_compared_image_by_image() {
        let (apart, together) = ([vec![0.0, 2.0], vec![-4.0, 1.0]], [vec![0.5, 2.0], vec![1.0, 0.5]]);
        let found = Difference::of("x", &apart, &together, |i| [Some(1), None][i]);
        assert_eq!((found.adapter_top1, found.merged_top1), (Some(1.0), Some(1.0)));
        assert_eq!((found.images, found.changed_answers), (2, 1));
        assert_eq!((found.logit_max_abs, found.logit_mean_abs, found.logit_largest), (5.0, 1.5, 4.0));
        assert_eq!(Difference::of("x", &apart, &together, |_| None).merged_top1, None);
    }
}
