//! Plain loops compiled for wide registers: what a compiler vectorises by itself needs no intrinsics, only the
//! permission to use what the processor has.
//!
//! Every version is the same code, so it has the same bits: nothing is fused (a compiler may not), nothing is
//! reordered, and minima, maxima and integer sums do not depend on their order. It refuses to choose a version
//! for a processor that lacks its instructions. The trunk's kernels, which are told what to run on, have
//! `trunk::fast::versions` on the same registers.

/// Registers that loops are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// What every processor of the architecture has.
    Plain,
    Avx2,
    Avx512,
}

/// The widest that this processor has.
#[inline]
pub fn width() -> Width {
    let width = detected();
    #[cfg(test)]
    let width = width.min(tests::bound());
    width
}

#[inline]
fn detected() -> Width {
    #[cfg(target_arch = "x86_64")]
    {
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq");
        if avx512 {
            return Width::Avx512;
        }
        if is_x86_feature_detected!("avx2") {
            return Width::Avx2;
        }
    }
    Width::Plain
}

/// `wide!(fn name(arg: Type) -> Result { … })` makes that function, compiled for every [`Width`], of which a call
/// takes the widest that there is. An argument may be an `impl Fn`, which is compiled with it.
macro_rules! wide {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                plain($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                plain($($arg),*)
            }
            match $crate::wide::width() {
                // SAFETY: `width` has asked the processor for these instructions.
                #[cfg(target_arch = "x86_64")]
                $crate::wide::Width::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: the same.
                #[cfg(target_arch = "x86_64")]
                $crate::wide::Width::Avx2 => unsafe { avx2($($arg),*) },
                _ => plain($($arg),*),
            }
        }
    };
}
pub(crate) use wide;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU8, Ordering};

    static BOUND: AtomicU8 = AtomicU8::new(Width::Avx512 as u8);
    static ONE: Mutex<()> = Mutex::new(());

    /// What a test has narrowed all loops to. Others that run meanwhile get the same bits.
    pub fn bound() -> Width {
        [Width::Plain, Width::Avx2, Width::Avx512][usize::from(BOUND.load(Ordering::Relaxed))]
    }

    /// Asserts that `task` gives the same on registers of every width; returns what that is.
    pub fn same_on_all<R: PartialEq + std::fmt::Debug>(task: impl Fn() -> R) -> R {
        let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let run = |width: Width| {
            BOUND.store(width as u8, Ordering::Relaxed);
            task()
        };
        let results = [Width::Avx512, Width::Avx2, Width::Plain].map(run);
        BOUND.store(Width::Avx512 as u8, Ordering::Relaxed);
        let [widest, avx2, plain] = results;
        assert_eq!(avx2, plain);
        assert_eq!(widest, plain);
        widest
    }

    wide! {
        fn scaled(values: &[f32], to: &mut [f32], times: impl Fn(f32) -> f32) -> usize {
            to.iter_mut().zip(values).for_each(|(to, &value)| *to = times(value));
            to.len()
        }
    }

    #[test]
    fn a_loop_has_one_result_on_every_width() {
        let values: Vec<f32> = (0..77).map(|i| (i as f32 * 0.37).sin()).collect();
        let run = || {
            let mut to = vec![0.0; values.len()];
            assert_eq!(scaled(&values, &mut to, |x| x * 3.0 + 0.1), 77);
            to
        };
        let expected: Vec<f32> = values.iter().map(|x| x * 3.0 + 0.1).collect();
        assert_eq!(same_on_all(run), expected);
    }
}
