// Gradient of mean and maximum over channels; one invocation per pixel.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = flat_index(id, groups);
    if (pixel >= p.batch * p.pixels) {
        return;
    }
    let base = pixel * p.channels;
    var best = 0u;
    for (var c = 1u; c < p.channels; c++) {
        best = select(best, c, in0[base + c] > in0[base + best]);
    }
    let mean = in1[2u * pixel] / f32(p.channels);
    for (var c = 0u; c < p.channels; c++) {
        out[base + c] = mean + select(0.0, in1[2u * pixel + 1u], c == best);
    }
}
