// Gradient by a mask of bits; one invocation per element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.elements) {
        return;
    }
    let passes = extractBits(in1[i / 32u], i % 32u, 1u) == 1u;
    // An infinite gradient is blocked by a clamp like any other.
    let blocked = select(p.slope * in0[i], 0.0, p.slope == 0.0);
    out[i] = select(blocked, in0[i], passes);
}
