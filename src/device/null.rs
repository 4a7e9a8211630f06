//! Nowhere: checks and counts what it is asked, computes nothing, and reads as zeros.

use super::program::Program;
use super::{BufferId, BufferSpec, Counts, Device, DeviceError, DeviceInfo, DeviceKind};
use crate::kernel::KernelCall;

/// Holds no data at all.
pub struct Null {
    info: DeviceInfo,
    program: Program,
}

pub fn info() -> DeviceInfo {
    DeviceInfo {
        name: "null".into(),
        kind: DeviceKind::Null,
        backend: "none".into(),
        driver: "counts only".into(),
        note: String::new(),
    }
}

impl Null {
    pub fn new() -> Self {
        Self { info: info(), program: Program::default() }
    }
}

impl Default for Null {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for Null {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn max_binding_bytes(&self) -> u64 {
        u64::MAX
    }

    fn prepare(&mut self, buffers: &[BufferSpec], slots: usize) -> Result<(), DeviceError> {
        self.program = Program::new(buffers, slots, &self.info.name, self.max_binding_bytes())?;
        Ok(())
    }

    fn write(&mut self, slot: usize, buffer: BufferId, words: &[u32]) -> Result<(), DeviceError> {
        self.program.write(slot, buffer, words.len())
    }

    fn run(&mut self, slot: usize, calls: &[KernelCall]) -> Result<(), DeviceError> {
        self.program.run(slot, calls)
    }

    fn read(&mut self, slot: usize, buffer: BufferId, words: usize) -> Result<Vec<u32>, DeviceError> {
        self.program.read(slot, buffer, words)?;
        Ok(vec![0; words])
    }

    fn counts(&self) -> Counts {
        self.program.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_are_zeros_and_everything_is_counted() {
        let mut device = Null::new();
        device.prepare(&[BufferSpec::map("map", 4)], 1).unwrap();
        device.write(0, BufferId(0), &[1, 2, 3]).unwrap();
        assert_eq!(device.read(0, BufferId(0), 4).unwrap(), [0; 4]);
        assert!(device.read(0, BufferId(0), 5).is_err());
        let counts = Counts { writes: 1, words_written: 3, reads: 1, words_read: 4, ..Counts::default() };
        assert_eq!(device.counts(), counts);
    }
}
