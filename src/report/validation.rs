//! Published numbers beside ours, as tables.

use super::render::Section;
use crate::experiment::validate::{NOT_MODELLED, Point, Tolerance, Verdict};

const COLUMNS: [&str; 9] =
    ["model", "metric", "published", "ours", "error", "tolerance", "verdict", "fit or test", "of what, by whom"];

/// One table of points.
pub fn points(title: &str, points: &[Point]) -> Section {
    let mut section = Section::new(title, &COLUMNS);
    for point in points {
        section.row([
            point.model.clone(),
            point.metric.clone(),
            number(point.published),
            ours(point),
            point.error_frac.map_or("-".into(), |e| format!("{:+.2} %", signless_zero(e * 100.0))),
            tolerance(point.tolerance),
            verdict(point.verdict).into(),
            point.role.to_string(),
            format!("{} ({})", point.what, point.source),
        ]);
    }
    let count = |v: Verdict| points.iter().filter(|p| p.verdict == v).count();
    let (within, beyond, open) = (count(Verdict::Within), count(Verdict::Beyond), count(Verdict::NoRule));
    section.note(format!(
        "{} points: {within} within their tolerance, {beyond} beyond, {open} that nothing here computes",
        points.len()
    ));
    section
}

/// What the models leave out.
pub fn not_modelled() -> Section {
    let mut section = Section::new("What is not modelled", &[]);
    NOT_MODELLED.iter().for_each(|line| section.note(*line));
    section
}

fn ours(point: &Point) -> String {
    let value = point.ours.map_or("-".into(), number);
    match point.interval {
        Some([lo, hi]) => format!("{value} ({}..{})", number(lo), number(hi)),
        None => value,
    }
}

fn tolerance(tolerance: Tolerance) -> String {
    match tolerance {
        Tolerance::Frac(frac) => format!("{} %", number(frac * 100.0)),
        Tolerance::Factor(factor) => format!("x or / {}", number(factor)),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Within => "within",
        Verdict::Beyond => "BEYOND",
        Verdict::NoRule => "no rule",
    }
}

/// Four digits.
fn number(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return x.to_string();
    }
    let digits = (3 - x.abs().log10().floor() as i32).max(0) as usize;
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

fn signless_zero(x: f64) -> f64 {
    if x.abs() < 0.005 { 0.0 } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        let table =
            [(53.01, "53.01"), (0.44, "0.44"), (20031.0, "20031"), (1234.56, "1235"), (0.000123456, "0.0001235")];
        for (x, text) in table {
            assert_eq!(number(x), text);
        }
    }
}
