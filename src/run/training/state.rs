//! What a training holds between two steps: read out, put back, and handed from task to task while one
//! trunk and one adapter device serve several.

use super::{Trainer, registers};
use crate::device::{Device, Null};
use crate::graph::ParamId;
use crate::ledger::{Event, Ledger, Place};
use crate::plan::switch::Load;
use crate::run::RunError;
use crate::units::Phase;

/// A parameter or running statistic as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub param: ParamId,
    /// In the graph's order.
    pub value: Vec<f32>,
    /// Of the optimiser; none of a statistic.
    pub moments: Vec<Vec<f32>>,
}

impl Trainer<'_> {
    /// Everything that trains, in the graph's order, with the optimiser's buffers.
    pub fn state(&mut self) -> Result<Vec<State>, RunError> {
        if let Some(resting) = &self.resting {
            return Ok(resting.clone());
        }
        let trained = self.learning().trained.clone();
        let mut states = vec![];
        for t in &trained {
            let value = t.unpack(&self.read(t.value, t.elements)?);
            let moments = t.moments.iter().map(|&m| Ok(t.unpack(&self.read(m, t.elements)?)));
            states.push(State { param: t.param, value, moments: moments.collect::<Result<_, RunError>>()? });
        }
        let running = self.learning().running.clone();
        for (node, buffer) in running {
            let [mean, variance] = [2, 3].map(|i| self.graph.node(node).params[i]);
            let c = self.graph.param(mean).value.len();
            let both = self.read(buffer, 2 * c)?;
            states.push(State { param: mean, value: both[..c].to_vec(), moments: vec![] });
            states.push(State { param: variance, value: both[c..].to_vec(), moments: vec![] });
        }
        Ok(states)
    }

    /// Continues from a state that [`Trainer::state`] gave.
    pub fn set_state(&mut self, states: &[State]) -> Result<(), RunError> {
        if let Some(resting) = &mut self.resting {
            for state in resting {
                if let Some(given) = states.iter().find(|s| s.param == state.param) {
                    *state = given.clone();
                }
            }
            return Ok(());
        }
        self.write_state(states)?;
        self.load_registers(&self.updated(), Phase::Update)?;
        Ok(())
    }

    /// Writes a state to the adapter device and gives the number of values written.
    fn write_state(&mut self, states: &[State]) -> Result<u64, RunError> {
        let find = |param: ParamId| states.iter().find(|s| s.param == param);
        let (trained, mut written) = (self.learning().trained.clone(), 0);
        for t in &trained {
            let Some(state) = find(t.param) else { continue };
            let arrays = std::iter::once((t.value, &state.value)).chain(t.moments.iter().copied().zip(&state.moments));
            for (buffer, values) in arrays {
                self.write(buffer, &t.pack(values))?;
                written += values.len() as u64;
            }
        }
        let running = self.learning().running.clone();
        for (node, buffer) in running {
            let [mean, variance] = [2, 3].map(|i| find(self.graph.node(node).params[i]));
            if let (Some(mean), Some(variance)) = (mean, variance) {
                let both = [&mean.value[..], &variance.value].concat();
                self.write(buffer, &both)?;
                written += both.len() as u64;
            }
        }
        Ok(written)
    }

    /// Gives the adapter device up; what trains is kept until [`Trainer::take_over`].
    pub fn rest(&mut self) -> Result<Box<dyn Device>, RunError> {
        self.resting = Some(self.state()?);
        Ok(std::mem::replace(&mut self.device, Box::new(Null::new())))
    }

    /// Takes the trunk and the adapter device over from the task that has them, which rests from now on:
    /// the trunk's registers are loaded, what trains is written to the device. Gives what crossed.
    pub fn take_over(&mut self, from: &mut Self) -> Result<Ledger, RunError> {
        if (self.frozen, &self.trunk.tap_ins) != (from.frozen, &from.trunk.tap_ins) {
            return Err(RunError::OtherTrunk);
        }
        self.device = from.rest()?;
        std::mem::swap(&mut self.trunk, &mut from.trunk);
        let states = self.resting.take().unwrap_or_default();
        let program = &self.programs[&(self.micro_batch, self.micro_batch)];
        self.device.prepare(&program.buffers, self.settings.slots)?;
        let written = self.write_state(&states)?;
        let nodes = registers::nodes(&self.trunk);
        let loads = self.prepared.placed.batch_norm.loads_registers();
        let mut observed = self.load_registers(if loads { &nodes } else { &[] }, Phase::Switch)?;
        if written > 0 {
            observed.add(Phase::Switch, Place::Parameters, Event::Transfers, 1);
            observed.add(Phase::Switch, Place::Parameters, Event::Elements, written);
            observed.add(Phase::Switch, Place::Parameters, Event::PayloadBytes, 4 * written);
        }
        let differences = Ledger::differences(&self.switch().tally(), &observed);
        if differences.is_empty() { Ok(observed) } else { Err(RunError::NotAsPredicted(differences)) }
    }

    /// What [`Trainer::take_over`] brings, as predicted.
    pub fn switch(&self) -> Load {
        Load::of(self.prepared.placed, &self.gradients, self.settings.optimiser.moments())
    }
}
