//! GPUs by way of wgpu: Vulkan, Metal and DX12. The only file that names wgpu.
//!
//! A run is one submission with one compute pass; reading waits for what was submitted before.
//! Nothing here panics on the GPU's account: validation errors, exhausted memory and device loss
//! are caught by error scopes, by a handler for what no scope caught, and by the loss callback, and
//! come back as errors of the call that met them.

use super::program::Program;
use super::{BufferId, BufferSpec, Counts, Device, DeviceError, DeviceInfo, DeviceKind};
use crate::kernel::{self, Kernel, KernelCall};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wgpu::BufferUsages;

/// A GPU of this machine, not opened.
pub struct Adapter {
    pub info: DeviceInfo,
    adapter: wgpu::Adapter,
}

/// The machine's adapters, real GPUs first and discrete ones before others; none without a driver.
pub fn adapters() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12,
        // The same in every build: no debugging layers, which slow everything down.
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut found: Vec<wgpu::Adapter> = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    found.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    found.into_iter().map(|adapter| Adapter { info: info(&adapter.get_info()), adapter }).collect()
}

fn rank(device_type: wgpu::DeviceType) -> u8 {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

fn info(adapter: &wgpu::AdapterInfo) -> DeviceInfo {
    // An adapter that does not say what it is has to be asked for by name, like a software one.
    let kind = if rank(adapter.device_type) < 3 { DeviceKind::Gpu } else { DeviceKind::Software };
    DeviceInfo {
        name: adapter.name.clone(),
        kind,
        backend: adapter.backend.to_string(),
        driver: format!("{} {}", adapter.driver, adapter.driver_info).trim().to_owned(),
        note: String::new(),
    }
}

impl Adapter {
    /// Opens the adapter with its own limits on the size of buffers, and default ones otherwise.
    pub fn open(&self, note: &str) -> Result<Gpu, DeviceError> {
        let has = self.adapter.limits();
        let required_limits = wgpu::Limits {
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            max_buffer_size: has.max_buffer_size,
            ..wgpu::Limits::defaults().or_worse_values_from(&has)
        };
        let descriptor = wgpu::DeviceDescriptor { label: None, required_limits, ..Default::default() };
        let failed =
            |e: wgpu::RequestDeviceError| DeviceError::Open { device: self.info.name.clone(), reason: e.to_string() };
        let (device, queue) = pollster::block_on(self.adapter.request_device(&descriptor)).map_err(failed)?;
        let info = DeviceInfo { note: note.into(), ..self.info.clone() };
        Ok(Gpu::new(info, device, queue))
    }
}

/// What went wrong outside any error scope.
#[derive(Default)]
struct Faults {
    lost: Option<String>,
    error: Option<String>,
}

/// An opened GPU and the buffers of one program.
pub struct Gpu {
    info: DeviceInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
    faults: Arc<Mutex<Faults>>,
    pipelines: BTreeMap<Kernel, wgpu::ComputePipeline>,
    program: Program,
    slots: Vec<Slot>,
    /// Where buffers are copied to be read.
    staging: Option<wgpu::Buffer>,
}

/// One micro-batch in flight.
struct Slot {
    /// By buffer; shared ones are handles to one buffer.
    buffers: Vec<wgpu::Buffer>,
    /// The parameters of a run's calls.
    params: Option<wgpu::Buffer>,
}

impl Gpu {
    fn new(info: DeviceInfo, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        let faults = Arc::<Mutex<Faults>>::default();
        let seen = faults.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            locked(&seen).error.get_or_insert(e.to_string());
        }));
        let seen = faults.clone();
        device.set_device_lost_callback(move |reason, message| {
            locked(&seen).lost.get_or_insert(format!("{reason:?} {message}"));
        });
        let program = Program::default();
        Self { info, device, queue, faults, pipelines: BTreeMap::new(), program, slots: Vec::new(), staging: None }
    }

    /// Does `work`, and fails if the GPU reported anything meanwhile.
    fn guarded<T>(&self, doing: &str, work: impl FnOnce() -> T) -> Result<T, DeviceError> {
        use wgpu::ErrorFilter::*;
        let scopes = [Validation, OutOfMemory, Internal].map(|filter| self.device.push_error_scope(filter));
        let value = work();
        // Scopes are a stack: the last pushed is popped first.
        let caught: Vec<_> = scopes.into_iter().rev().filter_map(|scope| pollster::block_on(scope.pop())).collect();
        let mut faults = locked(&self.faults);
        let (device, doing) = (self.info.name.clone(), doing.to_owned());
        if let Some(reason) = faults.lost.clone() {
            return Err(DeviceError::Lost { device, doing, reason });
        }
        match caught.first().map(wgpu::Error::to_string).or(faults.error.take()) {
            Some(reason) => Err(DeviceError::Failed { device, doing, reason }),
            None => Ok(value),
        }
    }

    fn buffer(&self, label: &str, words: usize, usage: BufferUsages) -> wgpu::Buffer {
        let size = words.max(1) as u64 * 4;
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    fn storage(&self, spec: &BufferSpec) -> wgpu::Buffer {
        let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC;
        self.buffer(&spec.name, spec.words, usage)
    }

    fn build_slots(&self, buffers: &[BufferSpec], slots: usize) -> Vec<Slot> {
        let upload = |spec: &BufferSpec| {
            spec.shared().map(|words| {
                let buffer = self.storage(spec);
                self.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
                buffer
            })
        };
        let shared: Vec<Option<wgpu::Buffer>> = buffers.iter().map(upload).collect();
        // Copies their contents now rather than with the first run.
        self.queue.submit([]);
        let own =
            |(spec, shared): (&BufferSpec, &Option<wgpu::Buffer>)| shared.clone().unwrap_or_else(|| self.storage(spec));
        let slot = |_| Slot { buffers: buffers.iter().zip(&shared).map(own).collect(), params: None };
        (0..slots).map(slot).collect()
    }

    /// Compiles the kernels of `calls` that were not used before.
    fn compile(&mut self, calls: &[KernelCall]) -> Result<(), DeviceError> {
        for call in calls {
            if !self.pipelines.contains_key(&call.kernel) {
                let doing = format!("compiled kernel {}", call.kernel.name());
                let pipeline = self.guarded(&doing, || pipeline(&self.device, call.kernel))?;
                self.pipelines.insert(call.kernel, pipeline);
            }
        }
        Ok(())
    }

    /// The parameters of all calls, each where a uniform binding may start, and those places.
    fn layout_params(&self, calls: &[KernelCall]) -> (Vec<u32>, Vec<u64>) {
        let step = self.device.limits().min_uniform_buffer_offset_alignment.max(16) as usize / 4;
        let (mut words, mut offsets) = (Vec::new(), Vec::new());
        for call in calls {
            offsets.push(words.len() as u64 * 4);
            words.extend_from_slice(&call.params);
            words.resize(words.len().next_multiple_of(step), 0);
        }
        (words, offsets)
    }

    /// Makes room for `words` words of parameters in a slot.
    fn reserve_params(&mut self, slot: usize, words: usize) {
        let held = self.slots[slot].params.as_ref().map_or(0, |b| b.size());
        if held < words as u64 * 4 {
            let usage = BufferUsages::UNIFORM | BufferUsages::COPY_DST;
            self.slots[slot].params = Some(self.buffer("params", words, usage));
        }
    }

    /// The group of a call's inputs, output and parameters, in the order of the shader's bindings.
    fn bind(&self, slot: &Slot, params: &wgpu::Buffer, offset: u64, call: &KernelCall) -> wgpu::BindGroup {
        let size = std::num::NonZeroU64::new(call.params.len().next_multiple_of(4) as u64 * 4);
        let uniform = wgpu::BufferBinding { buffer: params, offset, size };
        let storage = call.inputs.iter().chain([&call.output]);
        let resources = storage.map(|id| slot.buffers[id.0 as usize].as_entire_binding());
        let entries: Vec<_> = resources
            .chain([wgpu::BindingResource::Buffer(uniform)])
            .enumerate()
            .map(|(i, resource)| wgpu::BindGroupEntry { binding: i as u32, resource })
            .collect();
        let layout = self.pipelines[&call.kernel].get_bind_group_layout(0);
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries })
    }

    fn submit(&self, slot: usize, params: &[u32], offsets: &[u64], calls: &[KernelCall]) {
        let slot = &self.slots[slot];
        let Some(uniforms) = &slot.params else {
            return;
        };
        self.queue.write_buffer(uniforms, 0, bytemuck::cast_slice(params));
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (call, &offset) in calls.iter().zip(offsets) {
                let [x, y] = kernel::grid(call.kernel.invocations(&call.params)).expect("grids were checked");
                pass.set_pipeline(&self.pipelines[&call.kernel]);
                pass.set_bind_group(0, &self.bind(slot, uniforms, offset, call), &[]);
                pass.dispatch_workgroups(x, y, 1);
            }
        }
        self.queue.submit([encoder.finish()]);
    }

    /// Copies the start of `buffer` out, waiting for everything submitted before.
    fn download(&self, buffer: &wgpu::Buffer, staging: &wgpu::Buffer, words: usize) -> Result<Vec<u32>, String> {
        let bytes = words as u64 * 4;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 0, staging, 0, bytes);
        let submission = self.queue.submit([encoder.finish()]);
        let (done, outcome) = std::sync::mpsc::channel();
        // The receiver may be gone if waiting failed; then nobody needs the outcome.
        staging.map_async(wgpu::MapMode::Read, ..bytes, move |result| drop(done.send(result)));
        let wait = wgpu::PollType::Wait { submission_index: Some(submission), timeout: None };
        self.device.poll(wait).map_err(|e| e.to_string())?;
        outcome.recv().map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
        let view = staging.get_mapped_range(..bytes).map_err(|e| e.to_string())?;
        let words = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        staging.unmap();
        Ok(words)
    }

    /// A staging buffer of at least `words` words.
    fn staging(&mut self, words: usize) -> wgpu::Buffer {
        let fits = self.staging.take().filter(|b| b.size() >= words as u64 * 4);
        fits.unwrap_or_else(|| self.buffer("staging", words, BufferUsages::MAP_READ | BufferUsages::COPY_DST))
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn max_binding_bytes(&self) -> u64 {
        let limits = self.device.limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size)
    }

    fn prepare(&mut self, buffers: &[BufferSpec], slots: usize) -> Result<(), DeviceError> {
        // Gives back the old program's memory before asking for the new one's; after a failure
        // there is no program.
        self.slots.clear();
        self.program = Program::default();
        let program = Program::new(buffers, slots, &self.info.name, self.max_binding_bytes())?;
        self.slots = self.guarded("made buffers", || self.build_slots(buffers, slots))?;
        self.program = program;
        Ok(())
    }

    fn write(&mut self, slot: usize, buffer: BufferId, words: &[u32]) -> Result<(), DeviceError> {
        self.program.write(slot, buffer, words.len())?;
        let to = &self.slots[slot].buffers[buffer.0 as usize];
        self.guarded("wrote a buffer", || self.queue.write_buffer(to, 0, bytemuck::cast_slice(words)))
    }

    fn run(&mut self, slot: usize, calls: &[KernelCall]) -> Result<(), DeviceError> {
        self.program.run(slot, calls)?;
        self.compile(calls)?;
        let (params, offsets) = self.layout_params(calls);
        self.reserve_params(slot, params.len());
        self.guarded("ran kernels", || self.submit(slot, &params, &offsets, calls))
    }

    fn read(&mut self, slot: usize, buffer: BufferId, words: usize) -> Result<Vec<u32>, DeviceError> {
        self.program.read(slot, buffer, words)?;
        if words == 0 {
            return Ok(Vec::new());
        }
        let staging = self.staging(words);
        let from = &self.slots[slot].buffers[buffer.0 as usize];
        let words = self.guarded("read a buffer", || self.download(from, &staging, words))?;
        let failed =
            |reason| DeviceError::Failed { device: self.info.name.clone(), doing: "read a buffer".into(), reason };
        let words = words.map_err(failed)?;
        // Kept only when it was unmapped again.
        self.staging = Some(staging);
        Ok(words)
    }

    fn counts(&self) -> Counts {
        self.program.counts
    }
}

