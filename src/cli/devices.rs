//! `trunkline devices`.

use super::Failure;
use super::output::Output;
use crate::device;
use crate::report::render::Section;
use clap::Args;

#[derive(Args)]
pub struct Devices {
    #[command(flatten)]
    output: Output,
}

impl Devices {
    pub fn execute(&self) -> Result<(), Failure> {
        let mut section = Section::new("adapter devices", &["name", "kind", "backend", "driver"]);
        let mut rows = Vec::new();
        for info in device::list() {
            section.row([info.name.clone(), info.kind.to_string(), info.backend.clone(), info.driver.clone()]);
            rows.push(serde_json::to_value(&info)?);
        }
        section.note("--device auto takes a real GPU if there is one, else cpu; software Vulkan only by name");
        let json = serde_json::json!({ "schema": "trunkline/devices/1", "devices": rows });
        self.output.write(&[section], &json, &rows)
    }
}
