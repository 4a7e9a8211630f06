//! Sections and figures as HTML.

use super::svg::{Figure, escaped};
use crate::report::render::Section;
use std::fmt::Write;

/// A table that scrolls in a place of its own. `classes` are those of its rows, if they can be filtered.
pub fn table(section: &Section, id: &str, classes: Option<&[String]>) -> String {
    let mut html = format!("<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">");
    html += &format!("{}</h2>", escaped(&section.title));
    if !section.columns.is_empty() {
        html += &format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-labelledby=\"{id}-title\"><table><thead><tr>"
        );
        for (i, column) in section.columns.iter().enumerate() {
            let _ = write!(html, "<th scope=\"col\"{}>{}</th>", number(is_numeric(section, i)), escaped(column));
        }
        html += "</tr></thead><tbody>";
        let numeric: Vec<bool> = (0..section.columns.len()).map(|i| is_numeric(section, i)).collect();
        for (i, row) in section.rows.iter().enumerate() {
            match classes {
                Some(classes) => {
                    let _ = write!(html, "<tr id=\"row{}\" class=\"f {}\">", i + 1, classes[i]);
                }
                None => html += "<tr>",
            }
            for (cell, numeric) in row.iter().zip(&numeric) {
                let _ = write!(html, "<td{}>{}</td>", number(*numeric), escaped(cell));
            }
            html += "</tr>\n";
        }
        html += "</tbody></table></div>";
    }
    if !section.notes.is_empty() {
        html += "<ul class=\"notes\">";
        section.notes.iter().for_each(|note| html += &format!("<li>{}</li>", escaped(note)));
        html += "</ul>";
    }
    html + "</section>\n"
}

/// Whether a column holds numbers: what is empty is no text.
fn is_numeric(section: &Section, column: usize) -> bool {
    let mut told = section.rows.iter().filter_map(|row| row.get(column)).filter(|cell| !cell.is_empty()).peekable();
    let number = |cell: &String| {
        let digits = cell.trim_start_matches(['≥', ' ']).replace(',', "");
        let first = digits.split(" … ").next().unwrap_or_default();
        first.parse::<f64>().is_ok()
    };
    told.peek().is_some() && told.all(number)
}

fn number(is: bool) -> &'static str {
    if is { " class=\"n\"" } else { "" }
}

pub fn figure(figure: &Figure) -> String {
    let Figure { name, caption, svg } = figure;
    format!("<figure id=\"fig-{name}\">{svg}<figcaption>{}</figcaption></figure>\n", escaped(caption))
}
