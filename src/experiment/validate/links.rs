//! Links against measurements, and against another simulator.

use super::sheet::Sheet;
use super::{Point, ValidateError};
use crate::bus::{LinkModel, Request, arrivals, transfer};
use crate::hw::{Access, Body, Compat, Figure, Kind, Link, Overlap, PointRole, Validation, library};
use crate::units::Direction;
use std::collections::BTreeMap;
use std::path::Path;

/// Payload of back-to-back transfers over the time that they take the link: bytes a nanosecond.
fn rate(link: &Link, payload_b: u64, access: Access) -> Option<f64> {
    let cost = transfer(&LinkModel::new(link), payload_b, access);
    (cost.stream_ps > 0).then(|| cost.payload_b as f64 * 1e3 / cost.stream_ps as f64)
}

pub fn gb_per_s(body: &Body, point: &Validation) -> Option<f64> {
    let Body::Link(link) = body else { return None };
    rate(link, point.payload_b?, point.access.unwrap_or(Access::Write))
}

pub fn gbit_per_s(body: &Body, point: &Validation) -> Option<f64> {
    gb_per_s(body, point).map(|gb| gb * 8.0)
}

fn carried(name: &str) -> Result<Link, ValidateError> {
    match library::load(Kind::Link, name)?.body {
        Body::Link(link) => Ok(*link),
        _ => unreachable!("a model of kind link was asked for"),
    }
}

/// Sizes of pcie-bench writes with how far the formula may be off, and what the size says of it.
const PCIE_WRITES: [(u64, f64, PointRole, &str); 17] = [
    (16, 0.01, PointRole::Test, ""),
    (32, 0.01, PointRole::Test, ""),
    (64, 0.01, PointRole::Fit, ", from which the floor per transaction is"),
    (127, 0.30, PointRole::Test, ""),
    (128, 0.30, PointRole::Test, ""),
    (129, 0.85, PointRole::Test, ", past a multiple of 128: not modelled"),
    (192, 0.30, PointRole::Test, ""),
    (255, 0.30, PointRole::Test, ""),
    (256, 0.30, PointRole::Test, ""),
    (257, 0.85, PointRole::Test, ", past a multiple of 128: not modelled"),
    (320, 0.30, PointRole::Test, ""),
    (384, 0.30, PointRole::Test, ""),
    (512, 0.01, PointRole::Test, ""),
    (513, 0.85, PointRole::Test, ", past a multiple of 128: not modelled"),
    (1024, 0.01, PointRole::Test, ""),
    (1536, 0.01, PointRole::Test, ""),
    (2048, 0.01, PointRole::Test, ""),
];

/// Writes of the NFP6000, the median of nine Xeon E5 systems with the IOMMU off.
pub fn pcie_bench(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("hardware/validation/pcie_bench_bw_Gbps.csv"))?;
    let (system, test, size, gbps) =
        (sheet.column("system")?, sheet.column("test")?, sheet.column("size_B")?, sheet.column("bw_Gbps")?);
    let mut measured: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for row in sheet.rows() {
        let ours = row[system].contains("Xeon-E5") && !row[system].contains("iommu") && row[test] == "BW_DMA_WR";
        if ours {
            measured.entry(sheet.number(row, size)? as u64).or_default().push(sheet.number(row, gbps)?);
        }
    }
    let link = carried("pcie-gen3-x8")?;
    let of = |&(size_b, tolerance, role, note): &(u64, f64, PointRole, &str)| {
        let mut rates = measured.get(&size_b)?.clone();
        rates.sort_by(f64::total_cmp);
        let ours = rate(&link, size_b, Access::Write).map(|gb| gb * 8.0);
        let point = Point::new("link/pcie-gen3-x8", "gbit_per_s", rates[rates.len() / 2], ours).within(tolerance);
        Some(point.of(format!("writes of {size_b} B{note}"), role, "pcie_bench_bw_Gbps.csv"))
    };
    Ok(PCIE_WRITES.iter().filter_map(of).collect())
}

/// A link as ASTRA-sim has it: a rate in 2^30 bytes a second, a latency, first come, first served.
pub fn astra_link(gib_per_s: f64, latency_ns: f64) -> Result<Link, ValidateError> {
    let mut link = carried("astra-sim-like")?;
    set(&mut link.phy.bandwidth_gib_per_s, gib_per_s);
    set(&mut link.latency.write_posted_ns, latency_ns);
    debug_assert!(link.compat == Some(Compat::Astra) && link.overlap() == Overlap::Full);
    Ok(link)
}

fn set(figure: &mut Figure, to: f64) {
    figure.vary(to);
}

