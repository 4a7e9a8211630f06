//! Pooling before an adapter and enlarging after it, on either side of the bus.
//!
//! Adds no arithmetic: an average pooling, a repetition and a border of zeros are ordinary operations.

use super::{Build, Tapped};
use crate::graph::{EdgeId, GraphError};
use crate::op::upsample::{Between, Upsample};
use crate::op::{Op, Pad, Pool};
use crate::units::HardwareDomain;

impl Build<'_> {
    /// The averages of windows of `factor`, the rest of a map that they do not divide left out. They
    /// keep the map's codes.
    pub fn pooled(&mut self, part: &str, edge: EdgeId, factor: [usize; 2], tap: Tapped) -> Result<EdgeId, GraphError> {
        let map = self.graph.shape(edge);
        let kernel = [factor[0].clamp(1, map.h), factor[1].clamp(1, map.w)];
        if kernel == [1, 1] {
            return Ok(edge);
        }
        let pool = Op::AvgPool(Pool { kernel, stride: kernel, pad: [0; 4] });
        let pooled = self.node(part, pool, &[edge], &[], tap.domain())?;
        self.graph.edge_mut(pooled).quant = self.graph.edge(edge).quant;
        Ok(pooled)
    }

    /// The map with every position repeated to the size `to`; what no repetition reaches is zero.
    pub fn enlarged(
        &mut self,
        part: &str,
        edge: EdgeId,
        to: [usize; 2],
        domain: HardwareDomain,
    ) -> Result<EdgeId, GraphError> {
        let (map, quant) = (self.graph.shape(edge), self.graph.edge(edge).quant);
        let factor = [(to[0] / map.h).max(1), (to[1] / map.w).max(1)];
        let mut large = edge;
        if factor != [1, 1] {
            let repeat = Op::Upsample(Upsample { factor, between: Between::Repeated });
            large = self.node(part, repeat, &[edge], &[], domain)?;
            self.graph.edge_mut(large).quant = quant;
        }
        let reached = self.graph.shape(large);
        let (Some(h), Some(w)) = (to[0].checked_sub(reached.h), to[1].checked_sub(reached.w)) else {
            let why = format!("makes a map of {reached} where one of {}x{} is read", to[0], to[1]);
            return Err(GraphError::Node { node: self.site.clone(), why });
        };
        if (h, w) != (0, 0) {
            let border = Op::Pad(Pad { space: [0, 0, h, w], channels: [0, 0] });
            large = self.node(&format!("{part}.border"), border, &[large], &[], domain)?;
            self.graph.edge_mut(large).quant = quant;
        }
        Ok(large)
    }

    /// The map with every position repeated to the size `to`, which must be a multiple of its own: a
    /// border of zeros would blank what a mask multiplies.
    pub fn repeated(
        &mut self,
        part: &str,
        edge: EdgeId,
        to: [usize; 2],
        domain: HardwareDomain,
    ) -> Result<EdgeId, GraphError> {
        let map = self.graph.shape(edge);
        if !to[0].is_multiple_of(map.h) || !to[1].is_multiple_of(map.w) {
            let why = format!("a map of {}x{} cannot be pooled and come back whole; use tap=map", to[0], to[1]);
            return Err(GraphError::Node { node: self.site.clone(), why });
        }
        self.enlarged(part, edge, to, domain)
    }
}
