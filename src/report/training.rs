//! Training steps, counted: what they compute, move and keep.

use super::render::{Section, grouped};
use crate::experiment::account::Account;
use crate::experiment::train::account::StepAccount;
use crate::experiment::training_account::{Traffic, TrainingAccount};
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

/// A step of a training that ran, and an epoch of such steps.
pub fn step(account: &StepAccount) -> Vec<Section> {
    let a = account;
    let mut traffic = Section::new(
        &format!("{}: a training step of {} images", a.scheme, a.images_per_step),
        &["phase", "MACs trunk", "adapter", "elements out", "B out", "elements in", "B in"],
    );
    let mut row = |phase: &str, macs: [u64; 2], t: &Traffic| {
        traffic.row([
            phase.to_string(),
            grouped(macs[0]),
            grouped(macs[1]),
            grouped(t.tap_out_elements),
            grouped(t.tap_out_bytes),
            grouped(t.tap_in_elements),
            grouped(t.tap_in_bytes),
        ]);
    };
    row("forward, per image", [a.macs_forward.trunk, a.macs_forward.adapter], &a.forward);
    row("backward, per image", [a.macs_backward.trunk, a.macs_backward.adapter], &a.backward);
    row("update, per step", [0, 0], &a.update);
    traffic.note(format!(
        "an epoch of {} images: {} B out of the trunk, {} B into it",
        a.images_per_epoch,
        grouped(a.epoch_tap_out_bytes),
        grouped(a.epoch_tap_in_bytes)
    ));
    traffic.note("every step was asserted to run so: predicted == observed");
    let m = &a.memory;
    let mut memory = Section::new("Held", &["what", "B"]);
    for (what, bytes) in [
        ("kept by the adapter device, per image", m.adapter_kept_b),
        ("kept by the trunk, per image", m.trunk_kept_b),
        ("maps and errors of the micro-batches in flight", m.adapter_maps_b),
        ("parameters, gradients, optimiser", m.adapter_state_b),
    ] {
        memory.row([what.to_string(), grouped(bytes)]);
    }
    memory.note(format!("micro-batches of {}, {} in flight, on {}", m.micro_batch, m.slots, a.device));
    let mut modelled = Section::new(&format!("Modelled on {}", a.system), &["figure", "value"]);
    let bound = |is: bool, text: String| if is { format!("≥ {text}") } else { text };
    modelled.row(["step, µs".to_string(), bound(a.time.lower_bound, format!("{:.2}", a.time.step_ps as f64 / 1e6))]);
    modelled.row(["images/s".to_string(), format!("{:.1}", a.time.images_per_s)]);
    modelled.row(["bottleneck".to_string(), a.time.bottleneck.clone()]);
    let energy = format!("{:.1}", a.energy_pj_per_image / 1e6);
    modelled.row(["energy per image, µJ".to_string(), bound(a.energy_is_lower_bound, energy)]);
    vec![traffic, memory, modelled]
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
