//! Energy tables against runs that they do not hold.

use super::sheet::Sheet;
use super::{Point, ValidateError};
use crate::hw::table::SramFigure;
use crate::hw::{Body, Kind, PointRole, library};
use std::path::Path;

/// Sizes that CACTI was run for and that the table leaves out: what interpolation between sizes is
/// good for.
pub fn cacti(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("hardware/validation/cacti_sram_64b.csv"))?;
    let (device, node, size, read) =
        (sheet.column("device")?, sheet.column("node_nm")?, sheet.column("size_KiB")?, sheet.column("read_pJ")?);
    let Body::Table(table) = library::load(Kind::Table, "cacti7-lstp")?.body else { return Ok(vec![]) };
    let mut points = Vec::new();
    for row in sheet.rows().iter().filter(|row| row[device] == "itrs-lstp") {
        let (node_nm, kib) = (sheet.number(row, node)?, sheet.number(row, size)?);
        if ![64.0, 128.0, 512.0].contains(&kib) {
            continue;
        }
        let ours = table.sram(node_nm, kib * 1024.0, SramFigure::Read).map(|e| e.v);
        let point = Point::new("table/cacti7-lstp", "read_pj_per_access", sheet.number(row, read)?, ours).within(0.25);
        let what = format!("{kib} KiB at {node_nm} nm, between two sizes of the table");
        points.push(point.of(what, PointRole::Test, "cacti_sram_64b.csv"));
    }
    Ok(points)
}
