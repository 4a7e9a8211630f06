//! `trunkline schemes`: every way of adapting.

use super::Failure;
use super::output::Output;
use crate::report::render::Section;
use crate::scheme::{SCHEMES, Scheme};
use clap::Args;
use serde_json::{Value, json};

#[derive(Args)]
pub struct Schemes {
    #[command(flatten)]
    output: Output,
}

fn options(scheme: &Scheme) -> Vec<String> {
    scheme.options.iter().map(|(key, values)| format!("{key}={values}")).collect()
}

fn sites(scheme: &Scheme) -> String {
    scheme.default_sites.as_ref().map_or("-".into(), ToString::to_string)
}

impl Schemes {
    pub fn execute(&self) -> Result<(), Failure> {
        let mut section = Section::new("schemes", &["name", "paper", "options", "sites", "what crosses"]);
        for s in SCHEMES {
            let options = if s.options.is_empty() { "-".into() } else { options(s).join(",") };
            section.row([s.name.into(), s.paper.into(), options, sites(s), s.crosses.into()]);
        }
        SCHEMES.iter().for_each(|s| section.note(format!("{}: {}", s.name, s.about)));
        let rows: Vec<Value> = SCHEMES.iter().map(row).collect();
        self.output.write(&[section], &json!({ "schema": "trunkline/schemes/1", "schemes": rows }), &rows)
    }
}

fn row(s: &Scheme) -> Value {
    json!({
        "name": s.name,
        "about": s.about,
        "paper": s.paper,
        "options": options(s),
        "sites": sites(s),
        "crosses": s.crosses,
        "trains_norm": s.trains_norm,
        "runs": s.counted_only.is_none(),
    })
}
