// Running statistics, moved towards those of a batch; one invocation per mean or variance.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i < 2u * p.channels) {
        let moment = in0[i] * select(1.0, p.correction, i >= p.channels);
        out[i] += p.momentum * (moment - out[i]);
    }
}
