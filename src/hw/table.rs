//! Energy tables: what an operation and a small memory take, in published columns by process.
//!
//! A trunk that names a table (`energy_table`) takes its MAC and its on-chip memories from it where
//! its own file gives none. Between two columns a figure is interpolated, log against log, and its
//! interval is at least times or divided by two; likewise between two sizes of a memory. What it
//! refuses: a node, a size or a width beyond the published ones, which stays unknown, and two tables
//! in one trunk, whose assumptions would differ by an order of magnitude.

use super::confidence::Confidence;
use super::error::HwError;
use super::estimate::Estimate;
use super::figure::{Figure, Known, State, section};
use super::memory::{MemoryLevel, check_node};
use super::reader::ModelFile;
use super::schema::Kind;
use super::source::Source;
use super::trunk::Trunk;
use std::collections::BTreeMap;

section!(
    /// A memory of one size.
    TableSram {
        figures {
            read_pj_per_access: Figure,
            write_pj_per_access: Figure,
            leakage_mw: Figure,
            area_mm2: Figure,
        }
        plain { capacity_kib: u32 }
    }
);

section!(
    /// What one publication gives for one process.
    Column {
        figures {
            int8_add_pj: Figure,
            int32_add_pj: Figure,
            fp16_add_pj: Figure,
            fp32_add_pj: Figure,
            int8_mul_pj: Figure,
            int32_mul_pj: Figure,
            fp16_mul_pj: Figure,
            fp32_mul_pj: Figure,
            sram: BTreeMap<String, TableSram>,
        }
        plain { node_nm: f64 }
    }
);

section!(
    /// A table file.
    Table {
        figures { column: BTreeMap<String, Column> }
        plain {
            schema: String,
            name: String,
            word_bits: u32,
            note: Option<String>,
            #[serde(default)]
            sources: BTreeMap<String, String>,
        }
    }
);

/// What a figure moved to another process or size is good for.
const SPREAD: f64 = 2.0;

/// The figure of a memory that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SramFigure {
    Read,
    Write,
    Leakage,
    Area,
}

impl SramFigure {
    fn of(self, sram: &TableSram) -> &Figure {
        match self {
            SramFigure::Read => &sram.read_pj_per_access,
            SramFigure::Write => &sram.write_pj_per_access,
            SramFigure::Leakage => &sram.leakage_mw,
            SramFigure::Area => &sram.area_mm2,
        }
    }
}

impl Table {
    /// Energy of a multiplication of integers and the addition of the product to a 32-bit sum.
    ///
    /// The width of a product of two widths is their geometric mean; between 8 and 32 bits its energy
    /// is interpolated like everything else.
    pub fn mac_pj(&self, node_nm: f64, weight_bits: u32, activation_bits: u32) -> Option<Estimate> {
        let width = (f64::from(weight_bits) * f64::from(activation_bits)).sqrt();
        let mul = self.at_node(node_nm, |column| {
            between(width, &[(8.0, column.int8_mul_pj.known_estimate()), (32.0, column.int32_mul_pj.known_estimate())])
        })?;
        let add = self.at_node(node_nm, |column| column.int32_add_pj.known_estimate())?;
        Some(mul.plus(add))
    }

    /// A figure of a memory of so many bytes, per access of [`word_bits`](Self::word_bits).
    pub fn sram(&self, node_nm: f64, capacity_b: f64, which: SramFigure) -> Option<Estimate> {
        self.at_node(node_nm, |column| {
            let mut sizes: Vec<_> = column.sram.values().collect();
            sizes.sort_by_key(|sram| sram.capacity_kib);
            let known = |sram: &TableSram| (f64::from(sram.capacity_kib) * 1024.0, which.of(sram).known_estimate());
            between(capacity_b, &sizes.into_iter().map(known).collect::<Vec<_>>())
        })
    }

    fn at_node(&self, node_nm: f64, figure: impl Fn(&Column) -> Option<Estimate>) -> Option<Estimate> {
        let mut columns: Vec<_> = self.column.values().collect();
        columns.sort_by(|a, b| a.node_nm.total_cmp(&b.node_nm));
        between(node_nm, &columns.into_iter().map(|c| (c.node_nm, figure(c))).collect::<Vec<_>>())
    }
}

