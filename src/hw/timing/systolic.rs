//! A systolic array in closed form: output-, weight- and input-stationary, after SCALE-Sim.
//!
//! A layer is a product of matrices that is cut into folds of at most `rows` × `cols`; a fold takes a
//! full array's time however little of it is used. Three readings of how folds follow each other:
//!
//! - `scalesim`: what SCALE-Sim 3.0.0 reports, its quirks included: the output-stationary form does
//!   not drain, the total is the index of the last cycle, output writes gain `rows + cols` a fold.
//! - `drain`: what RTL arrays take: every fold is filled and drained, one after the other.
//! - `pipelined`: the next fold enters while the last one drains, its operands being preloaded.
//!
//! It refuses nothing: whatever the sizes, the counts saturate.

use super::shared::Shared;
use super::step::{ArrayCost, StepTime};
use super::work::Gemm;
use super::{TrunkWork, mul};
use crate::hw::schema::words;
use crate::hw::trunk::Trunk;

words!(
    /// The operand that stays in the array.
    Dataflow {
        Output = "os",
        Weight = "ws",
        Input = "is",
    }
);

words!(
    /// How folds follow each other.
    FoldMode {
        Scalesim = "scalesim",
        Drain = "drain",
        Pipelined = "pipelined",
    }
);

/// An array and the way it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    pub rows: u64,
    pub cols: u64,
    pub dataflow: Dataflow,
    pub mode: FoldMode,
}

/// What a product of matrices costs on an array.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GemmCost {
    pub folds: u64,
    /// Cycles of one fold, filling and draining included.
    pub fold_cycles: u64,
    pub cycles: u64,
    /// Words read and written, each time they are.
    pub ifmap_reads: u64,
    pub filter_reads: u64,
    pub ofmap_writes: u64,
    /// Share of the array that holds operands, over the folds.
    pub mapping_frac: f64,
    /// The same, with the cycles of filling and draining counted as idle.
    pub compute_frac: f64,
}

impl Array {
    /// One product of matrices; a grouped layer is `groups` of them in a row.
    pub fn gemm(&self, gemm: Gemm) -> GemmCost {
        let Gemm { m, n, k, .. } = gemm;
        let (rows, cols) = (self.rows.max(1), self.cols.max(1));
        let (on_rows, on_cols, streamed) = match self.dataflow {
            Dataflow::Output => (m, n, k),
            Dataflow::Weight => (k, n, m),
            Dataflow::Input => (k, m, n),
        };
        let (row_folds, col_folds) = (on_rows.div_ceil(rows), on_cols.div_ceil(cols));
        let folds = mul(&[row_folds, col_folds]);
        let drained = streamed.saturating_add(2 * rows + cols - 2);
        let fold_cycles = match (self.mode, self.dataflow) {
            (FoldMode::Scalesim, Dataflow::Output) => streamed.saturating_add(rows + cols - 2),
            _ => drained,
        };
        let cycles = match self.mode {
            // The index of the last cycle, which SCALE-Sim calls the total.
            FoldMode::Scalesim => mul(&[folds, fold_cycles]).saturating_sub(1),
            FoldMode::Drain => mul(&[folds, fold_cycles]),
            FoldMode::Pipelined => mul(&[folds.saturating_sub(1), streamed.max(rows)]).saturating_add(drained),
        };
        let writes = match self.dataflow {
            Dataflow::Output => mul(&[m, n]),
            Dataflow::Weight | Dataflow::Input => mul(&[m, n, row_folds]),
        };
        let skew = match (self.mode, self.dataflow) {
            (FoldMode::Scalesim, Dataflow::Output) => mul(&[folds, rows + cols]),
            _ => 0,
        };
        // SCALE-Sim divides by the lines of the skewed demand, which only the output-stationary form has as cycles.
        let lines = match (self.mode, self.dataflow) {
            (FoldMode::Scalesim, Dataflow::Weight | Dataflow::Input) => fold_cycles.saturating_add(cols - 1),
            _ => fold_cycles,
        };
        let mapping_frac = ratio(mul(&[on_rows, on_cols]), mul(&[folds, rows, cols]));
        GemmCost {
            folds,
            fold_cycles,
            cycles,
            ifmap_reads: mul(&[m, k, if self.dataflow == Dataflow::Input { 1 } else { col_folds }]),
            filter_reads: mul(&[n, k, self.filter_repeats(row_folds, col_folds)]),
            ofmap_writes: writes.saturating_add(skew),
            mapping_frac,
            compute_frac: mapping_frac * ratio(streamed, lines),
        }
    }

