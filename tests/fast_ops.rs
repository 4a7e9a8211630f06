//! Every fast kernel that is not a dense product against the reference loop of its operation: codes
//! and counts, bit for bit, on every instruction set of this CPU and on one thread and two.

use proptest::prelude::*;
use trunkline::op::product::{Join, Product};
use trunkline::op::{
    Activation, Conv2d, Counts, Output, Pad, Pool, Registers, Table, concat, conv2d, mean, mul, pad, pool, requantise,
    softmax, table,
};
use trunkline::quant::weights::WeightCodes;
use trunkline::quant::{Clamp, CodeType, Formula, Multiplier, QuantParams, RequantStyle};
use trunkline::tensor::{Shape, Tensor};
use trunkline::trunk::Map;
use trunkline::trunk::fast::{
    Concatenation, Depthwise, InstructionSet, Kernels, Lookup, Mean, Mul, Padding, Pooling, Softmax,
};

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
    fn code(&mut self) -> i32 {
        [self.below(256) as i32 - 128, -128, 127, 0][self.below(4) as usize]
    }
    /// Codes; one map in four holds the two ends only, where sums are largest.
    fn codes(&mut self, n: usize) -> Vec<i8> {
        let ends = self.below(4) == 0;
        let code = |bits: u64| if ends { [-128i8, 127][bits as usize & 1] } else { bits as i8 };
        (0..n).map(|_| code(self.next())).collect()
    }
    fn map(&mut self, batch: usize, shape: Shape) -> Tensor<i8> {
        Tensor::from_vec(batch, shape, self.codes(batch * shape.elements()))
    }
    fn clamp(&mut self) -> Clamp {
        match self.below(4) {
            0 => Clamp::INT8,
            1 => Clamp::bounded(Some(self.code()), None),
            2 => Clamp::bounded(None, Some(self.code())),
            _ => Clamp::bounded(Some(-(self.below(200) as i32)), Some(self.below(200) as i32)),
        }
    }
    fn quant(&mut self) -> QuantParams {
        let scale = 2f32.powf(self.below(1200) as f32 / 100.0 - 9.0);
        let codes = if self.below(2) == 0 { CodeType::I8 } else { CodeType::U8 };
        QuantParams { scale, zero_point: self.code(), codes }
    }
    fn style(&mut self) -> RequantStyle {
        STYLES[self.below(4) as usize]
    }
}

const STYLES: [RequantStyle; 4] =
    [RequantStyle::GemmlowpDouble, RequantStyle::Ruy, RequantStyle::Single, RequantStyle::F32Rne];

type Run<'a> = Box<dyn Fn(&mut [i8]) -> Counts + Send + Sync + 'a>;

/// Both thread counts of every instruction set give the reference's result, in a buffer that held
/// something else. Returns how many instruction sets had the kernel.
fn compare<'a>(
    want: &(Tensor<i8>, Counts),
    kernel: impl Fn(Kernels) -> Option<Run<'a>>,
) -> Result<usize, TestCaseError> {
    let mut had = 0;
    for set in InstructionSet::available() {
        let Some(run) = kernel(Kernels::Only(set)) else { continue };
        had += 1;
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut codes = vec![77; want.0.data.len()];
            let counts = pool.install(|| run(&mut codes));
            prop_assert_eq!(&codes, &want.0.data, "{} on {} threads", set, threads);
            prop_assert_eq!(counts, want.1, "{} on {} threads", set, threads);
        }
    }
    prop_assert!(kernel(Kernels::Reference).is_none());
    Ok(had)
}

fn sets() -> usize {
    InstructionSet::available().count()
}

/// Those that requantise on vectors.
fn vector_sets() -> usize {
    InstructionSet::available().filter(|&set| set != InstructionSet::Portable).count()
}

fn map(x: &Tensor<i8>) -> Map<'_> {
    x.into()
}

/// A layer's registers: ordinary ones, and, if `odd`, those that overflow, shift left or are constants.
fn registers(random: &mut Random, style: RequantStyle, channels: usize, depth: usize, odd: bool) -> Registers {
    let spread = 60.0 / ((depth as f64).sqrt() * 128.0 * 64.0);
    let one = |random: &mut Random| {
        let sign = if random.below(3) == 0 { -1.0 } else { 1.0 };
        let real = sign * spread * (0.05 + 4.0 * random.below(1000) as f64 / 1000.0);
        let bias = random.below(40_000) as i32 - 20_000;
        match random.below(12) {
            0 => (Multiplier::default(), bias % 300),
            1 if odd => (style.multiplier(sign * 2f64.powi(random.below(20) as i32)), bias),
            2 if odd => (style.multiplier(real), random.next() as i32),
            4 => (style.multiplier(sign * 2f64.powi(-1 - random.below(16) as i32)), bias),
            _ => (style.multiplier(real), bias),
        }
    };
    let (multipliers, bias) = (0..channels).map(|_| one(random)).unzip();
    Registers { multipliers, bias }
}

