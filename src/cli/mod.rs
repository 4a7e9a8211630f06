//! The command line: one file per subcommand, and nothing that a library user would miss.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a verification found a difference.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod account;
mod calibrate;
mod compress;
mod data;
mod devices;
mod eval;
mod export;
mod failure;
mod hw;
mod import;
mod inspect;
mod learning;
mod measuring;
mod merge;
mod output;
mod pretrain;
mod progress;
mod quant_sweep;
mod report;
mod run;
mod scalesim;
mod schemes;
mod sweep;
mod train;
mod validate;
mod values;
mod verify;

use failure::Failure;

/// Hybrid-hardware co-simulation: a frozen int8 trunk on a simulated chip, trainable adapters on
/// an adapter device, every map that crosses between them counted.
#[derive(Parser)]
#[command(name = "trunkline", version, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Start with `trunkline run`, which needs no files; `trunkline COMMAND --help` says everything.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a verification found a difference.";

#[derive(Subcommand)]
enum Command {
    /// Run a network with its adapters on data, and report what was counted.
    Run(run::Run),
    /// Train adapters through the frozen trunk, in a folder of their own.
    Train(Box<train::Train>),
    /// Train a trunk of your own from random weights, and freeze it.
    Pretrain(pretrain::Pretrain),
    /// Measure a trained adapter on data.
    Eval(eval::Eval),
    /// Replace trained 1x1 adapters by two factors of small rank, each alone or several with one in common.
    Compress(compress::Compress),
    /// Fold a trained adapter into the weights of a new trunk.
    Merge(merge::Merge),
    /// Count without executing; or recompute a paper's printed table.
    Account(account::Account),
    /// What if: accuracy, noise and overflows over widths, rounding and granularity.
    QuantSweep(quant_sweep::QuantSweep),
    /// Count or train every point of a grid, in a folder that can be gone on with.
    Sweep(sweep::Sweep),
    /// Put runs and sweeps together: tables, and one page with plots, networks and timelines.
    Report(report::Report),
    /// List the ways of adapting: where each was published, its options, and what crosses.
    Schemes(schemes::Schemes),
    /// Compare a model with recorded outputs, layer by layer, to the bit.
    Verify(verify::Verify),
    /// Compare the hardware models with what was published.
    Validate(validate::Validate),
    /// List, show or check hardware models.
    Hw(hw::Hw),
    /// Measure an adapter device of this machine into a hardware model file.
    Calibrate(calibrate::Calibrate),
    /// List the adapter devices of this machine.
    Devices(devices::Devices),
    /// Show what is in a data set: counts, sizes, mean and deviation, a contact sheet.
    Data(data::Data),
    /// Calibrate and freeze a model into our own trunk file.
    Import(import::Import),
    /// Write a trunk in the form of another tool.
    Export(export::Export),
    /// Show a model's layers, codes, registers and structure.
    Inspect(inspect::Inspect),
}

/// Reads the process's arguments and does what they say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Run(c) => c.execute(),
        Command::Train(c) => c.execute(),
        Command::Pretrain(c) => c.execute(),
        Command::Eval(c) => c.execute(),
        Command::Compress(c) => c.execute(),
        Command::Merge(c) => c.execute(),
        Command::Account(c) => c.execute(),
        Command::QuantSweep(c) => c.execute(),
        Command::Sweep(c) => c.execute(),
        Command::Report(c) => c.execute(),
        Command::Schemes(c) => c.execute(),
        Command::Verify(c) => c.execute(),
        Command::Validate(c) => c.execute(),
        Command::Hw(c) => c.execute(),
        Command::Calibrate(c) => c.execute(),
        Command::Devices(c) => c.execute(),
        Command::Data(c) => c.execute(),
        Command::Import(c) => c.execute(),
        Command::Export(c) => c.execute(),
        Command::Inspect(c) => c.execute(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
