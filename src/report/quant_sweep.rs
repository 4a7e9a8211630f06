//! The report of a what-if sweep.

use super::render::{Section, grouped};
use crate::experiment::quant_sweep::{Row, Sweep, word};
use serde_json::{Map, Value};

/// The sweep as a table; with `layers`, one more per arithmetic.
pub fn sections(sweep: &Sweep, layers: bool) -> Vec<Section> {
    let mut sections = vec![overview(sweep)];
    if layers {
        sections.extend(sweep.rows.iter().map(by_layer));
    }
    sections
}

fn decibel(db: Option<f64>) -> String {
    db.map_or("-".into(), |db| format!("{db:.2}"))
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or("-".into(), |f| format!("{:.2}", 100.0 * f))
}

fn overview(sweep: &Sweep) -> Section {
    let title = format!("{} on {} images of {}", sweep.trunk, sweep.images, sweep.data);
    let columns = [
        "weights",
        "activations",
        "accumulator",
        "overflow",
        "rounding",
        "granularity",
        "top-1 %",
        "as float %",
        "SQNR dB",
        "least dB",
        "in layer",
        "overflows",
        "saturations",
    ];
    let mut section = Section::new(&title, &columns);
    for row in &sweep.rows {
        let p = &row.point;
        section.row([
            p.weight_bits.to_string(),
            p.activation_bits.to_string(),
            p.accumulator_bits.to_string(),
            word(p.overflow),
            word(p.rounding),
            word(p.granularity),
            percent(row.top1),
            percent(Some(row.float_agreement)),
            decibel(row.output_sqnr_db),
            decibel(row.least_sqnr_db),
            row.least_sqnr_layer.clone().unwrap_or("-".into()),
            grouped(row.overflows),
            grouped(row.saturations),
        ]);
    }
    if let Some(top1) = sweep.float_top1 {
        section.note(format!("float: top-1 {} %", percent(Some(top1))));
    }
    section.note(format!(
        "SQNR of the output, and of the layer with the least, against the float maps of {} images",
        sweep.compared_images
    ));
    if sweep.rows.len() < sweep.points {
        section.note(format!("interrupted: {} of {} arithmetics were finished", sweep.rows.len(), sweep.points));
    }
    sweep.notes.iter().for_each(|note| section.note(note));
    section
}

fn by_layer(row: &Row) -> Section {
    let mut section = Section::new(&row.profile, &["layer", "op", "SQNR dB", "overflows", "saturations"]);
    for layer in &row.layers {
        section.row([
            layer.layer.clone(),
            layer.op.clone(),
            decibel(layer.sqnr_db),
            grouped(layer.overflows),
            grouped(layer.saturations),
        ]);
    }
    section
}

/// The whole report as JSON; layers only if they were asked for.
pub fn json(sweep: &Sweep, layers: bool) -> Result<Value, serde_json::Error> {
    let mut json = serde_json::to_value(sweep)?;
    if !layers && let Some(rows) = json["rows"].as_array_mut() {
        rows.iter_mut().filter_map(Value::as_object_mut).for_each(|row| drop(row.shift_remove("layers")));
    }
    Ok(json)
}

/// Lines for CSV: one per arithmetic, or one per arithmetic and layer.
pub fn lines(sweep: &Sweep, layers: bool) -> Result<Vec<Value>, serde_json::Error> {
    let mut lines = vec![];
    for row in &sweep.rows {
        let mut whole = serde_json::to_value(row)?;
        let of_layers = whole.as_object_mut().and_then(|fields| fields.shift_remove("layers"));
        match of_layers {
            Some(Value::Array(of_layers)) if layers => {
                let mut choices: Map<String, Value> = Map::new();
                choices.extend(serde_json::to_value(row.point)?.as_object().cloned().unwrap_or_default());
                for layer in of_layers {
                    let mut line = choices.clone();
                    line.extend(layer.as_object().cloned().unwrap_or_default());
                    lines.push(Value::Object(line));
                }
            }
            _ => lines.push(whole),
        }
    }
    Ok(lines)
}
