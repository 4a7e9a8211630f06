//! The points of a sweep file: what it names is opened, its axes are crossed, and every point has a
//! number. Points are made from their numbers, so that a grid of which a sample is drawn may be large.
//!
//! Refused, with the place in the file: names that mean nothing, a grid of more points than anybody waits
//! for. A scheme that a trunk has no place for is no error of the file: its points say so.

use super::arms::{self, Arm};
use super::error::SweepError;
use super::file::{self, Axis, Entry, Mode, SweepFile, SystemEntry};
use super::identity::{system_sha256, trunk_sha256};
use super::point::{FORMAT, Point, Training};
use super::recipe::Recipe;
use super::source::Source;
use super::task::Task;
use crate::experiment::trunk::{Trunk, Wanted};
use crate::hw::{System, library};
use crate::plan::tap_format::TapFormat;
use crate::quant::error_code::GradFormat;
use crate::seed::named;
use std::collections::{BTreeSet, HashMap};
use toml::Spanned;

/// Points of one sweep; more have no place in one folder.
pub const MOST_POINTS: u64 = 1_000_000;

/// A trunk that points start from.
pub struct OpenTrunk {
    pub spec: String,
    pub sha256: String,
    pub trunk: Trunk,
}

pub struct OpenSystem {
    pub system: System,
    pub sha256: String,
}

/// A sweep that is ready to run.
pub struct Plan {
    pub source: Source,
    pub mode: Mode,
    pub trunks: Vec<OpenTrunk>,
    pub tasks: Vec<Task>,
    pub arms: Vec<Arm>,
    pub systems: Vec<OpenSystem>,
    /// How trained points train.
    pub recipe: Option<Recipe>,
    tap_bits: Vec<TapFormat>,
    grads: Vec<GradFormat>,
    subsets: Vec<f64>,
    noises: Vec<f64>,
    seeds: Vec<u64>,
    /// Numbers in the grid of the points that are run, rising; all of them if absent.
    sample: Option<Vec<u64>>,
    in_grid: u64,
}

/// A point as places on the axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    pub arm: usize,
    pub tap_bits: TapFormat,
    pub grad: GradFormat,
    pub subset: f64,
    pub noise: f64,
    pub seed: u64,
    pub system: usize,
    /// Equal for points that differ in their system only.
    pub unit: u64,
}

impl Plan {
    /// Opens everything that a sweep file names.
    pub fn of(source: Source) -> Result<Self, SweepError> {
        let read = file::parse(&source)?;
        let grid = read.grid.get_ref();
        let table = read.train.as_ref().map(Spanned::get_ref).cloned().unwrap_or_default();
        let mode = *read.mode.get_ref();
        let recipe = (mode == Mode::Trained).then(|| Recipe::of(table, &source)).transpose()?;
        let systems = systems(&source, &read)?;
        let tasks = grid.data.as_ref().map_or(Ok(vec![]), |axis| {
            let adds = grid.subset.is_some() || grid.noise.is_some();
            Task::open_all(&source, axis, adds)
        })?;
        let trunks = trunks(&source, &grid.trunks, recipe.as_ref())?;
        let arms = arms::expand(&source, grid, &trunks, &tasks)?;
        let mut plan = Self {
            mode,
            trunks,
            tasks,
            arms,
            systems,
            recipe,
            tap_bits: values(&grid.tap_bits, if mode == Mode::Trained { TapFormat::Int16 } else { TapFormat::Int8 }),
            grads: values(&grid.grad, GradFormat::default()),
            subsets: values(&grid.subset, 1.0),
            noises: values(&grid.noise, 0.0),
            seeds: values(&grid.seeds, 0),
            sample: None,
            in_grid: 0,
            source,
        };
        plan.count(&read)?;
        Ok(plan)
    }