impl Figure {
    fn known_estimate(&self) -> Option<Estimate> {
        self.known().map(|_| self.estimate())
    }
}

/// The value at `x` of the power law through the two known points around it.
fn between(x: f64, points: &[(f64, Option<Estimate>)]) -> Option<Estimate> {
    let known: Vec<(f64, &Estimate)> = points.iter().filter_map(|(at, e)| Some((*at, e.as_ref()?))).collect();
    if let Some((_, exact)) = known.iter().find(|(at, _)| *at == x) {
        return Some((*exact).clone());
    }
    let above = known.iter().position(|(at, _)| *at > x)?;
    let ((x0, e0), (x1, e1)) = (known[above.checked_sub(1)?], known[above]);
    let share = (x / x0).ln() / (x1 / x0).ln();
    let along = |a: f64, b: f64| if a > 0.0 && b > 0.0 { a * (b / a).powf(share) } else { a + (b - a) * share };
    let v = along(e0.v, e1.v);
    let (lo, hi) = (along(e0.lo, e1.lo).min(v / SPREAD), along(e0.hi, e1.hi).max(v * SPREAD));
    let conf = e0.conf.max(e1.conf).max(Confidence::Derived);
    Some(Estimate { v, lo, hi, conf, unknown: Default::default() })
}

impl ModelFile for Table {
    const KIND: Kind = Kind::Table;

    fn name(&self) -> &str {
        &self.name
    }

    fn sources(&self) -> &BTreeMap<String, String> {
        &self.sources
    }

    fn check(&self, source: &Source) -> Result<(), HwError> {
        if self.word_bits == 0 || self.word_bits > 1 << 20 {
            return Err(source.wrong("word_bits", format!("a word of {} bits", self.word_bits), "1 to 1048576 bits"));
        }
        if self.column.is_empty() {
            return Err(source.wrong("column", "there is no column", "a table such as [column.45nm]"));
        }
        for (name, column) in &self.column {
            check_node(Some(column.node_nm), source)?;
            if let Some(size) = column.sram.values().map(|sram| sram.capacity_kib).find(|kib| *kib == 0) {
                let key = format!("column.{name}.sram");
                return Err(source.wrong(&key, format!("a memory of {size} KiB"), "at least 1 KiB"));
            }
            let twice = |other: &&String| *other != name && self.column[*other].node_nm == column.node_nm;
            if let Some(other) = self.column.keys().find(twice) {
                let wrong = format!("column.{other} is of the same node");
                return Err(source.wrong(&format!("column.{name}.node_nm"), wrong, "one column for each node"));
            }
        }
        Ok(())
    }
}

/// Gives a trunk what the table knows of it: a MAC, and the on-chip memories whose size is known.
///
/// A figure that the trunk's file gives, or declares unknown, stays as it is.
pub(super) fn lend(table: &Table, trunk: &mut Trunk) {
    let Some(node_nm) = trunk.node_nm else { return };
    let compute = &trunk.compute;
    let own = compute.mac_pj.is_given() || compute.mac_energy_fj_per_bit2.is_given();
    if let (false, Some(weight), Some(activation)) = (own, trunk.weight_bits(), trunk.activation_bits()) {
        let key = format!("mac_pj of {weight} x {activation} bits at {node_nm} nm");
        take(&mut trunk.compute.mac_pj, table, &key, table.mac_pj(node_nm, weight, activation));
    }
    for (name, level) in &mut trunk.memory {
        if level.kind.is_some_and(|kind| kind.is_on_chip()) {
            lend_level(table, node_nm, name, level);
        }
    }
}

