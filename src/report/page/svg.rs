//! SVG as text: escaping, numbers, axes. Nothing here knows what is drawn.
//!
//! Written by hand and not by a plotting library: points need titles, focus and classes to filter by,
//! which `plotters` and its like cannot give them.

use std::fmt::Write;

/// A drawing with its own colours, in light and dark.
pub const STYLE: &str = include_str!("figure.css");

/// A drawing that a page shows, and that a file may hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Of its file, without the ending.
    pub name: String,
    pub caption: String,
    /// The `svg` element.
    pub svg: String,
}

impl Figure {
    /// As a file of its own.
    pub fn file(&self) -> String {
        let style = format!("><style>{STYLE}</style>");
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", self.svg.replacen('>', &style, 1))
    }
}

/// Text that ends no element and no attribute.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // XML has no place for these.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A length: tenths are enough.
pub fn px(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map_or(text.clone(), String::from)
}

/// A number of some unit with a prefix: 12.3 kB.
pub fn si(value: f64, unit: &str) -> String {
    const PREFIXES: [(f64, &str); 9] = [
        (1e12, "T"),
        (1e9, "G"),
        (1e6, "M"),
        (1e3, "k"),
        (1.0, ""),
        (1e-3, "m"),
        (1e-6, "µ"),
        (1e-9, "n"),
        (1e-12, "p"),
    ];
    let space = if unit.is_empty() { "" } else { " " };
    if value == 0.0 {
        return format!("0{space}{unit}");
    }
    // What rounds up to a thousand belongs to the next prefix.
    let fits = |(scale, _): &&(f64, &str)| value.abs() >= 0.9995 * scale;
    let (scale, prefix) = PREFIXES.iter().find(fits).unwrap_or(&PREFIXES[8]);
    let number = value / scale;
    let digits = [99.95, 9.995].iter().filter(|limit| number.abs() < **limit).count();
    let text = format!("{number:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text };
    format!("{text}{space}{prefix}{unit}")
}

/// Opens a drawing that says what it is. `role` is `img`, or `group` where parts of it have names.
pub fn open(width: f64, height: f64, role: &str, label: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" role=\"{role}\" aria-label=\"{}\">",
        px(width),
        px(height),
        escaped(label)
    )
}

pub fn text(svg: &mut String, x: f64, y: f64, class: &str, what: &str) {
    let _ = write!(svg, "<text x=\"{}\" y=\"{}\" class=\"{class}\">{}</text>", px(x), px(y), escaped(what));
}

pub fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), class: &str) {
    let [a, b, c, d] = [from.0, from.1, to.0, to.1].map(px);
    let _ = write!(svg, "<path class=\"{class}\" d=\"M{a} {b}L{c} {d}\"/>");
}

/// A rectangle with what it is.
pub fn bar(svg: &mut String, at: (f64, f64), size: (f64, f64), class: &str, title: &str) {
    let [x, y, w, h] = [at.0, at.1, size.0, size.1].map(px);
    let rect = format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"");
    let _ = match title {
        "" => write!(svg, "{rect}/>"),
        title => write!(svg, "{rect}><title>{}</title></rect>", escaped(title)),
    };
}

/// Values along a line. What spans more than two decades is laid out by its logarithm, with a place for 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    low: f64,
    high: f64,
    log: bool,
    zero: bool,
}

/// Part of a logarithmic axis that 0 takes.
const ZERO_PART: f64 = 0.08;

impl Axis {
    pub fn linear(low: f64, high: f64) -> Self {
        let pad = if high > low { 0.0 } else { high.abs().max(1.0) * 0.1 };
        Self { low: low - pad, high: high + pad, log: false, zero: false }
    }

    pub fn over(values: impl Iterator<Item = f64> + Clone) -> Self {
        let fold = |(a, b): (f64, f64), v: f64| (a.min(v), b.max(v));
        let positive = values.clone().filter(|v| *v > 0.0).fold((f64::MAX, f64::MIN), fold);
        let (low, high) = values.clone().fold((f64::MAX, f64::MIN), fold);
        if low > high {
            return Self::linear(0.0, 1.0);
        }
        if low < 0.0 || positive.0 > positive.1 || positive.1 < 100.0 * positive.0 {
            let margin = 0.05 * (high - low);
            let floor = if low >= 0.0 { 0.0 } else { f64::MIN };
            return Self::linear((low - margin).max(floor), high + margin);
        }
        Self { low: positive.0 / 1.3, high: positive.1 * 1.3, log: true, zero: low == 0.0 }
    }

    /// From 0 at the low end to 1.
    pub fn part(&self, value: f64) -> f64 {
        if !self.log {
            return (value - self.low) / (self.high - self.low);
        }
        if value <= 0.0 {
            return 0.0;
        }
        let start = if self.zero { ZERO_PART } else { 0.0 };
        start + (1.0 - start) * (value / self.low).ln() / (self.high / self.low).ln()
    }

    /// Round values to label.
    pub fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = (self.high / self.low).log10();
            let step = (decades / 5.0).ceil().max(1.0) as i32;
            let powers = (self.low.log10().ceil() as i32..=self.high.log10().floor() as i32).step_by(step as usize);
            return self.zero.then_some(0.0).into_iter().chain(powers.map(|p| 10f64.powi(p))).collect();
        }
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(|i| i as f64 * step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(escaped("a<b>\"&'\u{0}"), "a&lt;b&gt;&quot;&amp;&#39;\u{fffd}");
        let mut svg = String::new();
        text(&mut svg, 0.0, 1.25, "t", "</text><script>");
        assert_eq!(svg, "<text x=\"0\" y=\"1.2\" class=\"t\">&lt;/text&gt;&lt;script&gt;</text>");
    }

    #[test]
    fn numbers_have_three_digits_and_a_prefix() {
        let told = [0.0, 999.6, 1024.0, 12_345.0, 297_108.0, 0.0016].map(|v| si(v, "B"));
        assert_eq!(told, ["0 B", "1 kB", "1.02 kB", "12.3 kB", "297 kB", "1.6 mB"]);
        assert_eq!(si(1e-7, "J"), "100 nJ");
    }

    #[test]
    fn an_axis_holds_its_values_and_labels() {
        for values in [vec![0.0, 3.0, 1e6], vec![1.0, 2.0], vec![5.0], vec![], vec![0.0], vec![2.0, 1e9]] {
            let axis = Axis::over(values.iter().copied());
            let ticks = axis.ticks();
            for v in values.iter().chain(&ticks) {
                assert!((-1e-9..=1.0 + 1e-9).contains(&axis.part(*v)), "{v} of {values:?} is at {}", axis.part(*v));
            }
            assert!((2..=8).contains(&ticks.len()) || values.is_empty(), "{ticks:?} of {values:?}");
        }
        let axis = Axis::over([0.0, 10.0, 1e5].into_iter());
        assert!(axis.part(0.0) < axis.part(10.0) && axis.part(10.0) < axis.part(1e5));
    }
}
