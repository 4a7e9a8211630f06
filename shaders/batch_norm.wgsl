// Batch norm by given statistics; one invocation per element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.pixels * p.channels) {
        return;
    }
    let c = i % p.channels;
    let scale = in2[c] * (1.0 / sqrt(in1[p.channels + c] + p.epsilon));
    out[i] = (in0[i] - in1[c]) * scale + in3[c];
}
