//! Adapters: one file each, which builds a small subgraph of ordinary operations in the adapter's
//! hardware domain and joins it to the trunk.
//!
//! Forward, work, memory and taps come from the operations and the graph. An adapter declares no
//! tap and implements no arithmetic.

use crate::graph::{EdgeId, Graph, GraphError, NodeId, ParamId, ParamKind, ParamValue};
use crate::op::{Conv2d, Dropout, Op};
use crate::quant::{CodeType, QuantParams};
use crate::seed;
use crate::units::HardwareDomain;

pub mod adaptive_attention;
pub mod parallel;
pub mod spatial_attention;

/// How the trainable arrays of an adapter start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// The paper's random start.
    He,
    /// The start at which the adapter does nothing (with a gate that is 1 at 0).
    Zero,
}

/// The function that turns an attention logit into a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The paper's form, ½ at logit 0.
    Sigmoid,
    /// `2σ`, exactly 1 at logit 0.
    TwoSigmoid,
}

impl Gate {
    pub fn gain(self) -> f32 {
        match self {
            Gate::Sigmoid => 1.0,
            Gate::TwoSigmoid => 2.0,
        }
    }

    /// How the mask is coded: 1/256 for σ; 1/128 for 2σ, so that 1.0 is the exact code 0.
    pub fn mask_codes(self) -> QuantParams {
        let scale = self.gain() / 256.0;
        QuantParams { scale, zero_point: -128, codes: CodeType::I8 }
    }
}

/// What of an attention module crosses back to the trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// The mask alone (h×w); the trunk multiplies.
    Mask,
    /// The attended map (h×w×c); it replaces the trunk's.
    Map,
}

/// Adds adapter nodes that belong to one site.
pub(crate) struct Build<'a> {
    pub graph: &'a mut Graph,
    /// The site's name; every node, edge and array of the adapter starts with it.
    pub site: String,
    pub seed: u64,
}

impl Build<'_> {
    /// Adds one node in `domain`, marked with the site.
    pub fn node(
        &mut self,
        part: &str,
        op: Op,
        inputs: &[EdgeId],
        params: &[ParamId],
        domain: HardwareDomain,
    ) -> Result<EdgeId, GraphError> {
        let end = self.graph.output;
        let name = format!("{}.{part}", self.site);
        let output = self.graph.add_node(&name, op, inputs, params)?;
        // Inserting beside the network does not move its end.
        self.graph.output = end;
        let node = self.graph.nodes.last_mut().expect("just added");
        node.domain = domain;
        node.site = Some(self.site.clone());
        Ok(output)
    }

    /// Leaves elements of a map out in training, or whole channels; the map itself where nothing goes.
    pub fn dropout(
        &mut self,
        part: &str,
        input: EdgeId,
        probability: f64,
        channels: bool,
    ) -> Result<EdgeId, GraphError> {
        if probability == 0.0 {
            return Ok(input);
        }
        let op = Op::Dropout(Dropout { probability, channels, seed: self.seed });
        self.node(part, op, &[input], &[], HardwareDomain::Adapter)
    }

    /// Adds a bias-free trainable convolution on the adapter device, initialised N(0, `sigma`²) or zero.
    pub fn conv(
        &mut self,
        part: &str,
        conv: Conv2d,
        input: EdgeId,
        sigma: f64,
        init: Init,
    ) -> Result<EdgeId, GraphError> {
        let key = format!("{}.{part}.weight", self.site);
        let values = match init {
            Init::He => seed::normal(self.seed, &key, conv.weights(), sigma),
            Init::Zero => vec![0.0; conv.weights()],
        };
        let dims = [conv.out_c, conv.kernel[0], conv.kernel[1], conv.in_c / conv.groups];
        let weight = self.graph.add_param(&key, &dims, ParamKind::Weight, ParamValue::F32(values));
        self.graph.params[weight.index()].trainable = true;
        self.node(part, Op::Conv2d(conv), &[input], &[weight], HardwareDomain::Adapter)
    }

    /// Multiplies the map `edge` by `mask` and lets every former reader of `edge` read the product,
    /// which keeps the map's codes.
    pub fn attend(
        &mut self,
        edge: EdgeId,
        mask: EdgeId,
        gate: Gate,
        back: Return,
        own: &[NodeId],
    ) -> Result<(), GraphError> {
        let domain = match back {
            Return::Mask => HardwareDomain::Trunk,
            Return::Map => HardwareDomain::Adapter,
        };
        let readers: Vec<NodeId> = self.graph.consumers(edge).into_iter().filter(|n| !own.contains(n)).collect();
        let product = self.node("product", Op::Mul, &[edge, mask], &[], domain)?;
        self.graph.edge_mut(mask).quant = Some(gate.mask_codes());
        self.graph.edge_mut(product).quant = self.graph.edge(edge).quant;
        for reader in readers {
            self.graph.rewire(reader, edge, product);
        }
        if self.graph.output == edge {
            self.graph.output = product;
        }
        Ok(())
    }
}
