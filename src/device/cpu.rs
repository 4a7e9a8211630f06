//! The CPU as an adapter device: runs the kernels' twins, one call after the other.

use super::program::Program;
use super::{BufferId, BufferSpec, Counts, Device, DeviceError, DeviceInfo, DeviceKind};
use crate::kernel::KernelCall;

/// Runs twins. Holds shared buffers once, and the others once per slot.
pub struct Cpu {
    info: DeviceInfo,
    program: Program,
    /// By buffer; empty for those that are not shared.
    shared: Vec<Option<Vec<u32>>>,
    /// By slot and buffer; empty for those that are shared.
    slots: Vec<Vec<Vec<u32>>>,
}

pub fn info(note: String) -> DeviceInfo {
    DeviceInfo {
        name: "cpu".into(),
        kind: DeviceKind::Cpu,
        backend: "none".into(),
        driver: "kernel twins".into(),
        note,
    }
}

impl Cpu {
    /// `note` says why it was chosen, if it was not asked for.
    pub fn new(note: String) -> Self {
        Self { info: info(note), program: Program::default(), shared: Vec::new(), slots: Vec::new() }
    }

    fn call(&mut self, slot: usize, call: &KernelCall) {
        // Taken out while the inputs are borrowed; it is none of them.
        let mut out = std::mem::take(self.buffer_mut(slot, call.output));
        let words = call.input_words();
        let inputs: Vec<&[u32]> = call.inputs.iter().zip(words).map(|(&id, n)| &self.buffer(slot, id)[..n]).collect();
        call.kernel.twin(&call.params, &inputs, &mut out[..call.output_words()]);
        *self.buffer_mut(slot, call.output) = out;
    }

    fn buffer(&self, slot: usize, id: BufferId) -> &[u32] {
        let id = id.0 as usize;
        self.shared[id].as_deref().unwrap_or(&self.slots[slot][id])
    }

    fn buffer_mut(&mut self, slot: usize, id: BufferId) -> &mut Vec<u32> {
        let id = id.0 as usize;
        self.shared[id].as_mut().unwrap_or(&mut self.slots[slot][id])
    }
}

impl Device for Cpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn max_binding_bytes(&self) -> u64 {
        isize::MAX as u64
    }

    fn prepare(&mut self, buffers: &[BufferSpec], slots: usize) -> Result<(), DeviceError> {
        self.program = Program::new(buffers, slots, &self.info.name, self.max_binding_bytes())?;
        let shared = |spec: &BufferSpec| {
            spec.shared().map(|words| {
                let mut words = words.to_vec();
                words.resize(spec.words, 0);
                words
            })
        };
        self.shared = buffers.iter().map(shared).collect();
        let own = |spec: &BufferSpec| match spec.shared() {
            Some(_) => Vec::new(),
            None => vec![0; spec.words],
        };
        self.slots = (0..slots).map(|_| buffers.iter().map(own).collect()).collect();
        Ok(())
    }

    fn write(&mut self, slot: usize, buffer: BufferId, words: &[u32]) -> Result<(), DeviceError> {
        self.program.write(slot, buffer, words.len())?;
        self.buffer_mut(slot, buffer)[..words.len()].copy_from_slice(words);
        Ok(())
    }

    fn run(&mut self, slot: usize, calls: &[KernelCall]) -> Result<(), DeviceError> {
        self.program.run(slot, calls)?;
        calls.iter().for_each(|call| self.call(slot, call));
        Ok(())
    }

    fn read(&mut self, slot: usize, buffer: BufferId, words: usize) -> Result<Vec<u32>, DeviceError> {
        self.program.read(slot, buffer, words)?;
        Ok(self.buffer(slot, buffer)[..words].to_vec())
    }

    fn see(
        &mut self,
        slot: usize,
        buffer: BufferId,
        words: usize,
        see: &mut dyn FnMut(&[u32]),
    ) -> Result<(), DeviceError> {
        self.program.read(slot, buffer, words)?;
        see(&self.buffer(slot, buffer)[..words]);
        Ok(())
    }

    fn counts(&self) -> Counts {
        self.program.counts
    }
}
