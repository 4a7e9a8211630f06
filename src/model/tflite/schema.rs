//! The part of TFLite's public FlatBuffers schema that the importer reads.
//!
//! Field and union numbers are those of `schema.fbs` version 3. The tables are declared here
//! rather than generated: the released `flatc` writes 20,000 lines for the whole schema, and the
//! importer reads fifteen tables. What a declaration expands to is what `flatc` would have
//! written: accessors that trust the bytes, behind a verifier that has walked all of them.
//!
//! A [`Model`] can be had only through [`root`], which verifies.

use flatbuffers::{
    Follow, ForwardsUOffset, InvalidFlatbuffer, Table, VOffsetT, Vector, Verifiable, Verifier, VerifierOptions,
};

/// A table of which only the presence matters: its first four bytes.
type Presence = u32;

/// Where field number `id` is looked up in a vtable.
const fn slot(id: u16) -> VOffsetT {
    4 + 2 * id
}

/// One field: a scalar with its default, or a reference, which may be absent.
macro_rules! field {
    (wire $ty:ty = $default:literal) => { $ty };
    (wire $ty:ty) => { ForwardsUOffset<$ty> };
    (value $a:lifetime $ty:ty = $default:literal) => { $ty };
    (value $a:lifetime $ty:ty) => { Option<<ForwardsUOffset<$ty> as Follow<$a>>::Inner> };
    // SAFETY (both): a table is reached from `root` only, whose verifier has checked that every
    // declared field present in the vtable holds a value of its declared type.
    (get $table:expr, $id:literal, $ty:ty = $default:literal) => {
        unsafe { $table.get::<$ty>(slot($id), None) }.unwrap_or($default)
    };
    (get $table:expr, $id:literal, $ty:ty) => {
        unsafe { $table.get::<ForwardsUOffset<$ty>>(slot($id), None) }
    };
}

macro_rules! tables {
    ($( $(#[$doc:meta])* $name:ident<$a:lifetime> {
        $( $id:literal $field:ident: $ty:ty $(= $default:literal)?, )*
        $( union $tag_id:literal $union_id:literal { $( $tag:literal $variant:ident: $variant_ty:ty, )* } )?
    } )+) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name<$a>(Table<$a>);

        impl<$a> $name<$a> {
            $( pub fn $field(self) -> field!(value $a $ty $(= $default)?) {
                field!(get self.0, $id, $ty $(= $default)?)
            } )*
            $( $( pub fn $variant(self) -> Option<$variant_ty> {
                let tag = field!(get self.0, $tag_id, u8 = 0);
                if tag == $tag { field!(get self.0, $union_id, $variant_ty) } else { None }
            } )* )?
        }

        impl<$a> Follow<$a> for $name<$a> {
            type Inner = Self;
            unsafe fn follow(bytes: &$a [u8], position: usize) -> Self {
                // SAFETY: the caller vouches for a table at `position`.
                Self(unsafe { Table::new(bytes, position) })
            }
        }

        impl<$a> Verifiable for $name<$a> {
            fn run_verifier(verifier: &mut Verifier, position: usize) -> Result<(), InvalidFlatbuffer> {
                verifier
                    .visit_table(position)?
                    $( .visit_field::<field!(wire $ty $(= $default)?)>(stringify!($field), slot($id), false)? )*
                    $( .visit_union::<u8, _>(
                        "builtin_options_type", slot($tag_id), "builtin_options", slot($union_id), false,
                        |tag, verifier, position| match tag {
                            $( $tag => verifier.verify_union_variant::<ForwardsUOffset<$variant_ty>>(
                                stringify!($variant), position), )*
                            _ => Ok(()),
                        },
                    )? )?
                    .finish();
                Ok(())
            }
        }
    )+ };
}

