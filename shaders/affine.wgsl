// Per-channel scale and shift.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    if (i < p.batch * p.pixels * p.channels) {
        let channel = i % p.channels;
        out[i] = in0[i] * in1[channel] + in2[channel];
    }
}
