//! Functions of one code: a table of 256 bytes held in vector registers where the CPU can index those.
//!
//! Where no code of the table has an event, none is counted; where some have, a second table is
//! looked up and summed.

use super::table::{InstructionSet, Kernels};
use super::tasks::{TASK, each_chunk};
use crate::op::{Counts, Table};
use crate::trunk::Map;

/// By the code's byte, that is 0 to 127, then -128 to -1.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(super) struct Bytes(pub [u8; 256]);

impl Bytes {
    fn new(entry: impl Fn(usize) -> u8) -> Self {
        Self(std::array::from_fn(|byte| entry(byte ^ 128)))
    }
}

/// Fills the second slice with what the table has for each code of the first, which is as long.
type Look = unsafe fn(&Bytes, &[i8], &mut [i8]);
/// Sums what the table has for each code.
type Total = unsafe fn(&Bytes, &[i8]) -> u64;

/// A table prepared for one instruction set.
#[derive(Clone, Debug)]
pub struct Lookup {
    look: Look,
    total: Total,
    codes: Box<Bytes>,
    /// Events per code, where there are any.
    saturations: Option<Box<Bytes>>,
    overflows: Option<Box<Bytes>>,
}

impl Lookup {
    /// None where an entry counts what a byte cannot hold.
    pub fn new(table: &Table, kernels: Kernels) -> Option<Self> {
        let (look, total) = functions(kernels.set()?);
        let events = table.events();
        if events.iter().any(|e| e.macs.0 > 0 || e.saturations > 255 || e.overflows > 255) {
            return None;
        }
        let counted = |count: &dyn Fn(&Counts) -> u64| {
            let any = events.iter().any(|e| count(e) > 0);
            any.then(|| Box::new(Bytes::new(|i| count(&events[i]) as u8)))
        };
        Some(Self {
            look,
            total,
            codes: Box::new(Bytes::new(|i| table.codes()[i] as u8)),
            saturations: counted(&|e| e.saturations),
            overflows: counted(&|e| e.overflows),
        })
    }

    /// Writes the reference loop's codes over all of `out` and returns its counts.
    pub fn run_into(&self, x: Map<'_>, out: &mut [i8]) -> Counts {
        assert_eq!(x.codes.len(), out.len(), "maps of one shape");
        each_chunk(out, TASK, |first, codes| self.row(&x.codes[first..][..codes.len()], codes))
    }

    /// The same for a few codes, on this thread.
    pub(super) fn row(&self, x: &[i8], out: &mut [i8]) -> Counts {
        assert_eq!(x.len(), out.len(), "as many codes");
        // SAFETY: the functions were chosen for instructions that the CPU has.
        let total = |table: &Option<Box<Bytes>>| table.as_ref().map_or(0, |table| unsafe { (self.total)(table, x) });
        // SAFETY: the same, and both slices are of one length.
        unsafe { (self.look)(&self.codes, x, out) };
        Counts { saturations: total(&self.saturations), overflows: total(&self.overflows), ..Counts::default() }
    }
}

fn functions(set: InstructionSet) -> (Look, Total) {
    #[cfg(target_arch = "x86_64")]
    if set == InstructionSet::Avx512Vnni && is_x86_feature_detected!("avx512vbmi") {
        return (vbmi::look, vbmi::total);
    }
    match set {
        #[cfg(target_arch = "aarch64")]
        InstructionSet::Neon => (neon::look, neon::total),
        _ => (look, total),
    }
}

/// # Safety
/// None needed; unsafe to fit the type.
unsafe fn look(table: &Bytes, x: &[i8], out: &mut [i8]) {
    out.iter_mut().zip(x).for_each(|(y, &q)| *y = table.0[usize::from(q as u8)] as i8);
}

/// # Safety
/// None needed; unsafe to fit the type.
unsafe fn total(table: &Bytes, x: &[i8]) -> u64 {
    x.iter().map(|&q| u64::from(table.0[usize::from(q as u8)])).sum()
}

#[cfg(target_arch = "x86_64")]
mod vbmi {
    use super::Bytes;
    use std::arch::x86_64::*;

    /// The 256 bytes of a table.
    struct Registers([__m512i; 4]);

    impl Registers {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
        fn load(table: &Bytes) -> Self {
            // SAFETY: four registers of 64 bytes, aligned.
            Self([0, 64, 128, 192].map(|at| unsafe { _mm512_load_si512(table.0.as_ptr().add(at).cast()) }))
        }

