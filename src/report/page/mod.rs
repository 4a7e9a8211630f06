//! Findings as a report: tables in Markdown, and one page of HTML that needs nothing else.
//!
//! The page is complete as it is: its script adds filters, hovering and sorting. It names no other file and no
//! address, and what comes out of files is escaped. The same findings give the same bytes.

mod energy;
mod html;
mod keys;
mod metric;
mod network;
mod scatter;
mod svg;
mod tables;
mod timeline;

pub use svg::Figure;
pub use tables::sections;

use crate::experiment::findings::detail::Opener;
use crate::experiment::findings::{Finding, Findings};
use keys::Keys;
use metric::Metric;
use std::fmt::Write;

/// Findings that are drawn one by one, if nobody says which.
const DRAWN: usize = 8;

/// A finding's own drawings, or why there are none.
struct Drawn {
    row: usize,
    title: String,
    figures: Result<[Figure; 2], String>,
    note: Option<String>,
}

/// A report with its figures.
pub struct Page<'a> {
    findings: &'a Findings,
    keys: Keys,
    plots: Vec<Figure>,
    energy: Option<Figure>,
    drawn: Vec<Drawn>,
}

impl<'a> Page<'a> {
    /// Draws everything. `rows` of the comparison, from 1, are drawn one by one; if it is empty, the best of each
    /// scheme on the first trunk.
    pub fn new(findings: &'a Findings, rows: &[usize]) -> Self {
        let all = &findings.all;
        let keys = Keys::of(all);
        let plots = Metric::plots(all).into_iter().filter_map(|axes| scatter::figure(all, &keys, axes)).collect();
        let chosen = if rows.is_empty() { choice(all) } else { rows.iter().map(|row| row - 1).collect() };
        let of_chosen: Vec<&Finding> = chosen.iter().map(|&i| &all[i]).collect();
        let mut opener = Opener::default();
        let drawn = chosen.iter().map(|&i| draw(&mut opener, i + 1, &all[i])).collect();
        Self { findings, keys, plots, energy: energy::figure(&of_chosen), drawn }
    }

    /// Every figure, under names of their own.
    pub fn figures(&self) -> impl Iterator<Item = &Figure> {
        let of_findings = self.drawn.iter().filter_map(|d| d.figures.as_ref().ok()).flatten();
        self.plots.iter().chain(&self.energy).chain(of_findings)
    }

    pub fn html(&self) -> String {
        let mut html = String::from(HEAD);
        html += &format!("<style>{}{}</style></head><body>\n", svg::STYLE, include_str!("page.css"));
        html += "<header><h1>Trunkline report</h1><ul class=\"notes\">";
        for source in &self.findings.sources {
            let _ = write!(html, "<li>{}</li>", svg::escaped(source));
        }
        html += "</ul></header>\n<main>\n";
        html += &self.filters();
        html += "<section id=\"plots\" aria-labelledby=\"plots-title\"><h2 id=\"plots-title\">What each costs</h2>";
        html += &scatter::legend(&self.keys);
        html += "<div class=\"plots\">";
        self.plots.iter().for_each(|plot| html += &html::figure(plot));
        html += "</div><p class=\"notes\">Outlined marks: nothing of the same trunk, data and system is better on both axes; \
                 a broken outline: the figure is a lower bound, and so is what a front of such is. \
                 Bars: least and most over seeds.</p></section>\n";
        let classes: Vec<String> = self.findings.all.iter().map(|f| self.keys.classes(f)).collect();
        html += &html::table(&tables::comparison(self.findings), "comparison", Some(&classes));
        html += &self.details();
        html += &html::table(&tables::macs(self.findings), "macs", None);
        if let Some(section) = tables::failures(self.findings) {
            html += &html::table(&section, "failures", None);
        }
        html += "</main>\n<div id=\"tip\" role=\"status\" aria-live=\"polite\" hidden></div>\n";
        html += &format!("<script>{}</script>\n</body></html>\n", include_str!("page.js"));
        html
    }

