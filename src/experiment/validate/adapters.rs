//! Adapter devices against measured matrix products.

use super::sheet::Sheet;
use super::{Point, ValidateError};
use crate::hw::timing::{AdapterTiming, AdapterWork};
use crate::hw::{Adapter, Body, Kind, PointRole, Validation, library};
use std::path::Path;

/// Rate of a product that is large enough for its launch not to show.
fn large_product_tflop_per_s(adapter: &Adapter) -> Option<f64> {
    let api = adapter.launch.keys().next()?;
    let work = AdapterWork { flops: 2 * 8192u64.pow(3), bytes: 12 * 8192 * 8192, is_product: true };
    let time = AdapterTiming::new(adapter, *api).kernel(&work);
    let busy_ps = time.compute_ps.max(time.memory_ps);
    (busy_ps > 0).then(|| work.flops as f64 / busy_ps as f64)
}

pub fn gemm_fp32(body: &Body, _point: &Validation) -> Option<f64> {
    match body {
        Body::Adapter(adapter) => large_product_tflop_per_s(adapter),
        _ => None,
    }
}

/// Presets with the names that submitters gave their devices; the row that a preset's figure is from
/// is a fit, those of the others a test.
const DEVICES: [(&str, &str); 5] = [
    ("h200-sxm", "NVIDIA H200"),
    ("a100-sxm-80g", "NVIDIA A100 SXM4 80GB"),
    ("rtx-4090", "RTX 4090"),
    ("jetson-orin-nano", "NVIDIA Jetson Orin Nano"),
    ("radeon-780m", "AMD Radeon 780M Graphics"),
];

pub fn gemm_table(folder: &Path) -> Result<Vec<Point>, ValidateError> {
    let sheet = Sheet::read(&folder.join("hardware/validation/gpu_torch_gemm_tflops.csv"))?;
    let (device, fp32) = (sheet.column("device")?, sheet.column("fp32_tflops")?);
    let mut points = Vec::new();
    for (name, theirs) in DEVICES {
        let Body::Adapter(adapter) = library::load(Kind::Adapter, name)?.body else { continue };
        let ours = large_product_tflop_per_s(&adapter);
        let mut rates = Vec::new();
        for row in sheet.rows().iter().filter(|row| is_device(&row[device], theirs) && !row[fp32].is_empty()) {
            rates.push(sheet.number(row, fp32)?);
        }
        rates.sort_by(f64::total_cmp);
        let Some(median) = rates.get(rates.len() / 2) else { continue };
        let role = if rates.len() == 1 { PointRole::Fit } else { PointRole::Test };
        let what = format!("large square matrices, median of {}", rates.len());
        let point = Point::new(format!("adapter/{name}"), "gemm_fp32_tflop_per_s", *median, ours).within(0.05);
        points.push(point.of(what, role, "gpu_torch_gemm_tflops.csv"));
    }
    Ok(points)
}

/// The name, whatever stands around it of makers and memories, and no other suffix of it.
fn is_device(text: &str, name: &str) -> bool {
    text.find(name).is_some_and(|at| !text[at + name.len()..].starts_with(|c: char| c.is_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_is_another_device() {
        assert!(is_device("NVIDIA GeForce RTX 4090 24GB", "RTX 4090"));
        assert!(!is_device("NVIDIA RTX 4090D 48GB", "RTX 4090"));
    }
}
