//! The executor against steps run one by one: codes and counts, on every instruction set.

use trunkline::graph::{EdgeId, Graph};
use trunkline::model::zoo::ZooSpec;
use trunkline::op::{Counts, Op};
use trunkline::quant::{CodeType, Profile, QuantParams};
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk::fast::{InstructionSet, Kernels};
use trunkline::trunk::{Executor, Map, Memory, TrunkError, TrunkProgram, prepare};

/// A network of the zoo whose maps have scales of three kinds, but where an operation keeps codes.
fn network(name: &str, input: usize, width: f64) -> (Graph, TrunkProgram) {
    let spec = ZooSpec { name: name.into(), input, classes: 10, width, seed: 1 };
    let mut graph = spec.build().expect("a network of the zoo");
    for (i, edge) in graph.edges.iter_mut().enumerate() {
        let (scale, zero_point) = [(0.04, -20), (0.05, 3), (0.03, -128)][i % 3];
        edge.quant = Some(QuantParams { scale, zero_point, codes: CodeType::I8 });
    }
    for id in graph.node_ids().collect::<Vec<_>>() {
        let node = graph.node(id).clone();
        if matches!(node.op, Op::AvgPool(_) | Op::MaxPool(_) | Op::Pad(_)) {
            graph.edge_mut(node.output).quant = graph.edge(node.inputs[0]).quant;
        }
    }
    let program = prepare(&graph, &Profile::default(), 8).expect("a calibrated graph");
    (graph, program)
}

fn images(shape: Shape, batch: usize) -> Tensor<i8> {
    let codes = (0..batch * shape.elements()).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as i8);
    Tensor::from_vec(batch, shape, codes.collect())
}

/// Every step alone, on the reference loops.
fn one_by_one(program: &TrunkProgram, input: &Tensor<i8>, output: EdgeId) -> (Vec<i8>, Vec<Counts>) {
    let program = program.clone().with_kernels(Kernels::Reference);
    let maps = program.run_all(input).expect("a program alone");
    let counts = program.steps.iter().map(|step| {
        let inputs: Vec<_> = step.inputs.iter().map(|edge| &maps[edge]).collect();
        step.run(&inputs, None).1
    });
    (maps[&output].data.clone(), counts.collect())
}

#[test]
fn an_executor_gives_the_codes_and_counts_of_its_steps() {
    for (name, size, width) in [("resnet26", 17, 0.3), ("resnet18", 33, 0.25)] {
        let (graph, program) = network(name, size, width);
        let kernels = InstructionSet::available().map(Kernels::Only).chain([Kernels::Reference, Kernels::Auto]);
        for kernels in kernels {
            let program = program.clone().with_kernels(kernels);
            for batch in [1, 3] {
                let input = images(graph.shape(graph.input), batch);
                let (codes, counts) = one_by_one(&program, &input, graph.output);
                let mut executor = Executor::new(&program, batch, &[graph.output]).expect("a program alone");
                for run in 0..2 {
                    assert_eq!(executor.run(&input).unwrap(), counts, "{name}, {kernels:?}, batch {batch}, run {run}");
                    assert_eq!(executor.map(graph.output), Some(&codes[..]), "{name}, {kernels:?}, batch {batch}");
                }
            }
        }
    }
}

#[test]
fn kept_maps_are_made_and_stay() {
    let (graph, program) = network("resnet26", 17, 0.3);
    let input = images(graph.shape(graph.input), 2);
    let every: Vec<EdgeId> = program.steps.iter().map(|step| step.output).collect();
    assert_eq!(program.passes(|_| true).len(), program.steps.len(), "nothing is skipped that somebody wants");
    let mut executor = Executor::new(&program, 2, &every).expect("a program alone");
    executor.run(&input).unwrap();
    for (edge, want) in program.run_all(&input).unwrap().into_iter().filter(|(edge, _)| *edge != program.input) {
        assert_eq!(executor.map(edge), Some(&want.data[..]), "{}", graph.edge(edge).name);
    }
}

#[test]
fn maps_share_memory_when_their_lives_do_not_overlap() {
    let (graph, program) = network("resnet34", 64, 1.0);
    let passes = program.passes(|edge| edge == graph.output);
    let memory = Memory::plan(&program, &passes, 1, &[graph.output]);
    let all: usize = program.steps.iter().map(|step| step.output_shape().elements()).sum();
    let largest = program.steps.iter().map(|step| step.output_shape().elements()).max().unwrap();
    assert!(memory.elements() < all / 5, "{} of {all}", memory.elements());
    assert!(memory.elements() <= 3 * largest, "{}: at most a map, its successor and a shortcut", memory.elements());
    for pass in &passes {
        let own = memory.place(program.steps[pass.last()].output).unwrap();
        for read in pass.reads(&program).filter_map(|edge| memory.place(edge)) {
            assert!(read.end <= own.start || own.end <= read.start, "{read:?} is read while {own:?} is written");
        }
    }
}

#[test]
fn what_an_executor_refuses() {
    let (graph, program) = network("resnet26", 17, 0.3);
    let mut executor = Executor::new(&program, 1, &[graph.output]).expect("a program alone");
    let wrong = images(Shape::new(3, 3, 3), 1);
    assert!(matches!(executor.run(&wrong), Err(TrunkError::Input { .. })));
    assert_eq!(Map::from(&wrong).image(0).len(), 27);
    assert_eq!(executor.map(graph.input), None, "the input is the caller's");
}
