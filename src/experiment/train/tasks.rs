//! Several visual domains on one trunk: each has an adapter, a head, batch-norm state, an optimiser and
//! checkpoints of its own, and they take turns, a step each.
//!
//! There is one trunk and one adapter device, handed from task to task: registers are loaded and what
//! trains is written at every turn, counted and held to its prediction. A task learns to the bit what it
//! would learn alone. Which is next follows from the steps that each has done, so a training that was
//! stopped goes on in the same order.

use super::account::StepAccount;
use super::checkpoint::LAST;
use super::chip::ChipLearner;
use super::job::{Opened, TrainError, TrainJob, TrainSettings, learning_device};
use super::learner::Observer;
use super::run_folder::{RunFolder, RunFolderError};
use super::session::{Advance, Finished, Session};
use crate::device::{self, Device, Null};
use crate::experiment::loading::Loading;
use crate::experiment::run::ExperimentError;
use crate::hw::System;
use crate::plan::macs::MacCounts;
use crate::plan::switch::{Load, SwitchCost};
use serde::Serialize;
use std::path::PathBuf;

/// A visual domain to be learnt.
pub struct Task<'a> {
    /// Also that of its folder in the run's.
    pub name: String,
    pub job: TrainJob<'a>,
}

/// The report of a training of several tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TasksReport {
    pub schema: &'static str,
    pub tasks: Vec<TaskReport>,
    pub switches: Vec<Switch>,
    #[serde(skip)]
    pub stopped: bool,
}

/// What one task came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskReport {
    pub name: String,
    pub data: String,
    pub classes: usize,
    /// Over all epochs, forward and backward.
    pub macs: MacCounts,
    pub steps: u64,
    /// Of the best epoch: on the validation set, or on the training set where there is none.
    pub best_accuracy: Option<f64>,
    pub step: StepAccount,
    #[serde(skip)]
    pub loading: Loading,
}

/// From one task to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Switch {
    pub from: String,
    pub to: String,
    /// To use the other task's adapter.
    pub to_use: SwitchLoad,
    /// To go on training it, its optimiser's buffers too.
    pub to_train: SwitchLoad,
    /// How often a whole training, never stopped, does it.
    pub times: u64,
}

/// What a switch moves, and what that costs on the system.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SwitchLoad {
    /// Registers, over the bus.
    pub trunk_b: u64,
    /// Parameters and statistics, written to the adapter device.
    pub adapter_b: u64,
    #[serde(flatten)]
    pub cost: SwitchCost,
}

impl SwitchLoad {
    fn of(load: Load, system: &System) -> Self {
        Self { trunk_b: load.registers_b, adapter_b: load.adapter_b(), cost: load.on(system) }
    }
}

/// Trains tasks that share a trunk and a scheme in `folder`, or goes on there.
pub fn train_tasks(
    tasks: &[Task],
    settings: &TrainSettings,
    folder: &RunFolder,
    observer: &mut dyn Observer,
) -> Result<TasksReport, TrainError> {
    let opened = tasks.iter().map(|task| Opened::new(&task.job, settings)).collect::<Result<Vec<_>, _>>()?;
    let (mut learners, accounts) = learners(tasks, &opened, settings, observer)?;
    let folders = tasks.iter().map(|task| folder.task(&task.name)).collect::<Result<Vec<PathBuf>, _>>();
    let folders = folders.map_err(RunFolderError::from)?;
    let loads: Vec<Load> = learners.iter().map(|learner| learner.trainer.switch()).collect();
    let mut sessions = Vec::new();
    for (((learner, opened), folder), task) in learners.iter_mut().zip(&opened).zip(&folders).zip(tasks) {
        let session = Session::open(learner, &settings.session, &opened.config, folder)?;
        observer.on_task(&task.name);
        observer.on_start(&session.start());
        sessions.push(session);
    }
    let stopped = take_turns(&mut sessions, tasks, observer)?;
    let finished: Vec<Finished> = sessions.into_iter().map(|session| session.finished(stopped)).collect();
    let all_steps: Vec<u64> = accounts.iter().map(|a| a.steps_per_epoch as u64 * settings.session.epochs).collect();
    let switches = switches(tasks, &loads, &times(&all_steps));
    let reports = tasks.iter().zip(accounts).zip(&finished).zip(&learners);
    let report = |(((task, account), finished), learner): (_, &ChipLearner)| {
        report(task, account, finished, learner.loading(), settings)
    };
    let tasks = reports.map(report).collect();
    Ok(TasksReport { schema: "trunkline/train-tasks/1", tasks, switches, stopped })
}

