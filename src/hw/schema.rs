//! The words of a hardware model file that are structure and not physics.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Gives a closed word its text in files, in messages and on the command line.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(match self { $(Self::$variant => $text),+ })
            }
        }
    };
}
pub(crate) use words;

words!(
    /// What a hardware model file describes.
    Kind {
        Trunk = "trunk",
        Adapter = "adapter",
        Link = "link",
        Memory = "memory",
        /// What operations and small memories take, by process.
        Table = "table",
        /// One trunk, one adapter device and the link between them.
        System = "system",
    }
);

impl Kind {
    /// The folder of `hw_models/` that holds these.
    pub fn folder(self) -> &'static str {
        match self {
            Kind::Trunk => "trunks",
            Kind::Adapter => "adapters",
            Kind::Link => "links",
            Kind::Memory => "memories",
            Kind::Table => "tables",
            Kind::System => "systems",
        }
    }

    /// What a file of this kind says under `schema`.
    pub fn schema(self) -> String {
        format!("hw_models/{self}/1")
    }

    pub fn of_schema(schema: &str) -> Option<Kind> {
        Kind::ALL.iter().copied().find(|kind| kind.schema() == schema)
    }
}

words!(
    /// Through which interface kernels are launched.
    LaunchApi {
        Vulkan = "vulkan",
        Metal = "metal",
        Dx12 = "dx12",
        Cuda = "cuda",
        Opencl = "opencl",
        Cpu = "cpu",
    }
);

words!(
    /// The side that rounds a value to codes before it enters the trunk.
    RoundsAt {
        Adapter = "adapter",
        Trunk = "trunk",
    }
);

words!(
    /// Whether both directions of a link can be used at once.
    Duplex {
        Full = "full",
        Half = "half",
    }
);

words!(
    /// How far transfers run beside computing and beside each other.
    Overlap {
        /// One transfer at a time, its latency included, and neither end computes meanwhile.
        None = "none",
        /// Two transfers under way in a direction: one on the wires, one on its way to them or from them.
        DoubleBuffer = "double_buffer",
        /// Only the wires are waited for.
        Full = "full",
    }
);

words!(
    /// Who drives a transfer, seen from the side that the data leaves or enters.
    Access {
        /// The holder of the data sends it and goes on.
        Write = "write",
        /// The wanter of the data asks for it and waits.
        Read = "read",
    }
);

words!(
    /// Another simulator's arithmetic, kept to the digit.
    Compat {
        /// ASTRA-sim's congestion-aware network: whole nanoseconds, cut off and not rounded.
        Astra = "astra-sim",
    }
);

/// How a step's compute time and memory time make its time.
///
/// A file writes `max` or `sum`; what the terms are may follow in parentheses, for the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum CostRule {
    Max,
    Sum,
}

impl TryFrom<String> for CostRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split('(').next().unwrap_or_default().trim() {
            "max" => Ok(CostRule::Max),
            "sum" => Ok(CostRule::Sum),
            _ => Err(format!("unknown cost rule `{text}`, expected `max` or `sum`")),
        }
    }
}

impl fmt::Display for CostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CostRule::Max => "max",
            CostRule::Sum => "sum",
        })
    }
}

words!(
    /// What a point says of a model.
    PointRole {
        /// The model's figures were chosen to meet it.
        Fit = "fit",
        /// The model knows nothing of it.
        Test = "test",
    }
);

/// A published number that a simulation of this hardware should meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// What was measured, where it is not a network.
    pub what: Option<String>,
    /// Width of the link, where it is not the file's.
    pub lanes: Option<u32>,
    /// Bytes of each transfer, of a link.
    pub payload_b: Option<u64>,
    /// Who drives the transfers, of a link; writes unless it says otherwise.
    pub access: Option<Access>,
    /// A test unless it says that it is a fit.
    pub role: Option<PointRole>,
    pub model: Option<String>,
    pub input: Option<String>,
    pub batch: Option<u32>,
    pub precision: Option<String>,
    pub metric: String,
    pub value: f64,
    pub tolerance_frac: f64,
    pub src: String,
}