    /// Shown by the script, which they need.
    fn filters(&self) -> String {
        let mut html = String::from("<form id=\"filters\" aria-label=\"Filter\" hidden>");
        for dimension in self.keys.dimensions.iter().filter(|d| d.values.len() > 1) {
            let name = dimension.name;
            let _ = write!(html, "<label>{name} <select name=\"{name}\"><option value=\"\">all</option>");
            for (i, value) in dimension.values.iter().enumerate() {
                let _ = write!(html, "<option value=\"{}{i}\">{}</option>", dimension.letter, svg::escaped(value));
            }
            html += "</select></label> ";
        }
        html += "<label>plot <select name=\"plot\"><option value=\"\">all</option>";
        for plot in &self.plots {
            let _ = write!(html, "<option value=\"fig-{}\">{}</option>", plot.name, svg::escaped(&plot.caption));
        }
        html + "</select></label> <output id=\"shown\"></output></form>\n"
    }

    fn details(&self) -> String {
        let mut html = String::from(
            "<section id=\"details\" aria-labelledby=\"details-title\"><h2 id=\"details-title\">Networks, taps and timelines</h2>",
        );
        if let Some(energy) = &self.energy {
            html += &html::figure(energy);
        }
        // The first through which something comes back shows what the others may have.
        let returns = |d: &&Drawn| {
            let counted = self.findings.all[d.row - 1].counted.as_ref();
            d.figures.is_ok() && counted.is_some_and(|c| c.forward.tap_in_bytes > 0)
        };
        let shown = self.drawn.iter().find(returns).or(self.drawn.first()).map(|d| d.row);
        for drawn in &self.drawn {
            let open = if shown == Some(drawn.row) { " open" } else { "" };
            let title = svg::escaped(&drawn.title);
            let _ = write!(html, "<details{open} id=\"detail{}\"><summary>{title}</summary>", drawn.row);
            match &drawn.figures {
                Ok(figures) => figures.iter().for_each(|f| html += &html::figure(f)),
                Err(why) => html += &format!("<p>Not drawn: {}.</p>", svg::escaped(why)),
            }
            if let Some(note) = &drawn.note {
                html += &format!("<p class=\"notes\">Note: {}.</p>", svg::escaped(note));
            }
            html += "</details>\n";
        }
        html + "</section>\n"
    }
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
<title>Trunkline report</title><link rel=\"icon\" href=\"data:,\">";

/// The best of each scheme on the first finding's trunk, data and system; of what was not trained the first.
fn choice(all: &[Finding]) -> Vec<usize> {
    let Some(first) = all.first() else { return vec![] };
    let key = |f: &Finding| (f.trunk.clone(), f.data.clone(), f.system.clone());
    let mut chosen: Vec<usize> = Vec::new();
    let accuracy = |i: usize| Metric::Accuracy.of(&all[i]).unwrap_or(-1.0);
    for i in (0..all.len()).filter(|&i| all[i].counted.is_some() && key(&all[i]) == key(first)) {
        match chosen.iter().position(|&j| all[j].scheme == all[i].scheme) {
            Some(known) if accuracy(i) > accuracy(chosen[known]) => chosen[known] = i,
            Some(_) => {}
            None => chosen.push(i),
        }
    }
    chosen.truncate(DRAWN);
    chosen
}

fn draw(opener: &mut Opener, row: usize, finding: &Finding) -> Drawn {
    let title = format!("{row}: {} on {}", scatter::name(finding), finding.system);
    let mut note = None;
    let figures = opener.open(finding).and_then(|detail| {
        note.clone_from(&detail.note);
        let network = network::figure(&detail, &format!("network-{row}"), &title);
        let network = network.ok_or_else(|| "its network has no order".to_string())?;
        Ok([network, timeline::figure(&detail, &format!("timeline-{row}"), &title)])
    });
    Drawn { row, title, figures, note }
}
