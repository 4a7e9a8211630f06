//! Trained points: points that differ in their system only are trained once and priced on each.
//!
//! A training has a folder of its own while it runs, so that one that was stopped goes on from its last
//! checkpoint.

use super::cost::Costs;
use super::error::SweepError;
use super::plan::{Choice, Plan};
use super::point::{Point, Training};
use super::recipe::Recipe;
use super::record::{Learned, Measured, Record, SCHEMA};
use crate::data::{self, OpenOptions, Subset};
use crate::experiment::train::file::FileError;
use crate::experiment::train::learner::Observer;
use crate::experiment::train::run_folder::{RunFolder, RunFolderError};
use crate::experiment::train::session::{Finished, SessionError};
use crate::experiment::train::{TrainError, TrainJob, train};
use crate::experiment::trunk::Trunk;
use crate::plan::tap::TapPrecision;
use crate::scheme;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Images, from all over the training set, that fix the scales of a float trunk.
const CALIBRATION_IMAGES: usize = 64;

/// Trunks with their data that are kept for the next point: as many as points that run together have.
const MATERIALS_KEPT: usize = 4;

/// Why there is no result.
enum Stop {
    /// The point cannot be done.
    Point(String),
    /// Nothing can be done here.
    Sweep(SweepError),
    /// It was asked to stop.
    Asked,
}

/// What a training came to and its wall time in seconds, or why it cannot be done.
type Lesson = Result<(Learned, f64), String>;

/// What points with the same trunk, data and seed share.
struct Material {
    trunk: Trunk,
    train: Subset,
    val: Subset,
}

type MaterialKey = (usize, Option<usize>, u64, u64, u64);

pub struct Teacher<'a> {
    pub plan: &'a Plan,
    pub recipe: &'a Recipe,
    pub folder: PathBuf,
    pub taps: bool,
    pub measured: bool,
    pub stop: &'a AtomicBool,
    materials: Mutex<Vec<(MaterialKey, Arc<Material>)>>,
}

struct Told<'a>(&'a AtomicBool);