        /// Seven bits of each byte index a half of the table; the eighth says which.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
        fn at(&self, x: __m512i) -> __m512i {
            let low = _mm512_permutex2var_epi8(self.0[0], x, self.0[1]);
            let high = _mm512_permutex2var_epi8(self.0[2], x, self.0[3]);
            _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high)
        }
    }

    fn present(n: usize) -> u64 {
        if n >= 64 { u64::MAX } else { (1 << n) - 1 }
    }

    /// # Safety
    /// The CPU must have AVX-512 F, BW and VBMI; the slices must be of one length.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub unsafe fn look(table: &Bytes, x: &[i8], out: &mut [i8]) {
        let table = Registers::load(table);
        let whole = x.len() / 64 * 64;
        // SAFETY: whole registers up to `whole`, then masked ones up to the slices' length.
        unsafe {
            for i in (0..whole).step_by(64) {
                let codes = table.at(_mm512_loadu_si512(x.as_ptr().add(i).cast()));
                _mm512_storeu_si512(out.as_mut_ptr().add(i).cast(), codes);
            }
            if whole < x.len() {
                let mask = present(x.len() - whole);
                let codes = table.at(_mm512_maskz_loadu_epi8(mask, x.as_ptr().add(whole)));
                _mm512_mask_storeu_epi8(out.as_mut_ptr().add(whole), mask, codes);
            }
        }
    }

    /// # Safety
    /// The CPU must have AVX-512 F, BW and VBMI.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
    pub unsafe fn total(table: &Bytes, x: &[i8]) -> u64 {
        let table = Registers::load(table);
        let (zero, mut sums) = (_mm512_setzero_si512(), _mm512_setzero_si512());
        for i in (0..x.len()).step_by(64) {
            let mask = present(x.len() - i);
            // SAFETY: the mask ends with the slice.
            let codes = table.at(unsafe { _mm512_maskz_loadu_epi8(mask, x.as_ptr().add(i)) });
            sums = _mm512_add_epi64(sums, _mm512_sad_epu8(_mm512_maskz_mov_epi8(mask, codes), zero));
        }
        _mm512_reduce_add_epi64(sums) as u64
    }
}

#[cfg(target_arch = "aarch64")]
mod neon {
    use super::Bytes;
    use std::arch::aarch64::*;

    /// The 256 bytes of a table in four groups of four registers.
    #[inline]
    #[target_feature(enable = "neon")]
    fn load(table: &Bytes) -> [uint8x16x4_t; 4] {
        // SAFETY: four times 64 bytes.
        [0, 64, 128, 192].map(|at| unsafe { vld1q_u8_x4(table.0.as_ptr().add(at)) })
    }

    /// An index beyond 64 keeps what was found before.
    #[inline]
    #[target_feature(enable = "neon")]
    fn at(table: &[uint8x16x4_t; 4], x: uint8x16_t) -> uint8x16_t {
        let found = vqtbl4q_u8(table[0], x);
        let found = vqtbx4q_u8(found, table[1], vsubq_u8(x, vdupq_n_u8(64)));
        let found = vqtbx4q_u8(found, table[2], vsubq_u8(x, vdupq_n_u8(128)));
        vqtbx4q_u8(found, table[3], vsubq_u8(x, vdupq_n_u8(192)))
    }

    /// # Safety
    /// The slices must be of one length.
    #[target_feature(enable = "neon")]
    pub unsafe fn look(table: &Bytes, x: &[i8], out: &mut [i8]) {
        let registers = load(table);
        let (xs, ys) = (x.chunks_exact(16), out.chunks_exact_mut(16));
        for (x, y) in xs.clone().zip(ys) {
            // SAFETY: 16 codes each.
            unsafe { vst1q_u8(y.as_mut_ptr().cast(), at(&registers, vld1q_u8(x.as_ptr().cast()))) };
        }
        let whole = x.len() - xs.remainder().len();
        // SAFETY: needs nothing.
        unsafe { super::look(table, &x[whole..], &mut out[whole..]) };
    }

    /// # Safety
    /// None beyond NEON, which every such CPU has.
    #[target_feature(enable = "neon")]
    pub unsafe fn total(table: &Bytes, x: &[i8]) -> u64 {
        let registers = load(table);
        let chunks = x.chunks_exact(16);
        let rest = chunks.remainder();
        // SAFETY: 16 codes each.
        let sums = chunks.map(|x| unsafe { u64::from(vaddlvq_u8(at(&registers, vld1q_u8(x.as_ptr().cast())))) });
        // SAFETY: needs nothing.
        sums.sum::<u64>() + unsafe { super::total(table, rest) }
    }
}
