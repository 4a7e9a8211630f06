//! The loop over the points of a sweep that are not done yet.

use super::analytic::Analyst;
use super::error::SweepError;
use super::file::Mode;
use super::plan::{Choice, Plan};
use super::record::Record;
use super::store::Store;
use super::trained::Teacher;
use crate::experiment::train::file::FileError;
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// Analytic points that are written together, and of one arm that one task makes.
const BATCH: usize = 256;
const GROUP: usize = 128;

/// Folders of trainings under way.
const RUNS: &str = "runs";

/// One of several parts of a sweep: points that share a training are in the same part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// From 1.
    pub part: u64,
    pub of: u64,
}

impl FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (part, of) = text.split_once('/')?;
            Some(Self { part: part.parse().ok()?, of: of.parse().ok()? })
        };
        let right = |shard: &Self| (1..=1_000_000).contains(&shard.of) && (1..=shard.of).contains(&shard.part);
        read().filter(right).ok_or_else(|| "should be a part and their number, from 1/N to N/N".into())
    }
}

impl Shard {
    pub fn has(self, choice: &Choice) -> bool {
        choice.unit % self.of == self.part - 1
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct SweepSettings {
    pub shard: Option<Shard>,
    /// 0 for one per core; changes speed, never a record.
    pub threads: usize,
    /// Records have their taps.
    pub taps: bool,
    /// Records have measured times, which no two runs share.
    pub measured: bool,
    /// Folders of trainings stay when their records are written.
    pub keep_runs: bool,
}

/// How far a sweep is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Points of this sweep, or of its shard.
    pub points: u64,
    /// Of them, done in all sittings.
    pub done: u64,
    /// Done before this sitting.
    pub before: u64,
    pub failed: u64,
}

/// How a sitting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    pub progress: Progress,
    /// It was asked to stop before its last point.
    pub stopped: bool,
}

/// Does the points of `plan` that `folder` does not have. `told` after every write.
pub fn sweep(
    plan: &Plan,
    folder: &Path,
    settings: &SweepSettings,
    stop: &AtomicBool,
    told: &mut dyn FnMut(&Progress),
) -> Result<Swept, SweepError> {
    let threads = match settings.threads {
        0 => thread::available_parallelism().map_or(1, |n| n.get()),
        n => n,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| SweepError::Threads { threads, why: e.to_string() })?;
    let numbers = pool.install(|| numbers(plan))?;
    let (store, found) = Store::open(folder, &plan.source.text, &numbers)?;
    drop(numbers);
    let mine: Vec<u64> =
        (0..plan.len()).filter(|&i| settings.shard.is_none_or(|shard| shard.has(&plan.choice(i)))).collect();
    let pending: Vec<u64> = mine.iter().copied().filter(|&i| !found.done[i as usize]).collect();
    let before = (mine.len() - pending.len()) as u64;
    let progress = Progress { points: mine.len() as u64, done: before, before, failed: found.failed };
    told(&progress);
    let mut sitting = Sitting { plan, store, settings, stop, told, progress };
    match (plan.mode, &plan.recipe) {
        (Mode::Trained, Some(recipe)) => {
            let mut teacher = Teacher::new(plan, recipe, folder.join(RUNS), stop);
            (teacher.taps, teacher.measured) = (settings.taps, settings.measured);
            let undone: Vec<u64> = (0..plan.len()).filter(|&i| !found.done[i as usize]).collect();
            sitting.tidy(&teacher, &undone)?;
            sitting.teach(&teacher, &pending, threads)?;
        }
        _ => sitting.count(&pending, &pool)?,
    }
    sitting.finish()
}

/// The number of every point by its id.
fn numbers(plan: &Plan) -> Result<HashMap<String, u64>, SweepError> {
    let ids: Vec<String> = (0..plan.len()).into_par_iter().map(|i| plan.point(&plan.choice(i)).id()).collect();
    let mut numbers = HashMap::with_capacity(ids.len());
    for (second, id) in (0..).zip(ids) {
        if let Some(first) = numbers.insert(id, second) {
            let point = plan.point(&plan.choice(second)).to_string();
            return Err(SweepError::Twice { file: plan.source.label.clone(), first, second, point });
        }
    }
    Ok(numbers)
}

struct Sitting<'a> {
    plan: &'a Plan,
    store: Store,
    settings: &'a SweepSettings,
    stop: &'a AtomicBool,
    told: &'a mut dyn FnMut(&Progress),
    progress: Progress,
}

