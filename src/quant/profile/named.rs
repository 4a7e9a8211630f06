//! The named profiles: the runtimes and chips of SPEC 5.2 to 5.6, one constant each.

use super::{Arith, Granularity, Maker, OpKind, Profile, Rules};
use crate::quant::{MapCodes, MapRule, Overflow, RequantStyle, Round, WeightRule, When};

const DOUBLE: RequantStyle = RequantStyle::GemmlowpDouble;

/// Two roundings everywhere, gates in fixed point, wrapping 32 bits, affine maps, weights per channel.
const TFLM: Rules = Rules {
    name: "tflm",
    about: "TensorFlow Lite for Microcontrollers, CMSIS-NN as it is built by default",
    maker: Maker::Micro,
    base: DOUBLE,
    exceptions: &[],
    arith: Arith::INT8,
    maps: MapRule { codes: MapCodes::Affine, bits: 8 },
    weights: WeightRule { bits: 8, granularity: Granularity::PerChannel, power_of_two: false },
    folds_norms: false,
};

const TFLITE_REF: Rules = Rules {
    name: "tflite-ref",
    about: "TensorFlow Lite's reference kernels",
    maker: Maker::Tflite,
    exceptions: &[(OpKind::Linear, RequantStyle::Single)],
    ..TFLM
};

/// Measured on LiteRT 2.3.0 with the delegate off: layers of products shift half up, the rest as the
/// reference. Not exact here: the runtime's means, which have two forms of their own, and the last
/// channels of an int8 depthwise layer that do not fill a vector of eight, which it rounds twice.
const TFLITE_X86: Rules = Rules {
    name: "tflite-x86",
    about: "TensorFlow Lite's optimised x86 kernels without a delegate",
    maker: Maker::Optimised,
    exceptions: &[(OpKind::Conv2d, RequantStyle::Ruy), (OpKind::Linear, RequantStyle::Ruy)],
    ..TFLM
};

/// Measured on LiteRT 2.3.0. The delegate takes convolutions, linear layers, sums, products, means,
/// leaky ReLUs and requantisations; the optimised softmax has a form of its own; average pools and
/// other functions fall back to kernels that agree with the reference.
const TFLITE_XNNPACK: Rules = Rules {
    name: "tflite-xnnpack",
    about: "LiteRT's default: the XNNPACK delegate, and what it leaves to other kernels",
    maker: Maker::Xnnpack,
    base: RequantStyle::F32Rne,
    ..TFLM
};

const TFLITE_SINGLE: Rules = Rules {
    name: "tflite-single",
    about: "TensorFlow Lite and CMSIS-NN built for single rounding",
    maker: Maker::Tflite,
    base: RequantStyle::Single,
    ..TFLM
};

const ONNXRUNTIME: Rules = Rules {
    name: "onnxruntime",
    about: "ONNX Runtime's integer operators on a CPU",
    maker: Maker::Onnxruntime,
    base: RequantStyle::F32Rne,
    ..TFLM
};

const DPU: Rules = Rules {
    name: "dpu",
    about: "a Xilinx DPU: scales are powers of two, requantisation is a shift",
    maker: Maker::PowerOfTwo,
    base: RequantStyle::Shift { round: Round::HalfUp },
    maps: MapRule { codes: MapCodes::PowerOfTwo, bits: 8 },
    weights: WeightRule { bits: 8, granularity: Granularity::PerTensor, power_of_two: true },
    folds_norms: true,
    ..TFLM
};

const GEMMINI: Rules = Rules {
    name: "gemmini",
    about: "Gemmini: symmetric maps, one f32 factor per layer",
    maker: Maker::Gemmini,
    base: RequantStyle::F32Rne,
    maps: MapRule { codes: MapCodes::Symmetric, bits: 8 },
    weights: WeightRule { bits: 8, granularity: Granularity::PerTensor, power_of_two: false },
    folds_norms: true,
    ..TFLM
};

const NVDLA: Rules = Rules {
    name: "nvdla",
    about: "NVDLA: 34-bit saturating sums, a 16-bit factor and one shift per layer",
    maker: Maker::Tflite,
    base: RequantStyle::Nvdla,
    arith: Arith { accumulator_bits: 34, overflow: Overflow::Saturate, when: When::EachAdd, ..Arith::INT8 },
    maps: MapRule { codes: MapCodes::Symmetric, bits: 8 },
    ..TFLM
};

const PULP: Rules = Rules {
    name: "pulp",
    about: "PULP-NN and DORY: unsigned maps, 32-bit factors, floor",
    maker: Maker::Pulp,
    base: RequantStyle::MulShift { round: Round::Floor, shared: true },
    maps: MapRule { codes: MapCodes::Unsigned, bits: 8 },
    weights: WeightRule { bits: 8, granularity: Granularity::PerTensor, power_of_two: false },
    ..TFLM
};

pub(super) const PROFILES: [Rules; 10] =
    [TFLITE_REF, TFLM, TFLITE_XNNPACK, TFLITE_X86, TFLITE_SINGLE, ONNXRUNTIME, DPU, GEMMINI, NVDLA, PULP];

/// What a custom profile starts from: one exact product, rounded once.
pub(super) const CUSTOM: Rules =
    Rules { name: "custom", about: "as chosen: one rounding of the exact product", maker: Maker::Tflite, ..TFLM };

impl Profile {
    pub fn tflite_ref() -> Self {
        TFLITE_REF.into()
    }
    pub fn tflm() -> Self {
        TFLM.into()
    }
    pub fn tflite_xnnpack() -> Self {
        TFLITE_XNNPACK.into()
    }
    pub fn onnxruntime() -> Self {
        ONNXRUNTIME.into()
    }
}
