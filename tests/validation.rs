//! `hw_models/VALIDATION.md` says what `trunkline validate` says.

mod common;

use std::fs;
use trunkline::experiment::validate::{NOT_MODELLED, Verdict, carried, shared};
use trunkline::report::render::markdown;
use trunkline::report::validation::{not_modelled, points};

const HOW: &str = "run `trunkline validate --format markdown --out hw_models/VALIDATION.md`";

fn document() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/hw_models/VALIDATION.md")).unwrap()
}

#[test]
fn the_document_has_the_points_that_the_models_carry() {
    let section = markdown(&[points("Points that the hardware models carry", &carried().unwrap())]);
    assert!(document().contains(&section), "{HOW}; it should begin with:\n{section}");
    assert!(document().ends_with(&markdown(&[not_modelled()])) && !NOT_MODELLED.is_empty(), "{HOW}");
}

#[test]
fn the_document_has_the_points_of_the_published_tables_and_the_links_meet_them() {
    let Some(folder) = common::shared("hardware/validation") else { return };
    let found = shared(folder.parent().unwrap().parent().unwrap()).unwrap();
    let section = markdown(&[points("Points of published tables", &found)]);
    assert!(document().contains(&section), "{HOW}; it should have:\n{section}");
    for point in found.iter().filter(|p| p.model.starts_with("link/")) {
        assert_eq!(point.verdict, Verdict::Within, "{point:?}");
    }
    let of =
        |model: &str, metric: &str| found.iter().filter(|p| p.model == model && p.metric == metric).collect::<Vec<_>>();
    let astra = of("link/astra-sim-like", "arrivals met exactly");
    assert_eq!(astra.iter().map(|p| p.ours.unwrap()).sum::<f64>(), 34.0);
    assert_eq!(of("link/astra-sim-like", "ns")[0].ours, Some(20_031.0));
    assert_eq!(of("link/pcie-gen3-x8", "gbit_per_s").len(), 17);
    // Five layers and their sum, each within a factor of two, and inside what it prints.
    let chip = of("trunk/eyeriss-v1-65nm", "chip_mj");
    assert_eq!(chip.len(), 6);
    for point in chip {
        let (ours, [lo, hi]) = (point.ours.unwrap(), point.interval.unwrap());
        assert!(point.verdict == Verdict::Within && lo < ours && ours < hi, "{point:?}");
    }
}
