// Input gradient of a batch norm by the statistics of its batch; one invocation per element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i >= p.batch * p.pixels * p.channels) {
        return;
    }
    let c = i % p.channels;
    let n = f32(p.values);
    let inverse = 1.0 / sqrt(in2[p.channels + c] + p.epsilon);
    let slope = inverse * (in4[c] / n);
    out[i] = in3[c] * inverse * (in0[i] - in5[c] / n - (in1[i] - in2[c]) * slope);
}
