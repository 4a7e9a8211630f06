//! Measures the adapter device that is here and writes it down as a hardware model file.
//!
//! Only what goes through [`Device`] is measured, with the kernels that adapters run: the cost of one
//! more kernel in a list, of submitting one and reading its result, bytes moved by an elementwise
//! kernel, products by the 1x1 convolution at several sizes. Power is not: no interface here tells
//! it, and it stays unknown. It refuses the device that computes nothing.

use crate::device::{BufferId, BufferSpec, Device, DeviceError, DeviceInfo, DeviceKind};
use crate::hw::LaunchApi;
use crate::kernel::{KernelCall, activation, conv1x1};
use crate::op;
use crate::tensor::Shape;
use std::time::{Duration, Instant};
use thiserror::Error;

#[derive(Debug, Error)]
pub enum CalibrateDeviceError {
    #[error("device {device} computes nothing, so there is nothing to measure: name another with --device")]
    NothingToMeasure { device: String },
    #[error("device {device} has no memory to measure with: it binds at most {limit} bytes")]
    TooSmall { device: String, limit: u64 },
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A measured quantity: the median of its repeats, and the tenth and ninetieth percentile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub v: f64,
    pub lo: f64,
    pub hi: f64,
}

/// What was measured of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    pub device: DeviceInfo,
    pub one_way_us: Spread,
    pub round_trip_us: Spread,
    pub bandwidth_gb_per_s: Spread,
    /// The fastest product.
    pub gemm_tflop_per_s: Spread,
    /// Matrix size and the fraction of the fastest product's rate that is reached there.
    pub gemm_curve: Vec<(usize, f64)>,
}

/// How much to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub repeats: usize,
    /// No single measurement is made larger once it takes this long.
    pub longest: Duration,
}

impl Default for Effort {
    fn default() -> Self {
        Self { repeats: 15, longest: Duration::from_millis(60) }
    }
}

const LARGEST_PRODUCT: usize = 4096;
const LARGEST_BUFFER_WORDS: usize = 1 << 26;
/// Kernels of a list whose length makes launching show.
const LIST: usize = 128;

/// Measures a device; takes some seconds.
pub fn measure(device: &mut dyn Device, effort: Effort) -> Result<Calibration, CalibrateDeviceError> {
    let info = device.info().clone();
    if info.kind == DeviceKind::Null {
        return Err(CalibrateDeviceError::NothingToMeasure { device: info.name });
    }
    let mut bench = Bench { limit_words: (device.max_binding_bytes() / 4) as usize, device, effort };
    if bench.limit_words < 64 * 64 {
        return Err(CalibrateDeviceError::TooSmall { device: info.name, limit: bench.limit_words as u64 * 4 });
    }
    let (one_way_us, round_trip_us) = bench.launches()?;
    let bandwidth_gb_per_s = bench.bandwidth()?;
    let products = bench.products()?;
    let best = products.iter().map(|(_, rate)| *rate).reduce(|a, b| if b.v > a.v { b } else { a });
    let best = best.unwrap_or(Spread { v: 0.0, lo: 0.0, hi: 0.0 });
    let gemm_curve = products.iter().map(|(n, rate)| (*n, rate.v / best.v)).collect();
    Ok(Calibration { device: info, one_way_us, round_trip_us, bandwidth_gb_per_s, gemm_tflop_per_s: best, gemm_curve })
}

struct Bench<'a> {
    device: &'a mut dyn Device,
    limit_words: usize,
    effort: Effort,
}

fn buffer(name: &str, words: usize) -> BufferSpec {
    BufferSpec::map(name, words)
}

/// An elementwise kernel from the first buffer into the second.
fn clamp(words: usize) -> KernelCall {
    activation::call(activation::Params::new(1, words, op::Activation::Relu6), BufferId(0), BufferId(1))
}

/// A product of two n x n matrices: a 1x1 convolution of n pixels, n channels to n.
fn product(n: usize) -> KernelCall {
    let shape = Shape { h: 1, w: n, c: n };
    conv1x1::call(
        conv1x1::Params::new(1, shape, shape, &op::Conv2d::square(n, n, 1, 1, 0)),
        BufferId(0),
        BufferId(1),
        None,
        BufferId(2),
    )
}

