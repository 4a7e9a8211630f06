//! What a prepared trunk holds in its silicon and registers, layer by layer.

use super::render::{Section, grouped};
use crate::model::trunk_file::Provenance;
use crate::trunk::{TrunkProgram, TrunkStep};
use serde::Serialize;

/// A smallest and a largest value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Span<T> {
    pub low: T,
    pub high: T,
}

impl<T: Copy + PartialOrd> Span<T> {
    fn of(values: impl IntoIterator<Item = T>) -> Option<Self> {
        let widen = |span: Option<Self>, v: T| {
            let Span { low, high } = span.unwrap_or(Span { low: v, high: v });
            Some(Span { low: if v < low { v } else { low }, high: if v > high { v } else { high } })
        };
        values.into_iter().fold(None, widen)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Weights {
    pub codes: usize,
    /// 1 per tensor, or as many as there are output channels.
    pub scales: usize,
    pub scale: Option<Span<f32>>,
    pub zero_point: Option<Span<i32>>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegisterFile {
    pub channels: usize,
    pub mantissa: Option<Span<i32>>,
    pub shift: Option<Span<i32>>,
    pub bias: Option<Span<i32>>,
}

/// A step with what it holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub step: String,
    pub op: &'static str,
    pub shape: crate::tensor::Shape,
    pub weights: Option<Weights>,
    pub registers: Option<RegisterFile>,
    pub weight_bytes: u64,
    pub register_bytes: u64,
}

/// One row per step, in running order.
pub fn rows(program: &TrunkProgram) -> Vec<Row> {
    program.steps.iter().map(row).collect()
}

fn row(step: &TrunkStep) -> Row {
    let weights = step.weights().map(|w| Weights {
        codes: w.codes.len(),
        scales: w.scales.len(),
        scale: Span::of(w.scales.iter().copied()),
        zero_point: Span::of(w.zero_points.iter().copied()),
    });
    let registers = step.registers().map(|r| RegisterFile {
        channels: r.channels(),
        mantissa: Span::of(r.multipliers.iter().map(|m| m.mantissa)),
        shift: Span::of(r.multipliers.iter().map(|m| m.shift)),
        bias: Span::of(r.bias.iter().copied()),
    });
    Row {
        step: step.name.clone(),
        op: step.op,
        shape: step.output_shape(),
        weights,
        registers,
        weight_bytes: step.weight_bytes().0,
        register_bytes: step.register_bytes().0,
    }
}

/// The rows as a table, with the trunk's fingerprint and origin below.
pub fn section(program: &TrunkProgram, provenance: &Provenance, rows: &[Row]) -> Section {
    let columns =
        ["step", "op", "shape", "weight codes", "weight scales", "mantissa", "shift", "bias", "weight B", "register B"];
    let mut section = Section::new("silicon and registers", &columns);
    let span = |span: Option<Span<i32>>| span.map_or("-".into(), |s| format!("{} … {}", s.low, s.high));
    for row in rows {
        let (weights, registers) = (row.weights.as_ref(), row.registers.as_ref());
        section.row([
            row.step.clone(),
            row.op.into(),
            row.shape.to_string(),
            weights.map_or("-".into(), |w| grouped(w.codes as u64)),
            weights.and_then(|w| w.scale).map_or("-".into(), |s| format!("{:.3e} … {:.3e}", s.low, s.high)),
            span(registers.and_then(|r| r.mantissa)),
            span(registers.and_then(|r| r.shift)),
            span(registers.and_then(|r| r.bias)),
            grouped(row.weight_bytes),
            grouped(row.register_bytes),
        ]);
    }
    let sum = |bytes: fn(&Row) -> u64| grouped(rows.iter().map(bytes).sum());
    section.note(format!("{} B of weights, {} B of registers", sum(|r| r.weight_bytes), sum(|r| r.register_bytes)));
    section.note(format!("trunk sha256 {}", sha256(program)));
    section.note(format!("source: {}", origin(provenance)));
    section.note(format!("scales: {}", calibration(provenance)));
    section
}

/// The trunk's checksum in lower-case hexadecimal.
pub fn sha256(program: &TrunkProgram) -> String {
    crate::model::hex(&program.checksum())
}

fn origin(p: &Provenance) -> String {
    let seed = p.seed.map_or(String::new(), |seed| format!(", seed {seed}"));
    let hash = p.source_sha256.as_ref().map_or(String::new(), |hash| format!(", sha256 {hash}"));
    let recipe = p.recipe.as_ref().map_or(String::new(), |recipe| format!(", trained by `{recipe}`"));
    format!("{}{seed}{hash}{recipe}", p.source)
}

fn calibration(p: &Provenance) -> String {
    match &p.calibration {
        None => "the source's own".into(),
        Some(c) => format!("{} on {} images of {}, seed {}", c.method, c.images, c.data, c.seed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_both_ends_and_nothing_has_none() {
        assert_eq!(Span::of([3, -2, 7]), Some(Span { low: -2, high: 7 }));
        assert_eq!(Span::<i32>::of([]), None);
    }
}
