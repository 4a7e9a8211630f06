//! The CPU's int8 peak: a matrix product's inner loop, 6 rows by 64 columns, with both operands in the
//! first-level cache and every sum in a register. It refuses CPUs without AVX-512 VNNI.

/// Steps of four products each; the columns of all steps fill half of a 48 KiB cache.
const STEPS: usize = 96;
const ROWS: usize = 6;
const VECTORS: usize = 4;
const LANES: usize = 16;
/// Products of the loop that one thread does between two looks at the clock.
const ROUNDS: usize = 10_000;

/// Multiply-accumulates of one thread in [`run`].
pub const MACS: u64 = (ROUNDS * STEPS * ROWS * VECTORS * LANES * 4) as u64;

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{LANES, ROUNDS, ROWS, STEPS, VECTORS};
    use std::arch::x86_64::*;

    /// Four codes of each row for every step, and four of each column.
    pub type Rows = [[i32; ROWS]; STEPS];
    pub type Columns = [[[i32; LANES]; VECTORS]; STEPS];

    /// # Safety
    /// The CPU must have AVX-512 F and VNNI.
    #[target_feature(enable = "avx512f,avx512vnni")]
    pub unsafe fn product(rows: &Rows, columns: &Columns) -> i32 {
        let mut all = _mm512_setzero_si512();
        for _ in 0..ROUNDS {
            let mut sums = [[_mm512_setzero_si512(); VECTORS]; ROWS];
            for (row, column) in std::hint::black_box(rows).iter().zip(columns) {
                // SAFETY: an array of LANES numbers is one vector, and the load asks for no alignment.
                let b = column.each_ref().map(|v| unsafe { _mm512_loadu_si512(v.as_ptr().cast()) });
                for (sums, &a) in sums.iter_mut().zip(row) {
                    let a = _mm512_set1_epi32(a);
                    for (sum, &b) in sums.iter_mut().zip(&b) {
                        *sum = _mm512_dpbusd_epi32(*sum, b, a);
                    }
                }
            }
            all = sums.iter().flatten().fold(all, |all, &sum| _mm512_add_epi32(all, sum));
        }
        _mm512_reduce_add_epi32(all)
    }
}

/// Runs the loop [`ROUNDS`] times on each of `threads` threads.
#[cfg(target_arch = "x86_64")]
pub fn run(threads: usize) -> Result<(), String> {
    use std::hint::black_box;
    if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")) {
        return Err("this CPU has no AVX-512 VNNI, in which the peak is measured".into());
    }
    let one = || {
        let rows = black_box([[0x0102_0304; ROWS]; STEPS]);
        let columns = black_box([[[0x0506_0708; LANES]; VECTORS]; STEPS]);
        // SAFETY: the CPU has been asked.
        black_box(unsafe { vnni::product(&rows, &columns) });
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(one)));
        one();
    });
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
pub fn run(_: usize) -> Result<(), String> {
    Err("the peak is measured in AVX-512 VNNI, which is of x86-64".into())
}
