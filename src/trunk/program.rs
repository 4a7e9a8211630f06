//! A prepared trunk: its steps in order, the formats of what it is fed, and its fingerprint.

use super::fast::Kernels;
use super::{TapInFormat, TrunkError, TrunkStep};
use crate::graph::EdgeId;
use crate::op::{Output, Registers};
use crate::quant::{Clamp, Multiplier, Profile};
use crate::tensor::{Shape, Tensor};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
pub struct TrunkProgram {
    /// The graph's name.
    pub name: String,
    pub profile: Profile,
    pub steps: Vec<TrunkStep>,
    /// How every edge that crosses to the trunk must be coded.
    pub tap_ins: BTreeMap<EdgeId, TapInFormat>,
    /// The graph's input, which lives on the trunk side.
    pub input: EdgeId,
    pub(super) input_shape: Shape,
    /// The names of `tap_ins`, in order.
    pub(super) tap_in_names: Vec<String>,
}

impl TrunkProgram {
    /// Whether the program holds this edge's codes at some time.
    pub fn makes(&self, edge: EdgeId) -> bool {
        edge == self.input || self.steps.iter().any(|s| s.output == edge)
    }

    /// The same program on other loops: not a code, count or checksum changes.
    pub fn with_kernels(mut self, kernels: Kernels) -> Self {
        self.steps.iter_mut().for_each(|step| step.choose(kernels));
        self
    }

    /// SHA-256 over the profile's name and, step by step, weight codes, registers, zero points, bounds
    /// and tables: equal for equal silicon.
    pub fn checksum(&self) -> [u8; 32] {
        let mut hash = Hash(Sha256::new());
        hash.text(self.profile.name());
        for step in &self.steps {
            hash.text(&step.name);
            hash.text(step.op);
            hash.sizes(&[step.inputs.len(), step.join_shift as usize]);
            if let Some(weights) = &step.weights {
                hash.codes(&weights.codes);
                weights.zero_points.iter().for_each(|&z| hash.int(z));
            }
            step.work.hash(&mut hash);
        }
        hash.0.finalize().into()
    }

    /// SHA-256 over the weight codes alone, step by step: no register that is loaded changes it.
    pub fn weights_checksum(&self) -> [u8; 32] {
        let mut hash = Hash(Sha256::new());
        for step in &self.steps {
            if let Some(weights) = &step.weights {
                hash.text(&step.name);
                hash.codes(&weights.codes);
                weights.zero_points.iter().for_each(|&z| hash.int(z));
            }
        }
        hash.0.finalize().into()
    }

    /// Refuses a program that waits for an adapter.
    pub(super) fn check_alone(&self) -> Result<(), TrunkError> {
        if self.tap_ins.is_empty() {
            return Ok(());
        }
        Err(TrunkError::TapIns { graph: self.name.clone(), edges: self.tap_in_names.clone() })
    }

    pub(super) fn check_input(&self, input: &Tensor<i8>) -> Result<(), TrunkError> {
        if input.shape == self.input_shape {
            return Ok(());
        }
        Err(TrunkError::Input { graph: self.name.clone(), want: self.input_shape, got: input.shape })
    }

    /// Every map that the trunk makes from `input` (that map included), for a program without tap-ins.
    pub fn run_all(&self, input: &Tensor<i8>) -> Result<BTreeMap<EdgeId, Tensor<i8>>, TrunkError> {
        self.check_alone()?;
        self.check_input(input)?;
        let mut maps = BTreeMap::from([(self.input, input.clone())]);
        for step in &self.steps {
            let inputs: Vec<&Tensor<i8>> = step.inputs.iter().map(|edge| &maps[edge]).collect();
            let (output, _) = step.run(&inputs, None);
            maps.insert(step.output, output);
        }
        Ok(maps)
    }
}

/// A hash of typed values: lengths go in first, so that no two programs run together.
pub(super) struct Hash(Sha256);

impl Hash {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
    pub fn int(&mut self, value: i32) {
        self.0.update(value.to_le_bytes());
    }
    pub fn words(&mut self, words: &[i32]) {
        words.iter().for_each(|&w| self.int(w));
    }
    pub fn sizes(&mut self, sizes: &[usize]) {
        self.0.update((sizes.len() as u64).to_le_bytes());
        sizes.iter().for_each(|&n| self.0.update((n as u64).to_le_bytes()));
    }
    pub fn codes(&mut self, codes: &[i8]) {
        self.bytes(bytemuck::cast_slice(codes));
    }
    pub fn multiplier(&mut self, m: Multiplier) {
        self.int(m.mantissa);
        self.int(m.shift);
    }
    pub fn clamp(&mut self, clamp: Clamp) {
        self.int(clamp.lo());
        self.int(clamp.hi());
    }
    pub fn output(&mut self, output: &Output) {
        self.int(output.zero_point);
        self.clamp(output.clamp);
    }
    pub fn registers(&mut self, registers: &Registers) {
        registers.multipliers.iter().for_each(|&m| self.multiplier(m));
        registers.bias.iter().for_each(|&b| self.int(b));
    }
}
