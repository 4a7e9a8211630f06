// Sum over channels of a product; one invocation per pixel, in 8 chains.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = flat_index(id, groups);
    if (pixel >= p.batch * p.pixels) {
        return;
    }
    let base = pixel * p.channels;
    var chains = array<f32, 8>();
    for (var c = 0u; c < p.channels; c++) {
        chains[c % 8u] += in0[base + c] * in1[base + c];
    }
    let even = (chains[0] + chains[4]) + (chains[2] + chains[6]);
    out[pixel] = even + ((chains[1] + chains[5]) + (chains[3] + chains[7]));
}
