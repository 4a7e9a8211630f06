//! Adapter device files: the GPU, or CPU, on which adapters train.

use super::error::HwError;
use super::figure::{Figure, section};
use super::memory::{MemoryLevel, check_levels, check_node};
use super::reader::ModelFile;
use super::schema::{Kind, LaunchApi, Validation, words};
use super::source::Source;
use std::collections::BTreeMap;

words!(
    /// What an adapter device is.
    AdapterKind {
        Gpu = "gpu",
        Igpu = "igpu",
        Cpu = "cpu",
    }
);

section!(
    /// Rates: the catalogue's, and those that large matrix products reach.
    #[derive(Default)]
    AdapterCompute {
        figures {
            peak_fp32_tflop_per_s: Figure,
            peak_fp16_tflop_per_s: Figure,
            peak_bf16_tflop_per_s: Figure,
            gemm_fp32_tflop_per_s: Figure,
            gemm_fp16_tflop_per_s: Figure,
            gemm_bf16_tflop_per_s: Figure,
        }
        plain {
            /// Matrix size and the fraction of the peak reached there.
            #[serde(default)]
            small_gemm_curve: Vec<(f64, f64)>,
        }
    }
);

section!(
    /// Launching a kernel through one interface.
    Launch {
        figures {
            one_way_us: Figure,
            round_trip_us: Figure,
        }
        plain {}
    }
);

section!(
    /// Power of the device.
    #[derive(Default)]
    AdapterPower {
        figures {
            tdp_w: Figure,
            idle_w: Figure,
            idle_context_w: Figure,
            fp32_pj_per_flop: Figure,
            fp16_pj_per_flop: Figure,
            bf16_pj_per_flop: Figure,
        }
        plain {
            /// Whether the energy of an operation was taken from the whole device's power, so that
            /// its memory's traffic is in it already.
            pj_per_flop_includes_memory: Option<bool>,
        }
    }
);

section!(
    /// An adapter device file.
    Adapter {
        figures {
            compute: AdapterCompute,
            launch: BTreeMap<LaunchApi, Launch>,
            memory: BTreeMap<String, MemoryLevel>,
            power: AdapterPower,
            published: BTreeMap<String, Figure>,
        }
        plain {
            schema: String,
            name: String,
            kind: AdapterKind,
            node_nm: Option<f64>,
            /// The interface that kernels go through, unless a system says otherwise.
            launch_api: Option<LaunchApi>,
            note: Option<String>,
            #[serde(default)]
            validation: Vec<Validation>,
            #[serde(default)]
            sources: BTreeMap<String, String>,
        }
    }
);

impl Adapter {
    /// As reports name it.
    pub fn path(&self) -> String {
        format!("{}/{}", Kind::Adapter, self.name)
    }

    /// The device's own memory.
    pub fn device_memory(&self) -> Option<&MemoryLevel> {
        self.memory.get("device")
    }

    /// The interfaces that the file has times for.
    pub fn launch_apis(&self) -> String {
        self.launch.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

impl ModelFile for Adapter {
    const KIND: Kind = Kind::Adapter;

    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> &BTreeMap<String, String> {
        &self.sources
    }

    fn validations(&self) -> &[Validation] {
        &self.validation
    }

    fn check(&self, source: &Source) -> Result<(), HwError> {
        check_node(self.node_nm, source)?;
        check_levels(&self.memory, source)?;
        for (n, fraction) in &self.compute.small_gemm_curve {
            if !(n.is_finite() && *n >= 1.0 && (0.0..=1.5).contains(fraction)) {
                let right = "pairs of a matrix size (at least 1) and a fraction of the peak, such as [[256, 0.1]]";
                return Err(source.wrong("compute.small_gemm_curve", format!("[{n}, {fraction}]"), right));
            }
        }
        match self.launch_api {
            Some(api) if !self.launch.contains_key(&api) => {
                let right = format!("a table [launch.{api}], or one of: {}", self.launch_apis());
                Err(source.wrong("launch_api", format!("there is no [launch.{api}]"), right))
            }
            _ => Ok(()),
        }
    }
}
