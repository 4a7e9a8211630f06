//! Adapter-device kernels. Each is a pair of one name: `shaders/x.wgsl`, and `x.rs` here with its
//! parameters, its bindings, its declared tolerance and its twin, the CPU function that defines it.
//!
//! Maps are NHWC `f32`; codes travel packed in words (`codes`). A kernel computes one output from
//! its inputs and a few parameters, and knows neither graphs nor devices. Nothing here checks user
//! input: shapes were checked by the operations that kernels are lowered from.
//!
//! To add a kernel: the two files, its `pub mod` line, and its line in the list below.

pub mod accumulate;
pub mod activation;
pub mod activation_grad;
pub mod adam_moment;
pub mod adam_step;
pub mod add;
pub mod affine;
pub mod avg_pool;
pub mod avg_pool_grad;
pub mod batch_norm;
pub mod batch_norm_input_grad;
pub mod batch_norm_scale_grad;
pub mod channel_max_index;
pub mod channel_moments;
pub mod channel_pool;
pub mod channel_pool_grad;
pub mod channel_sum;
pub mod clip_factor;
pub mod codes;
pub mod combine_moments;
pub mod concat;
pub mod conv1x1;
pub mod conv1x1_input_grad;
pub mod conv1x1_weight_grad;
pub mod conv2d;
pub mod conv2d_input_grad;
pub mod conv2d_weight_grad;
pub mod crop;
pub mod cross_entropy;
pub mod cross_entropy_grad;
pub mod dequantise;
pub mod dot_channels;
pub mod dot_positions;
pub mod dropout;
mod gemm;
pub mod global_mean;
pub mod global_mean_grad;
mod lanes;
pub mod linear;
pub mod linear_weight_grad;
pub mod mask_grad;
pub mod max_pool;
pub mod max_pool_grad;
pub mod max_pool_index;
pub mod mul;
mod outer;
pub mod pad;
mod params;
pub mod pass_mask;
pub mod requantise;
pub mod running_stats;
pub mod scale;
pub mod sgd_step;
pub mod sgd_velocity;
pub mod softmax;
pub mod softmax_grad;
pub mod sum_rows;
pub mod sum_squares;
mod tolerance;
pub mod transpose;
pub mod upsample;
mod window;

pub use tolerance::{Mismatch, Tolerance};

/// A buffer of a program, by its position in the list given to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufferId(pub u32);

/// What a word of a buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    F32,
    /// Packed codes, or bits that are moved unread.
    U32,
}

impl Cell {
    const fn wgsl(self) -> &'static str {
        match self {
            Cell::F32 => "f32",
            Cell::U32 => "u32",
        }
    }
}

/// The buffers of a kernel: its inputs are `in0`, `in1`, … and its output is `out` in the shader.
///
/// A kernel may read its output: optimisers update it in place, sums continue from it. What needs two
/// outputs is two kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bindings {
    pub inputs: &'static [Cell],
    pub output: Cell,
}

/// One kernel on given buffers, as plain data.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelCall {
    pub kernel: Kernel,
    /// The kernel's `Params` as words; the first is the batch.
    pub params: Vec<u32>,
    pub inputs: Vec<BufferId>,
    pub output: BufferId,
}

impl KernelCall {
    /// The same call for another number of images.
    pub fn with_batch(mut self, batch: u32) -> Self {
        self.params[0] = batch;
        self
    }

    /// The same call in the first micro-batch of a step, where a sum over the batch starts from zero.
    pub fn starting(mut self) -> Self {
        if matches!(self.kernel, Kernel::SumRows | Kernel::LinearWeightGrad) {
            self.params[sum_rows::Params::ACCUMULATE] = 0;
        }
        self
    }

    /// The same call in another step: what is left out at random changes with it.
    pub fn at_step(mut self, step: u32) -> Self {
        if self.kernel == Kernel::Dropout {
            self.params[dropout::Params::STEP] = step;
        }
        self
    }

    /// Multiply-accumulates that the call does, from its own parameters; a gradient's are its forward kernel's.
    pub fn macs(&self) -> u64 {
        match self.kernel {
            Kernel::Conv2d | Kernel::Conv2dInputGrad | Kernel::Conv2dWeightGrad => {
                conv2d::macs(&conv2d::Params::from_words(&self.params))
            }
            Kernel::Conv1x1 | Kernel::Conv1x1InputGrad | Kernel::Conv1x1WeightGrad => {
                conv1x1::macs(&conv1x1::Params::from_words(&self.params))
            }
            Kernel::Linear => linear::macs(&linear::Params::from_words(&self.params)),
            Kernel::LinearWeightGrad => linear_weight_grad::macs(&linear_weight_grad::Params::from_words(&self.params)),
            _ => 0,
        }
    }

    /// Words that the call reads of each input.
    pub fn input_words(&self) -> Vec<usize> {
        self.kernel.input_words(&self.params)
    }

    /// Words of the output that the call may touch.
    pub fn output_words(&self) -> usize {
        self.kernel.output_words(&self.params)
    }
}

/// Shader invocations in a workgroup, in every kernel.
pub const WORKGROUP: usize = 64;