/// The arrivals of ASTRA-sim's congestion-aware network on a link between two ends, and its own unit
/// test of one.
pub fn astra(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("reference/link/astra_link_arrivals.csv"))?;
    let (scenario, direction, arrival) =
        (sheet.column("scenario")?, sheet.column("direction")?, sheet.column("arrival_ns")?);
    let (rate, latency, bytes) =
        (sheet.column("bandwidth_GBps_2p30")?, sheet.column("latency_ns")?, sheet.column("bytes")?);
    let mut scenarios: Vec<(&str, Vec<&Vec<String>>)> = Vec::new();
    for row in sheet.rows() {
        // Rows of one name and direction 0 at first index are of one run as long as they follow each other.
        match scenarios.last_mut() {
            Some((name, rows)) if *name == row[scenario] => rows.push(row),
            _ => scenarios.push((&row[scenario], vec![row])),
        }
    }
    let mut points = Vec::new();
    for (name, rows) in scenarios {
        let link = astra_link(sheet.number(rows[0], rate)?, sheet.number(rows[0], latency)?)?;
        let mut requests = Vec::new();
        for row in &rows {
            let direction = if row[direction] == "0" { Direction::TapOut } else { Direction::TapIn };
            let payload_b = sheet.number(row, bytes)? as u64;
            requests.push(Request { at_ps: 0, direction, access: Access::Write, payload_b });
        }
        let model = LinkModel::new(&link);
        let mut met = 0;
        for (ours, row) in arrivals(&model, &requests).iter().zip(&rows) {
            met += usize::from(ours.arrival_ps as f64 == sheet.number(row, arrival)? * 1e3);
        }
        let point = Point::new("link/astra-sim-like", "arrivals met exactly", rows.len() as f64, Some(met as f64));
        points.push(point.of(name, PointRole::Test, "astra_link_arrivals.csv"));
    }
    let units = Sheet::read(&folder.join("reference/link/astra_unit_test_values.csv"))?;
    let (backend, case, expected) = (units.column("backend")?, units.column("case")?, units.column("expected_ns")?);
    let two_ends = |row: &&Vec<String>| {
        row[backend] == "congestion_aware" && row[case].starts_with("FullyConnected16 bw50 lat500")
    };
    for row in units.rows().iter().filter(two_ends) {
        let total_ps = transfer(&LinkModel::new(&astra_link(50.0, 500.0)?), 1 << 20, Access::Write).total_ps;
        let point = Point::new("link/astra-sim-like", "ns", units.number(row, expected)?, Some(total_ps as f64 / 1e3));
        points.push(point.of("1 MiB between two ends", PointRole::Test, "astra_unit_test_values.csv"));
    }
    Ok(points)
}

/// Weights of the two networks that do not fit an Edge TPU, and what of them it keeps.
const STREAMED: [(&str, u64); 2] = [("VGG16 224x224", 138_357_544), ("VGG19 224x224", 143_667_240)];
const KEPT_B: u64 = 8_000_000;

/// What an Edge TPU on a stick takes for networks that are bound by the link.
pub fn coral(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("hardware/validation/coral_edgetpu_latency_ms.csv"))?;
    let (model, usb) = (sheet.column("model")?, sheet.column("usb3_edgetpu_ms")?);
    let link = carried("usb3-gen1")?;
    let mut points = Vec::new();
    for (name, weights_b) in STREAMED {
        for row in sheet.rows().iter().filter(|row| row[model] == name) {
            let cost = transfer(&LinkModel::new(&link), weights_b - KEPT_B, Access::Write);
            let ours = Some(cost.stream_ps as f64 / 1e9);
            let point = Point::new("link/usb3-gen1", "ms", sheet.number(row, usb)?, ours).within(0.01);
            points.push(point.of(
                format!("weights of {name} past the 8 MB kept"),
                PointRole::Fit,
                "coral_edgetpu_latency_ms.csv",
            ));
        }
    }
    Ok(points)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIFO in whole nanoseconds: the rule of the reference's README, on its own example.
    #[test]
    fn astra_takes_whole_nanoseconds_cut_off() {
        let model = LinkModel::new(&astra_link(50.0, 500.0).unwrap());
        let at_once =
            |bytes| Request { at_ps: 0, direction: Direction::TapOut, access: Access::Write, payload_b: bytes };
        let served = arrivals(&model, &[at_once(1 << 20), at_once(1 << 20)]);
        // 19,531.25 ns on the wires: 19,531 are taken, and 20,031.25 cut to 20,031.
        assert_eq!((served[0].arrival_ps, served[0].free_ps), (20_031_000, 19_531_000));
        assert_eq!(served[1].arrival_ps, 39_562_000);
        // The original aborts where a transfer takes less than a nanosecond.
        assert_eq!(arrivals(&model, &[at_once(1)])[0].arrival_ps, 500_000);
    }
}
