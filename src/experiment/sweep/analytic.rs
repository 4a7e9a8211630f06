//! Analytic points: a scheme is placed and counted once, and priced on every system that asks.

use super::cost::Costs;
use super::plan::{Choice, Plan};
use super::record::{Record, SCHEMA};
use crate::graph::{Graph, ParamValue};
use crate::plan::tap::TapPrecision;
use crate::quant::error_code::GradFormat;
use crate::scheme::{self, Placed};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Trunks with the heads of their tasks, made when the first point asks for one.
pub struct Analyst<'a> {
    plan: &'a Plan,
    taps: bool,
    graphs: Vec<OnceLock<Result<Graph, String>>>,
}

/// What costs depend on besides the placement.
type Key = (TapPrecision, GradFormat);

impl<'a> Analyst<'a> {
    pub fn new(plan: &'a Plan, taps: bool) -> Self {
        let graphs = (0..plan.trunks.len() * plan.tasks.len().max(1)).map(|_| OnceLock::new()).collect();
        Self { plan, taps, graphs }
    }

    /// Points of one arm, in the given order.
    pub fn records(&self, indices: &[u64]) -> Vec<Record> {
        let choices: Vec<Choice> = indices.iter().map(|&i| self.plan.choice(i)).collect();
        let Some(first) = choices.first() else { return vec![] };
        let placed = self.placed(first);
        let key = |c: &Choice| (self.precision(c), c.grad);
        let mut keys: Vec<Key> = Vec::new();
        for choice in &choices {
            if !keys.contains(&key(choice)) {
                keys.push(key(choice));
            }
        }
        let costs: Vec<Result<Costs, String>> = keys.par_iter().map(|key| costs(&placed, *key)).collect();
        let record = |(&index, choice): (&u64, &Choice)| {
            let costs = keys.iter().position(|k| *k == key(choice)).map(|at| &costs[at]);
            self.record(index, choice, costs)
        };
        indices.par_iter().zip(&choices).map(record).collect()
    }

    fn precision(&self, choice: &Choice) -> TapPrecision {
        TapPrecision::on(&self.plan.systems[choice.system].system, choice.tap_bits)
    }

    fn placed(&self, choice: &Choice) -> Result<Placed, String> {
        let arm = &self.plan.arms[choice.arm];
        let at = arm.trunk * self.plan.tasks.len().max(1) + arm.task.unwrap_or(0);
        let graph = self.graphs[at].get_or_init(|| self.graph(choice)).as_ref()?;
        scheme::place(graph, &arm.request(0)).map_err(|e| e.to_string())
    }

    /// A trunk that can be counted and nothing else: values are left out, or every placement would copy them.
    fn graph(&self, choice: &Choice) -> Result<Graph, String> {
        let trunk = self.plan.trunks[self.plan.arms[choice.arm].trunk].trunk.clone();
        let trunk = match self.plan.task(choice) {
            Some(task) => trunk.with_fresh_head(task.classes, 0).map_err(|e| e.to_string())?,
            None => trunk,
        };
        let mut graph = trunk.graph;
        for param in &mut graph.params {
            param.value = ParamValue::ShapeOnly(param.value.len());
        }
        Ok(graph)
    }

    fn record(&self, index: u64, choice: &Choice, costs: Option<&Result<Costs, String>>) -> Record {
        let point = self.plan.point(choice);
        match costs {
            Some(Ok(costs)) => Record {
                schema: SCHEMA.into(),
                index,
                id: point.id(),
                point,
                error: None,
                counted: Some(costs.counted.clone()),
                modelled: Some(costs.on(&self.plan.systems[choice.system].system)),
                learned: None,
                measured: None,
                taps: self.taps.then(|| costs.taps.clone()),
            },
            Some(Err(why)) => Record::failed(index, point, why.clone()),
            None => Record::failed(index, point, "it has no costs".into()),
        }
    }
}

fn costs(placed: &Result<Placed, String>, (precision, grad): Key) -> Result<Costs, String> {
    let placed = placed.as_ref().map_err(Clone::clone)?;
    Costs::new(placed, precision, grad).map_err(|e| e.to_string())
}