/// Workgroups that a device must allow in each dimension of a grid.
pub const MAX_GROUPS: usize = 65_535;

/// The grid for `invocations`, folded into two dimensions when one would be too long; `None` if
/// indices would not fit the shader's 32 bits.
pub fn grid(invocations: usize) -> Option<[u32; 2]> {
    let groups = invocations.div_ceil(WORKGROUP);
    let rows = groups.div_ceil(MAX_GROUPS).max(1);
    let columns = groups.min(MAX_GROUPS);
    let fits = rows <= MAX_GROUPS && rows * columns * WORKGROUP <= u32::MAX as usize;
    fits.then_some([columns as u32, rows as u32])
}

/// What every shader begins with, after its bindings.
const SHADER_COMMON: &str = "
/// Position of this invocation in a grid that may be folded into two dimensions.
fn flat_index(id: vec3<u32>, groups: vec3<u32>) -> u32 {
    return id.y * (groups.x * 64u) + id.x;
}
";

/// What several shaders share, by the function that they call of it.
const SNIPPETS: [(&str, &str); 4] = [
    ("workgroup_sum(", include_str!("../../shaders/common/workgroup_sum.wgsl")),
    ("index_bits(", include_str!("../../shaders/common/index_bits.wgsl")),
    ("sum_lanes(", include_str!("../../shaders/common/lanes.wgsl")),
    ("philox(", include_str!("../../shaders/common/philox.wgsl")),
];

fn shader(bindings: Bindings, params: &str, body: &str) -> String {
    let mut text = String::new();
    for (i, cell) in bindings.inputs.iter().enumerate() {
        text += &format!("@group(0) @binding({i}) var<storage, read> in{i}: array<{}>;\n", cell.wgsl());
    }
    let n = bindings.inputs.len();
    text += &format!("@group(0) @binding({n}) var<storage, read_write> out: array<{}>;\n", bindings.output.wgsl());
    text += params;
    text += &format!("@group(0) @binding({}) var<uniform> p: Params;\n", n + 1);
    text += SHADER_COMMON;
    for (function, snippet) in SNIPPETS {
        if body.contains(function) {
            text += snippet;
        }
    }
    text + body
}

