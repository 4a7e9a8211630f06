//! The command line: one file per subcommand, and nothing that a library user would miss.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a verification found a difference.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod account;
mod devices;
mod hw;
mod inspect;
mod output;
mod run;
mod verify;

/// Hybrid-hardware co-simulation: a frozen int8 trunk on a simulated chip, trainable adapters on
/// an adapter device, every map that crosses between them counted.
#[derive(Parser)]
#[command(name = "trunkline", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a network with its adapters on data, and report what was counted.
    Run(run::Run),
    /// Count without executing; or recompute a paper's printed table.
    Account(account::Account),
    /// Compare a model with recorded outputs, layer by layer, to the bit.
    Verify(verify::Verify),
    /// List, show or check hardware models.
    Hw(hw::Hw),
    /// List the adapter devices of this machine.
    Devices(devices::Devices),
    /// Show a model's layers, codes and structure.
    Inspect(inspect::Inspect),
}

/// Why a command ended without doing its job.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for makes no sense: exit 2.
    Usage(String),
    /// It makes sense but could not be done: exit 1.
    Failed(String),
    /// It was done and found a difference: exit 3.
    Mismatch,
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        // A source that the message does not already tell is told after it.
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        Failure::Failed(text)
    }
}

/// Reads the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run(c) => c.execute(),
        Command::Account(c) => c.execute(),
        Command::Verify(c) => c.execute(),
        Command::Hw(c) => c.execute(),
        Command::Devices(c) => c.execute(),
        Command::Inspect(c) => c.execute(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(why)) => {
            eprintln!("error: {why}\n\nFor more information, try '--help'.");
            ExitCode::from(2)
        }
        Err(Failure::Failed(why)) => {
            eprintln!("error: {why}");
            ExitCode::from(1)
        }
        Err(Failure::Mismatch) => ExitCode::from(3),
    }
}
