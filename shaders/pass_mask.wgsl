// Which elements a clamp passes; one invocation per word of 32 bits.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    let total = p.batch * p.elements;
    if (i >= (total + 31u) / 32u) {
        return;
    }
    var word = 0u;
    for (var k = 0u; k < min(32u, total - 32u * i); k++) {
        let x = in0[32u * i + k];
        word |= select(0u, 1u, x > p.lower && x < p.upper) << k;
    }
    out[i] = word;
}
