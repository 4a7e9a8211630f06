//! Every fast kernel that this CPU can run against the reference loop: codes and counts, bit for bit.

use proptest::prelude::*;
use trunkline::op::product::{Join, Product};
use trunkline::op::{Conv2d, Counts, Linear, Output, Registers, add, batch_norm, conv2d, linear};
use trunkline::quant::weights::WeightCodes;
use trunkline::quant::{Clamp, CodeType, Formula, Multiplier, QuantParams, RequantStyle};
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk::fast::{After, InstructionSet, Kernels, Norm, Plan, Sum};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// Codes; one map in four holds the two ends only, where sums are largest.
    fn codes(&mut self, n: usize) -> Vec<i8> {
        let ends = self.below(4) == 0;
        let code = |bits: u64| if ends { [-128i8, 127][bits as usize & 1] } else { bits as i8 };
        (0..n).map(|_| code(self.next())).collect()
    }
    fn real(&mut self) -> f64 {
        self.below(1 << 30) as f64 / f64::from(1 << 30)
    }
}

const STYLES: [RequantStyle; 4] =
    [RequantStyle::GemmlowpDouble, RequantStyle::Ruy, RequantStyle::Single, RequantStyle::F32Rne];

/// Registers for sums of `depth` products: ordinary ones, and, if `odd`, those that overflow, shift
/// left or are constants.
fn registers(random: &mut Random, style: RequantStyle, channels: usize, depth: usize, odd: bool) -> Registers {
    let spread = 60.0 / ((depth as f64).sqrt() * 128.0 * 64.0);
    let one = |random: &mut Random| {
        let sign = if random.below(3) == 0 { -1.0 } else { 1.0 };
        let real = sign * spread * (0.05 + 4.0 * random.real());
        let bias = (random.below(40_000) as i32) - 20_000;
        match random.below(12) {
            0 => (Multiplier::default(), bias % 300),
            1 if odd => (style.multiplier(sign * 2f64.powi(random.below(20) as i32)), bias),
            2 if odd => (style.multiplier(real), random.next() as i32),
            3 if odd => (style.multiplier(real * 2f64.powi(-(random.below(18) as i32))), i32::MAX),
            4 => (style.multiplier(sign * 2f64.powi(-1 - random.below(16) as i32)), bias),
            _ => (style.multiplier(real), bias),
        }
    };
    let (multipliers, bias) = (0..channels).map(|_| one(random)).unzip();
    Registers { multipliers, bias }
}

fn clamp(random: &mut Random) -> Clamp {
    match random.below(4) {
        0 => Clamp::INT8,
        1 => Clamp::bounded(Some(random.below(256) as i32 - 128), None),
        2 => Clamp::bounded(None, Some(random.below(256) as i32 - 128)),
        _ => Clamp::bounded(Some(-(random.below(200) as i32)), Some(random.below(200) as i32)),
    }
}

/// A layer and what it runs on.
struct Case {
    x: Tensor<i8>,
    codes: WeightCodes,
    rest: (i32, Registers, Output),
    join: Option<(Tensor<i16>, u32)>,
}

impl Case {
    fn new(random: &mut Random, batch: usize, input: Shape, channels: usize, depth: usize, output: Shape) -> Self {
        let style = STYLES[random.below(4) as usize];
        let odd = random.below(4) == 0;
        let z = random.below(256) as i32 - 128;
        let registers = registers(random, style, channels, depth, odd);
        let out = Output { style, zero_point: random.below(256) as i32 - 128, clamp: clamp(random) };
        let x = Tensor::from_vec(batch, input, random.codes(batch * input.elements()));
        let zero = |random: &mut Random| if random.below(3) == 0 { random.below(256) as i32 - 128 } else { 0 };
        let zero_points =
            if random.below(2) == 0 { vec![zero(random)] } else { (0..channels).map(|_| zero(random)).collect() };
        let codes = WeightCodes { codes: random.codes(channels * depth), scales: vec![1.0], zero_points };
        let join = (random.below(3) == 0).then(|| {
            let values: Vec<i16> = (0..batch * output.elements()).map(|_| random.next() as i16).collect();
            let shift = if odd { random.below(32) } else { random.below(8) } as u32;
            (Tensor::from_vec(batch, output, values), shift)
        });
        Self { x, codes, rest: (z, registers, out), join }
    }

