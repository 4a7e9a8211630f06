// Gradient of the mean over positions; one invocation per input element.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let i = flat_index(id, groups);
    let pixels = p.in_h * p.in_w;
    if (i < p.batch * pixels * p.channels) {
        out[i] = in0[i / (pixels * p.channels) * p.channels + i % p.channels] / f32(pixels);
    }
}
