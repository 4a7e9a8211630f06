//! How additive adapters meet the trunk: `out = act(F(x) + shortcut(x) + H(x))`, H's part added to the
//! map of F before the trunk's own addition, under that map's codes: at H = 0 no code changes.

use super::{Build, Tapped};
use crate::graph::{EdgeId, GraphError};
use crate::op::Op;
use crate::quant::{CodeType, QuantParams};
use crate::units::HardwareDomain;

/// A block as an additive adapter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Junction {
    /// What the block reads.
    pub entry: EdgeId,
    /// The map that H is added to: F's before the addition, or what a plain block makes.
    pub branch: EdgeId,
}

impl Build<'_> {
    /// Adds `added`, enlarged if it is smaller, to the junction's map. `first` is the number of nodes
    /// before the adapter's own.
    pub fn join(&mut self, junction: Junction, added: EdgeId, tap: Tapped, first: usize) -> Result<(), GraphError> {
        let map = self.graph.shape(junction.branch);
        let codes = self.graph.edge(junction.branch).quant;
        self.graph.edge_mut(added).quant = codes.map(addend);
        let added = self.enlarged("enlarged", added, [map.h, map.w], tap.domain())?;
        let sum = self.node("sum", Op::Add, &[junction.branch, added], &[], HardwareDomain::Trunk)?;
        self.graph.edge_mut(sum).quant = codes;
        let own = self.since(first);
        self.stand_in(junction.branch, sum, &own);
        Ok(())
    }
}

/// The codes of what is added to a map: the map's own; beside one that is never negative, codes of both
/// signs.
fn addend(map: QuantParams) -> QuantParams {
    let centred = QuantParams { scale: map.scale, zero_point: 0, codes: CodeType::I8 };
    if map.zero_point == i32::from(i8::MIN) { centred } else { map }
}
