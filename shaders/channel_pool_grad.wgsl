// Gradient of mean and maximum over channels; one invocation per pixel.

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let pixel = flat_index(id, groups);
    if (pixel >= p.batch * p.pixels) {
        return;
    }
    let base = pixel * p.channels;
    let bits = index_bits(p.channels);
    let per_word = 32u / bits;
    let best = (in0[pixel / per_word] >> (pixel % per_word * bits)) & ((1u << bits) - 1u);
    let mean = in1[2u * pixel] / f32(p.channels);
    for (var c = 0u; c < p.channels; c++) {
        out[base + c] = mean + select(0.0, in1[2u * pixel + 1u], c == best);
    }
}
