//! A counting allocator: once every thread has run its largest task, running a trunk allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use trunkline::graph::Graph;
use trunkline::model::zoo::ZooSpec;
use trunkline::op::Op;
use trunkline::quant::{CodeType, Profile, QuantParams};
use trunkline::tensor::Tensor;
use trunkline::trunk::{Executor, TrunkProgram, prepare};

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is the system's allocator, which a counter does not change.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// A network of the zoo with one scale for all maps, which no step's speed depends on.
fn network(name: &str, input: usize) -> (Graph, TrunkProgram) {
    let spec = ZooSpec { name: name.into(), input, classes: 10, width: 1.0, seed: 0 };
    let mut graph = spec.build().expect("a network of the zoo");
    for edge in &mut graph.edges {
        edge.quant = Some(QuantParams { scale: 0.05, zero_point: -20, codes: CodeType::I8 });
    }
    let program = prepare(&graph, &Profile::default(), 8).expect("a calibrated graph");
    (graph, program)
}

fn images(program: &TrunkProgram, batch: usize) -> Tensor<i8> {
    let shape = program.steps[0].input_shapes()[0];
    let codes = (0..batch * shape.elements()).map(|i| (i.wrapping_mul(2_654_435_761) >> 16) as i8);
    Tensor::from_vec(batch, shape, codes.collect())
}

/// Allocations of ten warm runs, all inside one pool: handing work to a pool from outside is the
/// caller's allocation.
fn allocations(graph: &Graph, program: &TrunkProgram, batch: usize, threads: usize) -> usize {
    const RUNS: usize = 10;
    let input = images(program, batch);
    let mut executor = Executor::new(program, batch, &[graph.output]).expect("a program alone");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| {
        let mut allocated = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            for _ in 0..RUNS {
                executor.run(&input).expect("an input that fits");
            }
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        // A thread that has stolen little yet may still meet its largest task: that ends, a run that
        // allocates does not.
        let warm = (0..50).any(|_| allocated() + allocated() == 0);
        if warm { allocated() } else { usize::MAX }
    })
}

/// One test, so that nothing else allocates while it counts.
#[test]
fn a_warm_trunk_allocates_nothing() {
    let (graph, program) = network("resnet26", 64);
    let slow: Vec<_> = program.steps.iter().filter(|step| !step.is_fast()).map(|step| &step.name).collect();
    if !slow.is_empty() {
        println!("SKIPPED: without vector instructions the reference loops run, which allocate: {slow:?}");
        return;
    }
    for threads in [1, 2] {
        for batch in [1, 4] {
            let found = allocations(&graph, &program, batch, threads);
            assert_eq!(found, 0, "batch {batch} on {threads} threads");
        }
    }
    let fused = program.passes(|edge| edge == graph.output);
    let additions = graph.nodes.iter().filter(|node| node.op == Op::Add).count();
    assert_eq!(fused.iter().filter(|pass| pass.after.is_some()).count(), additions, "every addition follows a layer");
}