/// The list of kernels: makes the enum and sends each of its functions to the module of that name.
macro_rules! kernels {
    ($($(#[$doc:meta])* $variant:ident => $module:ident),+ $(,)?) => {
        /// Every kernel there is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kernel { $($(#[$doc])* $variant),+ }

        impl Kernel {
            pub const ALL: &'static [Kernel] = &[$(Kernel::$variant),+];

            /// The name of its two files.
            pub const fn name(self) -> &'static str {
                match self { $(Kernel::$variant => stringify!($module)),+ }
            }

            /// Its shader: bindings, parameters, common functions, and the file.
            pub fn wgsl(self) -> String {
                match self { $(Kernel::$variant => shader(
                    $module::BINDINGS,
                    $module::Params::WGSL,
                    include_str!(concat!("../../shaders/", stringify!($module), ".wgsl")),
                )),+ }
            }

            pub const fn bindings(self) -> Bindings {
                match self { $(Kernel::$variant => $module::BINDINGS),+ }
            }

            /// Bytes of its parameters, without padding.
            pub const fn params_bytes(self) -> usize {
                match self { $(Kernel::$variant => size_of::<$module::Params>()),+ }
            }

            /// How far a device may stray from the twin under these parameters.
            pub fn tolerance(self, params: &[u32]) -> Tolerance {
                match self { $(Kernel::$variant => $module::tolerance(&$module::Params::from_words(params))),+ }
            }

            /// Shader invocations, before rounding up to whole workgroups.
            pub fn invocations(self, params: &[u32]) -> usize {
                match self { $(Kernel::$variant => $module::invocations(&$module::Params::from_words(params))),+ }
            }

            pub fn input_words(self, params: &[u32]) -> Vec<usize> {
                match self { $(Kernel::$variant => $module::input_words(&$module::Params::from_words(params)).to_vec()),+ }
            }

            pub fn output_words(self, params: &[u32]) -> usize {
                match self { $(Kernel::$variant => $module::output_words(&$module::Params::from_words(params))),+ }
            }

            /// The definition. `inputs` and `out` have exactly the words that the parameters ask for.
            pub fn twin(self, params: &[u32], inputs: &[&[u32]], out: &mut [u32]) {
                match self { $(Kernel::$variant => $module::twin(&$module::Params::from_words(params), inputs, out)),+ }
            }
        }
    };
}

kernels! {
    /// Convolution, any kernel, grouped or not.
    Conv2d => conv2d,
    /// 1×1 convolution without padding or groups.
    Conv1x1 => conv1x1,
    /// Fully connected layer.
    Linear => linear,
    /// Elementwise function.
    Activation => activation,
    /// Elementwise sum.
    Add => add,
    /// Elementwise product, the second operand broadcast.
    Mul => mul,
    /// Per-channel scale and shift.
    Affine => affine,
    /// Mean and maximum over channels.
    ChannelPool => channel_pool,
    AvgPool => avg_pool,
    MaxPool => max_pool,
    /// Mean over all positions.
    GlobalMean => global_mean,
    /// Zero padding in space and channels.
    Pad => pad,
    /// One part of a concatenation along channels.
    Concat => concat,
    /// Height, width and channels in another order.
    Transpose => transpose,
    /// Enlargement by whole factors.
    Upsample => upsample,
    /// Softmax over channels.
    Softmax => softmax,
    /// Packed codes to f32.
    Dequantise => dequantise,
    /// f32 to packed codes.
    Requantise => requantise,
    /// Input gradient of a 1×1 convolution or a fully connected layer.
    Conv1x1InputGrad => conv1x1_input_grad,
    /// Weight gradient of a 1×1 convolution, in parts.
    Conv1x1WeightGrad => conv1x1_weight_grad,
    /// Input gradient of any convolution.
    Conv2dInputGrad => conv2d_input_grad,
    /// Weight gradient of any convolution, in parts.
    Conv2dWeightGrad => conv2d_weight_grad,
    /// Weight gradient of a fully connected layer.
    LinearWeightGrad => linear_weight_grad,
    /// Sum over the positions of an image.
    ChannelSum => channel_sum,
    /// Adds up parts in order.
    SumRows => sum_rows,
    /// Softmax cross-entropy and hit of each image.
    CrossEntropy => cross_entropy,
    CrossEntropyGrad => cross_entropy_grad,
    /// Which elements a clamp passes, one bit each.
    PassMask => pass_mask,
    /// Gradient of a clamp or leaky ReLU, from bits.
    MaskGrad => mask_grad,
    /// Gradient of an elementwise function.
    ActivationGrad => activation_grad,
    /// Sum over channels of a product.
    DotChannels => dot_channels,
    /// Sum over positions of a product.
    DotPositions => dot_positions,
    /// Mean and variance by image and channel.
    ChannelMoments => channel_moments,
    /// Mean and variance of a batch.
    CombineMoments => combine_moments,
    RunningStats => running_stats,
    /// Batch norm by given statistics.
    BatchNorm => batch_norm,
    /// Gradient of gamma by image.
    BatchNormScaleGrad => batch_norm_scale_grad,
    /// Input gradient of a batch norm by the statistics of its batch.
    BatchNormInputGrad => batch_norm_input_grad,
    /// The channel of each pixel's maximum.
    ChannelMaxIndex => channel_max_index,
    ChannelPoolGrad => channel_pool_grad,
    AvgPoolGrad => avg_pool_grad,
    /// Which position of its window a maximum pooling chose.
    MaxPoolIndex => max_pool_index,
    MaxPoolGrad => max_pool_grad,
    GlobalMeanGrad => global_mean_grad,
    /// A window of a map: the gradient of padding and of concatenation.
    Crop => crop,
    SoftmaxGrad => softmax_grad,
    SgdVelocity => sgd_velocity,
    /// A step of stochastic gradient descent.
    SgdStep => sgd_step,
    AdamMoment => adam_moment,
    /// A step of Adam or AdamW.
    AdamStep => adam_step,
    /// Parts of a norm.
    SumSquares => sum_squares,
    /// Factor that clips gradients to a norm.
    ClipFactor => clip_factor,
    /// Multiplies by one value, in place.
    Scale => scale,
    /// Adds in place.
    Accumulate => accumulate,
    /// Dropout of elements or channels, and its gradient.
    Dropout => dropout,
}

/// Elements that one rayon task of a cheap twin handles: enough to hide the hand-over.
const TASK_ELEMENTS: usize = 16 * 1024;

fn floats(words: &[u32]) -> &[f32] {
    bytemuck::cast_slice(words)
}

fn floats_mut(words: &mut [u32]) -> &mut [f32] {
    bytemuck::cast_slice_mut(words)
}

/// The size of a map as a parameter; the maps of a program are bounded by its buffers.
fn size(n: usize) -> u32 {
    u32::try_from(n).expect("a map's dimension fits 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_cover_their_invocations_within_the_limits() {
        for n in [0, 1, 64, 65, 65_535 * 64, 65_535 * 64 + 1, 65_536 * 64 + 5, 1 << 31] {
            let [x, y] = grid(n).unwrap();
            assert!(x <= 65_535 && y <= 65_535, "{n}: {x}x{y}");
            assert!(x as usize * y as usize * WORKGROUP >= n, "{n}: {x}x{y}");
        }
        assert_eq!(grid(u32::MAX as usize + 1), None);
    }

    #[test]
    fn every_kernel_names_its_bindings_in_its_shader() {
        for &kernel in Kernel::ALL {
            let text = kernel.wgsl();
            for i in 0..kernel.bindings().inputs.len() {
                assert!(text.matches(&format!("in{i}")).count() > 1, "{} never reads in{i}", kernel.name());
            }
            assert!(kernel.bindings().inputs.len() < 8, "{} has too many buffers", kernel.name());
            assert!(text.contains("@workgroup_size(64)"), "{}", kernel.name());
        }
    }
}
