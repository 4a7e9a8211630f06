//! Every fast input gradient that this CPU can run against the plain loop: integer sums bit for bit, real
//! ones within the rounding of their sums and with the same bits on every instruction set, thread count
//! and batch.

use proptest::prelude::*;
use trunkline::op::Conv2d;
use trunkline::op::conv2d_grad::{input_grad_f32, input_grad_int};
use trunkline::quant::error_code::{ErrorBits, ErrorRounding, GradFormat, renormalise};
use trunkline::seed::Noise;
use trunkline::tensor::Shape;
use trunkline::trunk::fast::backward::PackedGrad;
use trunkline::trunk::fast::{InstructionSet, Kernels};

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
    /// Integers of at most a magnitude; one array in four holds the two ends only, where sums are largest.
    fn codes(&mut self, n: usize, most: i16) -> Vec<i16> {
        let kind = self.below(4);
        let code = |random: &mut Self| match kind {
            0 => [-most, most][random.below(2) as usize],
            1 => most,
            _ => (random.below(2 * most as u64 + 1) as i32 - i32::from(most)) as i16,
        };
        (0..n).map(|_| code(self)).collect()
    }
}

/// Both thread counts of every instruction set.
fn everywhere(mut check: impl FnMut(InstructionSet, usize) -> Result<(), TestCaseError>) -> Result<(), TestCaseError> {
    for set in InstructionSet::available() {
        for threads in [1, 3] {
            check(set, threads)?;
        }
    }
    Ok(())
}

fn on<R: Send>(threads: usize, run: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
}

fn most(format: GradFormat) -> i16 {
    match format {
        GradFormat::Int8 => 127,
        GradFormat::Int12 => 2047,
        _ => 32767,
    }
}

/// The exact sums of every format, from weights of eight bits or of nine.
fn check_int(conv: &Conv2d, input: Shape, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    let Ok(output) = conv.output_shape(input) else { return Ok(()) };
    let mut random = Random(seed);
    let widest = [127, 128, 255][random.below(3) as usize];
    let codes = random.codes(conv.weights(), widest);
    for format in [GradFormat::Int16, GradFormat::Int12, GradFormat::Int8] {
        let errors = random.codes(batch * output.elements(), most(format));
        let mut want = vec![0i64; batch * input.elements()];
        for (e, want) in errors.chunks(output.elements()).zip(want.chunks_mut(input.elements())) {
            input_grad_int(conv, input, &codes, e, want);
        }
        everywhere(|set, threads| {
            let plan = PackedGrad::new(conv, input, &codes, format, Kernels::Only(set)).expect("an ordinary layer");
            let mut got = vec![1i64; want.len()];
            let images = on(threads, || {
                plan.run_int(&errors, batch, &mut got, |image, accs, to| {
                    to.iter_mut().enumerate().for_each(|(i, to)| *to = accs.at(i));
                    (image, accs.largest())
                })
            });
            prop_assert!(got == want, "{} of {:?} on {} threads", set, format, threads);
            let largest = |image: &[i64]| image.iter().map(|sum| sum.unsigned_abs()).max().unwrap_or(0);
            let maxima: Vec<_> = want.chunks(input.elements()).map(largest).enumerate().collect();
            prop_assert_eq!(images, maxima);
            Ok(())
        })?;
    }
    Ok(())
}

fn check_f32(conv: &Conv2d, input: Shape, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    let Ok(output) = conv.output_shape(input) else { return Ok(()) };
    let mut random = Random(seed);
    let codes = random.codes(conv.weights(), 127);
    let errors: Vec<f32> = random.codes(batch * output.elements(), 32767).iter().map(|&e| f32::from(e) / 3e4).collect();
    let weights: Vec<f32> = codes.iter().map(|&w| f32::from(w)).collect();
    let image = |errors: &[f32], weights: &[f32]| {
        let mut want = vec![0f32; input.elements()];
        input_grad_f32(conv, input, weights, errors, &mut want);
        want
    };
    let magnitudes = |values: &[f32]| values.iter().map(|v| v.abs()).collect::<Vec<_>>();
    let (mut want, mut bound) = (Vec::new(), Vec::new());
    for errors in errors.chunks(output.elements()) {
        want.extend(image(errors, &weights));
        bound.extend(image(&magnitudes(errors), &magnitudes(&weights)));
    }
    let depth = (conv.kernel[0] * conv.kernel[1] * conv.out_c / conv.groups) as f32;
    let mut first: Option<Vec<f32>> = None;
    everywhere(|set, threads| {
        let plan = PackedGrad::new(conv, input, &codes, GradFormat::F32, Kernels::Only(set));
        let plan = plan.expect("an ordinary layer");
        let mut got = vec![f32::NAN; want.len()];
        on(threads, || plan.run_f32(&errors, batch, &mut got));
        for i in 0..got.len() {
            // A chain of roundings on both sides.
            let close = (got[i] - want[i]).abs() <= 2.0 * (depth + 1.0) * f32::EPSILON * bound[i];
            prop_assert!(close, "{} on {} threads: {} for {} at {}", set, threads, got[i], want[i], i);
        }
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let first = first.get_or_insert_with(|| got.clone());
        prop_assert!(bits(first) == bits(&got), "{} on {} threads has bits of its own", set, threads);
        let mut alone = vec![f32::NAN; input.elements()];
        on(threads, || plan.run_f32(&errors[..output.elements()], 1, &mut alone));
        prop_assert!(bits(&alone) == bits(&got[..alone.len()]), "the batch shows in the first image");
        Ok(())
    })
}

