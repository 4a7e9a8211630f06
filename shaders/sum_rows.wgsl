// Adds up rows in order; one invocation per column.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.columns) {
        return;
    }
    var sum = 0.0;
    if (p.accumulate == 1u) {
        sum = out[i];
    }
    for (var row = 0u; row < p.batch * p.rows; row++) {
        sum += in0[row * p.columns + i];
    }
    out[i] = sum;
}
