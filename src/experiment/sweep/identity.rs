//! By what a trunk and a system are known: SHA-256 of all that results depend on, whatever file it came from.

use crate::experiment::trunk::Trunk;
use crate::graph::ParamValue;
use crate::hw::System;
use crate::model::{hex, sha256_hex};
use sha2::{Digest, Sha256};

/// Of a trunk as it was opened: its network with all values, its arithmetic, how images enter it.
pub fn trunk_sha256(trunk: &Trunk) -> String {
    let mut hash = Sha256::new();
    // Every part with its length, so that no two lists of parts make the same bytes.
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    let graph = &trunk.graph;
    part(format!("{} {} {:?}", trunk.profile, trunk.calibration, trunk.preprocess).as_bytes());
    part(format!("{:?} {:?}", graph.input, graph.output).as_bytes());
    for node in &graph.nodes {
        part(format!("{node:?}").as_bytes());
    }
    for edge in &graph.edges {
        part(format!("{edge:?}").as_bytes());
    }
    for param in &graph.params {
        part(format!("{} {:?} {:?}", param.name, param.dims, param.kind).as_bytes());
        part(bytemuck::cast_slice(&param.input_means));
        match &param.value {
            ParamValue::F32(values) => part(bytemuck::cast_slice(values)),
            ParamValue::I8 { codes, scales, zero_points } => {
                part(bytemuck::cast_slice(codes));
                part(bytemuck::cast_slice(scales));
                part(bytemuck::cast_slice(zero_points));
            }
            ParamValue::I32 { codes, scales } => {
                part(bytemuck::cast_slice(codes));
                part(bytemuck::cast_slice(scales));
            }
            ParamValue::ShapeOnly(len) => part(format!("{len} unknown values").as_bytes()),
        }
    }
    hex(&hash.finalize())
}

/// Of a system with every figure of its parts.
pub fn system_sha256(system: &System) -> String {
    sha256_hex(format!("{system:?}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::trunk::Wanted;
    use crate::hw::library::load_system;

    #[test]
    fn a_value_makes_another_trunk_and_a_figure_another_system() {
        let mut trunk = Trunk::open("resnet8", Wanted::default()).unwrap();
        let was = trunk_sha256(&trunk);
        assert_eq!(trunk_sha256(&Trunk::open("resnet8", Wanted::default()).unwrap()), was);
        if let ParamValue::F32(values) = &mut trunk.graph.params[0].value {
            values[0] += 1.0;
        }
        assert_ne!(trunk_sha256(&trunk), was);
        let [a, b] = ["asic-h200-pcie", "asic-a100-pcie"].map(|n| system_sha256(&load_system(n).unwrap()));
        assert_ne!(a, b);
        assert_eq!(a, system_sha256(&load_system("asic-h200-pcie").unwrap()));
    }
}
