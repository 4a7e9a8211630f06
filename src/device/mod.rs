//! Where kernels run: on a GPU, on the CPU as their twins, or nowhere (null, which only counts).
//!
//! A device holds the buffers of one program and runs lists of kernel calls on them. It knows no
//! graph, no bus and no ledger, and it never checks results: kernels declare tolerances, tests hold
//! devices to them. Only `gpu` names wgpu.

mod cpu;
mod gpu;
mod null;
mod program;

pub use crate::kernel::BufferId;
pub use cpu::Cpu;
pub use null::Null;
pub use program::Counts;

use crate::kernel::KernelCall;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kind of machine a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceKind {
    Gpu,
    /// A GPU interface computed on the CPU, such as Mesa's lavapipe.
    Software,
    /// The kernels' twins.
    Cpu,
    /// Computes nothing.
    Null,
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            DeviceKind::Gpu => "gpu",
            DeviceKind::Software => "software",
            DeviceKind::Cpu => "cpu",
            DeviceKind::Null => "null",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// What to ask for to get it; names of the machine's own.
    pub name: String,
    pub kind: DeviceKind,
    /// The interface it is reached by: `vulkan`, `metal`, `dx12`, or `none`.
    pub backend: String,
    pub driver: String,
    /// Why it was chosen, if it was chosen by `auto`; else empty.
    pub note: String,
}

/// One buffer of a program, in 32-bit words: an f32 map, or packed codes.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferSpec {
    pub name: String,
    /// For the largest micro-batch.
    pub words: usize,
    pub held: Held,
}

/// How a device holds a buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum Held {
    /// Once for each micro-batch in flight, zeroed: a map.
    PerSlot,
    /// One copy for all slots, uploaded once, that no kernel writes: weights that do not train.
    Constant(Vec<u32>),
    /// One copy for all slots that kernels update: what trains, its gradients and moments.
    State(Vec<u32>),
}

impl BufferSpec {
    pub fn map(name: impl Into<String>, words: usize) -> Self {
        Self { name: name.into(), words, held: Held::PerSlot }
    }

    pub fn constant(name: impl Into<String>, words: Vec<u32>) -> Self {
        Self { name: name.into(), words: words.len(), held: Held::Constant(words) }
    }

    pub fn state(name: impl Into<String>, words: Vec<u32>) -> Self {
        Self { name: name.into(), words: words.len(), held: Held::State(words) }
    }

    /// What a buffer of which all slots share one copy starts with.
    pub fn shared(&self) -> Option<&[u32]> {
        match &self.held {
            Held::PerSlot => None,
            Held::Constant(words) | Held::State(words) => Some(words),
        }
    }
}

/// Somewhere that kernels run.
pub trait Device: Send {
    fn info(&self) -> &DeviceInfo;

    /// The largest buffer that a kernel can be given.
    fn max_binding_bytes(&self) -> u64;

    /// Replaces whatever was held by these buffers, as each says, for `slots` micro-batches in flight.
    fn prepare(&mut self, buffers: &[BufferSpec], slots: usize) -> Result<(), DeviceError>;

    /// Writes the first words of a buffer. A shared one is written for all slots, whichever is named.
    fn write(&mut self, slot: usize, buffer: BufferId, words: &[u32]) -> Result<(), DeviceError>;

    /// Runs `calls` in order. May return before they are done: reading waits.
    fn run(&mut self, slot: usize, calls: &[KernelCall]) -> Result<(), DeviceError>;

    /// Reads the first `words` words of a buffer, after everything that was asked for before.
    fn read(&mut self, slot: usize, buffer: BufferId, words: usize) -> Result<Vec<u32>, DeviceError>;

    /// [`Device::read`] without a copy, where the device's memory is the host's.
    fn see(
        &mut self,
        slot: usize,
        buffer: BufferId,
        words: usize,
        see: &mut dyn FnMut(&[u32]),
    ) -> Result<(), DeviceError> {
        see(&self.read(slot, buffer, words)?);
        Ok(())
    }

    /// What was asked of it since it was prepared.
    fn counts(&self) -> Counts;
}

/// Why a device could not be had, or could not do what it was asked.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DeviceError {
    #[error("no GPU found (available: {available}); use --device cpu for the CPU twins, or name a software device")]
    NoGpu { available: String },
    #[error("no device is named {choice:?}; available: auto, gpu, {available}")]
    Unknown { choice: String, available: String },
    #[error("device {device} did not open: {reason}")]
    Open { device: String, reason: String },
    #[error(
        "buffer {buffer} needs {bytes} bytes, but {device} binds at most {limit} bytes: lower --micro-batch so that it fits"
    )]
    TooLarge { buffer: String, bytes: u64, limit: u64, device: String },
    #[error("kernel {kernel} needs {invocations} invocations, more than a grid holds: lower --micro-batch")]
    TooMany { kernel: &'static str, invocations: usize },
    #[error("{asked}: {reason}")]
    Refused { asked: String, reason: String },
    #[error("device {device} failed while it {doing}: {reason}")]
    Failed { device: String, doing: String, reason: String },
    #[error("device {device} was lost while it {doing}: {reason}")]
    Lost { device: String, doing: String, reason: String },
}

