//! One plain loop compiled for each instruction set: what compilers vectorise well needs no intrinsics,
//! only permission to use wide registers.

/// `versions!(pick, body(arg: Type) -> Result)` makes `pick(set)`, which returns `body` compiled for
/// that instruction set. The result is unsafe to call: the CPU must have the set's instructions.
/// `body` must be `#[inline(always)]`, or it is compiled once and for nobody.
macro_rules! versions {
    ($pick:ident, $body:ident($($arg:ident: $ty:ty),*) -> $ret:ty) => {
        fn $pick(set: $crate::trunk::fast::InstructionSet) -> unsafe fn($($ty),*) -> $ret {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
            unsafe fn avx512($($arg: $ty),*) -> $ret {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            unsafe fn avx2($($arg: $ty),*) -> $ret {
                $body($($arg),*)
            }
            unsafe fn plain($($arg: $ty),*) -> $ret {
                $body($($arg),*)
            }
            match set {
                #[cfg(target_arch = "x86_64")]
                $crate::trunk::fast::InstructionSet::Avx512Vnni => avx512,
                #[cfg(target_arch = "x86_64")]
                $crate::trunk::fast::InstructionSet::AvxVnni | $crate::trunk::fast::InstructionSet::Avx2 => avx2,
                _ => plain,
            }
        }
    };
}
pub(super) use versions;