impl Sitting<'_> {
    /// Writes records down; only then are they done.
    fn add(&mut self, records: &[Record]) -> Result<(), SweepError> {
        let lines: Vec<u8> = records.iter().flat_map(Record::line).collect();
        self.store.append(&lines)?;
        self.progress.done += records.len() as u64;
        self.progress.failed += records.iter().filter(|r| r.error.is_some()).count() as u64;
        (self.told)(&self.progress);
        Ok(())
    }

    fn count(&mut self, pending: &[u64], pool: &rayon::ThreadPool) -> Result<(), SweepError> {
        let plan = self.plan;
        let analyst = Analyst::new(plan, self.settings.taps);
        let of_arm = pending.chunk_by(|&a, &b| plan.choice(a).arm == plan.choice(b).arm);
        let groups: Vec<&[u64]> = of_arm.flat_map(|arm| arm.chunks(GROUP)).collect();
        let mut rest = &groups[..];
        while !rest.is_empty() && !self.stop.load(Ordering::Relaxed) {
            let mut points = 0;
            let enough = |group: &&[u64]| {
                points += group.len();
                points >= BATCH
            };
            let end = rest.iter().position(enough).map_or(rest.len(), |last| last + 1);
            let (batch, later) = rest.split_at(end);
            let records: Vec<Vec<Record>> =
                pool.install(|| batch.par_iter().map(|group| analyst.records(group)).collect());
            self.add(&records.concat())?;
            rest = later;
        }
        Ok(())
    }

    /// Several trainings at a time, each with its share of the threads: results do not depend on it.
    fn teach(&mut self, teacher: &Teacher, pending: &[u64], threads: usize) -> Result<(), SweepError> {
        let plan = self.plan;
        let units: Vec<&[u64]> = pending.chunk_by(|&a, &b| plan.choice(a).unit == plan.choice(b).unit).collect();
        // One device does one thing at a time.
        let workers = if teacher.recipe.device == "cpu" { threads.min(units.len()).max(1) } else { 1 };
        let each = (threads / workers).max(1);
        let (next, broken) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (send, receive) = mpsc::channel();
        let work = |send: mpsc::Sender<_>| {
            let go_on = || !broken.load(Ordering::Relaxed) && !teacher.stop.load(Ordering::Relaxed);
            while go_on() {
                let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
                if send.send((*unit, teacher.records(unit, each))).is_err() {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..workers {
                let send = send.clone();
                scope.spawn(|| work(send));
            }
            drop(send);
            let mut result = Ok(());
            for (unit, done) in receive {
                result = result.and_then(|()| match done? {
                    Some(records) => self.keep(teacher, unit, &records),
                    None => Ok(()),
                });
                if result.is_err() {
                    broken.store(true, Ordering::Relaxed);
                }
            }
            result
        })
    }

    /// Records of a unit; then its training's folder has served.
    fn keep(&mut self, teacher: &Teacher, unit: &[u64], records: &[Record]) -> Result<(), SweepError> {
        self.add(records)?;
        self.store.sync()?;
        if !self.settings.keep_runs {
            for &index in unit {
                remove(&teacher.run_folder(index))?;
            }
        }
        Ok(())
    }

    /// Removes folders of trainings whose records a killed program had just written.
    fn tidy(&self, teacher: &Teacher, undone: &[u64]) -> Result<(), SweepError> {
        if self.settings.keep_runs || !teacher.folder.is_dir() {
            return Ok(());
        }
        let open: BTreeSet<_> = undone.iter().map(|&i| teacher.run_folder(i)).collect();
        let fault = FileError::reading(&teacher.folder);
        for entry in fs::read_dir(&teacher.folder).map_err(&fault)? {
            let path = entry.map_err(&fault)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_run = name.len() == 16 && name.chars().all(|c| c.is_ascii_hexdigit());
            if is_run && !open.contains(&path) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Swept, SweepError> {
        let stopped = self.progress.done < self.progress.points;
        self.store.sort()?;
        Ok(Swept { progress: self.progress, stopped })
    }
}

fn remove(folder: &Path) -> Result<(), SweepError> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(FileError::writing(folder))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_parts_of_a_number() {
        assert_eq!("2/3".parse(), Ok(Shard { part: 2, of: 3 }));
        for wrong in ["0/3", "4/3", "1", "1/0", "a/b", "1/2/3", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
