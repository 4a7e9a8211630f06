//! Finite differences in f64 against backward twins.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use trunkline::kernel::{BufferId, KernelCall};

/// The forward pass reads buffers 0, 1, … and ends in `Y`; the backward pass finds the gradient of `Y` in
/// `G` and leaves what is asked for in the buffer that the check names. The others are scratch.
pub const Y: BufferId = BufferId(4);
pub const G: BufferId = BufferId(5);
pub const S: BufferId = BufferId(6);
pub const T: BufferId = BufferId(7);
pub const U: BufferId = BufferId(8);
pub const DX: BufferId = BufferId(9);

pub fn random(seed: u64, count: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-2.0f32..2.0)).collect()
}

/// Contents of buffers.
#[derive(Clone, Default)]
pub struct Memory(Vec<Vec<u32>>);

impl Memory {
    pub fn write(&mut self, id: BufferId, words: Vec<u32>) {
        let id = id.0 as usize;
        self.0.resize(self.0.len().max(id + 1), vec![]);
        self.0[id] = words;
    }

    pub fn write_f32(&mut self, id: BufferId, values: &[f32]) {
        self.write(id, bytemuck::cast_slice(values).to_vec());
    }

    pub fn read(&self, id: BufferId) -> &[f32] {
        bytemuck::cast_slice(&self.0[id.0 as usize])
    }

    /// Runs twins in order; an output that is too short grows by zeros.
    pub fn run(&mut self, calls: &[KernelCall]) {
        for call in calls {
            let at = call.output.0 as usize;
            self.0.resize(self.0.len().max(at + 1), vec![]);
            let mut out = std::mem::take(&mut self.0[at]);
            out.resize(out.len().max(call.output_words()), 0);
            let words = call.input_words();
            let inputs: Vec<&[u32]> =
                call.inputs.iter().zip(words).map(|(id, n)| &self.0[id.0 as usize][..n]).collect();
            call.kernel.twin(&call.params, &inputs, &mut out[..call.output_words()]);
            self.0[at] = out;
        }
    }
}

/// A function of some buffers, written again in f64.
pub type Definition<'a> = &'a dyn Fn(&[Vec<f64>]) -> Vec<f64>;

pub struct Case<'a> {
    definition: Definition<'a>,
    memory: Memory,
    inputs: usize,
    /// Weights of the outputs in the scalar that is differentiated.
    weights: Vec<f32>,
}

impl<'a> Case<'a> {
    /// Runs `forward` on the buffers `inputs`, and holds it to its definition.
    pub fn new(definition: Definition<'a>, inputs: &[Vec<f32>], forward: &[KernelCall]) -> Self {
        Self::with(Memory::default(), definition, inputs, forward)
    }

    /// The same with more in memory, such as labels.
    pub fn with(mut memory: Memory, definition: Definition<'a>, inputs: &[Vec<f32>], forward: &[KernelCall]) -> Self {
        inputs.iter().enumerate().for_each(|(i, values)| memory.write_f32(BufferId(i as u32), values));
        memory.run(forward);
        let expected = definition(&wide(inputs));
        let got = memory.read(Y);
        assert_eq!(got.len(), expected.len());
        for (i, (&got, expected)) in got.iter().zip(&expected).enumerate() {
            let bound = 2e-5 * (1.0 + expected.abs());
            assert!((f64::from(got) - expected).abs() < bound, "forward {i}: twin {got}, definition {expected}");
        }
        let weights = random(99, expected.len());
        memory.write_f32(G, &weights);
        Self { definition, memory, inputs: inputs.len(), weights }
    }

    /// Differentiates the plain sum of the outputs.
    pub fn unweighted(mut self) -> Self {
        self.weights.fill(1.0);
        self
    }

    /// Runs `backward`, and holds buffer `result` to central differences of input `wrt`.
    pub fn check(&self, wrt: usize, backward: &[KernelCall], result: BufferId) {
        assert_eq!(self.fault(wrt, backward, result), None, "gradient of input {wrt}");
    }

    /// The first element further from its difference than 2e-5 of the largest derivative, or of 1 if that
    /// is smaller.
    pub fn fault(&self, wrt: usize, backward: &[KernelCall], result: BufferId) -> Option<String> {
        let mut memory = self.memory.clone();
        memory.run(backward);
        let got = memory.read(result);
        let inputs: Vec<Vec<f32>> = (0..self.inputs).map(|i| memory.read(BufferId(i as u32)).to_vec()).collect();
        let expected = self.differences(&wide(&inputs), wrt);
        assert_eq!(got.len(), expected.len(), "gradient of input {wrt}");
        let largest = expected.iter().fold(0.0, |m: f64, d| m.max(d.abs()));
        assert!(largest > 1e-2, "a gradient of zeros shows nothing");
        let far = |(got, d): &(&f32, &f64)| (f64::from(**got) - **d).abs() > 2e-5 * largest.max(1.0);
        let at = got.iter().zip(&expected).position(|pair| far(&pair))?;
        Some(format!("at {at}: twin {}, differences {}", got[at], expected[at]))
    }

    fn differences(&self, inputs: &[Vec<f64>], wrt: usize) -> Vec<f64> {
        const STEP: f64 = 1e-5;
        let scalar = |inputs: &[Vec<f64>]| -> f64 {
            (self.definition)(inputs).iter().zip(&self.weights).map(|(y, &w)| y * f64::from(w)).sum()
        };
        let mut moved = inputs.to_vec();
        let mut difference = |i: usize| {
            let x = inputs[wrt][i];
            moved[wrt][i] = x + STEP;
            let above = scalar(&moved);
            moved[wrt][i] = x - STEP;
            let below = scalar(&moved);
            moved[wrt][i] = x;
            (above - below) / (2.0 * STEP)
        };
        (0..inputs[wrt].len()).map(&mut difference).collect()
    }
}

fn wide(inputs: &[Vec<f32>]) -> Vec<Vec<f64>> {
    inputs.iter().map(|v| v.iter().map(|&x| f64::from(x)).collect()).collect()
}