tables! {
    Model<'a> {
        0 version: u32 = 0,
        1 operator_codes: Vector<'a, ForwardsUOffset<OperatorCode<'a>>>,
        2 subgraphs: Vector<'a, ForwardsUOffset<SubGraph<'a>>>,
        4 buffers: Vector<'a, ForwardsUOffset<Buffer<'a>>>,
    }
    OperatorCode<'a> {
        0 deprecated_builtin_code: i8 = 0,
        1 custom_code: &'a str,
        3 builtin_code: i32 = 0,
    }
    SubGraph<'a> {
        0 tensors: Vector<'a, ForwardsUOffset<Tensor<'a>>>,
        1 inputs: Vector<'a, i32>,
        2 outputs: Vector<'a, i32>,
        3 operators: Vector<'a, ForwardsUOffset<Operator<'a>>>,
    }
    /// `offset` and `size` place the data behind the FlatBuffer (files beyond 2 GiB).
    Buffer<'a> {
        0 data: Vector<'a, u8>,
        1 offset: u64 = 0,
        2 size: u64 = 0,
    }
    Tensor<'a> {
        0 shape: Vector<'a, i32>,
        1 kind: i8 = 0,
        2 buffer: u32 = 0,
        3 name: &'a str,
        4 quantization: Quantization<'a>,
        5 is_variable: bool = false,
        6 sparsity: Presence,
        7 shape_signature: Vector<'a, i32>,
    }
    Quantization<'a> {
        2 scale: Vector<'a, f32>,
        3 zero_point: Vector<'a, i64>,
        4 details_type: u8 = 0,
        6 quantized_dimension: i32 = 0,
    }
    Operator<'a> {
        0 opcode_index: u32 = 0,
        1 inputs: Vector<'a, i32>,
        2 outputs: Vector<'a, i32>,
        union 3 4 {
            1 conv2d: Conv2dOptions<'a>,
            2 depthwise: DepthwiseOptions<'a>,
            5 pool: PoolOptions<'a>,
            8 fully_connected: FullyConnectedOptions<'a>,
            9 softmax: SoftmaxOptions<'a>,
            10 concatenation: ConcatenationOptions<'a>,
            11 add: FusedOptions<'a>,
            21 mul: FusedOptions<'a>,
            75 leaky_relu: LeakyReluOptions<'a>,
        }
    }
    Conv2dOptions<'a> {
        0 padding: i8 = 0,
        1 stride_w: i32 = 0,
        2 stride_h: i32 = 0,
        3 fused: i8 = 0,
        4 dilation_w: i32 = 1,
        5 dilation_h: i32 = 1,
    }
    DepthwiseOptions<'a> {
        0 padding: i8 = 0,
        1 stride_w: i32 = 0,
        2 stride_h: i32 = 0,
        3 depth_multiplier: i32 = 0,
        4 fused: i8 = 0,
        5 dilation_w: i32 = 1,
        6 dilation_h: i32 = 1,
    }
    PoolOptions<'a> {
        0 padding: i8 = 0,
        1 stride_w: i32 = 0,
        2 stride_h: i32 = 0,
        3 filter_w: i32 = 0,
        4 filter_h: i32 = 0,
        5 fused: i8 = 0,
    }
    FullyConnectedOptions<'a> {
        0 fused: i8 = 0,
        1 weights_format: i8 = 0,
    }
    SoftmaxOptions<'a> {
        0 beta: f32 = 0.0,
    }
    ConcatenationOptions<'a> {
        0 axis: i32 = 0,
        1 fused: i8 = 0,
    }
    /// Of ADD and MUL, which begin alike.
    FusedOptions<'a> {
        0 fused: i8 = 0,
    }
    LeakyReluOptions<'a> {
        0 alpha: f32 = 0.0,
    }
}

/// The model at the root of `bytes`, every byte it refers to verified.
///
/// FlatBuffers may share parts, so that walking a small file can take long; the walk is limited
/// to a few times the file's own size, which real files stay far below.
pub fn root(bytes: &[u8]) -> Result<Model<'_>, InvalidFlatbuffer> {
    const SLACK_BYTES: usize = 1 << 16;
    let options = VerifierOptions {
        max_depth: 16,
        max_tables: bytes.len() / 4 + 1,
        max_apparent_size: bytes.len().saturating_mul(4).saturating_add(SLACK_BYTES),
        ignore_missing_null_terminator: true,
    };
    flatbuffers::root_with_opts::<Model>(&options, bytes)
}
