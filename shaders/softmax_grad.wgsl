// Gradient of softmax over channels; one invocation per pixel.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = flat_index(id, groups);
    if (pixel >= p.batch * p.pixels) {
        return;
    }
    let base = pixel * p.channels;
    var chains = array<f32, 8>();
    for (var c = 0u; c < p.channels; c++) {
        chains[c % 8u] += in1[base + c] * in0[base + c];
    }
    let even = (chains[0] + chains[4]) + (chains[2] + chains[6]);
    let mean = even + ((chains[1] + chains[5]) + (chains[3] + chains[7]));
    for (var c = 0u; c < p.channels; c++) {
        out[base + c] = p.beta * in0[base + c] * (in1[base + c] - mean);
    }
}
