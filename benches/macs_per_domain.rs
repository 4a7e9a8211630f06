//! MACs per hardware domain for every scheme on every network of the zoo, with time.
//!
//! Prints the table first: MACs of one image on trunk, adapter device and host, connections, and
//! the modelled latency. Then criterion measures on this machine how long one image takes through
//! trunk engine, bus and CPU twins, and how long the accounting alone takes.
//!
//! ```text
//! cargo bench --bench macs_per_domain            # table and times
//! cargo bench --bench macs_per_domain -- --test  # table, each measurement once
//! ```

use criterion::Criterion;
use trunkline::data::{self, Dataset, OpenOptions};
use trunkline::experiment::account::{Account, account};
use trunkline::experiment::run::{Job, Settings, run};
use trunkline::experiment::trunk::{Trunk, Wanted};
use trunkline::hw::{System, library};
use trunkline::model::zoo;
use trunkline::plan::macs::MacRule;
use trunkline::plan::tap_format::TapFormat;
use trunkline::report::render::{Section, grouped, text};
use trunkline::scheme::{Request, SCHEMES, SchemeSpec};

const SYSTEM: &str = "asic-h200-pcie";
const CLASSES: usize = 10;

fn request(scheme: &str) -> Request {
    Request { scheme: SchemeSpec(scheme.into()), sites: None, batch_norm: None, seed: 0 }
}

fn trunk(network: &str) -> Trunk {
    Trunk::open(network, Wanted { input: None, classes: Some(CLASSES), seed: 0 }).expect("a network of the zoo")
}

fn row(trunk: &Trunk, scheme: &str, system: &System) -> Account {
    account(trunk, &request(scheme), system, TapFormat::Int8, MacRule::Conv).expect("every scheme fits the zoo").0
}

fn table(system: &System) -> Section {
    let columns =
        ["network", "scheme", "trunk", "adapter", "host", "adapter share", "connections", "modelled latency µs"];
    let mut section = Section::new("MACs per hardware domain, one image", &columns);
    for network in zoo::NETWORKS {
        let trunk = trunk(network.name);
        for scheme in SCHEMES {
            let a = row(&trunk, scheme.name, system);
            section.row([
                format!("{}@{}", network.name, network.default_input),
                scheme.name.into(),
                grouped(a.macs.trunk),
                grouped(a.macs.adapter),
                grouped(a.macs.host),
                format!("{:.3} %", 100.0 * a.macs.adapter as f64 / a.macs.total as f64),
                grouped(a.connections.total),
                format!("{:.1}", a.time.latency_ps as f64 / 1e6),
            ]);
        }
    }
    section.note(format!("modelled on {SYSTEM}; the latency is a lower bound where figures are unknown"));
    section
}

fn one_image(input: usize) -> Dataset {
    let options = OpenOptions { limit: Some(1), seed: 0, size: Some([input, input]) };
    data::open("synth:shapes", &options).expect("a procedural image")
}

fn measure(criterion: &mut Criterion, system: &System) {
    let settings = Settings { device: "cpu".into(), threads: 1, ..Settings::default() };
    for network in zoo::NETWORKS {
        let task = one_image(network.default_input);
        let trunk = calibrated(trunk(network.name), &task);
        let mut group = criterion.benchmark_group(format!("one image/{}", network.name));
        group.sample_size(10);
        for scheme in SCHEMES {
            group.bench_function(scheme.name, |b| {
                b.iter(|| {
                    let (trunk, tasks) = (trunk.clone(), vec![task.clone()]);
                    let job = Job { trunk, request: request(scheme.name), tasks, calibration: vec![], system };
                    run(job, &settings, &|_| {}).expect("the main job")
                });
            });
        }
        group.finish();
    }
    let resnet26 = trunk("resnet26");
    let mut group = criterion.benchmark_group("account/resnet26");
    for scheme in SCHEMES {
        group.bench_function(scheme.name, |b| b.iter(|| row(&resnet26, scheme.name, system)));
    }
    group.finish();
}

/// With scales fixed once, so that calibration is not part of what is measured.
fn calibrated(mut trunk: Trunk, task: &Dataset) -> Trunk {
    let shape = trunk.graph.shape(trunk.graph.input);
    let images = trunkline::experiment::input::reals(&task.images, shape, trunk.preprocess).expect("images that fit");
    trunk.calibrate(&images).expect("finite values");
    trunk
}

fn main() {
    let system = library::load_system(SYSTEM).expect("a built-in system");
    println!("{}", text(&[table(&system)]));
    let mut criterion = Criterion::default().configure_from_args();
    measure(&mut criterion, &system);
    criterion.final_summary();
}