    fn join(&self) -> Option<Join<'_>> {
        self.join.as_ref().map(|(values, shift)| Join { values, shift: *shift })
    }

    fn product(&self, weights: trunkline::op::product::PackedWeights) -> Product {
        let (input_zero_point, registers, output) = self.rest.clone();
        Product { input_zero_point, weights, registers, output, accumulator: None }
    }
}

/// Both thread counts of every instruction set give the reference's result.
fn compare<T: PartialEq + std::fmt::Debug + Send>(
    want: &T,
    plan: impl Fn(Kernels) -> Option<Plan>,
    run: impl Fn(&Plan) -> T + Sync,
) -> Result<(), TestCaseError> {
    for set in InstructionSet::available() {
        let plan = plan(Kernels::Only(set)).expect("weights without a zero point and few products");
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let got = pool.install(|| run(&plan));
            prop_assert_eq!(&got, want, "{} on {} threads", set, threads);
        }
    }
    Ok(())
}

/// Runs a plan into a buffer that held something else.
fn product(plan: &Plan, case: &Case, p: &Product, output: Shape) -> (Tensor<i8>, Counts) {
    let batch = case.x.batch;
    let mut y = Tensor::from_vec(batch, output, vec![77; batch * output.elements()]);
    let counts = plan.run_into((&case.x).into(), p, case.join(), None, &mut y.data);
    (y, counts[0])
}

/// Whose sums there are: TensorFlow Lite's in every style, then those of other runtimes and chips.
fn formula(i: usize) -> Formula {
    use Formula::*;
    STYLES.get(i).map_or_else(|| [Onnxruntime, Xnnpack, PowerOfTwo, Gemmini, Pulp][i - STYLES.len()], |&s| Tflite(s))
}

const FORMULAS: usize = STYLES.len() + 5;

/// An addition of maps with ordinary parameters.
fn addition(random: &mut Random) -> add::Int8 {
    let mut quant = || QuantParams {
        scale: 0.01 + random.real() as f32,
        zero_point: random.below(256) as i32 - 128,
        codes: CodeType::I8,
    };
    let (a, b, y) = (quant(), quant(), quant());
    add::Int8::new(formula(random.below(FORMULAS as u64) as usize), &a, &b, &y, clamp(random))
}

fn check_conv(conv: &Conv2d, input: Shape, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    let Ok(output) = conv.output_shape(input) else { return Ok(()) };
    if conv.is_depthwise() && conv.out_c == conv.in_c {
        return Ok(());
    }
    let mut random = Random(seed);
    let case = Case::new(&mut random, batch, input, conv.out_c, conv.depth(), output);
    let p = case.product(conv2d::pack(conv, &case.codes.codes, &case.codes.zero_points));
    let want = conv2d::int8(conv, &case.x, &p, case.join());
    let plan = |kernels| Plan::conv2d(conv, input, &case.codes, &p, kernels);
    compare(&want, plan, |plan| product(plan, &case, &p, output))?;
    let shape = want.0.shape;
    let other = Tensor::from_vec(batch, shape, random.codes(want.0.data.len()));
    let add = addition(&mut random);
    let operand = random.below(2) as usize;
    let (a, b) = if operand == 0 { (&want.0, &other) } else { (&other, &want.0) };
    let (codes, added) = add::int8(a, b, &add);
    let both = (codes.data, [want.1, added]);
    for set in InstructionSet::available() {
        let kernels = Kernels::Only(set);
        let Some(sum) = Sum::new(&add, kernels) else { continue };
        let plan = plan(kernels).expect("as before");
        let mut y = vec![77; both.0.len()];
        let after = After { sum: &sum, other: &other.data, operand };
        let counts = plan.run_into((&case.x).into(), &p, case.join(), Some(after), &mut y);
        prop_assert_eq!(&(y, counts), &both, "{} with an addition", set);
    }
    Ok(())
}

