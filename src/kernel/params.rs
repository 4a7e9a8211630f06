//! The one declaration of a kernel's parameters, for Rust and for WGSL.

/// Declares `Params` of a kernel: a Pod struct here and the text of the WGSL struct of the same
/// fields. The first field is always `batch`, so that a call can be resized without knowing its
/// kernel; the others are `u32`, `i32` or `f32`, whose names both languages share.
macro_rules! params {
    ($(#[$doc:meta])* struct Params { $($(#[$field_doc:meta])* $field:ident: $ty:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct Params {
            /// Images in the micro-batch.
            pub batch: u32,
            $($(#[$field_doc])* pub $field: $ty,)+
        }

        impl Params {
            /// The same struct in the shading language.
            pub const WGSL: &'static str = concat!(
                "struct Params {\n    batch: u32,\n",
                $("    ", stringify!($field), ": ", stringify!($ty), ",\n",)+
                "}\n"
            );

            /// As 32-bit words, in the order of the fields.
            pub fn words(&self) -> Vec<u32> {
                bytemuck::cast_slice(std::slice::from_ref(self)).to_vec()
            }

            /// The inverse of [`Params::words`]; asserts their number.
            pub fn from_words(words: &[u32]) -> Self {
                assert_eq!(words.len() * 4, size_of::<Self>(), "parameter words of another kernel");
                *bytemuck::from_bytes(bytemuck::cast_slice(words))
            }
        }
    };
}
pub(crate) use params;