fn lend_level(table: &Table, node_nm: f64, name: &str, level: &mut MemoryLevel) {
    let Some(capacity_b) = level.capacity_b.value() else { return };
    let per_bit = 1.0 / f64::from(table.word_bits);
    let of = |which, times: f64| table.sram(node_nm, capacity_b, which).map(|e| e.of(times));
    let key = |what: &str| format!("memory.{name}.{what} of {capacity_b} B at {node_nm} nm");
    let priced = [&level.access_pj_per_bit, &level.power_nw_per_bit].into_iter().any(Figure::is_given);
    if !priced && !level.read_pj_per_bit.is_given() && !level.read_pj_per_access.is_given() {
        take(&mut level.read_pj_per_bit, table, &key("read_pj_per_bit"), of(SramFigure::Read, per_bit));
    }
    if !priced && !level.write_pj_per_bit.is_given() && !level.write_pj_per_access.is_given() {
        take(&mut level.write_pj_per_bit, table, &key("write_pj_per_bit"), of(SramFigure::Write, per_bit));
    }
    if !level.area_um2_per_bit.is_given() {
        // mm² over all bits.
        let area = of(SramFigure::Area, 1e6 / (capacity_b * 8.0));
        take(&mut level.area_um2_per_bit, table, &key("area_um2_per_bit"), area);
    }
    if !priced && !level.leakage_mw.is_given() {
        take(&mut level.leakage_mw, table, &key("leakage_mw"), of(SramFigure::Leakage, 1.0));
    }
}

fn take(figure: &mut Figure, table: &Table, key: &str, estimate: Option<Estimate>) {
    let Some(Estimate { v, lo, hi, conf, .. }) = estimate else { return };
    let source = format!("{} {}, its columns interpolated", Kind::Table, table.name);
    figure.model = format!("{}/{}", Kind::Table, table.name).into();
    figure.key = key.into();
    figure.state = State::Known(Known { v, lo, hi, conf, src: table.name.clone(), source });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hw::{Body, library};

    fn table(name: &str) -> Table {
        match library::load(Kind::Table, name).unwrap().body {
            Body::Table(table) => *table,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// FIGURES 1.1 has 0.112 pJ for the product and 0.0512 for the addition at 16 nm, 0.153 and 0.0736
    /// at 28.
    #[test]
    fn a_mac_between_the_published_columns() {
        let table = table("horowitz-jouppi");
        for (node, mul, add) in [(45.0, 0.2, 0.1), (28.0, 0.153, 0.0736), (16.0, 0.112, 0.0512), (7.0, 0.07, 0.03)] {
            let mac = table.mac_pj(node, 8, 8).unwrap();
            assert!((mac.v - mul - add).abs() < 1e-3, "{node} nm: {mac:?}");
            assert!(mac.lo < mac.v && mac.v < mac.hi);
        }
        let mac = table.mac_pj(16.0, 8, 8).unwrap();
        assert!(mac.lo <= mac.v / 2.0 && mac.hi >= mac.v * 2.0 && mac.conf == Confidence::Derived);
        assert_eq!(table.mac_pj(45.0, 8, 8).unwrap().conf, Confidence::SecondHand);
        let wide = table.mac_pj(45.0, 16, 16).unwrap().v;
        assert!(table.mac_pj(45.0, 8, 16).unwrap().v < wide && wide < table.mac_pj(45.0, 32, 32).unwrap().v);
    }

    #[test]
    fn beyond_the_columns_nothing_is_known() {
        let table = table("horowitz-jouppi");
        for node in [5.0, 65.0] {
            assert_eq!(table.mac_pj(node, 8, 8), None, "{node} nm");
        }
        assert_eq!(table.mac_pj(16.0, 4, 4), None);
        assert_eq!(table.sram(16.0, 4096.0, SramFigure::Read), None);
        assert_eq!(table.sram(16.0, 65536.0, SramFigure::Leakage), None);
    }

    #[test]
    fn memories_by_size_and_node() {
        let table = table("cacti7-lstp");
        let read = |node: f64, kib: f64| table.sram(node, kib * 1024.0, SramFigure::Read).unwrap().v;
        assert!((read(22.0, 256.0) - 11.86).abs() < 0.01);
        assert!(read(28.0, 256.0) > read(22.0, 256.0) && read(28.0, 256.0) < read(32.0, 256.0));
        // CACTI itself gives 54.3 for 108 KiB at 65 nm, between its neighbours in size.
        assert!((read(65.0, 108.0) / 54.3 - 1.0).abs() < 0.25, "{}", read(65.0, 108.0));
    }
}