/// Channel counts around the sizes of lines and blocks.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..10, 14usize..20, 30usize..36, 46usize..52, 62usize..84, Just(128), Just(130)]
}

fn kernel() -> impl Strategy<Value = [usize; 2]> {
    prop_oneof![Just([1, 1]), Just([3, 3]), (1usize..6, 1usize..6).prop_map(|(h, w)| [h, w])]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn convolutions(
        (in_c, out_c, kernel) in (channels(), channels(), kernel()),
        (stride, dilation) in ([1usize..4, 1usize..4], [1usize..3, 1usize..3]),
        (padded, pad) in (any::<bool>(), [0usize..4, 0usize..4, 0usize..4, 0usize..4]),
        (h, w, batch, seed) in (1usize..12, 1usize..12, 1usize..4, any::<u64>()),
    ) {
        let pad = if padded { pad } else { [0; 4] };
        let conv = Conv2d { in_c, out_c, kernel, stride, dilation, pad, groups: 1 };
        check_conv(&conv, Shape::new(h, w, in_c), batch, seed)?;
    }

    #[test]
    fn grouped_convolutions(
        (groups, per_group, filters, kernel) in (2usize..6, 1usize..21, 1usize..21, kernel()),
        (stride, dilation) in ([1usize..3, 1usize..3], [1usize..3, 1usize..3]),
        (pad, h, w, batch, seed) in ([0usize..3, 0usize..3, 0usize..3, 0usize..3], 1usize..9, 1usize..9, 1usize..3, any::<u64>()),
    ) {
        let (in_c, out_c) = (groups * per_group, groups * filters);
        let conv = Conv2d { in_c, out_c, kernel, stride, dilation, pad, groups };
        check_conv(&conv, Shape::new(h, w, in_c), batch, seed)?;
    }

    #[test]
    fn linear_layers(h in 1usize..4, c in 1usize..90, outputs in channels(), batch in 1usize..40, seed: u64) {
        let input = Shape::new(h, 2, c);
        let op = Linear { inputs: input.elements(), outputs };
        let case = Case::new(&mut Random(seed), batch, input, outputs, op.inputs, Shape::vector(outputs));
        let p = case.product(linear::pack(&op, &case.codes.codes, &case.codes.zero_points));
        let want = linear::int8(&op, &case.x, &p, case.join());
        let plan = |kernels| Plan::linear(&op, &case.codes, &p, kernels);
        compare(&want, plan, |plan| product(plan, &case, &p, Shape::vector(outputs)))?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn sums(
        (h, w, c, batch, seed) in (1usize..20, 1usize..20, channels(), 1usize..4, any::<u64>()),
        (a, b, y) in ((0.01f32..1.0, -128i32..128), (0.01f32..1.0, -128i32..128), (0.01f32..1.0, -128i32..128)),
        whose in 0..FORMULAS,
    ) {
        let mut random = Random(seed);
        let quant = |(scale, zero_point)| QuantParams { scale, zero_point, codes: CodeType::I8 };
        // One addition in four has operands of one scale, which ties everywhere.
        let b = if random.below(4) == 0 { (a.0, b.1) } else { b };
        let p = add::Int8::new(formula(whose), &quant(a), &quant(b), &quant(y), clamp(&mut random));
        let shape = Shape::new(h, w, c);
        let mut map = || Tensor::from_vec(batch, shape, random.codes(batch * shape.elements()));
        let (a, b) = (map(), map());
        let want = add::int8(&a, &b, &p);
        let mut fast = 0;
        for set in InstructionSet::available() {
            if let Some(sum) = Sum::new(&p, Kernels::Only(set)) {
                fast += 1;
                for threads in [1, 2] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut y = Tensor::from_vec(batch, shape, vec![77; a.data.len()]);
                    let counts = pool.install(|| sum.run_into((&a).into(), (&b).into(), &mut y.data));
                    prop_assert_eq!(&(y, counts), &want, "{} on {} threads", set, threads);
                }
            }
        }
        let vectors = InstructionSet::available().filter(|&set| set != InstructionSet::Portable).count();
        prop_assert!(fast == vectors || p.output.clamp.lo() > p.output.clamp.hi());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn batch_norms((h, w, c, batch, seed) in (1usize..12, 1usize..12, channels(), 1usize..4, any::<u64>())) {
        let mut random = Random(seed);
        let style = STYLES[random.below(4) as usize];
        let registers = registers(&mut random, style, c, 1 << 12, false);
        let output = Output { style, zero_point: random.below(256) as i32 - 128, clamp: clamp(&mut random) };
        let factors = vec![1 << batch_norm::HEADROOM_BITS; c];
        let p = batch_norm::Int8 { input_zero_point: random.below(256) as i32 - 128, factors, registers, output };
        let shape = Shape::new(h, w, c);
        let x = Tensor::from_vec(batch, shape, random.codes(batch * shape.elements()));
        let want = batch_norm::int8(&x, &p);
        for set in InstructionSet::available().filter(|&set| set != InstructionSet::Portable) {
            let Some(norm) = Norm::new(&p, Kernels::Only(set)) else {
                prop_assert!(output.clamp.lo() > output.clamp.hi(), "ordinary registers are calm");
                continue;
            };
            let mut y = Tensor::from_vec(batch, shape, vec![77; x.data.len()]);
            let counts = norm.run_into((&x).into(), &mut y.data);
            prop_assert_eq!(&(y, counts), &want, "{}", set);
        }
    }
}

#[test]
fn maps_of_many_tasks() {
    for (i, conv) in [
        Conv2d::square(64, 96, 3, 1, 1),
        Conv2d::square(3, 32, 7, 2, 3),
        Conv2d::square(128, 64, 1, 1, 0),
        Conv2d::square(64, 64, 1, 2, 0),
    ]
    .iter()
    .enumerate()
    {
        check_conv(conv, Shape::new(45, 41, conv.in_c), 3, i as u64).unwrap();
    }
}

#[test]
fn what_the_fast_kernels_refuse() {
    let conv = Conv2d::square(4, 4, 1, 1, 0);
    let input = Shape::new(2, 2, 4);
    let case = Case::new(&mut Random(1), 1, input, 4, 4, input);
    let p = case.product(conv2d::pack(&conv, &case.codes.codes, &[0]));
    let portable = Kernels::Only(InstructionSet::Portable);
    assert!(Plan::conv2d(&conv, input, &case.codes, &p, portable).is_some());
    assert!(Plan::conv2d(&conv, input, &case.codes, &p, Kernels::Reference).is_none());
    let depthwise = Conv2d { groups: 4, ..conv.clone() };
    assert!(Plan::conv2d(&depthwise, input, &case.codes, &p, portable).is_none());
    // 70000 × 128 × 255 does not fit 32 bits.
    let long = Linear { inputs: 70_000, outputs: 1 };
    let codes = WeightCodes { codes: vec![-128; 70_000], scales: vec![1.0], zero_points: vec![0] };
    let registers = Registers { multipliers: vec![Multiplier::default()], bias: vec![0] };
    let output = Output { style: RequantStyle::Single, zero_point: 0, clamp: Clamp::INT8 };
    let p = Product {
        input_zero_point: 127,
        weights: linear::pack(&long, &codes.codes, &[0]),
        registers,
        output,
        accumulator: None,
    };
    assert!(Plan::linear(&long, &codes, &p, portable).is_none());
}
