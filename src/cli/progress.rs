//! How a training is told while it runs: one live line on a terminal, plain lines elsewhere, nothing
//! where quiet is asked for. No colours, so there are none to switch off.

use crate::experiment::train::learner::{EpochReport, Observer, Start, StepReport};
use crate::experiment::train::snapshot::EpochMetrics;
use crate::run::TrainingMemory;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Between two plain lines of one epoch.
const PLAIN_EVERY: Duration = Duration::from_secs(30);

/// Where it is told.
enum Form {
    /// A line that is drawn over and over.
    Live(ProgressBar),
    /// A line now and then.
    Plain(Instant),
    Quiet,
}

/// Tells standard error how a training goes, and passes Ctrl-C on to it.
pub struct Told {
    form: Form,
    stop: Arc<AtomicBool>,
    /// Of several tasks the one that is under way, and how each began.
    task: String,
    starts: BTreeMap<String, Start>,
    started: Instant,
    /// Of this sitting.
    images: u64,
}

impl Told {
    pub fn new(quiet: bool, stop: Arc<AtomicBool>) -> Self {
        let form = match (quiet, std::io::stderr().is_terminal()) {
            (true, _) => Form::Quiet,
            (false, true) => Form::Live(ProgressBar::hidden()),
            (false, false) => Form::Plain(Instant::now()),
        };
        let (task, starts) = (String::new(), BTreeMap::new());
        Self { form, stop, task, starts, started: Instant::now(), images: 0 }
    }

    /// Images of this sitting.
    pub fn images(&self) -> u64 {
        self.images
    }

    /// How the task that is under way began.
    fn start(&self) -> Start {
        self.starts.get(&self.task).copied().unwrap_or(Start { epochs: 0, steps_per_epoch: 0, images: 0, step: 0 })
    }

    /// A line, with the task that it is about where there are several.
    fn told(&self, line: &str) -> String {
        if self.task.is_empty() { line.into() } else { format!("{}: {line}", self.task) }
    }

    fn say(&self, line: &str) {
        let line = self.told(line);
        match &self.form {
            Form::Live(bar) => bar.println(line),
            Form::Plain(_) => eprintln!("{line}"),
            Form::Quiet => {}
        }
    }

    /// The state after a step, in words.
    fn line(&self, report: &StepReport) -> String {
        let start = self.start();
        let total = start.epochs * start.steps_per_epoch;
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        let done = report.step.saturating_sub(start.step).max(1);
        let left = seconds / done as f64 * total.saturating_sub(report.step) as f64;
        format!(
            "epoch {}/{}  step {}/{total}  loss {:.4}  acc {:.2} %  {:.1} images/s  {} left",
            report.epoch,
            start.epochs,
            report.step,
            report.sums.mean_loss(),
            100.0 * report.sums.accuracy(),
            self.images as f64 / seconds,
            clock(left),
        )
    }
}

impl Observer for Told {
    fn on_task(&mut self, name: &str) {
        if self.task != name {
            self.task = name.into();
        }
    }

    fn on_memory(&mut self, memory: &TrainingMemory) {
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        self.say(&format!(
            "memory: {} for maps and errors ({} images at a time, {} in flight), {} for what trains; kept per image: \
             {} B on the adapter device, {} B on the trunk; the largest buffer is {}, the device binds {}",
            mb(memory.adapter_maps_b),
            memory.micro_batch,
            memory.slots,
            mb(memory.adapter_state_b),
            memory.adapter_kept_b,
            memory.trunk_kept_b,
            mb(memory.largest_buffer_b),
            if memory.binding_limit_b >= 1 << 50 { "any".into() } else { mb(memory.binding_limit_b) },
        ));
    }

    fn on_start(&mut self, start: &Start) {
        self.starts.insert(self.task.clone(), *start);
        (self.started, self.images) = (Instant::now(), 0);
        if start.step > 0 {
            self.say(&format!("resumed after step {}", start.step));
        }
        if let Form::Live(bar) = &mut self.form {
            let total = start.epochs * start.steps_per_epoch;
            *bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(5));
            bar.set_style(ProgressStyle::with_template("{msg}").expect("a valid template"));
        }
    }

    fn on_step(&mut self, report: &StepReport) {
        self.images += report.outcome.images;
        let line = self.told(&self.line(report));
        match &mut self.form {
            Form::Live(bar) => bar.set_message(line),
            Form::Plain(last) if last.elapsed() >= PLAIN_EVERY => {
                *last = Instant::now();
                eprintln!("{line}");
            }
            _ => {}
        }
    }

    fn on_epoch(&mut self, report: &EpochReport) {
        self.say(&epoch_line(self.start().epochs, report));
    }

    fn should_stop(&mut self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Form::Live(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

fn epoch_line(epochs: u64, report: &EpochReport) -> String {
    let EpochMetrics { epoch, train_loss, train_accuracy, validation } = report.metrics;
    let mut line = format!("epoch {epoch}/{epochs}  loss {train_loss:.4}  acc {:.2} %", 100.0 * train_accuracy);
    if let Some(v) = validation {
        line += &format!("  val loss {:.4}  val acc {:.2} %", v.loss, 100.0 * v.accuracy);
    }
    if report.best.epoch == epoch {
        line += "  best";
    }
    line
}

/// A time in hours, minutes and seconds.
fn clock(seconds: f64) -> String {
    let whole = seconds.round().clamp(0.0, 1e9) as u64;
    let (h, m, s) = (whole / 3600, whole / 60 % 60, whole % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

/// A flag that the first Ctrl-C sets; the second one ends the program. Without a handler Ctrl-C does
/// what it always did.
pub fn interruption() -> Arc<AtomicBool> {
    const INTERRUPTED: i32 = 130;
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED);
        }
    };
    if let Err(why) = ctrlc::set_handler(handler) {
        eprintln!("note: Ctrl-C will lose what is not saved: {why}");
    }
    stop
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::train::learner::StepOutcome;
    use crate::experiment::train::snapshot::{Best, Evaluation, Sums};

    #[test]
    fn a_step_and_an_epoch_in_words() {
        let mut told = Told::new(true, Arc::new(AtomicBool::new(false)));
        told.on_start(&Start { epochs: 3, steps_per_epoch: 4, images: 30, step: 4 });
        let sums = Sums { loss: 5.0, hits: 3, images: 10, saturations: 0 };
        let outcome = StepOutcome { images: 10, ..StepOutcome::default() };
        let report = StepReport { step: 5, epoch: 2, rate: 0.1, outcome: &outcome, sums };
        told.on_step(&report);
        let line = told.line(&report);
        assert!(line.starts_with("epoch 2/3  step 5/12  loss 0.5000  acc 30.00 %  "), "{line}");
        let validation = Some(Evaluation { loss: 0.25, accuracy: 0.5, images: 4 });
        let metrics = EpochMetrics { epoch: 2, train_loss: 0.5, train_accuracy: 0.3, validation };
        let report = EpochReport { step: 8, metrics, best: Best { epoch: 2, metric: 0.5 } };
        let line = epoch_line(3, &report);
        assert_eq!(line, "epoch 2/3  loss 0.5000  acc 30.00 %  val loss 0.2500  val acc 50.00 %  best");
    }

    #[test]
    fn times_are_read_like_a_clock() {
        assert_eq!((clock(59.6), clock(3725.0), clock(f64::INFINITY).len()), ("1:00".into(), "1:02:05".into(), 12));
    }
}
