//! A trunk as a SCALE-Sim topology, with sizes that SCALE-Sim computes right.
//!
//! It has no padding and rounds outputs up, so a map is written as the size that gives exactly our
//! output: `(out - 1) * stride + filter`. Depthwise layers are named with `DP`; other grouped layers
//! become a row per group; strides that differ by direction become the matrix product that they are.
//! Dilation needs no field: positions and products stay the same. Layers without MACs are left out,
//! which SCALE-Sim cannot express.

use crate::graph::{Graph, GraphError};
use crate::hw::timing::layers::{self, Layer};
use crate::hw::timing::{LayerKind, Window};
use std::fmt::Write;

/// A topology, and how many of the trunk's layers it leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    pub csv: String,
    pub rows: usize,
    pub left_out: usize,
}

const HEADER: &str =
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n";

/// Writes the layers of a trunk that multiply.
pub fn topology(graph: &Graph) -> Result<Export, GraphError> {
    let layers = layers::of(graph)?;
    let mut export = Export { csv: HEADER.into(), rows: 0, left_out: 0 };
    for layer in &layers {
        match layer.work.kind {
            LayerKind::Conv | LayerKind::Depthwise | LayerKind::Linear => export.layer(layer),
            _ => export.left_out += 1,
        }
    }
    Ok(export)
}

impl Export {
    fn layer(&mut self, layer: &Layer) {
        let window = &layer.work.window;
        let name = plain(&layer.name);
        let groups = window.groups.max(1);
        if layer.work.kind == LayerKind::Depthwise {
            return self.row(&format!("{name}_DP"), window, window.in_c, window.out_c / groups);
        }
        for group in 0..groups {
            let name = if groups == 1 { name.clone() } else { format!("{name}_g{group}") };
            self.row(&name, window, window.in_c / groups, window.out_c / groups);
        }
    }

    fn row(&mut self, name: &str, w: &Window, channels: u64, filters: u64) {
        let whole = |i: usize| ([w.out_h, w.out_w][i] - 1) * w.stride[0] + w.kernel[i];
        let [h, width, kh, kw, channels, stride] = if w.stride[0] == w.stride[1] {
            [whole(0), whole(1), w.kernel[0], w.kernel[1], channels, w.stride[0]]
        } else if name.ends_with("_DP") {
            // Per channel, the taps lie side by side: a row of output positions by a filter of all taps.
            let taps = w.taps();
            [w.out_pixels(), taps, 1, taps, channels, 1]
        } else {
            [w.out_h, w.out_w, 1, 1, w.taps() * channels, 1]
        };
        // Writing to a text does not fail.
        let _ = writeln!(self.csv, "{name},{h},{width},{kh},{kw},{channels},{filters},{stride},");
        self.rows += 1;
    }
}

/// A name without what SCALE-Sim would read as something else.
fn plain(name: &str) -> String {
    let safe = |c: char| if c == ',' || c.is_control() || c.is_whitespace() { '_' } else { c };
    let name: String = name.chars().map(safe).collect();
    // `DP` would make a depthwise layer of it.
    name.replace("DP", "Dp")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{ParamKind, ParamValue};
    use crate::hw::scalesim::Topology;
    use crate::op::{Conv2d, Op};
    use crate::tensor::Shape;

    /// Every product of matrices comes back as it was.
    #[test]
    fn sizes_come_back() {
        let mut g = Graph::new("g", Shape::new(9, 8, 6));
        let base = Conv2d::square(6, 6, 3, 2, 1);
        let convs = [
            base.clone(),
            Conv2d { groups: 6, ..base.clone() },
            Conv2d { groups: 2, ..base.clone() },
            Conv2d { stride: [2, 1], ..base.clone() },
            Conv2d { stride: [1, 2], groups: 6, ..base.clone() },
            Conv2d { dilation: [2, 2], stride: [1, 1], pad: [2; 4], ..base.clone() },
        ];
        let mut wanted = Vec::new();
        for (i, conv) in convs.into_iter().enumerate() {
            let name = format!("DP, {i}");
            let dims = [6, 3, 3, 6 / conv.groups];
            let w = g.add_param(&name, &dims, ParamKind::Weight, ParamValue::ShapeOnly(conv.weights()));
            let groups = conv.groups as u64;
            let out = g.add_node(&name, Op::Conv2d(conv), &[g.input], &[w]).unwrap();
            let size = (g.shape(out).pixels() as u64, 6 / groups, 9 * 6 / groups);
            wanted.extend(std::iter::repeat_n(size, groups as usize));
        }
        g.add_node("add", Op::Add, &[g.input, g.input], &[]).unwrap();
        let export = topology(&g).unwrap();
        assert_eq!((export.rows, export.left_out), (7, 1));
        let back = Topology::parse(&export.csv, "g".into(), "g.csv").unwrap();
        let sizes: Vec<_> = back.layers.iter().map(|l| l.gemm()).map(|g| (g.m, g.n, g.k)).collect();
        assert_eq!(sizes, wanted, "{}", export.csv);
    }
}