fn check(conv: &Conv2d, input: Shape, batch: usize, seed: u64) -> Result<(), TestCaseError> {
    check_int(conv, input, batch, seed)?;
    check_f32(conv, input, batch, seed)
}

/// Channel counts around the sizes of words, lines and blocks.
fn channels() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..10, 14usize..20, 30usize..36, 46usize..52, 62usize..70]
}

fn kernel() -> impl Strategy<Value = [usize; 2]> {
    prop_oneof![
        Just([1, 1]),
        Just([3, 3]),
        Just([5, 5]),
        Just([7, 7]),
        (1usize..6, 1usize..6).prop_map(|(h, w)| [h, w])
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(150) })]

    #[test]
    fn convolutions(
        (in_c, out_c, kernel) in (channels(), channels(), kernel()),
        (stride, dilation) in ([1usize..4, 1usize..4], [1usize..3, 1usize..3]),
        pad in [0usize..4, 0usize..4, 0usize..4, 0usize..4],
        (h, w, batch, seed) in (1usize..10, 1usize..10, 1usize..5, any::<u64>()),
    ) {
        let conv = Conv2d { in_c, out_c, kernel, stride, dilation, pad, groups: 1 };
        check(&conv, Shape::new(h, w, in_c), batch, seed)?;
    }

    #[test]
    fn grouped_and_depthwise_convolutions(
        (groups, per_group, filters) in (2usize..40, 1usize..4, 1usize..4),
        (few, kernel, dilation) in (any::<bool>(), kernel(), [1usize..3, 1usize..3]),
        (stride, pad) in ([1usize..3, 1usize..3], [0usize..3, 0usize..3, 0usize..3, 0usize..3]),
        (h, w, batch, seed) in (1usize..9, 1usize..9, 1usize..4, any::<u64>()),
    ) {
        let (per_group, filters) = if few { (per_group * 11, filters * 7) } else { (per_group, filters) };
        let groups = if few { groups % 3 + 2 } else { groups };
        let (in_c, out_c) = (groups * per_group, groups * filters);
        let conv = Conv2d { in_c, out_c, kernel, stride, dilation, pad, groups };
        check(&conv, Shape::new(h, w, in_c), batch, seed)?;
        let conv = Conv2d { in_c: groups, out_c: groups, groups, ..conv };
        check(&conv, Shape::new(h, w, groups), batch, seed)?;
    }

    #[test]
    fn linear_layers(inputs in channels(), outputs in channels(), batch in 1usize..40, seed: u64) {
        check(&Conv2d::square(inputs, outputs, 1, 1, 0), Shape::vector(inputs), batch, seed)?;
    }

    #[test]
    fn sums_become_the_mantissas_of_the_plain_rule(
        (c, n, depth, seed) in (1usize..30, 1usize..20, prop_oneof![1usize..40, Just(700)], any::<u64>()),
    ) {
        let mut random = Random(seed);
        let conv = Conv2d::square(c, depth, 1, 1, 0);
        let input = Shape::new(1, n, c);
        let codes = random.codes(conv.weights(), 127);
        let noise = Noise::new(seed, 3, 5);
        for (format, bits) in [(GradFormat::Int16, ErrorBits::INT16), (GradFormat::Int8, ErrorBits::INT8)] {
            let errors = random.codes(n * depth, most(format));
            let mut sums = vec![0i64; input.elements()];
            input_grad_int(&conv, input, &codes, &errors, &mut sums);
            for rounding in
                [ErrorRounding::NearestEven, ErrorRounding::Stochastic(noise), ErrorRounding::PseudoStochastic]
            {
                let want = renormalise(&sums, 9, bits, rounding);
                everywhere(|set, _| {
                    let plan = PackedGrad::new(&conv, input, &codes, format, Kernels::Only(set)).expect("a plan");
                    let mut got = vec![1i16; sums.len()];
                    let exponents = plan.run_int(&errors, 1, &mut got, |_, accs, to| accs.renormalise(9, bits, rounding, to));
                    prop_assert_eq!(&got, &want.mantissas);
                    prop_assert_eq!(exponents[0], want.exponent);
                    Ok(())
                })?;
            }
        }
    }
}

/// Layers of many words, which several chunks, tiles and tasks share.
#[test]
fn layers_of_real_sizes() {
    for (seed, (conv, size)) in [
        (Conv2d::square(64, 256, 3, 1, 1), 8),
        (Conv2d::square(32, 64, 3, 2, 1), 33),
        (Conv2d::square(96, 48, 1, 2, 0), 17),
        (Conv2d { groups: 64, ..Conv2d::square(64, 64, 3, 2, 1) }, 21),
        (Conv2d::square(33, 700, 1, 1, 0), 40),
    ]
    .into_iter()
    .enumerate()
    {
        check(&conv, Shape::new(size, size, conv.in_c), 5, seed as u64).unwrap();
    }
}

#[test]
fn what_is_refused() {
    let conv = Conv2d::square(4, 4, 1, 1, 0);
    let plan = |conv: &Conv2d, input, kernels| {
        let codes = vec![1; conv.weights()];
        PackedGrad::new(conv, input, &codes, GradFormat::F32, kernels)
    };
    let portable = Kernels::Only(InstructionSet::Portable);
    assert!(plan(&conv, Shape::new(2, 2, 4), portable).is_some());
    assert!(plan(&conv, Shape::new(2, 2, 4), Kernels::Reference).is_none());
    assert!(plan(&conv, Shape::new(0, 2, 4), portable).is_none());
    let padded = Conv2d { pad: [1 << 24, 1 << 24, 0, 0], ..conv };
    assert!(plan(&padded, Shape::new(2, 2, 4), portable).is_some(), "what no window reads needs no memory");
}