    /// How large the grid is, and what a sample of it is.
    fn count(&mut self, read: &SweepFile) -> Result<(), SweepError> {
        let axes: [usize; 7] = [
            self.arms.len(),
            self.tap_bits.len(),
            self.grads.len(),
            self.subsets.len(),
            self.noises.len(),
            self.seeds.len(),
            self.systems.len(),
        ];
        // A file of a MiB has axes of less than 2^20 values.
        let total = axes.iter().map(|&n| n as u128).product::<u128>();
        let refused = |span, key, wrong: String, right: &str| Err(self.source.wrong(span, key, wrong, right));
        let Some(sample) = &read.sample else {
            if total > u128::from(MOST_POINTS) {
                let wrong = format!("{total} points ({})", by_axis(&axes));
                let right =
                    "a sweep has at most 1,000,000: take values out, or draw some with `sample = { count = N }`";
                return refused(read.grid.span(), "grid", wrong, right);
            }
            self.in_grid = total as u64;
            return Ok(());
        };
        let count = *sample.count.get_ref();
        let in_grid = u64::try_from(total).unwrap_or(u64::MAX);
        if !(1..=MOST_POINTS.min(in_grid)).contains(&count) {
            let wrong = format!("{count} of {total} points");
            return refused(
                sample.count.span(),
                "sample.count",
                wrong,
                "at least 1, at most the grid, at most 1,000,000",
            );
        }
        self.in_grid = in_grid;
        self.sample = Some(drawn(count, in_grid, sample.seed));
        Ok(())
    }

