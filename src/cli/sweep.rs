//! `trunkline sweep`: a grid of points, counted or trained, in a folder that can be gone on with.

use super::Failure;
use super::output;
use super::progress::interruption;
use super::values;
use crate::experiment::sweep::{self, Plan, Progress, Shard, Source, SweepSettings, Swept};
use crate::report;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Sweep {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    one: One,
}

#[derive(Subcommand)]
enum Action {
    /// Join the folders of a sweep's shards into one.
    Merge(Merge),
}

const FILE_HELP: &str = "\
The points: a TOML file.

mode = \"analytic\"                      # or \"trained\"
sample = { count = 100, seed = 1 }     # draw some instead of taking all (optional)
[grid]                                 # every value with every other; what may be left out is in brackets
trunks = [\"resnet26\"]                  # as --trunk of `account` and `train`
schemes = [\"head-only\", { scheme = \"parallel\", sites = [\"early\"], batch-norm = [\"frozen\"], lr = 0.01 }]
sites = [\"default\", \"every\"]           # [as --sites; every: each placement that the scheme supports on the trunk]
batch-norm = [\"default\", \"registers\"]  # [as --batch-norm]
tap-bits = [8, 16]                     # [8; 16 of trained points]
grad = [\"int16\"]                       # [as --grad]
systems = [\"asic-h200-pcie\", { trunk = \"…\", adapter = \"…\", link = \"…\" }]
data = [\"synth:signs\", { train = \"…\", val = \"…\" }]  # [analytic: whose classes the head has]
subset = [0.1, 0.25, 0.5, 1.0]         # [trained: part of the training images]
noise = [0.0, 0.05, 0.1]               # [trained: part of their labels that is wrong]
seeds = [0, 1, 2]                      # [trained: averaged in summary.csv]
[grid.hardware]                        # [systems put together from every trunk, adapter and link]
trunks = [\"…\"]
adapters = [\"…\"]
links = [\"…\"]
[train]                                # [trained: the flags of `train`: epochs, batch, micro-batch, optimizer, lr,
epochs = 10                            #  schedule, weight-decay, label-smoothing, clip, grad-rounding, grad-exponent,
                                       #  device (cpu), calibration, profile; val-images of a procedural set (200)]";

/// What a sweep is run with.
#[derive(Args)]
struct One {
    /// The points: a TOML file of axes (--help shows one)
    #[arg(value_name = "FILE.toml", required = true, long_help = FILE_HELP)]
    file: Option<PathBuf>,
    /// Its folder; one that has some of the points is gone on with [default: sweeps/NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Only a part of the points, such as 2/3; the parts' folders go to `sweep merge`
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Worker threads, 0 for one per core; changes speed, never a record
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::threads)]
    threads: usize,
    /// Records have every tap
    #[arg(long)]
    taps: bool,
    /// Records have the measured time of their training, which is not reproducible
    #[arg(long)]
    measured: bool,
    /// Keep the folders of trainings, with their adapters, in DIR/runs
    #[arg(long)]
    keep_runs: bool,
    /// List the points and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Say nothing on the way
    #[arg(long)]
    quiet: bool,
}

#[derive(Args)]
struct Merge {
    /// Folders of the shards
    #[arg(value_name = "DIR", required = true)]
    from: Vec<PathBuf>,
    /// The folder of all
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Sweep {
    pub fn execute(&self) -> Result<(), Failure> {
        match &self.action {
            Some(Action::Merge(merge)) => merge.execute(),
            None => self.one.execute(),
        }
    }
}

impl One {
    fn execute(&self) -> Result<(), Failure> {
        let file = self.file.as_deref().unwrap_or(Path::new(""));
        let plan = Plan::of(Source::read(file)?)?;
        if self.dry_run {
            return list(&plan, self.shard);
        }
        let settings = SweepSettings {
            shard: self.shard,
            threads: self.threads,
            taps: self.taps,
            measured: self.measured,
            keep_runs: self.keep_runs,
        };
        let out = self.out.clone().unwrap_or_else(|| default_folder(file, self.shard));
        let mut told = Told::new(self.quiet);
        let swept = sweep::sweep(&plan, &out, &settings, &interruption(), &mut |progress| told.tell(progress))?;
        drop(told);
        report::sweep::write(&out)?;
        self.ended(&swept, &out)
    }

    fn ended(&self, swept: &Swept, out: &Path) -> Result<(), Failure> {
        let Swept { progress, stopped } = *swept;
        let Progress { points, done, failed, .. } = progress;
        let out = out.display();
        if stopped {
            return Err(Failure::Failed(format!(
                "stopped: {done} of {points} points are done; the same command goes on with them in {out}"
            )));
        }
        if !self.quiet {
            let failed =
                if failed > 0 { format!(", of which {failed} cannot be done (see `error`)") } else { String::new() };
            eprintln!("{points} points{failed}; they are in {out}");
        }
        Ok(())
    }
}

impl Merge {
    fn execute(&self) -> Result<(), Failure> {
        let merged = sweep::merge(&self.from, &self.out)?;
        report::sweep::write(&self.out)?;
        let missing = match merged.missing {
            0 => String::new(),
            n => format!(", {n} between them are missing"),
        };
        eprintln!("{} points{missing}; they are in {}", merged.points, self.out.display());
        Ok(())
    }
}

/// `sweeps/NAME`, and of a shard `sweeps/NAME-1-of-2`.
fn default_folder(file: &Path, shard: Option<Shard>) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let part = shard.map_or(String::new(), |s| format!("-{}-of-{}", s.part, s.of));
    Path::new("sweeps").join(format!("{stem}{part}"))
}

/// One line for each point.
fn list(plan: &Plan, shard: Option<Shard>) -> Result<(), Failure> {
    let mut text = String::new();
    let mut points = 0u64;
    for index in (0..plan.len()).filter(|&i| shard.is_none_or(|s| s.has(&plan.choice(i)))) {
        let point = plan.point(&plan.choice(index));
        let mut words = vec![
            index.to_string(),
            point.id()[..12].to_string(),
            point.trunk.clone(),
            point.scheme.clone(),
            point.sites.clone().unwrap_or_else(|| "-".into()),
            point.batch_norm.name().into(),
            format!("tap-bits={}", point.tap_bits),
            format!("grad={}b", point.grad.bits()),
        ];
        words.extend(point.data.clone());
        words.extend(
            point
                .training
                .as_ref()
                .map(|t| format!("lr={} subset={} noise={} seed={}", t.lr, t.subset, t.noise, t.seed)),
        );
        words.push(point.system.clone());
        text += &words.join("  ");
        text.push('\n');
        points += 1;
    }
    eprintln!("{points} points");
    output::write_text(None, &text)
}

/// Tells standard error how a sweep goes: a bar on a terminal, a line now and then elsewhere.
struct Told {
    form: Form,
    started: Instant,
}

enum Form {
    Bar(Option<ProgressBar>),
    Plain(Instant),
    Quiet,
}

/// Between two plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

impl Told {
    fn new(quiet: bool) -> Self {
        let form = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Form::Quiet,
            (false, true) => Form::Bar(None),
            (false, false) => Form::Plain(Instant::now()),
        };
        Self { form, started: Instant::now() }
    }

    fn tell(&mut self, progress: &Progress) {
        let line = line(progress, self.started.elapsed());
        match &mut self.form {
            Form::Bar(bar) => {
                let bar = bar.get_or_insert_with(|| new_bar(progress));
                bar.set_position(progress.done);
                bar.set_message(if progress.failed > 0 {
                    format!("{} failed", progress.failed)
                } else {
                    String::new()
                });
            }
            Form::Plain(last) if last.elapsed() >= PLAIN_EVERY => {
                *last = Instant::now();
                eprintln!("{line}");
            }
            _ => {}
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Form::Bar(Some(bar)) = &self.form {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(progress: &Progress) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(progress.points), ProgressDrawTarget::stderr_with_hz(5));
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} points  {per_sec}  {eta} left  {msg}");
    let bar = bar.with_style(style.expect("a valid template")).with_position(progress.before);
    // What earlier sittings did says nothing of this one's pace.
    bar.reset_eta();
    bar
}

/// The state in words.
fn line(progress: &Progress, elapsed: Duration) -> String {
    let Progress { points, done, before, failed } = *progress;
    let seconds = elapsed.as_secs_f64().max(1e-9);
    let rate = (done - before) as f64 / seconds;
    let left = if rate > 0.0 { format!("{:.0} s left", (points - done) as f64 / rate) } else { "?".into() };
    format!("{done} of {points} points  {rate:.2} points/s  {left}  {failed} failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_in_words() {
        let progress = Progress { points: 100, done: 60, before: 20, failed: 1 };
        assert_eq!(line(&progress, Duration::from_secs(10)), "60 of 100 points  4.00 points/s  10 s left  1 failed");
        let shard = Some(Shard { part: 1, of: 2 });
        assert_eq!(default_folder(Path::new("a/grid.toml"), shard), Path::new("sweeps/grid-1-of-2"));
    }
}