/// Every device of this machine: GPUs, software GPUs, the twins, and nowhere.
pub fn list() -> Vec<DeviceInfo> {
    let own = [cpu::info(String::new()), null::info()];
    gpu::adapters().iter().map(|a| a.info.clone()).chain(own).collect()
}

/// The device for `auto`, `gpu`, `cpu`, `null`, or part of a name that [`list`] gives.
///
/// `auto` takes a real GPU if there is one that opens, else the twins, and its note says why; it
/// never takes a software GPU, which is slower than the twins and has to be asked for by name.
pub fn open(choice: &str) -> Result<Box<dyn Device>, DeviceError> {
    match choice.trim().to_lowercase().as_str() {
        "cpu" => Ok(Box::new(Cpu::new(String::new()))),
        "null" => Ok(Box::new(Null::new())),
        "auto" => Ok(auto()),
        "gpu" => real_gpu(),
        name => by_name(choice, name),
    }
}

fn auto() -> Box<dyn Device> {
    let adapters = gpu::adapters();
    let mut failed = String::from("no GPU found, so the CPU twins");
    for adapter in adapters.iter().filter(|a| a.info.kind == DeviceKind::Gpu) {
        match adapter.open("the first GPU found") {
            Ok(device) => return Box::new(device),
            Err(error) => failed = format!("{error}, so the CPU twins"),
        }
    }
    Box::new(Cpu::new(failed))
}

fn real_gpu() -> Result<Box<dyn Device>, DeviceError> {
    let adapters = gpu::adapters();
    match adapters.iter().find(|a| a.info.kind == DeviceKind::Gpu) {
        Some(adapter) => Ok(Box::new(adapter.open("")?)),
        None => Err(DeviceError::NoGpu { available: names(&adapters) }),
    }
}

fn by_name(choice: &str, name: &str) -> Result<Box<dyn Device>, DeviceError> {
    let adapters = gpu::adapters();
    match adapters.iter().find(|a| !name.is_empty() && matches_name(&a.info, name)) {
        Some(adapter) => Ok(Box::new(adapter.open("")?)),
        None => Err(DeviceError::Unknown { choice: choice.into(), available: names(&adapters) }),
    }
}

/// Whether `name`, in lower case, is part of the adapter's or the driver's name.
fn matches_name(info: &DeviceInfo, name: &str) -> bool {
    let known = format!("{}\n{}", info.name, info.driver).to_lowercase();
    // Mesa's software Vulkan is called lavapipe by everyone but itself.
    known.contains(name) || (name == "lavapipe" && known.contains("llvmpipe"))
}

fn names(adapters: &[gpu::Adapter]) -> String {
    let names = adapters.iter().map(|a| a.info.name.as_str()).chain(["cpu", "null"]);
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_takes_a_gpu_or_the_twins_and_says_why() {
        let device = open("auto").unwrap();
        assert!(matches!(device.info().kind, DeviceKind::Gpu | DeviceKind::Cpu), "{:?}", device.info());
        assert!(!device.info().note.is_empty());
    }

    #[test]
    fn unknown_names_are_told_the_known_ones() {
        for choice in ["no-such-device", ""] {
            let error = open(choice).err().unwrap().to_string();
            assert!(error.contains("auto, gpu, ") && error.contains("cpu, null"), "{error}");
        }
    }

    #[test]
    fn a_gpu_is_opened_or_the_error_lists_what_there_is() {
        match open("gpu") {
            Ok(device) => assert_eq!(device.info().kind, DeviceKind::Gpu),
            Err(error) => assert!(error.to_string().contains("cpu, null"), "{error}"),
        }
    }

    #[test]
    fn names_match_in_part_and_in_any_case() {
        let info = DeviceInfo {
            name: "llvmpipe (LLVM 15.0.6, 256 bits)".into(),
            kind: DeviceKind::Software,
            backend: "vulkan".into(),
            driver: "llvmpipe Mesa 22.3.6".into(),
            note: String::new(),
        };
        assert!(["llvmpipe", "lavapipe", "mesa 22"].iter().all(|name| matches_name(&info, name)));
        assert!(!matches_name(&info, "geforce"));
    }

    #[test]
    fn the_twins_and_nowhere_are_always_listed() {
        let kinds: Vec<_> = list().iter().map(|d| d.kind).collect();
        assert!(kinds.ends_with(&[DeviceKind::Cpu, DeviceKind::Null]), "{kinds:?}");
    }
}
