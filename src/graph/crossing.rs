//! Taps derived from edges: one crossing per map and consuming side.
//!
//! Nobody declares a tap. A map whose producer and consumer lie in different hardware domains
//! crosses once, however many nodes read it there, holding the positions that they read: where
//! every reader is a stride-2 1×1 convolution, that is a quarter of the map.

use super::{EdgeId, Graph, NodeId};
use crate::op::{Op, Reads};
use crate::tensor::Shape;
use crate::units::{Direction, HardwareDomain};

/// A map that crosses between trunk and adapter device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    pub edge: EdgeId,
    pub direction: Direction,
    /// Rows and columns sent: every `grid.0`-th row and `grid.1`-th column from the first.
    pub grid: (usize, usize),
    /// What crosses for one image.
    pub shape: Shape,
    /// The nodes on the other side that read it.
    pub consumers: Vec<NodeId>,
}

impl Graph {
    /// The domain that holds an edge when it is produced. The graph's input is the trunk's: the
    /// sensor is wired to the chip.
    pub fn home(&self, edge: EdgeId) -> HardwareDomain {
        self.edge(edge).producer.map_or(HardwareDomain::Trunk, |p| self.node(p).domain)
    }

    /// The positions that a node reads: a dropout those that are read of what it leaves.
    fn reads(&self, id: NodeId) -> Reads {
        let node = self.node(id);
        if !matches!(node.op, Op::Dropout(_)) {
            return node.op.reads();
        }
        match self.consumers(node.output).into_iter().map(|n| self.reads(n)).fold(None, coarsest) {
            None | Some((1, 1)) => Reads::All,
            Some((h, w)) => Reads::Strided { h, w },
        }
    }

    /// All crossings of the graph, in edge order.
    pub fn crossings(&self) -> Vec<Crossing> {
        let mut readers: Vec<Vec<NodeId>> = vec![Vec::new(); self.edges.len()];
        for id in self.node_ids() {
            for &edge in &self.node(id).inputs {
                if self.home(edge) != self.node(id).domain && readers[edge.index()].last() != Some(&id) {
                    readers[edge.index()].push(id);
                }
            }
        }
        let crossing = |(i, consumers): (usize, Vec<NodeId>)| {
            let edge = EdgeId(i as u32);
            let direction = match self.home(edge) {
                HardwareDomain::Trunk => Direction::TapOut,
                _ => Direction::TapIn,
            };
            // The trunk has a place for a whole map; only what leaves it is thinned out.
            let grid = match direction {
                Direction::TapOut => consumers.iter().map(|&n| self.reads(n)).fold(None, coarsest),
                Direction::TapIn => None,
            };
            let grid = grid.unwrap_or((1, 1));
            let full = self.shape(edge);
            let shape = Shape::new(full.h.div_ceil(grid.0), full.w.div_ceil(grid.1), full.c);
            Crossing { edge, direction, grid, shape, consumers }
        };
        readers.into_iter().enumerate().filter(|(_, r)| !r.is_empty()).map(crossing).collect()
    }
}

/// The coarsest grid that holds the positions of both.
fn coarsest(grid: Option<(usize, usize)>, reads: Reads) -> Option<(usize, usize)> {
    let new = match reads {
        Reads::All => (1, 1),
        Reads::Strided { h, w } => (h, w),
    };
    Some(grid.map_or(new, |(h, w)| (gcd(h, new.0), gcd(w, new.1))))
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ParamKind, ParamValue};
    use crate::op::Conv2d;

    /// A trunk map read by 1×1 adapters of the given strides.
    fn tapped(strides: &[usize]) -> Graph {
        let mut g = Graph::new("tapped", Shape::new(9, 9, 2));
        for (i, &stride) in strides.iter().enumerate() {
            let w = g.add_param(&format!("w{i}"), &[3, 1, 1, 2], ParamKind::Weight, ParamValue::F32(vec![0.0; 6]));
            g.add_node(&format!("a{i}"), Op::Conv2d(Conv2d::square(2, 3, 1, stride, 0)), &[g.input], &[w]).unwrap();
            g.nodes[i].domain = HardwareDomain::Adapter;
        }
        g
    }

    #[test]
    fn what_enters_the_trunk_is_never_thinned_out() {
        let mut g = tapped(&[2, 2]);
        let first = g.add_node("map", Op::Mean, &[g.input], &[]).unwrap();
        g.nodes[2].domain = HardwareDomain::Adapter;
        assert_eq!(g.home(first), HardwareDomain::Adapter);
        // The same strided readers, now in the trunk and of a map that the adapter device made.
        let made = g.add_node("relu", Op::Activation(crate::op::Activation::Relu), &[g.input], &[]).unwrap();
        g.nodes[3].domain = HardwareDomain::Adapter;
        for reader in [NodeId(0), NodeId(1)] {
            g.nodes[reader.index()].domain = HardwareDomain::Trunk;
            g.rewire(reader, g.input, made);
        }
        let tap_in = g.crossings().into_iter().find(|c| c.edge == made).unwrap();
        assert_eq!((tap_in.direction, tap_in.grid, tap_in.shape), (Direction::TapIn, (1, 1), Shape::new(9, 9, 2)));
    }

    #[test]
    fn one_crossing_holds_the_union_of_the_positions_read() {
        for (strides, side) in [(&[2][..], 5), (&[2, 2], 5), (&[4, 2], 5), (&[2, 1], 9), (&[2, 3], 9)] {
            let found = tapped(strides).crossings();
            assert_eq!(found.len(), 1, "{strides:?}");
            assert_eq!(found[0].shape, Shape::new(side, side, 2), "{strides:?}");
            assert_eq!(found[0].consumers.len(), strides.len());
            assert_eq!(found[0].direction, Direction::TapOut);
        }
    }
}