fn check_depthwise(conv: &Conv2d, input: Shape, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    let Ok(output) = conv.output_shape(input) else { return Ok(()) };
    let random = &mut Random(seed);
    let (style, odd) = (random.style(), random.below(4) == 0);
    let zero = |random: &mut Random| if random.below(2) == 0 { 0 } else { random.below(90) as i32 - 45 };
    let zeros = if random.below(2) == 0 { 1 } else { conv.out_c };
    let zero_points: Vec<i32> = (0..zeros).map(|_| zero(random)).collect();
    let codes = WeightCodes { codes: random.codes(conv.weights()), scales: vec![1.0], zero_points };
    let p = Product {
        input_zero_point: random.code(),
        weights: conv2d::pack(conv, &codes.codes, &codes.zero_points),
        registers: registers(random, style, conv.out_c, conv.depth(), odd),
        output: Output { style, zero_point: random.code(), clamp: random.clamp() },
        accumulator: None,
    };
    let x = random.map(batch, input);
    let values: Vec<i16> = (0..batch * output.elements()).map(|_| random.next() as i16).collect();
    let values = Tensor::from_vec(batch, output, values);
    let shift = random.below(if odd { 32 } else { 8 }) as u32;
    let join = (random.below(3) == 0).then_some(Join { values: &values, shift });
    let want = conv2d::int8(conv, &x, &p, join);
    let had = compare(&want, |kernels| {
        let plan = Depthwise::new(conv, input, &codes, &p, kernels)?;
        let x = &x;
        Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), join, out)))
    })?;
    prop_assert_eq!(had, sets());
    Ok(())
}

