// Packed codes to f32: an integer subtraction, then one multiplication.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.elements) {
        return;
    }
    let per_word = 32u / p.bits;
    let code = extractBits(bitcast<i32>(in0[i / per_word]), i % per_word * p.bits, p.bits);
    out[i] = f32(code - p.zero_point) * in1[i % p.channels];
}
