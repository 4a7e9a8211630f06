//! `trunkline export`: a trunk in the form of another tool.

use super::Failure;
use super::output::write_text;
use super::values;
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::scalesim::export::topology;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Args)]
pub struct Export {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A topology for SCALE-Sim, with sizes that it computes right
    Scalesim(Scalesim),
}

#[derive(Args)]
struct Scalesim {
    /// The frozen network: a .tflite or .onnx file, or a network of the zoo such as resnet26
    #[arg(long, value_name = "FILE|ZOO", default_value = "resnet26", long_help = values::trunk_help())]
    trunk: String,
    /// Classes of the head [default: 10 for the zoo, its own for a file]
    #[arg(long, value_name = "K", value_parser = values::count)]
    classes: Option<usize>,
    /// Height and width of the input of a zoo network
    #[arg(long, value_name = "H", value_parser = values::count)]
    input: Option<usize>,
    /// Write to a file instead of standard output, whole or not at all
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

impl Export {
    pub fn execute(&self) -> Result<(), Failure> {
        let Command::Scalesim(c) = &self.command;
        let trunk = Trunk::open(&c.trunk, Wanted { input: c.input, classes: c.classes, seed: 0 })?;
        let export = topology(&trunk.graph)?;
        if export.left_out > 0 {
            eprintln!("note: {} layers without MACs are left out; SCALE-Sim has no form for them", export.left_out);
        }
        write_text(c.out.as_deref(), &export.csv)
    }
}