/// A learner for each task; the last has the devices.
fn learners<'a>(
    tasks: &[Task],
    opened: &'a [Opened<'a>],
    settings: &TrainSettings,
    observer: &mut dyn Observer,
) -> Result<(Vec<ChipLearner<'a>>, Vec<StepAccount>), TrainError> {
    let mut device = learning_device(&settings.device)?;
    let (mut learners, mut accounts): (Vec<ChipLearner>, Vec<StepAccount>) = (vec![], vec![]);
    for (task, opened) in tasks.iter().zip(opened) {
        if let Some(last) = learners.last_mut() {
            device = last.trainer.rest().map_err(ExperimentError::from)?;
        }
        let idle: Box<dyn Device> = Box::new(Null::new());
        let (learner, account) = opened.learner(settings, device, idle)?;
        device = Box::new(Null::new());
        observer.on_task(&task.name);
        observer.on_memory(&account.memory);
        learners.push(learner);
        accounts.push(account);
    }
    if let Some(last) = learners.last_mut() {
        last.evaluator = device::open(&settings.device).map_err(ExperimentError::from)?;
    }
    Ok((learners, accounts))
}

/// The task that is next: of those with the fewest steps the first, leaving out those that are done.
fn next(steps: impl Iterator<Item = (u64, bool)>) -> Option<usize> {
    let going = steps.enumerate().filter(|(_, (_, done))| !done);
    going.min_by_key(|&(task, (steps, _))| (steps, task)).map(|(task, _)| task)
}

/// Steps all sessions to their ends; whether it was stopped before.
fn take_turns(
    sessions: &mut [Session<'_, ChipLearner<'_>>],
    tasks: &[Task],
    observer: &mut dyn Observer,
) -> Result<bool, TrainError> {
    let mut active = sessions.len().saturating_sub(1);
    while let Some(task) = next(sessions.iter().map(|s| (s.steps(), s.is_done()))) {
        // The same one twice is refused, and needs no switch.
        if let Ok([to, from]) = sessions.get_disjoint_mut([task, active]) {
            to.learner.take_over(from.learner)?;
        }
        active = task;
        observer.on_task(&tasks[task].name);
        let did = sessions[task].advance(observer)?;
        if did == Advance::Step && observer.should_stop() {
            for session in sessions {
                session.save(LAST, observer)?;
            }
            return Ok(true);
        }
        // While it has the devices, so that ending an epoch takes no turn.
        if did == Advance::Step && sessions[task].ends_epoch() {
            sessions[task].advance(observer)?;
        }
    }
    Ok(false)
}

/// How often each task follows each other in a training of so many steps each.
fn times(all_steps: &[u64]) -> Vec<Vec<u64>> {
    let mut times = vec![vec![0; all_steps.len()]; all_steps.len()];
    let (mut done, mut active) = (vec![0; all_steps.len()], None);
    while let Some(task) = next(done.iter().zip(all_steps).map(|(&done, &all)| (done, done == all))) {
        if let Some(from) = active.filter(|&from: &usize| from != task) {
            times[from][task] += 1;
        }
        (active, done[task]) = (Some(task), done[task] + 1);
    }
    times
}

fn switches(tasks: &[Task], loads: &[Load], times: &[Vec<u64>]) -> Vec<Switch> {
    let mut switches = vec![];
    for (i, from) in tasks.iter().enumerate() {
        for (j, to) in tasks.iter().enumerate().filter(|(j, _)| *j != i) {
            switches.push(Switch {
                from: from.name.clone(),
                to: to.name.clone(),
                to_use: SwitchLoad::of(loads[j].to_use(), to.job.system),
                to_train: SwitchLoad::of(loads[j], to.job.system),
                times: times[i][j],
            });
        }
    }
    switches
}

fn report(
    task: &Task,
    step: StepAccount,
    finished: &Finished,
    loading: Loading,
    settings: &TrainSettings,
) -> TaskReport {
    let images = step.images_per_epoch as u64 * settings.session.epochs;
    let (f, b) = (step.macs_forward, step.macs_backward);
    let all = |forward: u64, backward: u64| (forward + backward) * images;
    let macs = MacCounts {
        trunk: all(f.trunk, b.trunk),
        adapter: all(f.adapter, b.adapter),
        host: all(f.host, b.host),
        total: all(f.total, b.total),
    };
    TaskReport {
        name: task.name.clone(),
        data: task.job.data.name.clone(),
        classes: task.job.data.classes.len(),
        macs,
        steps: finished.progress.step,
        best_accuracy: finished.progress.best.map(|best| best.metric),
        step,
        loading,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_take_turns_until_each_is_done() {
        assert_eq!(times(&[3, 3]), [[0, 3], [2, 0]]);
        // 0 1 2 0 2 2: the second is done after one round.
        assert_eq!(times(&[2, 1, 3]), [[0, 1, 1], [0, 0, 1], [1, 0, 0]]);
        assert_eq!(times(&[4]), [[0]]);
    }
}