/// Channel counts around the sizes of vectors, lines and blocks.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..68, Just(96), Just(120), 126usize..131]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn depthwise_convolutions(
        (channels, kernel) in (channels(), prop_oneof![Just([3, 3]), Just([5, 5]), [1usize..8, 1usize..8]]),
        (stride, dilation) in ([1usize..4, 1usize..4], [1usize..3, 1usize..3]),
        (pad, h, w, batch, seed) in ([0usize..4, 0usize..4, 0usize..4, 0usize..4], 1usize..12, 1usize..12, 1usize..4, any::<u64>()),
    ) {
        // One channel is an ordinary convolution.
        let channels = channels.max(2);
        let conv = Conv2d { in_c: channels, out_c: channels, kernel, stride, dilation, pad, groups: channels };
        check_depthwise(&conv, Shape::new(h, w, channels), batch, seed)?;
    }

    #[test]
    fn poolings(
        (kernel, stride, pad) in ([1usize..6, 1usize..6], [1usize..4, 1usize..4], [0usize..5, 0usize..5, 0usize..5, 0usize..5]),
        (c, h, w, batch, seed) in (channels(), 1usize..14, 1usize..14, 1usize..4, any::<u64>()),
    ) {
        let pad = std::array::from_fn(|i| pad[i] % kernel[i % 2]);
        let (op, shape, random) = (Pool { kernel, stride, pad }, Shape::new(h, w, c), &mut Random(seed));
        if op.output_shape(shape).is_ok() {
            let (x, clamp, codes) = (random.map(batch, shape), random.clamp(), random.quant().codes);
            let x = &x;
            let had = compare(&pool::maximum_int8(&op, x, clamp), |kernels| {
                let plan = Pooling::maximum(&op, shape, clamp, kernels)?;
                Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), out)))
            })?;
            prop_assert!(had == sets() || clamp.lo() > clamp.hi());
            let had = compare(&pool::average_int8(&op, x, codes, clamp), |kernels| {
                let plan = Pooling::average(&op, shape, codes, clamp, kernels)?;
                Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), out)))
            })?;
            prop_assert!(had == sets() || clamp.lo() > clamp.hi());
        }
    }

    #[test]
    fn means((c, h, w, batch, seed) in (channels(), 1usize..20, 1usize..20, 1usize..4, any::<u64>())) {
        let (shape, random) = (Shape::new(h, w, c), &mut Random(seed));
        let (style, mut from, mut to) = (random.style(), random.quant(), random.quant());
        (from.scale, to.scale) = (0.02 + from.scale / 10.0, 0.02 + to.scale / 10.0);
        let p = mean::Int8::new(style, &from, h * w, &to, random.clamp());
        let x = random.map(batch, shape);
        let had = compare(&mean::int8(&x, &p), |kernels| {
            let (plan, x) = (Mean::new(&p, shape, kernels)?, &x);
            Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), out)))
        })?;
        let narrow = p.output.clamp.lo() > p.output.clamp.hi() || p.multiplier.shift > 0 || p.multiplier.shift < -20;
        prop_assert!(had == vector_sets() || narrow, "{} sets, {:?}", had, p);
    }

    #[test]
    fn products(
        (c, h, w, batch, seed) in (channels(), 1usize..20, 1usize..20, 1usize..4, any::<u64>()),
        form in 0usize..4,
    ) {
        let (shape, random) = (Shape::new(h, w, c), &mut Random(seed));
        let other = [shape, Shape::vector(c), Shape::new(h, w, 1), Shape::vector(1)][form];
        let style = random.style();
        let formula = if random.below(3) == 0 { Formula::Onnxruntime } else { style.into() };
        let p = mul::Int8::new(formula, &random.quant(), &random.quant(), &random.quant(), random.clamp());
        let (a, b) = (random.map(batch, shape), random.map(batch, other));
        let had = compare(&mul::int8(&a, &b, &p), |kernels| {
            let (plan, a, b) = (Mul::new(&p, kernels)?, &a, &b);
            Some(Box::new(move |out: &mut [i8]| plan.run_into(map(a), map(b), out)))
        })?;
        let shift = match &p.form {
            mul::Form::Tflite { multiplier, .. } => multiplier.shift,
            mul::Form::Onnxruntime(_) => 0,
        };
        let odd = p.output.clamp.lo() > p.output.clamp.hi() || !(-20..=0).contains(&shift);
        prop_assert!(had == vector_sets() || odd, "{} sets, {:?}", had, p);
    }

    #[test]
    fn softmaxes(
        (c, h, w, batch, seed) in (prop_oneof![channels(), Just(1001)], 1usize..6, 1usize..6, 1usize..4, any::<u64>()),
        whose in 0usize..6,
    ) {
        let (shape, random) = (Shape::new(h, w, c), &mut Random(seed));
        let formula = [Formula::Onnxruntime, Formula::Xnnpack].get(whose).copied().unwrap_or(random.style().into());
        let y = QuantParams { scale: 1.0 / 256.0, zero_point: -128, codes: CodeType::I8 };
        // A row of one code, and of nearly one code, is where sums are smallest.
        let mut x = random.map(batch, shape);
        if random.below(3) == 0 {
            x.data.iter_mut().for_each(|q| *q = 20 - (*q).rem_euclid(40) / 39);
        }
        if let Ok(p) = softmax::Int8::new(softmax::Softmax { beta: 1.0 }, formula, &random.quant(), c, &y) {
            let had = compare(&softmax::int8(&x, &p), |kernels| {
                let (plan, x) = (Softmax::new(&p, shape, kernels)?, &x);
                Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), out)))
            })?;
            prop_assert_eq!(had, sets());
        }
    }

    #[test]
    fn paddings(
        (space, around) in ([0usize..4, 0usize..4, 0usize..4, 0usize..4], prop_oneof![Just([0, 0]), [0usize..9, 0usize..9]]),
        (c, h, w, batch, seed) in (channels(), 1usize..14, 1usize..14, 1usize..4, any::<u64>()),
    ) {
        let (op, shape, random) = (Pad { space, channels: around }, Shape::new(h, w, c), &mut Random(seed));
        let (x, zero) = (random.map(batch, shape), random.code());
        let had = compare(&(pad::int8(&op, &x, zero), Counts::default()), |kernels| {
            let (plan, x) = (Padding::new(&op, shape, zero, kernels)?, &x);
            Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), out)))
        })?;
        prop_assert_eq!(had, sets());
    }

    #[test]
    fn concatenations(
        parts in prop::collection::vec(channels(), 1..4),
        (h, w, batch, seed) in (1usize..9, 1usize..9, 1usize..4, any::<u64>()),
    ) {
        let random = &mut Random(seed);
        let y = random.quant();
        let shapes: Vec<Shape> = parts.iter().map(|&c| Shape::new(h, w, c)).collect();
        let other = |random: &mut Random| if random.below(2) == 0 { y } else { random.quant() };
        let rescale = |random: &mut Random| concat::rescale(RequantStyle::GemmlowpDouble, &other(random), &y);
        let tables: Vec<Option<Table>> = parts.iter().map(|_| rescale(random)).collect();
        let maps: Vec<Tensor<i8>> = shapes.iter().map(|&shape| random.map(batch, shape)).collect();
        let maps: Vec<&Tensor<i8>> = maps.iter().collect();
        let had = compare(&concat::int8(&maps, &tables), |kernels| {
            let (plan, maps) = (Concatenation::new(&tables, &shapes, kernels)?, &maps);
            Some(Box::new(move |out: &mut [i8]| {
                plan.run_into(&maps.iter().map(|x| map(x)).collect::<Vec<_>>(), out)
            }))
        })?;
        prop_assert_eq!(had, sets());
    }

    #[test]
    fn lookups((c, h, w, batch, seed) in (channels(), 1usize..30, 1usize..30, 1usize..4, any::<u64>())) {
        let (shape, random) = (Shape::new(h, w, c), &mut Random(seed));
        let (style, x, y) = (random.style(), random.quant(), random.quant());
        let made = match random.below(4) {
            0 => Activation::HardSwish.table(style, &x, &y),
            1 => Activation::LeakyRelu { slope: 0.1 }.table(style, &x, &y),
            2 => Activation::Sigmoid { gain: 1.0 }.table(style, &x, &y),
            _ => Ok(requantise::table(style, &x, &y, random.clamp())),
        };
        // Some pairs of scales have no int8 hard-swish.
        if let Ok(made) = made {
            let x = random.map(batch, shape);
            let had = compare(&table::int8(&x, &made), |kernels| {
                let (plan, x) = (Lookup::new(&made, kernels)?, &x);
                Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), out)))
            })?;
            prop_assert_eq!(had, sets());
        }
    }
}

