//! Putting an adapter back to look at it: the flags and the first steps that `eval`, `merge` and `compress`
//! share.

use super::Failure;
use super::values;
use crate::data::augment::Augmentation;
use crate::data::{self, OpenOptions, Subset};
use crate::experiment::eval::{EvalSettings, trunk_of};
use crate::experiment::train::adapter_file::Adapter;
use crate::experiment::trunk::Trunk;
use crate::quant::Profile;
use clap::Args;

#[derive(Args)]
pub struct Measuring {
    /// Images handled at a time; changes speed and memory, never a result
    #[arg(long, value_name = "N", default_value = "8", value_parser = values::count)]
    micro_batch: usize,
    /// Adapter device: auto, gpu, cpu, or part of a name from `trunkline devices`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Worker threads, 0 for one per core; changes speed, never a result
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::threads)]
    threads: usize,
    /// Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]
    #[arg(long, value_name = "PROFILE", value_parser = values::profile, long_help = values::profile_help("Arithmetic of the trunk [default: the file format's own, tflite-ref for the zoo]"))]
    profile: Option<Profile>,
    /// Seed of procedural images
    #[arg(long, value_name = "N", default_value = "0", value_parser = values::seed)]
    seed: u64,
}

impl Measuring {
    /// Keeps the process to the number of threads, decoding too.
    pub fn keep_to_threads(&self) -> Result<(), Failure> {
        if self.threads > 0 {
            rayon::ThreadPoolBuilder::new().num_threads(self.threads).build_global()?;
        }
        Ok(())
    }

    /// The trunk as an adapter knew it.
    pub fn trunk(&self, trunk: &str, adapter: &Adapter) -> Result<Trunk, Failure> {
        Ok(trunk_of(trunk, self.profile.clone(), &adapter.config)?)
    }

    /// Images for a trunk, as they came when the adapter was trained.
    pub fn images(
        &self,
        spec: &str,
        limit: Option<usize>,
        trunk: &Trunk,
        adapter: &Adapter,
    ) -> Result<Subset, Failure> {
        let shape = trunk.graph.shape(trunk.graph.input);
        let mut data = data::subset(spec, &OpenOptions { limit, seed: self.seed, size: Some([shape.h, shape.w]) })?;
        data.augmentation = adapter.config.training.augmentation.unwrap_or(Augmentation::PLAIN);
        Ok(data)
    }

    pub fn settings(&self, force: bool) -> EvalSettings {
        let (device, threads) = (self.device.clone(), self.threads);
        EvalSettings { micro_batch: self.micro_batch, threads, device, force }
    }
}
