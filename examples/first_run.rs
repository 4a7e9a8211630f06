//! The library in thirty lines: a frozen int8 network, adaptive attention on the adapter device,
//! a counted bus, one report.
//!
//! ```text
//! cargo run --release --example first_run
//! ```

use trunkline::data::{self, OpenOptions};
use trunkline::experiment::run::{Job, Settings, run};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::hw::library;
use trunkline::scheme::{Request, SchemeSpec};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = OpenOptions { limit: Some(8), seed: 1, size: Some([32, 32]) };
    let task = data::open("synth:gratings", &options)?;
    let wanted = Wanted { input: Some(32), classes: Some(task.classes.len()), seed: 1 };
    let trunk = Trunk::open("resnet26:width=0.25", wanted)?;
    let system = library::load_system("edge-nvdla-orin-ucie")?;
    let scheme = SchemeSpec("adaptive-attention:gate=2sigmoid".into());
    let request = Request { scheme, sites: None, batch_norm: None, seed: 1 };

    let job = Job { trunk, request, tasks: vec![task], calibration: vec![], system: &system };
    let report = run(job, &Settings::default(), &|_| {})?;

    let account = &report.account;
    println!("{} with {} on {}", account.trunk, account.scheme, report.device);
    println!("MACs per image: trunk {}, adapter {}", account.macs.trunk, account.macs.adapter);
    println!("connections per image: {}", account.connections.total);
    println!("latency: at least {} ns", account.time.latency_ps / 1000);
    for tap in &account.taps {
        println!("  {} {} {} bytes", tap.direction, tap.name, tap.bytes);
    }
    Ok(())
}
