// Multiplies by one value; one invocation per element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i < p.elements) {
        out[i] *= in0[0];
    }
}