    /// Points of the sweep.
    pub fn len(&self) -> u64 {
        self.sample.as_ref().map_or(self.in_grid, |s| s.len() as u64)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The point of a number below [`Plan::len`].
    pub fn choice(&self, index: u64) -> Choice {
        let number = self.sample.as_ref().map_or(index, |s| s[index as usize]);
        let mut rest = number;
        let mut digit = |of: usize| {
            let at = rest % of as u64;
            rest /= of as u64;
            at as usize
        };
        // The system turns fastest: what the others fix is made once for all systems.
        let system = digit(self.systems.len());
        let seed = self.seeds[digit(self.seeds.len())];
        let noise = self.noises[digit(self.noises.len())];
        let subset = self.subsets[digit(self.subsets.len())];
        let grad = self.grads[digit(self.grads.len())];
        let tap_bits = self.tap_bits[digit(self.tap_bits.len())];
        let arm = rest as usize;
        Choice { arm, tap_bits, grad, subset, noise, seed, system, unit: number / self.systems.len() as u64 }
    }

    pub fn task(&self, choice: &Choice) -> Option<&Task> {
        self.arms[choice.arm].task.map(|t| &self.tasks[t])
    }

    pub fn point(&self, choice: &Choice) -> Point {
        let arm = &self.arms[choice.arm];
        let trunk = &self.trunks[arm.trunk];
        let task = self.task(choice);
        let training = self.recipe.as_ref().zip(task).map(|(recipe, task)| Training {
            val: task.val_spec(recipe.val_images),
            subset: choice.subset,
            noise: choice.noise,
            seed: choice.seed,
            epochs: recipe.epochs,
            batch: recipe.batch,
            optimizer: recipe.optimizer.clone(),
            lr: arm.lr.unwrap_or(recipe.lr),
            schedule: recipe.schedule.to_string(),
            weight_decay: recipe.weight_decay.clone(),
            label_smoothing: recipe.label_smoothing,
            clip: recipe.clip,
            grad_rounding: recipe.grad_rounding,
            grad_exponent: recipe.grad_exponent,
            device: recipe.device.clone(),
        });
        let system = &self.systems[choice.system];
        Point {
            format: FORMAT,
            trunk: trunk.spec.clone(),
            trunk_sha256: trunk.sha256.clone(),
            scheme: arm.scheme.clone(),
            sites: arm.sites.as_ref().map(ToString::to_string),
            batch_norm: arm.batch_norm,
            tap_bits: choice.tap_bits,
            grad: choice.grad,
            data: task.map(|t| t.train.clone()),
            training,
            system: system.system.name.clone(),
            system_sha256: system.sha256.clone(),
        }
    }
}

fn by_axis(axes: &[usize; 7]) -> String {
    let names = ["placements", "tap bits", "gradient formats", "subsets", "noises", "seeds", "systems"];
    let told: Vec<String> = axes.iter().zip(names).map(|(n, name)| format!("{n} {name}")).collect();
    told.join(" x ")
}

/// The values of an axis, or the one that stands for it where it is left out.
fn values<T: Copy>(axis: &Option<Axis<T>>, default: T) -> Vec<T> {
    axis.as_ref().map_or(vec![default], |a| a.get_ref().iter().map(|v| *v.get_ref()).collect())
}

/// `count` different numbers below `total`, rising (Floyd).
fn drawn(count: u64, total: u64, seed: u64) -> Vec<u64> {
    let noise = named(seed, "sweep sample");
    let mut drawn = BTreeSet::new();
    for last in total - count..total {
        let number = noise.below(last, last + 1);
        if !drawn.insert(number) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

fn trunks(source: &Source, axis: &Axis<String>, recipe: Option<&Recipe>) -> Result<Vec<OpenTrunk>, SweepError> {
    let open = |entry: &Spanned<String>| {
        let spec = entry.get_ref();
        let wrong =
            |why: String| source.wrong(entry.span(), "grid.trunks", why, "name a trunk as `trunkline account` does");
        let trunk = Trunk::open(spec, Wanted::default()).map_err(|e| wrong(e.to_string()))?;
        let mut trunk = trunk.with_profile(recipe.and_then(|r| r.profile.clone())).map_err(|e| wrong(e.to_string()))?;
        if let Some(how) = recipe.and_then(|r| r.calibration) {
            if trunk.is_calibrated() {
                return Err(wrong(format!("'{spec}' comes with its own scales, and train.calibration chooses some")));
            }
            trunk.calibration = how;
        }
        Ok(OpenTrunk { spec: spec.clone(), sha256: trunk_sha256(&trunk), trunk })
    };
    axis.get_ref().iter().map(open).collect()
}

fn systems(source: &Source, read: &SweepFile) -> Result<Vec<OpenSystem>, SweepError> {
    let grid = read.grid.get_ref();
    let opened = |system: System| OpenSystem { sha256: system_sha256(&system), system };
    let mut all = Vec::new();
    for entry in grid.systems.iter().flat_map(Spanned::get_ref) {
        let Entry(named) = entry.get_ref();
        let system = match named {
            SystemEntry::Named(name) => library::load_system(name),
            SystemEntry::Parts(p) => library::compose(&p.trunk, &p.adapter, &p.link),
        };
        let wrong = |e: crate::hw::HwError| source.wrong(entry.span(), "grid.systems", e, "see `trunkline hw list`");
        all.push(opened(system.map_err(wrong)?));
    }
    if let Some(hardware) = &grid.hardware {
        for trunk in hardware.trunks.get_ref() {
            for adapter in hardware.adapters.get_ref() {
                for link in hardware.links.get_ref() {
                    let wrong = |e: crate::hw::HwError| {
                        source.wrong(trunk.span(), "grid.hardware", e, "see `trunkline hw list`")
                    };
                    let system = library::compose(trunk.get_ref(), adapter.get_ref(), link.get_ref());
                    all.push(opened(system.map_err(wrong)?));
                    if all.len() as u64 > MOST_POINTS {
                        let wrong = format!("more than {MOST_POINTS} systems");
                        return Err(source.wrong(hardware.trunks.span(), "grid.hardware", wrong, "take some out"));
                    }
                }
            }
        }
    }
    let mut known: HashMap<&str, &str> = HashMap::new();
    for one in &all {
        if let Some(other) = known.insert(&one.sha256, &one.system.name) {
            let wrong = format!("'{other}' and '{}' are the same system", one.system.name);
            return Err(source.wrong(read.grid.span(), "grid.systems", wrong, "take one out"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Result<Plan, String> {
        Plan::of(Source { label: "s.toml".into(), text: text.into() }).map_err(|e| e.to_string())
    }

    fn file(more: &str) -> String {
        format!(
            "mode = \"analytic\"\n{more}\n[grid]\ntrunks = [\"resnet8\"]\nschemes = [\"head-only\", \"parallel\"]\n\
             sites = [\"every\"]\ntap-bits = [8, 16]\nsystems = [\"asic-h200-pcie\", \"nvdla-m1-usb\"]\n"
        )
    }

    #[test]
    fn every_number_is_another_point() {
        let plan = plan(&file("")).unwrap();
        // head-only, and parallel on all, all-but-stem, early, mid, late and half.
        assert_eq!((plan.arms.len(), plan.len()), (7, 28));
        let ids: BTreeSet<String> = (0..plan.len()).map(|i| plan.point(&plan.choice(i)).id()).collect();
        assert_eq!(ids.len(), 28);
        let [a, b] = [6, 7].map(|i| plan.choice(i));
        assert_eq!((a.unit, a.system, b.system), (b.unit, 0, 1));
    }

    #[test]
    fn a_sample_is_a_part_of_the_grid_that_its_seed_fixes() {
        let ids = |more: &str| {
            let plan = plan(&file(more)).unwrap();
            (0..plan.len()).map(|i| plan.point(&plan.choice(i)).id()).collect::<BTreeSet<_>>()
        };
        let whole = ids("");
        let (a, again, b) = (
            ids("sample = { count = 9, seed = 1 }"),
            ids("sample = { count = 9, seed = 1 }"),
            ids("sample = { count = 9, seed = 2 }"),
        );
        assert!(a.len() == 9 && a == again && a != b && a.is_subset(&whole));
        assert_eq!(ids("sample = { count = 28 }"), whole);
        let refused = plan(&file("sample = { count = 29 }")).err().unwrap();
        assert!(refused.starts_with("s.toml:2:20: sample.count: 29 of 28 points"), "{refused}");
    }

    #[test]
    fn draws_are_different_and_reach_everywhere() {
        let numbers = drawn(500, 1 << 60, 3);
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 500);
        assert!(numbers.is_sorted() && numbers[0] < 1 << 54 && numbers[499] > (1 << 60) - (1 << 54));
    }

    #[test]
    fn names_that_mean_nothing_are_told_with_their_place() {
        let swapped = |from: &str, to: &str| plan(&file("").replace(from, to)).err().unwrap();
        let has = |error: String, parts: &[&str]| assert!(parts.iter().all(|p| error.contains(p)), "{error}");
        has(swapped("\"resnet8\"", "\"resnet9\""), &["s.toml:4:11", "resnet9", "resnet26"]);
        has(swapped("\"parallel\"", "\"paralel\""), &["s.toml:5:25", "paralel", "parallel"]);
        has(swapped("\"parallel\"", "\"parallel:init=one\""), &["s.toml:5:25", "init=one", "zero"]);
        has(swapped("\"nvdla-m1-usb\"", "\"nvdla\""), &["s.toml:8:30", "nvdla", "asic-h200-pcie"]);
        has(swapped("\"nvdla-m1-usb\"", "\"asic_h200_pcie\""), &["same system"]);
        has(swapped("\"every\"", "\"early,,\""), &["s.toml:6:10", "early,,"]);
        has(swapped("tap-bits", "data = [\"synth:squares\"]\ntap-bits"), &["s.toml:7:9", "squares", "shapes"]);
    }

    #[test]
    fn a_huge_grid_is_refused_with_its_size() {
        let many: Vec<String> = (0..1_100_000).map(|i| i.to_string()).collect();
        let seeds = many[..50_000].join(", ");
        let text = format!(
            "mode = \"trained\"\n[grid]\ntrunks = [\"resnet8\"]\nschemes = [\"parallel\"]\nsites = [\"every\"]\n\
             data = [\"synth:signs\", \"synth:shapes\"]\nsystems = [\"asic-h200-pcie\", \"nvdla-m1-usb\"]\n\
             seeds = [{seeds}]\n"
        );
        let refused = plan(&text).err().unwrap();
        assert!(refused.contains("1200000 points (12 placements") && refused.contains("sample"), "{refused}");
    }
}