impl Observer for Told<'_> {
    fn should_stop(&mut self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<'a> Teacher<'a> {
    pub fn new(plan: &'a Plan, recipe: &'a Recipe, folder: PathBuf, stop: &'a AtomicBool) -> Self {
        Self { plan, recipe, folder, taps: false, measured: false, stop, materials: Mutex::default() }
    }

    /// Points of one unit. Nothing if it was asked to stop.
    pub fn records(&self, indices: &[u64], threads: usize) -> Result<Option<Vec<Record>>, SweepError> {
        let mut learned: Vec<(String, Lesson)> = Vec::new();
        let mut records = Vec::new();
        for &index in indices {
            let choice = self.plan.choice(index);
            let point = self.plan.point(&choice);
            let id = self.learning_id(&point, &choice);
            if learned.iter().all(|(known, _)| *known != id) {
                let result = match self.learn(&point, &choice, &id, threads) {
                    Ok(result) => Ok(result),
                    Err(Stop::Point(why)) => Err(why),
                    Err(Stop::Sweep(error)) => return Err(error),
                    Err(Stop::Asked) => return Ok(None),
                };
                learned.push((id.clone(), result));
            }
            let result = learned.iter().find(|(known, _)| *known == id).map(|(_, result)| result);
            records.push(match result {
                Some(Ok((result, wall_s))) => self.record(index, point, &choice, result, *wall_s),
                Some(Err(why)) => Record::failed(index, point, why.clone()),
                None => continue,
            });
        }
        Ok(Some(records))
    }

    fn learning_id(&self, point: &Point, choice: &Choice) -> String {
        let system = &self.plan.systems[choice.system].system;
        point.learning_id(TapPrecision::on(system, choice.tap_bits).value_bits.is_some())
    }

    /// The folder of the training that a point needs.
    pub fn run_folder(&self, index: u64) -> PathBuf {
        let choice = self.plan.choice(index);
        self.path(&self.learning_id(&self.plan.point(&choice), &choice))
    }

    fn path(&self, learning_id: &str) -> PathBuf {
        self.folder.join(&learning_id[..16])
    }

    fn learn(&self, point: &Point, choice: &Choice, id: &str, threads: usize) -> Result<(Learned, f64), Stop> {
        let training = point.training.as_ref().ok_or_else(|| Stop::Point("it has nothing to learn".into()))?;
        let material = self.material(choice, training).map_err(Stop::Point)?;
        let job = TrainJob {
            start: None,
            trunk: material.trunk.clone(),
            request: self.plan.arms[choice.arm].request(training.seed),
            data: material.train.clone(),
            validation: Some(material.val.clone()),
            system: &self.plan.systems[choice.system].system,
            command: format!("trunkline sweep, learning {id}"),
        };
        let settings = self.recipe.settings(point, training, threads);
        let folder = open(&self.path(id), point).map_err(Stop::Sweep)?;
        let started = Instant::now();
        let report = train(job, &settings, &folder, &mut Told(self.stop)).map_err(stop)?;
        if report.finished.stopped {
            return Err(Stop::Asked);
        }
        let learned = learned(&report.finished, material.train.len())
            .ok_or_else(|| Stop::Point("it was not measured: there is no validation image".into()))?;
        Ok((learned, started.elapsed().as_secs_f64()))
    }

    /// Trunk and data of a point; made by the first that needs them while the others wait.
    fn material(&self, choice: &Choice, training: &Training) -> Result<Arc<Material>, String> {
        let arm = &self.plan.arms[choice.arm];
        let key = (arm.trunk, arm.task, choice.subset.to_bits(), choice.noise.to_bits(), choice.seed);
        let mut kept = self.materials.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = kept.iter().find(|(known, _)| *known == key) {
            return Ok(found.clone());
        }
        let made = Arc::new(self.make(choice, training)?);
        if kept.len() == MATERIALS_KEPT {
            kept.remove(0);
        }
        kept.push((key, made.clone()));
        Ok(made)
    }

    fn make(&self, choice: &Choice, training: &Training) -> Result<Material, String> {
        let task = self.plan.task(choice).ok_or("it has no data")?;
        let trunk = self.plan.trunks[self.plan.arms[choice.arm].trunk].trunk.clone();
        let shape = trunk.graph.shape(trunk.graph.input);
        let (seed, size) = (choice.seed, [shape.h, shape.w]);
        let train = task.train_set(choice.subset, choice.noise, seed, size).map_err(|e| e.to_string())?;
        let options = OpenOptions { limit: None, seed, size: Some(size) };
        let val = data::open(&training.val, &options).map_err(|e| e.to_string())?;
        for set in [&train, &val] {
            if set.labels.is_none() {
                return Err(format!("data '{}' has no labels", set.name));
            }
        }
        if val.classes.len() != train.classes.len() {
            return Err(format!("{} classes to learn, {} to measure on", train.classes.len(), val.classes.len()));
        }
        let mut trunk = trunk.with_fresh_head(train.classes.len(), seed).map_err(|e| e.to_string())?;
        if !trunk.is_calibrated() {
            trunk.calibrate_over(&task.train, CALIBRATION_IMAGES, seed).map_err(|e| e.to_string())?;
        }
        Ok(Material { trunk, train: train.into(), val: val.into() })
    }

    fn record(&self, index: u64, point: Point, choice: &Choice, learned: &Learned, wall_s: f64) -> Record {
        let Some(training) = &point.training else { return Record::failed(index, point, "it is not trained".into()) };
        let costs = self.material(choice, training).and_then(|material| {
            let request = self.plan.arms[choice.arm].request(training.seed);
            let placed = scheme::place(&material.trunk.graph, &request).map_err(|e| e.to_string())?;
            let system = &self.plan.systems[choice.system].system;
            Costs::new(&placed, TapPrecision::on(system, choice.tap_bits), choice.grad).map_err(|e| e.to_string())
        });
        let costs = match costs {
            Ok(costs) => costs,
            Err(why) => return Record::failed(index, point, why),
        };
        Record {
            schema: SCHEMA.into(),
            index,
            id: point.id(),
            error: None,
            counted: Some(costs.counted.clone()),
            modelled: Some(costs.on(&self.plan.systems[choice.system].system)),
            learned: Some(learned.clone()),
            measured: self.measured.then_some(Measured { train_wall_s: wall_s }),
            taps: self.taps.then(|| costs.taps.clone()),
            point,
        }
    }
}

/// The folder of a training: new, or one that was stopped. One that was killed while it was made is made
/// anew.
fn open(path: &Path, point: &Point) -> Result<RunFolder, SweepError> {
    let refused = |e: RunFolderError| match e {
        RunFolderError::File(e) => SweepError::File(e),
        other => SweepError::File(FileError::Unwritable { path: path.into(), why: other.to_string() }),
    };
    if path.exists() {
        match RunFolder::reopen(path) {
            Ok((folder, _)) => return Ok(folder),
            Err(RunFolderError::InUse { path }) => return Err(SweepError::InUse { path }),
            Err(_) => fs::remove_dir_all(path).map_err(FileError::writing(path))?,
        }
    }
    let arguments = json!({ "schema": "trunkline/sweep-run/1", "point": point });
    RunFolder::create(Some(path), "", &arguments).map_err(refused)
}

/// A full disk is no property of a point.
fn stop(error: TrainError) -> Stop {
    match error {
        TrainError::Session(SessionError::File(e)) => Stop::Sweep(e.into()),
        TrainError::Folder(RunFolderError::File(e)) => Stop::Sweep(e.into()),
        other => Stop::Point(other.to_string()),
    }
}

fn learned(finished: &Finished, train_images: usize) -> Option<Learned> {
    let latest = finished.progress.latest?;
    let (best, val) = (finished.progress.best?, latest.validation?);
    Some(Learned {
        train_images: train_images as u64,
        val_images: val.images,
        steps: finished.progress.step,
        train_loss: latest.train_loss,
        train_accuracy: latest.train_accuracy,
        val_loss: val.loss,
        accuracy: val.accuracy,
        best_accuracy: best.metric,
        best_epoch: best.epoch,
    })
}