impl Bench<'_> {
    /// Submits the calls, waits for the first word of the last output.
    fn seconds(&mut self, calls: &[KernelCall]) -> Result<f64, DeviceError> {
        let start = Instant::now();
        self.device.run(0, calls)?;
        let last = calls.last().map_or(BufferId(0), |call| call.output);
        self.device.read(0, last, 1)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Time of one more call in a list: of long lists less short ones, which launching and reading
    /// drop out of.
    fn one_more(&mut self, call: &KernelCall, list: usize) -> Result<Vec<f64>, DeviceError> {
        let (short, long) = (vec![call.clone()], vec![call.clone(); list + 1]);
        self.seconds(&short)?;
        (0..self.effort.repeats)
            .map(|_| {
                let (short_s, long_s) = (self.seconds(&short)?, self.seconds(&long)?);
                let (one, with_launch) = ((long_s - short_s) / list as f64, long_s / (list + 1) as f64);
                // A short list that something interrupted took as long as the long one: what is known then
                // is that a call took no longer than its share, launch included.
                Ok(if one > with_launch / 20.0 { one } else { with_launch.max(1e-9) })
            })
            .collect()
    }

    fn launches(&mut self) -> Result<(Spread, Spread), DeviceError> {
        self.device.prepare(&[buffer("from", 64), buffer("to", 64)], 1)?;
        let call = clamp(64);
        let one_way = self.one_more(&call, LIST)?;
        let trips: Result<Vec<f64>, _> =
            (0..self.effort.repeats * 4).map(|_| self.seconds(std::slice::from_ref(&call))).collect();
        Ok((spread(one_way, |s| s * 1e6), spread(trips?, |s| s * 1e6)))
    }

    /// Bytes read and written a second, by the largest buffer that the effort allows.
    fn bandwidth(&mut self) -> Result<Spread, DeviceError> {
        let most = self.limit_words.min(LARGEST_BUFFER_WORDS);
        let mut words = most.min(1 << 18);
        loop {
            self.device.prepare(&[buffer("from", words), buffer("to", words)], 1)?;
            let call = clamp(words);
            self.seconds(std::slice::from_ref(&call))?;
            let took_s = self.seconds(std::slice::from_ref(&call))?;
            if words * 4 > most || took_s * 4.0 > self.effort.longest.as_secs_f64() {
                let times = self.one_more(&call, 4)?;
                return Ok(spread(times, |s| 8.0 * words as f64 / s / 1e9));
            }
            words *= 4;
        }
    }

    /// Rates of products from 16 x 16 up, in TFLOP/s.
    fn products(&mut self) -> Result<Vec<(usize, Spread)>, DeviceError> {
        let mut rates = Vec::new();
        let mut n = 16;
        while n <= LARGEST_PRODUCT && n * n <= self.limit_words {
            let ones = vec![1f32.to_bits(); n * n];
            let weights = BufferSpec::constant("weights", ones.clone());
            self.device.prepare(&[buffer("maps", n * n), weights, buffer("products", n * n)], 1)?;
            self.device.write(0, BufferId(0), &ones)?;
            let call = product(n);
            self.seconds(std::slice::from_ref(&call))?;
            let took_s = self.seconds(std::slice::from_ref(&call))?;
            let list = ((self.effort.longest.as_secs_f64() / took_s) as usize).clamp(1, 64);
            let times = self.one_more(&call, list)?;
            rates.push((n, spread(times, |s| 2.0 * (n as f64).powi(3) / s / 1e12)));
            if took_s > self.effort.longest.as_secs_f64() {
                break;
            }
            n *= 2;
        }
        Ok(rates)
    }
}

/// Median and percentiles of what repeats come to.
fn spread(repeats: Vec<f64>, of: impl Fn(f64) -> f64) -> Spread {
    let mut values: Vec<f64> = repeats.into_iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    Spread { v: at(0.5), lo: at(0.1), hi: at(0.9) }
}

/// The interface of a device, where hardware models have a word for it.
fn launch_api(info: &DeviceInfo) -> LaunchApi {
    let named = LaunchApi::ALL.iter().find(|api| api.to_string() == info.backend);
    named.copied().unwrap_or(LaunchApi::Cpu)
}

/// A device's name as a model's name: letters, digits and dashes.
pub fn model_name(info: &DeviceInfo) -> String {
    let mut name = String::new();
    for c in info.name.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(60);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "device".into() } else { name.into() }
}

fn figure(key: &str, spread: Spread, note: &str) -> String {
    // Four digits are more than repeats agree in; the ends must still enclose the value.
    let short = |x: f64| format!("{x:.3e}");
    let Spread { v, lo, hi } = spread;
    format!(
        "{key} = {{ v = {}, lo = {}, hi = {}, src = \"calibrate\", conf = \"measured\", note = \"{note}\" }}",
        short(v),
        short(lo),
        short(hi)
    )
}

/// What stands between quotes in a TOML string.
fn quoted(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !"\"\\".contains(*c)).collect()
}

