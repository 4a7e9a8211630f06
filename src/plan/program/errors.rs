//! The errors (gradients of maps) of a training step on the adapter device: who adds to which.

use super::Lowering;
use crate::graph::EdgeId;
use crate::kernel::{self, BufferId, KernelCall};
use crate::op;
use crate::tensor::Shape;

impl Lowering<'_> {
    /// Whether a map's error is wanted.
    pub(super) fn wants(&self, edge: EdgeId) -> bool {
        self.training.is_some_and(|t| t.gradients.has(edge))
    }

    /// A buffer for an error of the shape under which the map is stored.
    pub(super) fn error_buffer(&mut self, edge: EdgeId, part: &str) -> BufferId {
        let elements = self.stored(edge).elements();
        self.scratch(format!("{}.{part}", self.graph.edge(edge).name), elements)
    }

    /// Adds a term to the error of `edge`; `make` writes it to the buffer that it is given.
    pub(super) fn add_error(
        &mut self,
        edge: EdgeId,
        calls: &mut Vec<KernelCall>,
        make: impl FnOnce(BufferId) -> Vec<KernelCall>,
    ) {
        if !self.wants(edge) {
            return;
        }
        let term = self.error_buffer(edge, "error");
        calls.extend(make(term));
        match self.back.errors.get(&edge).copied() {
            None => {
                self.back.errors.insert(edge, term);
            }
            Some(sum) => calls.push(self.accumulate(edge, term, sum)),
        }
    }

    /// Adds `error`, of the same elements, to the error of `edge`: the same buffer, if nobody else adds.
    pub(super) fn pass_error(&mut self, edge: EdgeId, error: BufferId, calls: &mut Vec<KernelCall>) {
        if !self.wants(edge) {
            return;
        }
        match self.back.errors.get(&edge).copied() {
            Some(sum) => calls.push(self.accumulate(edge, error, sum)),
            None if self.terms(edge) == 1 => {
                self.back.errors.insert(edge, error);
            }
            None => {
                let (batch, shape) = (self.batch, Shape::vector(self.stored(edge).elements()));
                let whole = kernel::crop::Params::new(batch, shape, shape, [0; 3]);
                self.add_error(edge, calls, |to| vec![kernel::crop::call(whole, error, to)]);
            }
        }
    }

    /// Takes in the error that the trunk sends for a map that was made here.
    pub(super) fn receive_error(&mut self, edge: EdgeId, error: BufferId, calls: &mut Vec<KernelCall>) {
        match self.back.errors.get(&edge).copied() {
            Some(sum) => calls.push(self.accumulate(edge, error, sum)),
            None => {
                self.back.errors.insert(edge, error);
            }
        }
    }

    fn accumulate(&self, edge: EdgeId, term: BufferId, sum: BufferId) -> KernelCall {
        let elements = self.stored(edge).elements();
        kernel::accumulate::call(kernel::accumulate::Params::new(self.batch, elements), term, sum)
    }

    /// How many terms a map's error has.
    fn terms(&self, edge: EdgeId) -> usize {
        let Some(training) = self.training else { return 0 };
        let readers = training.gradients.nodes().iter().map(|&n| self.graph.node(n));
        let here = readers.filter(|n| n.domain == crate::units::HardwareDomain::Adapter);
        let read: usize = here.map(|n| n.inputs.iter().filter(|&&e| e == edge).count()).sum();
        read + usize::from(self.back.received.contains_key(&edge)) + usize::from(edge == self.graph.output)
    }
}

/// Error of the smaller operand of a product: the sum over everything that it was spread over.
pub(super) fn spread(batch: u32, whole: Shape, part: Shape) -> Option<Sum> {
    match (part.pixels() == 1, part.c == 1) {
        _ if part == whole => None,
        (true, true) => Some(Sum::All(
            kernel::dot_positions::Params::new(batch, whole.pixels(), whole.c),
            kernel::channel_sum::Params::new(batch, whole.c, 1),
        )),
        (true, false) => Some(Sum::Positions(kernel::dot_positions::Params::new(batch, whole.pixels(), whole.c))),
        _ => Some(Sum::Channels(kernel::dot_channels::Params::new(batch, whole.pixels(), whole.c))),
    }
}

/// What a broadcast operand's error is summed over.
pub(super) enum Sum {
    All(kernel::dot_positions::Params, kernel::channel_sum::Params),
    Positions(kernel::dot_positions::Params),
    Channels(kernel::dot_channels::Params),
}

/// The transposition that undoes another.
pub(super) fn undone(transpose: &op::Transpose) -> op::Transpose {
    let mut order = [0; 3];
    transpose.order.iter().enumerate().for_each(|(to, &from)| order[from] = to);
    op::Transpose { order }
}
