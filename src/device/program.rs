//! What every device keeps of a program: the sizes of its buffers, what was asked, and the checks
//! that make all devices refuse the same things in the same words.

use super::{BufferId, BufferSpec, DeviceError, Held};
use crate::kernel::{self, KernelCall};

/// What was asked of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub writes: u64,
    pub words_written: u64,
    pub runs: u64,
    pub calls: u64,
    pub reads: u64,
    pub words_read: u64,
}

struct Buffer {
    name: String,
    words: usize,
    constant: bool,
}

#[derive(Default)]
pub struct Program {
    buffers: Vec<Buffer>,
    slots: usize,
    pub counts: Counts,
}

impl Program {
    /// Checks the buffers of a program against the device's limit.
    pub fn new(buffers: &[BufferSpec], slots: usize, device: &str, limit: u64) -> Result<Self, DeviceError> {
        for spec in buffers {
            let bytes = spec.words as u64 * 4;
            if bytes > limit {
                return Err(DeviceError::TooLarge { buffer: spec.name.clone(), bytes, limit, device: device.into() });
            }
            if spec.shared().is_some_and(|words| words.len() > spec.words) {
                return Err(refused(format!("buffer {}", spec.name), "its contents are longer than itself"));
            }
        }
        let buffer = |s: &BufferSpec| Buffer {
            name: s.name.clone(),
            words: s.words,
            constant: matches!(s.held, Held::Constant(_)),
        };
        Ok(Self { buffers: buffers.iter().map(buffer).collect(), slots, counts: Counts::default() })
    }

    pub fn write(&mut self, slot: usize, buffer: BufferId, words: usize) -> Result<(), DeviceError> {
        self.check_range("write to", slot, buffer, words)?;
        self.counts.writes += 1;
        self.counts.words_written += words as u64;
        Ok(())
    }

    pub fn read(&mut self, slot: usize, buffer: BufferId, words: usize) -> Result<(), DeviceError> {
        self.check_range("read of", slot, buffer, words)?;
        self.counts.reads += 1;
        self.counts.words_read += words as u64;
        Ok(())
    }

    pub fn run(&mut self, slot: usize, calls: &[KernelCall]) -> Result<(), DeviceError> {
        self.check_slot("run", slot)?;
        calls.iter().try_for_each(|call| self.check_call(call))?;
        self.counts.runs += 1;
        self.counts.calls += calls.len() as u64;
        Ok(())
    }

    fn check_range(&self, verb: &str, slot: usize, buffer: BufferId, words: usize) -> Result<(), DeviceError> {
        self.check_slot(verb, slot)?;
        let buffer = self.buffer(verb, buffer)?;
        match words <= buffer.words {
            true => Ok(()),
            false => Err(refused(
                format!("{verb} buffer {}", buffer.name),
                format!("{words} words, where it holds {}", buffer.words),
            )),
        }
    }

    fn check_slot(&self, asked: &str, slot: usize) -> Result<(), DeviceError> {
        match slot < self.slots {
            true => Ok(()),
            false => Err(refused(asked.into(), format!("slot {slot} of {}", self.slots))),
        }
    }

    fn buffer(&self, asked: &str, id: BufferId) -> Result<&Buffer, DeviceError> {
        let missing = || refused(asked.into(), format!("buffer {} of {}", id.0, self.buffers.len()));
        self.buffers.get(id.0 as usize).ok_or_else(missing)
    }

    fn check_call(&self, call: &KernelCall) -> Result<(), DeviceError> {
        let asked = || format!("call of kernel {}", call.kernel.name());
        let expected = call.kernel.bindings().inputs.len();
        if call.inputs.len() != expected || call.params.len() * 4 != call.kernel.params_bytes() {
            return Err(refused(asked(), "not the inputs or parameters of this kernel"));
        }
        let output = self.buffer(&asked(), call.output)?;
        if call.inputs.contains(&call.output) || output.constant {
            return Err(refused(asked(), format!("its output {} is also an input or a constant", output.name)));
        }
        let needed = call.input_words().into_iter().zip(&call.inputs);
        for (words, &id) in needed.chain([(call.output_words(), &call.output)]) {
            let buffer = self.buffer(&asked(), id)?;
            if words > buffer.words {
                let reason = format!("needs {words} words of buffer {}, which holds {}", buffer.name, buffer.words);
                return Err(refused(asked(), reason));
            }
        }
        let invocations = call.kernel.invocations(&call.params);
        match kernel::grid(invocations) {
            Some(_) => Ok(()),
            None => Err(DeviceError::TooMany { kernel: call.kernel.name(), invocations }),
        }
    }
}

fn refused(asked: String, reason: impl Into<String>) -> DeviceError {
    DeviceError::Refused { asked, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{add, mul};
    use crate::tensor::Shape;

    fn program() -> Program {
        let weights = BufferSpec { words: 8, ..BufferSpec::constant("w", vec![0; 2]) };
        Program::new(&[BufferSpec::map("a", 8), BufferSpec::map("b", 8), weights], 2, "test", 1 << 20).unwrap()
    }

    #[test]
    fn a_buffer_beyond_the_limit_names_the_size_the_limit_and_the_remedy() {
        let error = Program::new(&[BufferSpec::map("map", 101)], 1, "test", 400).err().unwrap().to_string();
        assert!(["map", "404", "400", "--micro-batch"].iter().all(|part| error.contains(part)), "{error}");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_not_counted() {
        let mut p = program();
        let (a, b, w) = (BufferId(0), BufferId(1), BufferId(2));
        let call = |n, x, y, out| add::call(add::Params::new(1, n), x, y, out);
        assert!(p.write(2, a, 1).is_err(), "no such slot");
        assert!(p.write(0, a, 9).is_err(), "too long");
        assert!(p.read(0, BufferId(3), 1).is_err(), "no such buffer");
        assert!(p.run(0, &[call(9, a, w, b)]).is_err(), "too long");
        assert!(p.run(0, &[call(8, a, b, b)]).is_err(), "in place");
        assert!(p.run(0, &[call(8, a, b, w)]).is_err(), "onto a constant");
        let other = mul::call(mul::Params::new(1, Shape::vector(4), Shape::vector(4)), a, w, b);
        assert!(p.run(0, &[KernelCall { kernel: kernel::Kernel::Add, ..other }]).is_err(), "other parameters");
        assert_eq!(p.counts, Counts::default());
        p.run(1, &[call(8, a, w, b), call(8, a, a, b)]).unwrap();
        assert_eq!((p.counts.runs, p.counts.calls), (1, 2));
    }
}
