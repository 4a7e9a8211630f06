//! What folding an adapter into a trunk changed.

use super::render::{Section, grouped};
use crate::experiment::merge::MergeReport;

/// The two networks compared, and the layers whose codes changed.
pub fn sections(report: &MergeReport) -> Vec<Section> {
    let d = &report.difference;
    let percent = |top1: Option<f64>| top1.map_or("-".into(), |v| format!("{:.2} %", 100.0 * v));
    let columns = ["images", "top-1 with adapter", "top-1 merged", "answers changed", "logits off by, mean", "most"];
    let mut outputs = Section::new(&format!("{} on {}", report.adapter, d.data), &columns);
    outputs.row([
        grouped(d.images),
        percent(d.adapter_top1),
        percent(d.merged_top1),
        grouped(d.changed_answers),
        format!("{:.4}", d.logit_mean_abs),
        format!("{:.4} of {:.4}", d.logit_max_abs, d.logit_largest),
    ]);
    outputs.note(format!("frozen trunk {}, sha256 {} before and after", report.trunk, report.frozen_sha256));
    outputs.note(format!("merged trunk sha256 {}", report.merged_sha256));
    let columns = ["layer", "weight codes", "changed", "most", "step grew"];
    let mut layers = Section::new("Weight codes", &columns);
    for layer in report.layers.iter().filter(|l| l.changed_codes > 0) {
        layers.row([
            layer.layer.clone(),
            grouped(layer.codes),
            grouped(layer.changed_codes),
            layer.largest_change.to_string(),
            format!("{:.3}x", layer.largest_step_ratio),
        ]);
    }
    layers.row(["all".into(), grouped(report.codes), grouped(report.changed_codes), String::new(), String::new()]);
    vec![outputs, layers]
}