fn pipeline(device: &wgpu::Device, kernel: Kernel) -> wgpu::ComputePipeline {
    use wgpu::BufferBindingType::{Storage, Uniform};
    let inputs = kernel.bindings().inputs.iter().map(|_| Storage { read_only: true });
    let entries: Vec<_> = inputs
        .chain([Storage { read_only: false }, Uniform])
        .enumerate()
        .map(|(i, ty)| wgpu::BindGroupLayoutEntry {
            binding: i as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        })
        .collect();
    let label = Some(kernel.name());
    let group = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label,
        bind_group_layouts: &[Some(&group)],
        ..Default::default()
    });
    let source = wgpu::ShaderSource::Wgsl(kernel.wgsl().into());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label, source });
    device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label,
        layout: Some(&layout),
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions::default(),
        cache: None,
    })
}

/// A panic elsewhere leaves nothing half written here.
fn locked(faults: &Mutex<Faults>) -> MutexGuard<'_, Faults> {
    faults.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::add;

    /// Any adapter that opens, software ones included.
    fn any() -> Option<Gpu> {
        let found = adapters().iter().find_map(|a| a.open("").ok());
        if found.is_none() {
            assert_ne!(std::env::var("TRUNKLINE_REQUIRE_GPU").as_deref(), Ok("1"), "no adapter opens");
            println!("SKIPPED: no adapter opens");
        }
        found
    }

    fn specs() -> Vec<BufferSpec> {
        let spec = |name: &str| BufferSpec::map(name, 8);
        vec![spec("a"), spec("b"), spec("sum")]
    }

    #[test]
    fn a_validation_error_is_an_error_of_the_call_and_of_no_other() {
        let Some(gpu) = any() else { return };
        let source = || wgpu::ShaderSource::Wgsl("fn main() { let x: u32 = 1.5f; }".into());
        let make = || gpu.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source: source() });
        let error = gpu.guarded("compiled", make).err();
        assert!(matches!(error, Some(DeviceError::Failed { .. })), "{error:?}");
        // Without a scope the handler takes it, and the next guarded call reports it.
        make();
        assert!(gpu.guarded("did nothing", || ()).is_err());
        assert_eq!(gpu.guarded("did nothing", || ()), Ok(()));
    }

    #[test]
    fn a_lost_device_gives_errors_and_never_panics() {
        let Some(mut gpu) = any() else { return };
        let [a, b, sum] = [0, 1, 2].map(BufferId);
        let calls = [add::call(add::Params::new(1, 8), a, b, sum)];
        gpu.prepare(&specs(), 1).unwrap();
        gpu.run(0, &calls).unwrap();
        gpu.device.destroy();
        // Unlike a loss that the driver reports, this one reaches the callback when the queue is empty.
        gpu.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        assert!(gpu.run(0, &calls).is_err());
        assert!(gpu.read(0, sum, 8).is_err());
        assert!(gpu.write(0, a, &[1]).is_err());
        assert!(gpu.prepare(&specs(), 1).is_err());
        assert!(gpu.run(0, &calls).is_err(), "no program is left");
    }
}