    fn filter_repeats(&self, row_folds: u64, col_folds: u64) -> u64 {
        match self.dataflow {
            Dataflow::Output => row_folds,
            Dataflow::Weight => 1,
            Dataflow::Input => col_folds,
        }
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A trunk of the kind `systolic`.
#[derive(Clone, Debug)]
pub struct Systolic {
    pub shared: Shared,
    /// None where the file does not know the array: then every multiplier counts as busy.
    array: Option<Array>,
}

impl Systolic {
    pub fn new(trunk: &Trunk) -> Self {
        let compute = &trunk.compute;
        let mut shared = Shared::new(trunk);
        let sides = compute.rows.value().zip(compute.cols.value());
        if sides.is_none() {
            shared.unknown.extend([&compute.rows, &compute.cols].map(|figure| figure.path()));
        }
        let array = sides.map(|(rows, cols)| Array {
            rows: rows as u64,
            cols: cols as u64,
            dataflow: compute.dataflow.unwrap_or(Dataflow::Output),
            mode: compute.fold_mode.unwrap_or(FoldMode::Drain),
        });
        Self { shared, array }
    }

    pub fn step(&self, work: &TrunkWork) -> StepTime {
        let group = self.array.map_or(1, |array| array.cols);
        self.shared.finish(work, group, || match (self.array, work.window.gemm()) {
            (Some(array), Some(gemm)) => on_array(&array, gemm),
            _ => self.shared.ideal(work),
        })
    }
}

fn on_array(array: &Array, gemm: Gemm) -> ArrayCost {
    let cost = array.gemm(gemm);
    let times = |n: u64| mul(&[n, gemm.groups]);
    ArrayCost {
        cycles: times(cost.cycles),
        folds: times(cost.folds),
        sram_read_b: times(cost.ifmap_reads.saturating_add(cost.filter_reads)),
        sram_write_b: times(cost.ofmap_writes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(rows: u64, cols: u64, dataflow: Dataflow, mode: FoldMode) -> Array {
        Array { rows, cols, dataflow, mode }
    }

    fn gemm(m: u64, n: u64, k: u64) -> Gemm {
        Gemm { m, n, k, groups: 1 }
    }

    /// Measured on two RTL arrays, bit-exact in two simulators (README of the shared oracle).
    #[test]
    fn drain_is_what_rtl_takes() {
        for (rows, cols, streamed, cycles) in
            [(4, 4, 9, 19), (8, 4, 20, 38), (16, 16, 64, 110), (16, 16, 20_000, 20_046)]
        {
            let os = array(rows, cols, Dataflow::Output, FoldMode::Drain).gemm(gemm(rows, cols, streamed));
            assert_eq!((os.folds, os.fold_cycles, os.cycles), (1, cycles, cycles));
        }
    }

    #[test]
    fn folds_are_filled_anew_or_pipelined() {
        let work = gemm(40, 20, 100);
        let of = |mode| array(16, 16, Dataflow::Output, mode).gemm(work);
        assert_eq!(of(FoldMode::Drain).cycles, 6 * 146);
        assert_eq!(of(FoldMode::Scalesim).cycles, 6 * 130 - 1);
        assert_eq!(of(FoldMode::Pipelined).cycles, 5 * 100 + 146);
        // Where little is streamed, filling the array with operands sets the pace.
        let ws = array(16, 16, Dataflow::Weight, FoldMode::Pipelined).gemm(gemm(5, 16, 32));
        assert_eq!((ws.folds, ws.cycles), (2, 16 + 5 + 46));
        assert_eq!(of(FoldMode::Scalesim).ofmap_writes, 800 + 6 * 32);
        assert_eq!(of(FoldMode::Drain).ofmap_writes, 800);
    }

    /// Its "Compute Util %" on 8x32, from a run of SCALE-Sim 3.0.0 on layers of 1 MAC, 32^3 and 64x256x64.
    #[test]
    fn compute_utilisation_is_scalesims() {
        for (dataflow, work, percent) in [
            (Dataflow::Output, gemm(1, 1, 1), 0.01001602564102564),
            (Dataflow::Output, gemm(32, 32, 32), 45.714285714285715),
            (Dataflow::Weight, gemm(1, 1, 1), 0.00500801282051282),
            (Dataflow::Weight, gemm(32, 32, 32), 29.357798165137616),
            (Dataflow::Input, gemm(32, 32, 32), 29.357798165137616),
        ] {
            let cost = array(8, 32, dataflow, FoldMode::Scalesim).gemm(work);
            assert!((100.0 * cost.compute_frac - percent).abs() < 1e-9, "{dataflow} {work:?}: {}", cost.compute_frac);
        }
    }

    #[test]
    fn huge_sizes_saturate() {
        let cost = array(1, 1, Dataflow::Weight, FoldMode::Drain).gemm(gemm(u64::MAX, u64::MAX, u64::MAX));
        assert_eq!(cost.cycles, u64::MAX);
        assert!(cost.mapping_frac.is_finite());
    }
}
