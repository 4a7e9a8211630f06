//! Which steps run together: a product and the addition that is its only reader make one pass over
//! memory, because the sum is formed before the product's codes are stored.
//!
//! Codes and counts are those of the steps run one by one. Only a map that nobody else wants to see is
//! skipped, and only additions whose other operand the trunk has by then.

use super::TrunkProgram;
use crate::graph::EdgeId;

/// One or two steps of a program, run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Index of the step, or of the product.
    pub step: usize,
    /// Index of the addition, and which of its operands the product is.
    pub after: Option<(usize, usize)>,
}

impl Pass {
    /// The step whose output the pass makes.
    pub fn last(&self) -> usize {
        self.after.map_or(self.step, |(add, _)| add)
    }

    /// The maps that it reads as codes.
    pub fn reads<'a>(&self, program: &'a TrunkProgram) -> impl Iterator<Item = EdgeId> + 'a {
        let other = self.after.map(|(add, operand)| program.steps[add].inputs[1 - operand]);
        program.steps[self.step].inputs.iter().copied().chain(other)
    }
}

impl TrunkProgram {
    /// The passes that run the program, in order. Maps that `is_kept` wants are all made.
    pub fn passes(&self, is_kept: impl Fn(EdgeId) -> bool) -> Vec<Pass> {
        let maker = |edge: EdgeId| self.steps.iter().position(|step| step.output == edge);
        let readers = |edge: EdgeId| self.steps.iter().flat_map(|s| &s.inputs).filter(|&&read| read == edge).count();
        let mut taken = vec![false; self.steps.len()];
        let mut passes: Vec<Pass> = Vec::new();
        for (i, step) in self.steps.iter().enumerate() {
            let product_of = |operand: usize| {
                let (own, other) = (*step.inputs.get(operand)?, *step.inputs.get(1 - operand)?);
                let product = maker(own)?;
                let is_here = other == self.input || maker(other).is_some_and(|other| other < i);
                let fuses = self.steps[product].fuses(step) && readers(own) == 1 && !is_kept(own) && is_here;
                fuses.then_some((product, operand))
            };
            // The later product: the other operand is then made by the time it runs.
            let product = [0, 1].into_iter().filter_map(product_of).max();
            passes.push(match product {
                Some((product, operand)) => {
                    taken[product] = true;
                    Pass { step: product, after: Some((i, operand)) }
                }
                None => Pass { step: i, after: None },
            });
        }
        passes.retain(|pass| pass.after.is_some() || !taken[pass.step]);
        passes
    }
}
