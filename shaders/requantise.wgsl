// f32 to packed codes; one invocation per word.

/// NaN and infinities by their bits: a comparison of x with itself may be folded away.
fn quantise(value: f32, inverse: f32) -> i32 {
    let bits = bitcast<u32>(value);
    let magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return p.zero_point;
    }
    if (magnitude == 0x7f800000u) {
        return select(p.high, p.low, bits >> 31u == 1u);
    }
    // Whole bounds, so clamping first gives the rounded and clamped number, in range of an integer.
    let bounded = clamp(value * inverse, f32(p.low - p.zero_point), f32(p.high - p.zero_point));
    return i32(round(bounded)) + p.zero_point;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    let per_word = 32u / p.bits;
    let total = p.batch * p.elements;
    if (i >= (total + per_word - 1u) / per_word) {
        return;
    }
    let first = i * per_word;
    var word = 0u;
    for (var k = 0u; k < min(per_word, total - first); k++) {
        let code = quantise(in0[first + k], in1[(first + k) % p.channels]);
        word = insertBits(word, bitcast<u32>(code), k * p.bits, p.bits);
    }
    out[i] = word;
}
