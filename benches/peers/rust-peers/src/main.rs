//! tract and rten behind the protocol of `bench.py`: `rust-peers tract|rten MODEL.onnx BATCH SIDE THREADS`.
//!
//! One line when ready; then, for every line on standard input (a number of seconds), how many batches
//! were done in how many seconds.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;
type Run = Box<dyn FnMut() -> Outcome<()>>;

/// Codes enter as floats in every model: N×C×H×W between -1 and 1.
fn values(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i.wrapping_mul(2_654_435_761) >> 16 & 255) as f32 / 127.5 - 1.0).collect()
}

/// This process's memory, where the system says it.
fn resident_kb() -> Option<u64> {
    std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok().map(|pages| pages * 4)
}

/// Hands memory that loading has freed to the system, so that what is measured is inference.
fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            fn malloc_trim(keep_bytes: usize) -> std::ffi::c_int;
        }
        // SAFETY: glibc's own, callable at any time.
        unsafe { malloc_trim(0) };
    }
}

fn tract(model: &str, shape: [usize; 4], threads: usize) -> Outcome<Run> {
    use tract_linalg::multithread::{Executor, set_default_executor};
    use tract_onnx::prelude::*;
    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }
    let model = tract_onnx::onnx().model_for_path(model)?;
    let model = model.with_input_fact(0, f32::fact(shape).into())?.into_optimized()?.into_runnable()?;
    let input: TValue = Tensor::from_shape(&shape, &values(shape.iter().product()))?.into();
    Ok(Box::new(move || {
        model.run(tvec!(input.clone()))?;
        Ok(())
    }))
}

fn rten(model: &str, shape: [usize; 4]) -> Outcome<Run> {
    use rten_tensor::NdTensor;
    use rten_tensor::prelude::*;
    // Its threads are set by RTEN_NUM_THREADS.
    let model = rten::Model::load_file(model)?;
    let input = NdTensor::from_data(shape, values(shape.iter().product()));
    Ok(Box::new(move || {
        model.run_one(input.view().into(), None)?;
        Ok(())
    }))
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [engine, model, batch, side, threads] = &arguments[..] else {
        return Err("usage: rust-peers tract|rten MODEL.onnx BATCH SIDE THREADS".into());
    };
    let (batch, side, threads) = (batch.parse()?, side.parse()?, threads.parse()?);
    let shape = [batch, 3, side, side];
    let base_kb = resident_kb().unwrap_or(0);
    let mut once = match engine.as_str() {
        "tract" => tract(model, shape, threads)?,
        "rten" => rten(model, shape)?,
        other => return Err(format!("no engine '{other}'; there are tract and rten").into()),
    };
    once()?;
    give_back();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{{\"base_kb\": {base_kb}}}")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let seconds: f64 = line?.trim().parse()?;
        let (start, mut batches) = (Instant::now(), 0u64);
        while batches == 0 || start.elapsed().as_secs_f64() < seconds {
            once()?;
            batches += 1;
        }
        writeln!(out, "{batches} {}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    Ok(())
}
