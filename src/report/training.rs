//! Training steps, counted: what they compute, move and keep.

use super::render::{Section, grouped};
use crate::experiment::account::Account;
use crate::experiment::training_account::TrainingAccount;
use crate::units::HardwareDomain;

/// Training steps, a scheme each.
pub fn overview(accounts: &[Account]) -> Section {
    let columns = [
        "scheme",
        "backward MACs trunk",
        "adapter",
        "backward B out",
        "in",
        "kept B published",
        "adapter",
        "trunk",
        "trainable B",
        "update B",
    ];
    let mut section = Section::new("A training step, per image", &columns);
    for a in accounts {
        let Some(t) = &a.training else { continue };
        section.row([
            a.scheme.clone(),
            grouped(t.macs_backward.trunk),
            grouped(t.macs_backward.adapter),
            grouped(t.backward.tap_out_bytes),
            grouped(t.backward.tap_in_bytes),
            grouped(t.kept_published_b),
            grouped(t.kept_adapter_b),
            grouped(t.kept_trunk_b),
            grouped(t.trainable_b),
            grouped(t.update.tap_out_bytes + t.update.tap_in_bytes),
        ]);
    }
    section.note(
        "kept, published: 32-bit values, a map on both sides once; adapter and trunk: as run here, taps as codes",
    );
    section.note("update bytes cross once per step, whatever its images");
    section
}

/// What a step keeps, map by map.
pub fn kept(training: &TrainingAccount) -> Section {
    let mut section =
        Section::new("Kept from forward to backward, per image", &["map", "side", "form", "elements", "bits", "B"]);
    for map in &training.kept {
        let form = serde_json::to_value(map.kept.form).ok().and_then(|v| v.as_str().map(str::to_string));
        section.row([
            map.kept.map.clone(),
            if map.kept.side == HardwareDomain::Trunk { "trunk".into() } else { "adapter".into() },
            form.unwrap_or_default(),
            grouped(map.kept.elements),
            map.kept.bits.to_string(),
            grouped(map.bytes),
        ]);
    }
    section
}