#[test]
fn the_required_instruction_set_is_there() {
    let available: Vec<String> = InstructionSet::available().map(|set| set.to_string()).collect();
    println!("instruction sets: {}", available.join(", "));
    let required = std::env::var("TRUNKLINE_REQUIRE_KERNELS").unwrap_or("portable".into());
    assert!(available.contains(&required), "{required} is not among {available:?}");
}

#[test]
fn every_entry_of_a_table_and_its_events() {
    let events = |q: i8| u64::from(q % 3 == 0);
    let made = Table::build(|q, counts| {
        counts.saturations += events(q) * 2;
        counts.overflows += events(q.wrapping_add(1));
        q.wrapping_mul(37).wrapping_add(11)
    });
    for length in (0..70).chain([255, 256, 257, 100_000]) {
        let codes = (0..length).map(|i| (i as u8).wrapping_mul(101) as i8).collect();
        let x = Tensor::from_vec(1, Shape::vector(length), codes);
        let had = compare(&table::int8(&x, &made), |kernels| {
            let (plan, x) = (Lookup::new(&made, kernels)?, &x);
            Some(Box::new(move |out: &mut [i8]| plan.run_into(map(x), out)))
        });
        assert_eq!(had.unwrap(), sets());
    }
}

#[test]
fn large_maps_are_cut_into_tasks() {
    for (i, (c, kernel, stride)) in [(64, 3, 1), (72, 5, 2), (24, 5, 1), (8, 3, 1), (200, 3, 2)].into_iter().enumerate()
    {
        let conv = Conv2d { groups: c, ..Conv2d::square(c, c, kernel, stride, kernel / 2) };
        check_depthwise(&conv, Shape::new(57, 61, c), 2, i as u64).unwrap();
    }
}

#[test]
fn what_is_refused() {
    let conv = Conv2d { groups: 4, ..Conv2d::square(4, 4, 3, 1, 1) };
    let codes = WeightCodes { codes: vec![1; 36], scales: vec![1.0], zero_points: vec![0] };
    let output = Output { style: RequantStyle::Single, zero_point: 0, clamp: Clamp::INT8 };
    let registers = Registers { multipliers: vec![Multiplier::default(); 4], bias: vec![0; 4] };
    let weights = conv2d::pack(&conv, &codes.codes, &[0]);
    let p = Product { input_zero_point: 0, weights, registers, output, accumulator: None };
    let (portable, input) = (Kernels::Only(InstructionSet::Portable), Shape::new(5, 5, 4));
    assert!(Depthwise::new(&conv, input, &codes, &p, portable).is_some());
    assert!(Depthwise::new(&conv, input, &codes, &p, Kernels::Reference).is_none());
    // A weight of 127 + 128.
    let widest = WeightCodes { codes: vec![127; 36], scales: vec![1.0], zero_points: vec![-128] };
    assert!(Depthwise::new(&conv, input, &widest, &p, portable).is_none());
    let grouped = Conv2d { groups: 2, ..conv.clone() };
    assert!(Depthwise::new(&grouped, input, &codes, &p, portable).is_none());
    // A strip of 2^40 lanes.
    let wide = Conv2d { pad: [1, 1 << 36, 1, 0], stride: [1, 1 << 35], ..conv };
    assert!(Depthwise::new(&wide, input, &codes, &p, portable).is_none());
    let large = Pool { kernel: [200, 200], stride: [1, 1], pad: [0; 4] };
    assert!(Pooling::average(&large, Shape::new(200, 200, 1), CodeType::I8, Clamp::INT8, portable).is_none());
    assert!(Pooling::maximum(&large, Shape::new(200, 200, 1), Clamp::INT8, portable).is_some());
}