impl Calibration {
    /// The hardware model file of this measurement.
    pub fn to_toml(&self, name: &str) -> String {
        let info = &self.device;
        let kind = if info.kind == DeviceKind::Gpu { "gpu" } else { "cpu" };
        let api = launch_api(info);
        let points: Vec<String> = self.gemm_curve.iter().map(|(n, f)| format!("[{n}.0, {f:.4}]")).collect();
        let lines = [
            format!("# {}, as `trunkline calibrate` found it.", quoted(&info.name)),
            "schema = \"hw_models/adapter/1\"".into(),
            format!("name = \"{name}\""),
            format!("kind = \"{kind}\""),
            format!("launch_api = \"{api}\""),
            "note = \"The curve's fractions are of the fastest product measured; power was not measured\"".into(),
            "\n[compute]".into(),
            "peak_fp32_tflop_per_s = { unknown = true }".into(),
            figure("gemm_fp32_tflop_per_s", self.gemm_tflop_per_s, "our own 1x1 convolution, not a library's product"),
            format!("small_gemm_curve = [{}]", points.join(", ")),
            format!("\n[launch.{api}]"),
            figure("one_way_us", self.one_way_us, "one more small kernel in a list"),
            figure("round_trip_us", self.round_trip_us, "one small kernel, submitted until a word of it is read"),
            "\n[memory.device]".into(),
            "capacity_b = { unknown = true }".into(),
            figure("bandwidth_gb_per_s", self.bandwidth_gb_per_s, "read and written by an elementwise kernel"),
            figure("bandwidth_achieved_frac", Spread { v: 1.0, lo: 1.0, hi: 1.0 }, "the bandwidth is what was reached"),
            "access_pj_per_bit = { unknown = true }".into(),
            "\n[power]".into(),
            "idle_w = { unknown = true }".into(),
            "idle_context_w = { unknown = true }".into(),
            "fp32_pj_per_flop = { unknown = true }".into(),
            "\n[sources]".into(),
            format!(
                "calibrate = \"trunkline {} calibrate, {} through {}, driver {}\"\n",
                env!("CARGO_PKG_VERSION"),
                quoted(&info.name),
                quoted(&info.backend),
                quoted(&info.driver)
            ),
        ];
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device;
    use crate::hw::check::check_text;
    use crate::hw::timing::{AdapterTiming, AdapterWork};
    use crate::hw::{Body, Confidence, library};

    const QUICK: Effort = Effort { repeats: 3, longest: Duration::from_millis(2) };

    #[test]
    fn the_twins_are_measured_into_a_file_that_checks_and_times() {
        let mut device = device::open("cpu").unwrap();
        let found = measure(device.as_mut(), QUICK).unwrap();
        assert!(found.one_way_us.v > 0.0 && found.round_trip_us.v >= found.one_way_us.v * 0.1);
        assert!(found.gemm_curve.len() >= 3 && found.gemm_curve.iter().all(|(_, f)| *f > 0.0 && *f <= 1.0));
        let text = found.to_toml("measured-here");
        let report = check_text("measured-here.toml", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(report.worst_confidence, Some(Confidence::Measured));
        assert!(report.notes.is_empty() && report.unused_sources.is_empty(), "{report:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("measured-here.toml");
        std::fs::write(&path, text).unwrap();
        let Body::Adapter(adapter) = library::find(path.to_str().unwrap()).unwrap().body else { panic!() };
        let timing = AdapterTiming::new(&adapter, LaunchApi::Cpu);
        let kernel = timing.kernel(&AdapterWork { flops: 1 << 20, bytes: 1 << 10, is_product: true });
        assert!(kernel.compute_ps > 0 && kernel.launch_ps > 0);
    }

    #[test]
    fn a_device_that_computes_nothing_is_refused() {
        let mut device = device::open("null").unwrap();
        assert!(measure(device.as_mut(), QUICK).unwrap_err().to_string().contains("nothing"));
    }

    #[test]
    fn names_of_devices_become_names_of_models() {
        let info = |name: &str| DeviceInfo {
            name: name.into(),
            kind: DeviceKind::Gpu,
            backend: "vulkan".into(),
            driver: "\"x\\".into(),
            note: String::new(),
        };
        assert_eq!(model_name(&info("NVIDIA GeForce RTX 4090/PCIe (2)")), "nvidia-geforce-rtx-4090-pcie-2");
        assert_eq!(model_name(&info("日本")), "device");
        assert_eq!((launch_api(&info("x")), quoted("\"x\\")), (LaunchApi::Vulkan, "x".into()));
    }
}
